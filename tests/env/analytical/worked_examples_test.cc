// The worked examples of the headers of kernels, collectives and loads, with their numbers computed by hand. (Those of
// gemm_time.h and prefill_attention_time.h are tested with the rest of what they describe.)

#include <gtest/gtest.h>

#include <cmath>
#include <cstddef>

#include "env/analytical/decode_attention_time.h"
#include "env/analytical/deep_ep_time.h"
#include "env/analytical/expert_loads.h"
#include "env/analytical/fabric_collective_time.h"
#include "env/analytical/mla_decode_time.h"
#include "env/analytical/moe_time.h"

namespace shardscout::internal {
namespace {

constexpr double kMicrosecond = 1e-6;
constexpr double kTolerance = 1e-12;  ///< Seconds: a millionth of a microsecond.
constexpr double kNoLimit = 1e30;     ///< Of a rate: what is divided by it vanishes.

TEST(DecodeAttentionTimeTest, WorkedExample) {
  const DeviceRates rates = {.units = 10, .peak_flop_per_s = kNoLimit, .hbm_bytes_per_s = kNoLimit};
  const DecodeAttentionShape group = {.heads = 4, .kv_heads = 2, .length = 4096};
  const DecodeAttentionShape short_group = {.heads = 4, .kv_heads = 2, .length = 128};
  const DecodeAttentionShape two_heads = {.heads = 2, .kv_heads = 2, .length = 2560};
  const DecodeAttentionShape fifty_heads = {.heads = 50, .kv_heads = 50, .length = 2560};
  EXPECT_EQ(ChooseDecodeKernel(group, rates.units, true), DecodeKernel::kGroup);
  EXPECT_EQ(ChooseDecodeKernel(short_group, rates.units, true), DecodeKernel::kHead);
  EXPECT_EQ(ChooseDecodeKernel(two_heads, rates.units, true), DecodeKernel::kHead);

  const GroupDecodeCurve group_curve = {.launch_s = 1 * kMicrosecond,
                                        .tile_s = 1 * kMicrosecond,
                                        .tile_row_s = 0,
                                        .step_s = 2 * kMicrosecond,
                                        .split_s = 3 * kMicrosecond,
                                        .split_row_s = 0};
  EXPECT_NEAR(GroupDecodeTime(group_curve, rates, group), 16 * kMicrosecond, kTolerance);

  const HeadDecodeCurve head_curve = {.launch_s = 1 * kMicrosecond,
                                      .tile_s = 1 * kMicrosecond,
                                      .tile_head_s = 0,
                                      .half_pass_s = 0,
                                      .full_pass_s = 0,
                                      .step_s = 0,
                                      .busy_step_s = 0,
                                      .split_s = 3 * kMicrosecond};
  EXPECT_NEAR(HeadDecodeTime(head_curve, rates, two_heads), 5 * kMicrosecond, kTolerance);
  EXPECT_NEAR(HeadDecodeTime(head_curve, rates, fifty_heads), 3 * kMicrosecond, kTolerance);
}

TEST(MlaDecodeTimeTest, WorkedExample) {
  const MlaDecodeCurve curve = {.launch_s = kMicrosecond,
                                .piece_s = kMicrosecond,
                                .piece_rows_s = kMicrosecond,
                                .mask_s = kMicrosecond,
                                .step_s = kMicrosecond,
                                .split_s = kMicrosecond};
  const DeviceRates rates = {.units = 2, .peak_flop_per_s = kNoLimit, .hbm_bytes_per_s = kNoLimit};
  EXPECT_NEAR(MlaDecodeTime(curve, rates, {.requests = 3, .heads = 32, .length = 608}), 23.5 * kMicrosecond,
              kTolerance);
  EXPECT_NEAR(MlaDecodeTime(curve, rates, {.requests = 1, .heads = 32, .length = 608}), 12 * kMicrosecond, kTolerance);
}

TEST(ExpertLoadsTest, WorkedExampleOfDealtLoads) {
  const ExpertLoads loads = DealtLoads({.tokens = 6, .topk = 2, .experts = 8, .ranks = 2});
  EXPECT_EQ(loads.distinct, 4);
  EXPECT_EQ(loads.rows, 6);
  EXPECT_EQ(loads.Tiles(1), 6);
  EXPECT_EQ(loads.Tiles(2), 4);
  EXPECT_EQ(DealtLoads({.tokens = 3, .topk = 3, .experts = 8}).rows, 8);
}

TEST(ExpertLoadsTest, WorkedExampleOfEvenLoads) {
  const ExpertLoads loads = EvenLoads(4, 4, 256);
  ASSERT_EQ(loads.num_classes, 3U);
  const double experts[] = {1, 2, 1}, rows[] = {52, 64, 76};
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_NEAR(loads.classes[i].experts, experts[i], 1e-12);
    EXPECT_NEAR(loads.classes[i].rows, rows[i], 1e-12);
  }
}

TEST(ExpertLoadsTest, WorkedExampleOfPowerLawLoads) {
  Routing routing = {.tokens = 10, .topk = 2, .experts = 8};
  EXPECT_NEAR(PowerLawLoads(routing, 2).rows, 20, 1e-12);
  routing.ranks = 2;
  // sd(c)^2 = (5 * 1 + 6 * 4 + 2 * 9 + 16 + 25 + 49) / 16 - (39 / 16)^2.
  EXPECT_NEAR(PowerLawLoads(routing, 2).rows, 10 + 0.6 * std::sqrt(2 * (137.0 / 16 - 39.0 * 39 / 256)), 1e-9);
  EXPECT_NEAR(PowerLawLoads(routing, 2).rows, 11.374, 5e-4);
}

TEST(MoeTimeTest, WorkedExample) {
  const MoeCurve curve = {.launch_s = 10 * kMicrosecond,
                          .expert_s = 1 * kMicrosecond,
                          .pair_s = 1 * kMicrosecond,
                          .scan_s = 10 * kMicrosecond,
                          .peak_fraction = 1,
                          .feed_bytes_per_s = kNoLimit,
                          .tile_s = 20 * kMicrosecond};
  const DeviceRates rates = {.units = 4, .peak_flop_per_s = 4 * 8.192e9, .hbm_bytes_per_s = kNoLimit};
  MoeShape shape;
  shape.routing = {.tokens = 48, .topk = 1, .experts = 2};
  shape.hidden = shape.inter = 100;
  shape.kernel = MoeKernel::kTriton;
  const ExpertLoads loads = DealtLoads(shape.routing);
  EXPECT_NEAR(ExpertUpTime(curve, rates, shape, loads, 200, 100), 260 * kMicrosecond, kTolerance);
  EXPECT_NEAR(ExpertDownTime(curve, rates, shape, loads, 100, 100), 140 * kMicrosecond, kTolerance);
  EXPECT_NEAR(MoeTime(curve, rates, shape, loads), 400 * kMicrosecond, kTolerance);
}

TEST(FabricCollectiveTimeTest, WorkedExample) {
  const FabricCollectiveCurve curve = {.ll_base_s = 1 * kMicrosecond,
                                       .ll_step_s = 1 * kMicrosecond,
                                       .ll_channel_bytes = 2000,
                                       .ll_channel_s = 1 * kMicrosecond,
                                       .ll_link_fraction = 0.25,
                                       .ll128_base_s = 2 * kMicrosecond,
                                       .ll128_step_s = 1 * kMicrosecond,
                                       .ll128_link_fraction = 0.5,
                                       .simple_base_s = 6 * kMicrosecond,
                                       .simple_step_s = 1 * kMicrosecond,
                                       .simple_link_fraction = 1,
                                       .fill_s = 0,
                                       .own_link_ratio = 2,
                                       .nvls_base_s = 3 * kMicrosecond,
                                       .nvls_link_fraction = 1,
                                       .nvls_fill_s = 0,
                                       .direct_ll_base_s = 1 * kMicrosecond,
                                       .direct_ll_peer_s = 1 * kMicrosecond,
                                       .direct_ll_link_fraction = 0.1,
                                       .direct_base_s = 6 * kMicrosecond,
                                       .direct_peer_s = 1 * kMicrosecond,
                                       .direct_link_fraction = 1,
                                       .direct_fill_s = 0,
                                       .direct_own_link_ratio = 2};
  const FabricGroup group = {.ranks = 4, .link_bytes_per_s = 1e9};
  const FabricGroup adding = {.ranks = 4, .link_bytes_per_s = 1e9, .adds = true};
  const auto time_s = [&](const FabricGroup& ranks, Collective kind, double bytes) {
    return FabricCollectiveTime(curve, ranks, kind, bytes);
  };
  EXPECT_NEAR(time_s(group, Collective::kAllGather, 400), 5.25 * kMicrosecond, kTolerance) << "LL";
  EXPECT_NEAR(time_s(group, Collective::kAllGather, 4000), 11.5 * kMicrosecond, kTolerance) << "LL128";
  EXPECT_NEAR(time_s(group, Collective::kAllGather, 40000), 44 * kMicrosecond, kTolerance) << "Simple";
  EXPECT_NEAR(time_s(group, Collective::kAllReduce, 4000), 18.5 * kMicrosecond, kTolerance) << "Simple";
  EXPECT_NEAR(time_s(adding, Collective::kAllReduce, 4000), 8 * kMicrosecond, kTolerance) << "NVLS";
  EXPECT_NEAR(time_s(group, Collective::kAllToAll, 400), 5.05 * kMicrosecond, kTolerance) << "LL";
  EXPECT_NEAR(time_s(group, Collective::kAllToAll, 4000), 12.5 * kMicrosecond, kTolerance) << "Simple";

  const EngineAllReduceCurve engine = {.one_shot_base_s = 1 * kMicrosecond,
                                       .one_shot_peer_s = 1 * kMicrosecond,
                                       .one_shot_link_fraction = 1,
                                       .two_shot_base_s = 2 * kMicrosecond,
                                       .two_shot_peer_s = 1 * kMicrosecond,
                                       .two_shot_link_fraction = 1};
  const double nccl_s = 18.5 * kMicrosecond;
  EXPECT_NEAR(EngineAllReduceTime(engine, group, 400, 8000, nccl_s), 5.2 * kMicrosecond, kTolerance) << "one shot";
  EXPECT_NEAR(EngineAllReduceTime(engine, group, 4000, 8000, nccl_s), 11 * kMicrosecond, kTolerance) << "two shots";
}

TEST(DeepEpTimeTest, WorkedExample) {
  DeepEpCurve curve = {.base_s = 10 * kMicrosecond,
                       .base_s_per_byte = 1e-8,
                       .node_doubling_s = 2 * kMicrosecond,
                       .notify_s = 3 * kMicrosecond,
                       .notify_doubling_s = 4 * kMicrosecond,
                       .link_fraction = 1,
                       .nic_fraction = 1,
                       .message_s = 0,
                       .link_copy_bytes_per_s = kNoLimit,
                       .nic_copy_bytes_per_s = kNoLimit,
                       .token_copy_bytes_per_s = kNoLimit,
                       .fill_s_per_byte = 0};
  DeepEpCall call = {.combine = true,
                     .nodes = 2,
                     .node_ranks = 2,
                     .tokens = 100,
                     .topk = 2,
                     .experts = 8,
                     .hidden = 700,
                     .sms = 5,
                     .units = 5};
  EXPECT_NEAR(DistinctParts(4, 8, 2), 13.0 / 7, kTolerance);
  EXPECT_NEAR(DistinctParts(2, 8, 2), 11.0 / 7, kTolerance);
  call.link_bytes_per_s = 1e9;
  call.nic_bytes_per_s = kNoLimit;
  EXPECT_NEAR(DeepEpTime(curve, call), 166.25 * kMicrosecond, kTolerance) << "the link";
  call.link_bytes_per_s = kNoLimit;
  call.nic_bytes_per_s = 1e9;
  EXPECT_NEAR(DeepEpTime(curve, call), 146.25 * kMicrosecond, kTolerance) << "the NIC";
  call.nic_bytes_per_s = kNoLimit;
  curve.message_s = 0.7 * kMicrosecond;
  curve.link_copy_bytes_per_s = curve.nic_copy_bytes_per_s = curve.token_copy_bytes_per_s = 1e9;
  EXPECT_NEAR(DeepEpTime(curve, call), 186.25 * kMicrosecond, kTolerance) << "the copies";
}

TEST(DeepEpTimeTest, WorkedExampleOfLowLatency) {
  DeepEpLowLatencyCurve curve = {.base_s = 10 * kMicrosecond,
                                 .expert_s = 1 * kMicrosecond,
                                 .base_s_per_byte = 1e-8,
                                 .nodes_s = 1 * kMicrosecond,
                                 .node_doubling_s = 1 * kMicrosecond,
                                 .link_fraction = 1,
                                 .nic_fraction = 1,
                                 .token_s = 0,
                                 .token_s_per_byte = 0,
                                 .message_s = 0,
                                 .copy_bytes_per_s = kNoLimit};
  DeepEpCall call = {
      .nodes = 2, .node_ranks = 2, .tokens = 100, .topk = 2, .experts = 8, .hidden = 640, .sms = 5, .units = 5};
  call.link_bytes_per_s = 1e9;
  call.nic_bytes_per_s = kNoLimit;
  EXPECT_NEAR(DeepEpLowLatencyTime(curve, call), 60.56 * kMicrosecond, kTolerance) << "the link";
  call.link_bytes_per_s = kNoLimit;
  call.nic_bytes_per_s = 1e9;
  EXPECT_NEAR(DeepEpLowLatencyTime(curve, call), 94.36 * kMicrosecond, kTolerance) << "the NIC";
  call.nic_bytes_per_s = kNoLimit;
  curve.token_s = 2 * kMicrosecond;
  curve.token_s_per_byte = 1e-9;
  curve.message_s = 1 * kMicrosecond;
  curve.copy_bytes_per_s = 1e9;
  EXPECT_NEAR(DeepEpLowLatencyTime(curve, call), 192.56 * kMicrosecond, kTolerance) << "the copies";
}

}  // namespace
}  // namespace shardscout::internal
