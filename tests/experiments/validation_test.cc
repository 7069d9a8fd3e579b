#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "env/analytical/device_rates.h"
#include "env/analytical/gemm_time.h"
#include "experiments/validation/engine_fit.h"
#include "experiments/validation/engine_memory.h"
#include "experiments/validation/prediction_error.h"
#include "experiments/validation/serving_prediction.h"
#include "experiments/validation/serving_report.h"
#include "experiments/validation/serving_setup.h"
#include "experiments/validation/speculation.h"
#include "shardscout/calibration.h"

namespace shardscout::validation {
namespace {

TEST(PredictionError, MeanAndMedians) {
  const std::vector<double> measured = {1, 2, 4, 10}, predicted = {1.1, 1, 4, 15};
  const ErrorSummary summary = SummariseErrors(measured, predicted);
  EXPECT_EQ(summary.count, 4U);
  EXPECT_NEAR(summary.mean, (0.1 + 0.5 + 0 + 0.5) / 4, 1e-12);
  EXPECT_NEAR(summary.median, 0.3, 1e-12);
  EXPECT_NEAR(summary.median_signed, 0.05, 1e-12);
  EXPECT_EQ(SummariseErrors({}, {}).count, 0U);
}

TEST(PredictionError, TauCountsPairs) {
  const std::vector<double> rising = {1, 2, 3, 4}, falling = {4, 3, 2, 1}, swapped = {1, 3, 2, 4}, flat = {1, 1, 1, 1},
                            tied = {1, 1, 2, 3};
  EXPECT_DOUBLE_EQ(KendallTau(rising, rising), 1);
  EXPECT_DOUBLE_EQ(KendallTau(rising, falling), -1);
  EXPECT_DOUBLE_EQ(KendallTau(rising, swapped), 4.0 / 6);
  EXPECT_DOUBLE_EQ(KendallTau(rising, flat), 0);
  EXPECT_DOUBLE_EQ(KendallTau(rising, tied), 5 / std::sqrt(30.0));
}

TEST(PredictionError, RegretIsOfTheChosen) {
  const std::vector<double> measured = {10, 8, 12}, right = {5, 4, 6}, wrong = {4, 5, 6};
  EXPECT_DOUBLE_EQ(Regret(measured, right), 0);
  EXPECT_DOUBLE_EQ(Regret(measured, wrong), 0.25);
}

TEST(ServingPoint, ReadsLayoutsOfOneAndTwoPools) {
  const std::string path = ::testing::TempDir() + "shardscout_points.csv";
  std::ofstream(path)
      << "id,backend,backend_version,model_path,system,precision,mode,isl,osl,gemm_quant_mode,moe_quant_mode,"
         "batch_size,tp_size,pp_size,attention_dp_size,moe_tp_size,moe_ep_size,prefill_batch_size,"
         "prefill_num_workers,prefill_tp_size,prefill_pp_size,prefill_attention_dp_size,prefill_moe_tp_size,"
         "prefill_moe_ep_size,decode_batch_size,decode_num_workers,decode_tp_size,decode_pp_size,"
         "decode_attention_dp_size,decode_moe_tp_size,decode_moe_ep_size,silicon_ttft_ms,silicon_tpot_ms,concurrency\n"
         "a,vllm,1,org/M,h100_sxm,fp8,agg,1024,128,fp8,fp8,64.0,4.0,1.0,2.0,1.0,8.0,,,,,,,,,,,,,,,300,20,\n"
         "d,trtllm,1,org/M,gb200,fp8,disagg,1024,128,fp8,fp8,,,,,,,1.0,3.0,1.0,1.0,8.0,1.0,8.0,16.0,2.0,4.0,1.0,1.0,"
         "0.0,0.0,100,10,20\n"
         "e,trtllm,1,org/M,gb200,fp8,disagg,1024,128,fp8,fp8,,,,,,,,,1.0,1.0,8.0,1.0,8.0,,,4.0,1.0,1.0,1.0,4.0,100,10,"
         "20\n";
  const std::vector<ServingPoint> points = ReadServingPoints(path);
  std::remove(path.c_str());
  ASSERT_EQ(points.size(), 3U);
  EXPECT_EQ(
      points[0].layout,
      (PoolLayout{.batch_size = 64, .tensor_parallel = 4, .attention_data_parallel = 2, .moe_expert_parallel = 8}));
  EXPECT_EQ(points[0].layout.DevicesOfAWorker(), 8);
  EXPECT_EQ(points[0].concurrency, 128) << "unsaid: the batch of every rank";
  EXPECT_DOUBLE_EQ(points[0].ttft_s, 0.3);
  EXPECT_DOUBLE_EQ(points[0].tpot_s, 0.02);
  EXPECT_EQ(DescribeLayout(points[0]), "tp4 pp1 dp2 etp1 ep8");
  EXPECT_TRUE(points[1].disaggregated);
  EXPECT_TRUE(points[1].pools_counted);
  EXPECT_FALSE(points[2].pools_counted) << "no num_workers";
  EXPECT_EQ(points[1].concurrency, 20);
  EXPECT_EQ(DescribeLayout(points[1]), "3 x tp1 pp1 dp8 etp1 ep8 + 2 x tp4 pp1 dp1 etp1 ep1");
  EXPECT_NE(GroupOf(points[0]), GroupOf(points[1]));
}

TEST(ServingPrediction, FindsPresets) {
  EXPECT_EQ(ModelPresetOf("deepseek-ai/DeepSeek-V3"), "deepseek-v3");
  EXPECT_EQ(ModelPresetOf("nvidia/Llama-3.1-8B-Instruct-FP8"), "llama-3.1-8b");
  EXPECT_EQ(ModelPresetOf("Qwen/Qwen3.5-397B-A17B"), "qwen3.5-397b-a17b");
  EXPECT_EQ(ModelPresetOf("Qwen/Qwen3.5-27B"), std::nullopt);
  EXPECT_EQ(ClusterPresetOf("b200_sxm"), "b200-sxm");
  EXPECT_EQ(ClusterPresetOf("b2000"), std::nullopt);
}

ServingPoint PointOf(const std::string& model, const std::string& system, const std::string& engine,
                     std::int64_t concurrency, const PoolLayout& layout) {
  ServingPoint point;
  point.id = "p";
  point.model = model;
  point.system = system;
  point.engine = engine;
  point.precision = "fp8";
  point.input_tokens = point.output_tokens = 1024;
  point.concurrency = concurrency;
  point.layout = layout;
  return point;
}

TEST(ServingSetup, LayoutsAsTheyWereRun) {
  const auto as_run = [](ServingPoint point) {
    point.layout = LayoutAsRun(point, true);
    return DescribeLayout(point) + " b" + std::to_string(point.layout.batch_size);
  };
  ServingPoint point =
      PointOf("deepseek-ai/DeepSeek-R1", "b200_sxm", "sglang", 64,
              {.batch_size = 64, .tensor_parallel = 64, .moe_tensor_parallel = 8, .moe_expert_parallel = 8});
  EXPECT_EQ(as_run(point), "tp8 pp1 dp1 etp1 ep8 b64");
  point.layout = {.batch_size = 1, .attention_data_parallel = 64, .moe_tensor_parallel = 8, .moe_expert_parallel = 8};
  EXPECT_EQ(as_run(point), "tp1 pp1 dp8 etp1 ep8 b8");
  point.layout = {.batch_size = 16, .tensor_parallel = 4, .attention_data_parallel = 4, .moe_expert_parallel = 16};
  EXPECT_EQ(as_run(point), "tp4 pp1 dp1 etp1 ep4 b64");
  point.layout = {.batch_size = 8, .attention_data_parallel = 8, .moe_expert_parallel = 8};
  EXPECT_EQ(as_run(point), "tp1 pp1 dp8 etp1 ep8 b8") << "as it says";
  point.layout = {.batch_size = 64, .tensor_parallel = 8, .moe_tensor_parallel = 8};
  EXPECT_EQ(as_run(point), "tp8 pp1 dp1 etp8 ep1 b64") << "as it says";
  point.engine = "trtllm";
  point.system = "h200_sxm";
  EXPECT_EQ(as_run(point), "tp8 pp1 dp1 etp1 ep8 b64") << "its script";
  // Another benchmark: the batch tells of data parallel attention, and of instances.
  point.input_tokens = 4000;
  point.layout = {.batch_size = 8, .tensor_parallel = 8, .moe_expert_parallel = 8};
  EXPECT_EQ(as_run(point), "tp1 pp1 dp8 etp1 ep8 b8");
  point.layout = {.batch_size = 16, .tensor_parallel = 2};
  EXPECT_EQ(LayoutAsRun(point, false).workers, 4);
}

/// The evidence for that reading: runs that the table has twice, once with so many devices.
TEST(ServingSetup, MislabelledLayoutsHaveTheFiguresOfTheirReading) {
  const char* data = std::getenv("SHARDSCOUT_DATA");
  if (data == nullptr) GTEST_SKIP() << "SHARDSCOUT_DATA is not set";
  std::map<std::string, std::vector<ServingPoint>> runs;
  for (const ServingPoint& point : ReadServingPoints(std::string(data) + "/data/serving/serving_points.csv")) {
    if (!point.disaggregated && point.engine == "sglang") runs[GroupOf(point)].push_back(point);
  }
  int twice = 0, same = 0;
  for (const auto& [name, points] : runs) {
    for (const ServingPoint& wide : points) {
      const PoolLayout as_run = LayoutAsRun(wide, true);
      if (as_run.DevicesOfAWorker() == wide.layout.DevicesOfAWorker()) continue;
      for (const ServingPoint& other : points) {
        if (!(other.layout == as_run)) continue;
        ++twice;
        same += std::abs(other.tpot_s / wide.tpot_s - 1) < 1e-3 ? 1 : 0;
      }
    }
  }
  EXPECT_GE(twice, 20);
  EXPECT_EQ(same, twice);
}

TEST(ServingSetup, WhatTheScriptsSay) {
  ServingPoint point = PointOf("deepseek-ai/DeepSeek-R1", "b200_sxm", "sglang", 64, {.tensor_parallel = 8});
  ServingSetup setup = SetupOf(point);
  EXPECT_EQ(setup.shortest_ratio, 0.8);
  EXPECT_EQ(setup.max_batched_tokens, 32768);
  EXPECT_EQ(setup.poll_interval_steps, 30);
  EXPECT_EQ(setup.kv_dtype, "fp8");
  point.engine = "trtllm";
  setup = SetupOf(point);
  EXPECT_EQ(setup.max_batched_tokens, 8192);
  EXPECT_EQ(setup.prompt_wait_steps, 40);
  EXPECT_TRUE(setup.reserves_output);
  point.concurrency = 32;
  EXPECT_EQ(SetupOf(point).prompt_wait_steps, 0);
  point.output_tokens = 128;
  setup = SetupOf(point);
  EXPECT_EQ(setup.shortest_ratio, 1) << "another benchmark: defaults";
  EXPECT_GT(setup.length_cv, 0);
  EXPECT_EQ(setup.kv_dtype, "");
  point.gemm_type = "fp8";
  EXPECT_EQ(SetupOf(point).kv_dtype, "fp8") << "as NVIDIA's checkpoints say";
  point.engine = "sglang";
  EXPECT_EQ(SetupOf(point).length_cv, 0) << "AIConfigurator's bench_serving";
}

TEST(ServingSetup, PromptsWaitForThoseOfOtherRanks) {
  ServingPoint point = PointOf("deepseek-ai/DeepSeek-R1", "b200_sxm", "trtllm", 64, {.attention_data_parallel = 8});
  point.precision = "fp4";
  EXPECT_EQ(SetupOf(point).rank_wait_steps, 60);
  EXPECT_EQ(SetupOf(point).prompt_wait_steps, 0) << "and not for more of a rank's own";
  point.layout = {.tensor_parallel = 8};
  EXPECT_EQ(SetupOf(point).rank_wait_steps, 0);
}

TEST(ServingSetup, MiniMaxHasAnotherCacheFromVllm019On) {
  ServingPoint point = PointOf("MiniMaxAI/MiniMax-M2.5", "b200_sxm", "vllm", 64, {.tensor_parallel = 2});
  point.engine_version = "0.17.0";
  EXPECT_EQ(SetupOf(point).kv_dtype, "");
  point.engine_version = "0.19.0";
  EXPECT_EQ(SetupOf(point).kv_dtype, "fp8");
  EXPECT_EQ(SetupOf(point).max_batched_tokens, 2 * point.input_tokens);
}

TEST(ServingSetup, MarlinHasTheLibrarysCurve) {
  const ServingPoint marlin = PointOf("openai/gpt-oss-120b", "h100_sxm", "vllm", 8, {.tensor_parallel = 2});
  const DeviceCurves measured = LoadCluster("h100-sxm").device.curves;
  DeviceCurves curves = measured;
  UseEnginesKernels(SetupOf(marlin), curves);
  EXPECT_EQ(curves.experts_4bit_weights, measured.experts_bf16);
  ServingPoint triton = marlin;
  triton.engine = "trtllm";
  curves = measured;
  UseEnginesKernels(SetupOf(triton), curves);
  EXPECT_EQ(curves, measured);
}

/// FP8 by SGLang on B200 alone; 1.63 ms are the thread's that experiments/blackwell_kernels names.
TEST(ServingSetup, FlashInfersProductsOfBlocksAreSlow) {
  const ServingPoint sglang = PointOf("deepseek-ai/DeepSeek-R1", "b200_sxm", "sglang", 8, {.tensor_parallel = 8});
  const DeviceSpec b200 = LoadCluster("b200-sxm").device;
  DeviceCurves curves = b200.curves;
  UseEnginesKernels(SetupOf(sglang), curves);
  const auto product_s = [&](const GemmCurve& curve) {
    const double m = 2048, n = 24576, k = 7168;
    return internal::GemmTime(curve, internal::RatesOf(b200, DType::kFp8),
                              {.m = m, .n = n, .k = k, .input_bytes = 1, .bytes = m * k + n * k + 2 * m * n});
  };
  EXPECT_NEAR(product_s(curves.gemm_fp8), 1.633e-3, 0.1 * 1.633e-3);
  EXPECT_LT(product_s(b200.curves.gemm_fp8), product_s(curves.gemm_fp8) / 4) << "DeepGEMM's";
  const std::string folder = std::string(SHARDSCOUT_SOURCE_EXPERIMENTS) + "/blackwell_kernels/flashinfer";
  const std::vector<FittedCurve> fitted = Calibrate({folder}, {LoadCluster("b200-sxm")});
  ASSERT_EQ(fitted.size(), 1U);
  const std::map<std::string, double> parameters(fitted[0].parameters.begin(), fitted[0].parameters.end());
  const GemmCurve& curve = curves.gemm_fp8;
  for (const auto& [name, value] : {std::pair("peak_fraction", curve.peak_fraction),
                                    {"hbm_fraction", curve.hbm_fraction},
                                    {"launch_s", curve.launch_s},
                                    {"k_step_s", curve.k_step_s},
                                    {"feed_bytes_per_s", curve.feed_bytes_per_s},
                                    {"tile_s", curve.tile_s},
                                    {"tile_element_s", curve.tile_element_s},
                                    {"split_s", curve.split_s},
                                    {"split_bytes_per_s", curve.split_bytes_per_s},
                                    {"overlap_exponent", curve.overlap_exponent}}) {
    EXPECT_NEAR(value, parameters.at(name), 1e-3 * value) << name;
  }
  for (const char* other : {"h200_sxm", "fp4", "bf16", "vllm"}) {
    ServingPoint point = sglang;
    const std::string name = other;
    (name == "vllm" ? point.engine : name == "h200_sxm" ? point.system : point.precision) = name;
    curves = b200.curves;
    UseEnginesKernels(SetupOf(point), curves);
    EXPECT_EQ(curves, b200.curves) << name;
  }
}

/// The header's example, and what a step of more tokens takes from the cache.
TEST(EngineMemory, FractionsOfThreeThings) {
  DeviceSpec device;
  device.hbm_bytes = 100e9;
  const MemoryUse memory{.weight_bytes = 60e9, .activation_bytes = 1e9, .reserved_bytes = 5e9};
  EXPECT_DOUBLE_EQ(CacheBytes(device, {.memory_fraction = 0.8, .of = FractionOf::kAll}, memory, 5e9), 10e9);
  EXPECT_DOUBLE_EQ(CacheBytes(device, {.memory_fraction = 0.8, .of = FractionOf::kFree}, memory, 5e9), 24e9);
  EXPECT_DOUBLE_EQ(CacheBytes(device, {.memory_fraction = 0.8, .of = FractionOf::kWeightsAndCache}, memory, 5e9), 16e9);
  EXPECT_DOUBLE_EQ(CacheBytes(device, {.memory_fraction = 0.8, .of = FractionOf::kAll}, memory, 9e9), 6e9);
  EXPECT_DOUBLE_EQ(MemoryFractionFor(device, memory, 24e9), 0.9);

  const ModelSpec model = LoadModel("llama-3.1-8b");
  const ClusterSpec cluster = LoadCluster("h100-sxm", 1);
  const double few = PromptStepBytes(model, cluster, Strategy{}, 1024, 2048),
               many = PromptStepBytes(model, cluster, Strategy{}, 1024, 8192);
  EXPECT_GT(many, 3 * few);
}

/// Their weights leave FP8 DeepSeek on four B200 little of a share of all memory, and room for the requests that were
/// measured in a share of what is free.
TEST(ServingPrediction, AShareOfFreeMemoryHoldsDeepSeekOnFourDevices) {
  ServingPoint point = PointOf("deepseek-ai/DeepSeek-R1", "b200_sxm", "trtllm", 8,
                               {.batch_size = 8, .tensor_parallel = 4, .moe_tensor_parallel = 4});
  point.input_tokens = 8192;
  point.precision = point.gemm_type = point.moe_type = "fp8";
  const Prediction prediction = Predict(point);
  ASSERT_TRUE(prediction.evaluation) << prediction.reason;
  ASSERT_TRUE(prediction.evaluation->requests);
  EXPECT_LT(prediction.evaluation->requests->mean_waiting, 1);
  EXPECT_LT(prediction.evaluation->metrics.ttft_s, 1);
}

TEST(ServingSetup, ExpertsThatCannotBeSplitAreDistributedOrPadded) {
  ModelSpec minimax = LoadModel("minimax-m2.5");
  PoolLayout layout = {.tensor_parallel = 8, .moe_tensor_parallel = 8};
  SplitExpertsAsEngines(minimax, layout);
  EXPECT_EQ(layout.moe_tensor_parallel, 1) << "1536 / 8 is no multiple of 128";
  EXPECT_EQ(layout.moe_expert_parallel, 8);
  layout = {.tensor_parallel = 4, .moe_tensor_parallel = 4};
  SplitExpertsAsEngines(minimax, layout);
  EXPECT_EQ(layout.moe_tensor_parallel, 4);
  EXPECT_EQ(minimax.moe.expert_ffn_size, 1536);
  ModelSpec gpt_oss = LoadModel("gpt-oss-120b");
  SplitExpertsAsEngines(gpt_oss, layout);
  EXPECT_EQ(gpt_oss.moe.expert_ffn_size, 4 * 768) << "2880 / 4 in tiles of 128";
}

TEST(ServingPrediction, FormatsAreTheModelsOrTheRows) {
  ServingPoint point = PointOf("deepseek-ai/DeepSeek-R1", "b200_sxm", "trtllm", 64, {});
  EXPECT_EQ(ModelOf(point, "deepseek-r1", SetupOf(point).kv_dtype)->kv_dtype, DType::kFp8) << "the script's";
  point.gemm_type = point.moe_type = "nvfp4";
  const ModelSpec nvfp4 = *ModelOf(point, "deepseek-r1", "");
  EXPECT_EQ(nvfp4.weight_dtype, DType::kNvfp4);
  EXPECT_FALSE(nvfp4.attention_quantised);
  EXPECT_TRUE(ModelOf(point, "llama-3.1-70b", "")->attention_quantised);
  EXPECT_EQ(ModelOf(point, "gpt-oss-120b", "")->activation_dtype, DType::kFp8) << "MXFP8 inputs on Blackwell";
  point.system = "h100_sxm";
  EXPECT_EQ(ModelOf(point, "gpt-oss-120b", "")->activation_dtype, DType::kBf16);
  point.gemm_type = "fp8_block";
  EXPECT_EQ(ModelOf(point, "qwen3-32b", "")->weight_quant_block, 128);
  point.gemm_type = "int3";
  EXPECT_EQ(ModelOf(point, "qwen3-32b", ""), std::nullopt);
}

TEST(ServingReport, ASeriesThatFallsContradictsItself) {
  std::vector<ServingPoint> points(6, PointOf("org/M", "h100_sxm", "vllm", 8, {}));
  points[1].concurrency = points[3].concurrency = 16;
  points[2].layout.tensor_parallel = points[3].layout.tensor_parallel = 2;
  points[4].concurrency = 32;
  points[4].engine_version = "2";
  points[5].engine = "sglang";
  const std::vector<double> tpot_s = {10e-3, 11e-3, 10e-3, 8e-3, 9.5e-3, 1e-3};
  for (std::size_t i = 0; i < points.size(); ++i) points[i].tpot_s = tpot_s[i];
  EXPECT_EQ(ContradictsItself(points), (std::vector<bool>{true, true, true, true, true, false}))
      << "32 requests take 9.5 ms where 16 take 11; on two devices 16 take 8 where 8 take 10";
  points[4].tpot_s = 10e-3;
  EXPECT_EQ(ContradictsItself(points), (std::vector<bool>{false, false, true, true, false, false}));
}

/// Runs of one engine on R1 and V3, which are one structure: six settings each, R1's sooner by 0.6 but for the last.
std::vector<ServingPoint> TwinRuns() {
  std::vector<ServingPoint> points;
  for (const char* model : {"org/DeepSeek-R1", "org/DeepSeek-V3"}) {
    for (const int concurrency : {4, 8, 16, 32, 64, 128}) {
      ServingPoint& point = points.emplace_back(PointOf(model, "b200_sxm", "trtllm", concurrency, {}));
      const bool sooner = points.size() < 6;
      point.tpot_s = (sooner ? 0.6 : 1) * 1e-3 * concurrency;
      point.ttft_s = (sooner ? 1.1 : 1) * 0.1 * concurrency;
      point.engine_version = "1";
    }
  }
  return points;
}

TEST(Speculation, IsShownByTwins) {
  std::vector<ServingPoint> points = TwinRuns();
  std::vector<bool> first_five(12, false);
  std::fill_n(first_five.begin(), 5, true);
  EXPECT_EQ(FindSpeculation(points).shown, first_five) << "the sixth is as fast as its twin";
  EXPECT_EQ(
      FindSpeculation(points).evidence,
      (std::vector<std::string>{"b200_sxm|trtllm||: DeepSeek-R1 1 beside DeepSeek-V3 1, TPOT 0.60 (0.60 to 1.00), "
                                "TTFT 1.10 of the other's in 6 settings"}));

  // The same measurement again, in a run without twins.
  points.push_back(points[0]);
  points.back().engine_version = "";
  points.back().layout.tensor_parallel = 8;
  points.push_back(points.back());
  points.back().tpot_s *= 1.001;
  std::vector<bool> shown = first_five;
  shown.insert(shown.end(), {true, false});
  EXPECT_EQ(FindSpeculation(points).shown, shown);

  const auto none = [](const std::vector<ServingPoint>& changed) {
    const std::vector<bool> speculate = FindSpeculation(changed).shown;
    return std::none_of(speculate.begin(), speculate.end(), [](bool shows) { return shows; });
  };
  std::vector<ServingPoint> faster = TwinRuns();
  for (std::size_t i = 0; i < 5; ++i) faster[i].ttft_s *= 0.7;
  EXPECT_TRUE(none(faster)) << "a faster engine is so from the first token";
  std::vector<ServingPoint> few = TwinRuns();
  few[1].layout.tensor_parallel = few[2].layout.tensor_parallel = 8;
  EXPECT_TRUE(none(few)) << "four twins";
  std::vector<ServingPoint> slower = TwinRuns();
  for (std::size_t i = 0; i < 6; ++i) slower[i].tpot_s = 0.8e-3 * static_cast<double>(slower[i].concurrency);
  EXPECT_TRUE(none(slower));
  std::vector<ServingPoint> others = TwinRuns();
  for (std::size_t i = 6; i < 12; ++i) others[i].model = "org/Qwen3-32B";
  EXPECT_TRUE(none(others)) << "another structure";
}

TEST(ServingReport, SaysWhatOneSettingLeaves) {
  std::vector<ServingPoint> points(2, PointOf("org/M", "h100_sxm", "vllm", 8, {}));
  points[0].tpot_s = 10e-3;
  points[1].tpot_s = 20e-3;
  const std::string table = ServingTable(points, {{std::nullopt, "none"}, {std::nullopt, "none"}});
  EXPECT_NE(table.find("settings that occur more than once: 1, of which 1 have TPOTs more than 1.3 apart; mean error "
                       "that the best prediction leaves on them: TPOT 50.0 %"),
            std::string::npos)
      << table;
  EXPECT_NE(table.find("     2  none"), std::string::npos);
}

/// Every layout of the table that is predicted is the one that it says, by devices.
TEST(ServingPrediction, PredictsAPointOfEachMode) {
  ServingPoint point;
  point.id = "p";
  point.model = "Qwen/Qwen3-30B-A3B";
  point.system = "h100_sxm";
  point.engine = "vllm";
  point.input_tokens = 1024;
  point.output_tokens = 64;
  point.concurrency = 8;
  point.layout = {.batch_size = 8, .tensor_parallel = 2, .moe_expert_parallel = 2};
  const Prediction together = Predict(point);
  ASSERT_TRUE(together.evaluation) << together.reason;
  EXPECT_EQ(together.evaluation->metrics.replicas, 1);
  EXPECT_GT(together.evaluation->metrics.tpot_s, 1e-3);
  point.disaggregated = true;
  point.prefill = point.decode = point.layout;
  point.decode.workers = 2;
  const Prediction apart = Predict(point);
  ASSERT_TRUE(apart.evaluation) << apart.reason;
  EXPECT_EQ(apart.evaluation->metrics.replicas, 3);
  EXPECT_LT(apart.evaluation->metrics.tpot_s, together.evaluation->metrics.tpot_s) << "no prompts between its tokens";
  point.pools_counted = false;
  EXPECT_NE(Predict(point).reason.find("how many instances"), std::string::npos);
  point.disaggregated = false;
  const EngineModel slow = {.overlaps = false, .request_host_s = 50e-3};
  EXPECT_GT(Predict(point, {.engine = slow}).evaluation->metrics.tpot_s, 50e-3);
  point.model = "org/Unheard-Of";
  EXPECT_EQ(Predict(point).reason, "no preset of the model org/Unheard-Of");
}

/// Points that were predicted with a host give it back, about.
TEST(EngineFit, FindsTheHostThatMadeThePoints) {
  const EngineModel truth = {.name = "vllm", .layer_gap_s = 100e-6, .arrival_s = 40e-3};
  std::vector<ServingPoint> points;
  for (const std::int64_t concurrency : {2, 8}) {
    ServingPoint point = PointOf("Qwen/Qwen3-8B", "h100_sxm", "vllm", concurrency, {.tensor_parallel = 2});
    point.output_tokens = 32;
    const Prediction made = Predict(point, {.engine = truth});
    point.tpot_s = made.evaluation->metrics.tpot_s;
    point.ttft_s = made.evaluation->metrics.ttft_s;
    points.push_back(point);
  }
  EXPECT_EQ(EngineError(points, truth), 0);
  const EngineModel fitted = FitEngine(points, "vllm");
  EXPECT_LT(EngineError(points, fitted), 0.1);
  EXPECT_GT(EngineError(points, {}), 0.5);
  EXPECT_NEAR(fitted.layer_gap_s, truth.layer_gap_s, 0.2 * truth.layer_gap_s);
  EXPECT_NEAR(fitted.arrival_s, truth.arrival_s, 0.2 * truth.arrival_s);
}

TEST(EngineFit, ThinsEvenlyWithinGroups) {
  std::vector<ServingPoint> points(10, PointOf("org/A", "h100_sxm", "vllm", 1, {}));
  for (std::size_t i = 0; i < points.size(); ++i) points[i].id = std::string(1, static_cast<char>('a' + i));
  points.push_back(PointOf("org/B", "h100_sxm", "vllm", 1, {}));
  std::string ids;
  for (const ServingPoint& point : Thinned(points, 3)) ids += point.id;
  EXPECT_EQ(ids, "adgp");
}

}  // namespace
}  // namespace shardscout::validation
