// Tables made by the formulas, with other parameters than the fits start from: a family that read a wrong column, unit
// or type, or counted other bytes, would not predict them.

#include <gtest/gtest.h>

#include <map>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "env/analytical/decode_attention_time.h"
#include "env/analytical/deep_ep_time.h"
#include "env/analytical/fabric_collective_time.h"
#include "env/analytical/mla_decode_time.h"
#include "env/analytical/moe_time.h"
#include "env/analytical/prefill_attention_time.h"
#include "env/calibration/calibrate_collectives.h"
#include "env/calibration/calibrate_decode_attention.h"
#include "env/calibration/calibrate_moe.h"
#include "env/calibration/calibrate_prefill_attention.h"
#include "env/calibration/calibrate_stream.h"
#include "shardscout/cluster_spec.h"

namespace shardscout::env {
namespace {

const ClusterSpec& H100() {
  static const ClusterSpec cluster = LoadCluster("h100-sxm");
  return cluster;
}

internal::DeviceRates Rates(double peak_flop_per_s) {
  return {.units = 132, .peak_flop_per_s = peak_flop_per_s, .hbm_bytes_per_s = 3.35e12, .l2_cache_bytes = 52428800};
}
constexpr double kBf16 = 989e12, kFp8 = 1978e12;

class Csv {
 public:
  explicit Csv(const std::string& names) { text_ << names << "\n"; }
  template <class First, class... Rest>
  void Add(const First& first, const Rest&... rest) {
    text_.precision(12);
    text_ << first;
    ((text_ << "," << rest), ...);
    text_ << "\n";
  }
  MeasurementTable Table() const { return MeasurementTable::Parse(text_.str(), "t.csv"); }

 private:
  std::ostringstream text_;
};

void ExpectPredicted(const std::vector<FittedCurve>& curves, const std::vector<std::string>& types) {
  ASSERT_EQ(curves.size(), types.size());
  for (std::size_t i = 0; i < types.size(); ++i) {
    EXPECT_EQ(curves[i].type, types[i]);
    EXPECT_LT(curves[i].held_out.median, 0.01) << types[i];
    EXPECT_LT(curves[i].held_out.p90, 0.05) << types[i];
    EXPECT_GT(curves[i].roofline.median, 0.1) << types[i];
  }
}

TEST(FamiliesTest, PrefillAttention) {
  PrefillAttentionCurve truth;
  truth.launch_s = 8e-6;
  truth.peak_fraction = 0.5;
  truth.tile_s = 2e-6;
  Csv csv("batch_size,isl,num_heads,num_key_value_heads,head_dim,window_size,attn_dtype,kv_cache_dtype,latency_ms");
  for (const bool fp8 : {false, true}) {
    for (const double heads : {4, 8, 16, 32, 64}) {
      for (const double d : {64, 128, 192}) {
        for (const double window : {0, 512}) {
          for (const double requests : {1, 8}) {
            for (const double length : {16, 200, 1024, 4096, 16384}) {
              const double element = fp8 ? 1 : 2, output = 2, columns = fp8 && d > 128 ? 256 : d;
              const internal::PrefillAttentionShape shape{.requests = requests,
                                                          .length = length,
                                                          .heads = heads,
                                                          .kv_heads = 4,
                                                          .qk_dim = columns,
                                                          .v_dim = columns,
                                                          .window = window,
                                                          .element_bytes = element,
                                                          .row_bytes = d * (2 + 2 * element + output),
                                                          .kv_row_bytes = d * (2 + element),
                                                          .core_row_bytes = d * (element + output),
                                                          .core_kv_row_bytes = 2 * d * element};
              csv.Add(requests, length, heads, 4, d, window, "bfloat16", fp8 ? "fp8" : "bfloat16",
                      1e3 * internal::PrefillAttentionTime(truth, Rates(fp8 ? kFp8 : kBf16), shape));
            }
          }
        }
      }
    }
  }
  const std::vector<FittedCurve> curves = CalibratePrefillAttention(csv.Table(), H100().device);
  ExpectPredicted(curves, {"bfloat16/bfloat16", "bfloat16/fp8"});
  for (const FittedCurve& curve : curves) {
    const std::map<std::string, double> fitted(curve.parameters.begin(), curve.parameters.end());
    EXPECT_NEAR(fitted.at("peak_fraction") / truth.peak_fraction, 1, 0.05) << curve.type;
    EXPECT_NEAR(fitted.at("cache_weight") / truth.cache_weight, 1, 0.05) << "other bytes of the cache: " << curve.type;
  }
}

double Parameter(const FittedCurve& curve, const std::string& name) {
  const std::map<std::string, double> fitted(curve.parameters.begin(), curve.parameters.end());
  return fitted.at(name);
}

/// A dozen rows of another device do not tell a kernel's parameters. They move those of the H100's kernel for that
/// type, scaled, of which they tell: here the launch. Without windows they tell nothing of windows.
TEST(FamiliesTest, AFewRowsOfPrefillMoveTheReferencesCurve) {
  const ClusterSpec b200 = LoadCluster("b200-sxm");
  const DeviceCurves reference = ReferenceCurves(b200.device);
  Csv csv("batch_size,isl,num_heads,num_key_value_heads,kv_cache_dtype,latency_ms");
  for (const bool fp8 : {false, true}) {
    PrefillAttentionCurve truth = fp8 ? reference.prefill_fp8_cache : reference.prefill_bf16;
    truth.launch_s = 6e-6;
    const internal::DeviceRates rates = internal::RatesOf(b200.device, fp8 ? DType::kFp8 : DType::kBf16);
    for (const double heads : {4, 16, 64}) {
      for (const double length : {16, 256, 1024, 8192}) {
        const auto shape = internal::GroupedPrefillShape(2, length, heads, 4, 128, fp8, 2);
        csv.Add(2, length, heads, 4, fp8 ? "fp8" : "bfloat16",
                1e3 * internal::PrefillAttentionTime(truth, rates, shape));
      }
    }
  }
  const std::vector<FittedCurve> curves = CalibratePrefillAttention(csv.Table(), b200.device);
  ASSERT_EQ(curves.size(), 2u);
  for (const FittedCurve& curve : curves) {
    EXPECT_LT(curve.fitted.median, 0.02) << curve.type;
    EXPECT_NEAR(Parameter(curve, "launch_s") / 6e-6, 1, 0.15) << curve.type;
  }
  EXPECT_EQ(Parameter(curves[0], "window_step_fraction"), reference.prefill_bf16.window_step_fraction);
  EXPECT_EQ(Parameter(curves[1], "window_step_fraction"), reference.prefill_fp8_cache.window_step_fraction);
}

TEST(FamiliesTest, AFewRowsOfDecodeMoveTheReferencesCurve) {
  const ClusterSpec b200 = LoadCluster("b200-sxm");
  const DeviceCurves reference = ReferenceCurves(b200.device);
  HeadDecodeCurve head = reference.head_decode_bf16;
  GroupDecodeCurve group = reference.group_decode;
  GroupFp8DecodeCurve group_fp8 = reference.group_decode_fp8_cache;
  HeadDecodeCurve head_fp8 = reference.head_decode_fp8_cache;
  for (double* launch_s : {&head.launch_s, &group.launch_s, &group_fp8.launch_s, &head_fp8.launch_s}) *launch_s *= 0.5;
  const auto units = static_cast<double>(b200.device.num_compute_units);
  Csv csv("batch_size,num_heads,num_key_value_heads,kv_cache_dtype,step,latency_ms");
  for (const bool fp8 : {false, true}) {
    const internal::DeviceRates rates = internal::RatesOf(b200.device, fp8 ? DType::kFp8 : DType::kBf16);
    for (const double of_group : {1, 8}) {
      for (const double kv_heads : {1, 4, 8}) {
        for (const double length : {64, 1024, 16384}) {
          const internal::DecodeAttentionShape shape{
              .requests = 8, .heads = kv_heads * of_group, .kv_heads = kv_heads, .length = length, .fp8 = fp8};
          double time_s = 0;
          switch (internal::ChooseDecodeKernel(shape, units, true)) {
            case internal::DecodeKernel::kHead:
              time_s = internal::HeadDecodeTime(fp8 ? head_fp8 : head, rates, shape);
              break;
            case internal::DecodeKernel::kGroup:
              time_s = internal::GroupDecodeTime(group, rates, shape);
              break;
            case internal::DecodeKernel::kGroupFp8:
              time_s = internal::GroupFp8DecodeTime(group_fp8, rates, shape);
              break;
          }
          csv.Add(8, kv_heads * of_group, kv_heads, fp8 ? "fp8" : "bfloat16", length - 1, 1e3 * time_s);
        }
      }
    }
  }
  const std::map<std::string, double> truths = {{"head/bfloat16", head.launch_s},
                                                {"head/fp8", head_fp8.launch_s},
                                                {"group/bfloat16", group.launch_s},
                                                {"group_fp8/fp8", group_fp8.launch_s}};
  const std::vector<FittedCurve> curves = CalibrateDecodeAttention(csv.Table(), b200.device);
  EXPECT_GE(curves.size(), 3u);
  for (const FittedCurve& curve : curves) {
    EXPECT_LT(curve.fitted.median, 0.05) << curve.type;
    EXPECT_LT(Parameter(curve, "launch_s") / truths.at(curve.type), 1.7) << "the reference: 2; " << curve.type;
  }
}

TEST(FamiliesTest, DecodeAttention) {
  HeadDecodeCurve head;
  head.launch_s = 6e-6;
  head.hbm_fraction = 0.7;
  GroupDecodeCurve group;
  group.tile_s = 6e-6;
  group.hbm_fraction = 0.7;
  GroupFp8DecodeCurve group_fp8;
  group_fp8.step_s = 1.5e-6;
  group_fp8.hbm_fraction = 0.7;
  Csv csv("batch_size,num_heads,num_key_value_heads,head_dim,window_size,kv_cache_dtype,step,latency_ms");
  for (const bool fp8 : {false, true}) {
    for (const double of_group : {1, 4, 8, 16}) {
      for (const double kv_heads : {1, 2, 8}) {
        for (const double d : {64, 128, 256}) {
          for (const double requests : {1, 16, 128, 512}) {
            for (const double step : {1, 127, 1023, 8191, 65535}) {
              const internal::DecodeAttentionShape shape{.requests = requests,
                                                         .heads = of_group * kv_heads,
                                                         .kv_heads = kv_heads,
                                                         .head_dim = d,
                                                         .length = step + 1,
                                                         .fp8 = fp8};
              const internal::DeviceRates rates = Rates(fp8 ? kFp8 : kBf16);
              const internal::DecodeKernel kernel = internal::ChooseDecodeKernel(shape, 132, true);
              const double time_s = kernel == internal::DecodeKernel::kHead ? HeadDecodeTime(head, rates, shape)
                                    : kernel == internal::DecodeKernel::kGroup
                                        ? GroupDecodeTime(group, rates, shape)
                                        : GroupFp8DecodeTime(group_fp8, rates, shape);
              csv.Add(requests, shape.heads, kv_heads, d, 0, fp8 ? "fp8" : "bfloat16", step, 1e3 * time_s);
            }
          }
        }
      }
    }
  }
  ExpectPredicted(CalibrateDecodeAttention(csv.Table(), H100().device),
                  {"head/bfloat16", "head/fp8", "group/bfloat16", "group_fp8/fp8"});
}

TEST(FamiliesTest, DecodeMla) {
  MlaDecodeCurve truth;
  truth.launch_s = 4e-6;
  truth.step_s = 2e-6;
  Csv csv("kv_cache_dtype,num_heads,batch_size,step,latency_ms");
  for (const bool fp8 : {false, true}) {
    for (const double heads : {1, 4, 16, 32, 64, 128}) {
      for (const double requests : {1, 8, 64, 256}) {
        for (const double step : {1, 63, 500, 4095, 32767}) {
          internal::MlaDecodeShape shape;
          shape.requests = requests;
          shape.heads = heads;
          shape.length = step + 1;
          shape.element_bytes = fp8 ? 1 : 2;
          csv.Add(fp8 ? "fp8" : "bfloat16", heads, requests, step,
                  1e3 * internal::MlaDecodeTime(truth, Rates(fp8 ? kFp8 : kBf16), shape));
        }
      }
    }
  }
  ExpectPredicted(CalibrateDecodeMla(csv.Table(), H100().device), {"bfloat16", "fp8"});
}

TEST(FamiliesTest, ExpertsAndThoseThatMayHaveAnothersTuning) {
  MoeCurve truth;
  truth.launch_s = 30e-6;
  truth.hbm_fraction = 0.6;
  truth.expert_s = 1e-9;
  Csv csv(
      "moe_dtype,num_tokens,hidden_size,inter_size,topk,num_experts,moe_tp_size,moe_ep_size,distribution,latency_ms");
  const auto add = [&](double hidden, double inter, double experts, double tp, double ep, double slower) {
    for (double tokens = 1; tokens <= 16384; tokens *= 4) {
      internal::MoeShape shape;
      shape.routing = {.tokens = tokens, .topk = 8, .experts = experts, .ranks = ep};
      shape.hidden = hidden;
      shape.inter = inter / tp;
      csv.Add("bfloat16", tokens, hidden, inter, 8, experts, tp, ep, "balanced",
              slower * 1e3 * internal::MoeTime(truth, Rates(kBf16), shape, internal::DealtLoads(shape.routing)));
    }
  };
  for (const double hidden : {1024, 2048, 4096, 7168}) {
    for (const double inter : {512, 2048}) add(hidden, inter, 128, 1, 1, 1);
    add(hidden, 4096, 128, 1, 8, 1);
    add(hidden, 4096, 64, 1, 1, 1);
  }
  // One name, "4096_1024_128", for two shapes.
  add(4096, 1024, 128, 1, 1, 5);
  add(4096, 2048, 256, 2, 2, 5);
  const std::vector<FittedCurve> curves = CalibrateMoe(csv.Table(), H100().device);
  ASSERT_EQ(curves.size(), 2u);
  EXPECT_EQ(curves[0].type, "bfloat16");
  EXPECT_LT(curves[0].held_out.median, 0.01);
  EXPECT_FALSE(curves[0].parameters.empty());
  EXPECT_EQ(curves[1].type, "bfloat16/shared_tuning");
  EXPECT_EQ(curves[1].held_out.count, 2u * 8);
  EXPECT_NEAR(curves[1].held_out.median, 0.8, 0.02) << "a fifth of what was measured, since they are not fitted to";
  EXPECT_TRUE(curves[1].parameters.empty());
}

TEST(FamiliesTest, StreamsCountTheBytesThatTheyMove) {
  Csv csv(
      "n_head,n_kv_head,n_embd,n_expanded_embd,num_tokens,num_tensor_parallel_workers,time_stats.input_layernorm."
      "median,"
      "time_stats.attn_rope.median,time_stats.mlp_act.median,time_stats.add.median,time_stats.emb.median");
  const auto milliseconds = [](double bytes) { return 1e3 * (5e-6 + bytes / (0.4 * 3.35e12)); };
  for (const double workers : {1, 2, 4, 8}) {
    for (double tokens = 1; tokens <= 16384; tokens *= 4) {
      // 64 heads and 8 KV heads of 128; 2 bytes a number: in and out; q and k in and out; gate and up in, one out; two
      // in and one out; in and out.
      csv.Add(64, 8, 8192, 28672, tokens, workers, milliseconds(2 * 2 * tokens * 8192),
              milliseconds(2 * 2 * tokens * (64 + 8) * 128 / workers), milliseconds(2 * 3 * tokens * 28672 / workers),
              milliseconds(2 * 3 * tokens * 8192), milliseconds(2 * 2 * tokens * 8192));
    }
  }
  const std::vector<FittedCurve> curves = CalibrateStream(csv.Table(), H100().device);
  ExpectPredicted(curves, {"norm", "rotary", "activation", "add", "embedding"});
  for (const FittedCurve& curve : curves) EXPECT_NEAR(curve.parameters.at(1).second, 0.4, 0.01) << curve.type;
}

TEST(FamiliesTest, CollectivesAndTheEnginesOwn) {
  FabricCollectiveCurve truth;
  truth.ll_base_s = 8e-6;
  truth.simple_link_fraction = 0.6;
  EngineAllReduceCurve engine;
  engine.one_shot_base_s = 5e-6;
  engine.two_shot_base_s = engine.two_shot_peer_s = 0;
  Csv csv("system,op,dtype,num_gpus,message_bytes,latency_ms");
  Csv engines("system,backend_version,kernel_source,num_gpus,message_bytes,latency_ms");
  const std::vector<std::pair<const char*, Collective>> ops = {{"all_reduce", Collective::kAllReduce},
                                                               {"all_gather", Collective::kAllGather},
                                                               {"reduce_scatter", Collective::kReduceScatter},
                                                               {"alltoall", Collective::kAllToAll}};
  for (const double gpus : {2, 4, 8}) {
    for (double bytes = 512; bytes <= 1 << 29; bytes *= 2) {
      for (const char* dtype : {"half", "int8"}) {
        const internal::FabricGroup group{
            .ranks = gpus, .link_bytes_per_s = 450e9, .adds = std::string(dtype) == "half"};
        for (const auto& [op, collective] : ops) {
          csv.Add("h100_sxm", op, dtype, gpus, bytes,
                  1e3 * internal::FabricCollectiveTime(truth, group, collective, bytes));
          csv.Add("another", op, dtype, gpus, bytes, 1);
        }
      }
      const internal::FabricGroup group{.ranks = gpus, .link_bytes_per_s = 450e9, .adds = true};
      const double nccl_s = internal::FabricCollectiveTime(truth, group, Collective::kAllReduce, bytes);
      engines.Add("h100_sxm", "1.3.0rc20", "TRTLLM", gpus, bytes,
                  1e3 * internal::EngineAllReduceTime(engine, group, bytes, 16777216, nccl_s));
    }
  }
  ExpectPredicted(CalibrateCollectives(csv.Table(), H100()), {"nccl"});
  ExpectPredicted(CalibrateEngineAllReduce(engines.Table(), H100(), truth), {"TRTLLM"});
}

TEST(FamiliesTest, DeepEpWithoutTheRowsThatRepeatAnotherSystem) {
  DeepEpLowLatencyCurve truth;
  truth.base_s = 15e-6;
  truth.link_fraction = 0.4;
  Csv csv("system,node_num,hidden_size,num_token,num_topk,num_experts,dispatch_avg_t_us,combine_avg_t_us");
  int rows = 0;
  for (const char* system : {"before", "h100_sxm"}) {
    for (const double nodes : {1, 2, 4}) {
      for (const double hidden : {2048, 4096, 7168}) {
        for (const double experts : {64, 128, 256}) {
          for (const double tokens : {1, 8, 32, 128}) {
            internal::DeepEpCall call;
            call.nodes = nodes;
            call.hidden = hidden;
            call.experts = experts;
            call.tokens = tokens;
            call.link_bytes_per_s = 450e9;
            call.nic_bytes_per_s = 50e9;
            const double dispatch_us = 1e6 * internal::DeepEpLowLatencyTime(truth, call);
            call.combine = true;
            // The other system is slower, but for one size, whose rows are this one's.
            const double slower = std::string(system) == "before" && hidden != 4096 ? 2 : 1;
            csv.Add(system, nodes, hidden, tokens, 8, experts, slower * dispatch_us,
                    slower * 1e6 * internal::DeepEpLowLatencyTime(truth, call));
            ++rows;
          }
        }
      }
    }
  }
  const std::vector<FittedCurve> curves = CalibrateDeepEpLowLatency(csv.Table(), H100());
  ExpectPredicted(curves, {"dispatch", "dispatch/nodes", "combine", "combine/nodes"});
  EXPECT_EQ(curves[0].held_out.count + curves[1].held_out.count, static_cast<std::size_t>(rows / 2 * 2 / 3));
}

}  // namespace
}  // namespace shardscout::env
