// What holds for every kernel's formula: a better device is never slower, and none beats its bounds. Worked examples of
// the headers.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "env/analytical/decode_attention_time.h"
#include "env/analytical/deep_ep_time.h"
#include "env/analytical/fabric_collective_time.h"
#include "env/analytical/mla_decode_time.h"
#include "env/analytical/moe_time.h"
#include "env/analytical/prefill_attention_time.h"
#include "shardscout/random.h"
#include "src/device_curve_fields.h"

namespace shardscout::internal {
namespace {

constexpr double kRounding = 1 - 1e-9;
constexpr DeviceRates kH100 = {
    .units = 132, .peak_flop_per_s = 989e12, .hbm_bytes_per_s = 3.35e12, .l2_cache_bytes = 52428800};

double Power(Rng& rng, double most) { return std::floor(std::pow(most, rng.Uniform())); }

/// Calls f with the curve after each of its times was halved and each of its rates and shares of rates raised.
template <class Curve>
void ForEachBetter(const Curve& curve, const std::function<void(const Curve&, const std::string& name)>& f) {
  std::vector<std::string> names;
  Curve base = curve;
  auto list = [&](std::string_view name, auto&, const json::Field&) { names.emplace_back(name); };
  VisitFields(list, base);
  for (const std::string& wanted : names) {
    Curve better = curve;
    bool changed = false;
    auto improve = [&](std::string_view name, auto& value, const json::Field&) {
      if constexpr (std::is_same_v<decltype(value), double&>) {
        if (name != wanted) return;
        const bool time = name.ends_with("_s") || name.ends_with("_s_per_byte");
        const bool rate = name.ends_with("bytes_per_s") || name.ends_with("elements_per_s") ||
                          name.ends_with("hbm_fraction") || name.ends_with("peak_fraction") ||
                          name.ends_with("link_fraction") || name.ends_with("nic_fraction");
        if (rate) {
          value = name.ends_with("fraction") ? std::min(1.0, value * 1.2) : value * 1.2;
        } else if (time) {
          value *= 0.5;
        }
        changed = time || rate;
      }
    };
    VisitFields(improve, better);
    if (changed) f(better, wanted);
  }
}

/// `time_s(curve, rates)` of one shape, which must be monotone.
template <class Curve>
void ExpectBetterIsNotSlower(const Curve& curve,
                             const std::function<double(const Curve&, const DeviceRates&)>& time_s) {
  const double before_s = time_s(curve, kH100);
  ASSERT_GT(before_s, 0);
  ASSERT_TRUE(std::isfinite(before_s));
  for (double DeviceRates::*rate : {&DeviceRates::peak_flop_per_s, &DeviceRates::hbm_bytes_per_s}) {
    for (const double factor : {1.01, 1.5, 8.0}) {
      DeviceRates better = kH100;
      better.*rate *= factor;
      ASSERT_LE(kRounding * time_s(curve, better), before_s);
    }
  }
  ForEachBetter<Curve>(curve, [&](const Curve& better, const std::string& name) {
    ASSERT_LE(kRounding * time_s(better, kH100), before_s) << name;
  });
}

PrefillAttentionShape RandomPrefill(Rng& rng) {
  const double d = 64 * static_cast<double>(1 + rng.Below(4));
  const double kv_heads = Power(rng, 32);
  PrefillAttentionShape shape{.requests = Power(rng, 256),
                              .length = Power(rng, 20000),
                              .heads = kv_heads * Power(rng, 16),
                              .kv_heads = kv_heads,
                              .qk_dim = d,
                              .v_dim = d};
  shape.window = rng.Below(2) == 0 ? 0 : Power(rng, 8192);
  shape.element_bytes = rng.Below(2) == 0 ? 1 : 2;
  shape.row_bytes = d * (4 + 2 * shape.element_bytes);
  shape.kv_row_bytes = d * (2 + shape.element_bytes);
  shape.core_row_bytes = d * (2 + shape.element_bytes);
  shape.core_kv_row_bytes = 2 * d * shape.element_bytes;
  return shape;
}

/// The header's worked example: tiles of two rows, steps of two keys of 16 ns, two tiles of one and of two steps.
double TwoTilesTime(double key_share) {
  PrefillAttentionCurve curve;
  curve.tile_rows = 2;
  curve.key_tile_bytes = 2;
  curve.launch_s = curve.softmax_s = curve.row_s_per_byte = curve.tile_s = curve.tile_head_s = curve.second_half_s = 0;
  curve.peak_fraction = curve.lone_fraction = curve.hbm_fraction = curve.head_128_launch_fraction = 1;
  const PrefillAttentionShape shape{.length = 4, .qk_dim = 1, .v_dim = 1, .key_share = key_share, .element_bytes = 1};
  return PrefillAttentionTime(curve, {.units = 2, .peak_flop_per_s = 2e9, .hbm_bytes_per_s = 1}, shape);
}

TEST(PrefillAttentionTimeTest, WorkedExample) { EXPECT_NEAR(TwoTilesTime(1), 32e-9, 1e-15); }

TEST(PrefillAttentionTimeTest, AShareOfTheKeysLeavesEveryTileAStep) {
  EXPECT_NEAR(TwoTilesTime(0.75), 24e-9, 1e-15) << "one and a half";
  EXPECT_NEAR(TwoTilesTime(0.5), 16e-9, 1e-15);
  EXPECT_NEAR(TwoTilesTime(0.1), 16e-9, 1e-15) << "no less than a step";
}

TEST(PrefillAttentionTimeTest, BetterIsNotSlowerAndNothingBeatsItsBounds) {
  Rng rng(1);
  const PrefillAttentionCurve curve;
  for (int i = 0; i < 1000; ++i) {
    const PrefillAttentionShape shape = RandomPrefill(rng);
    ExpectBetterIsNotSlower<PrefillAttentionCurve>(
        curve, [&](const PrefillAttentionCurve& c, const DeviceRates& r) { return PrefillAttentionTime(c, r, shape); });
    const double pairs = CausalPairs(shape.length, shape.window);
    const double flop = 2 * (shape.qk_dim + shape.v_dim) * shape.requests * shape.heads * pairs;
    const double bytes =
        shape.requests * shape.length * (shape.heads * shape.core_row_bytes + shape.kv_heads * shape.core_kv_row_bytes);
    const double time_s = PrefillAttentionTime(curve, kH100, shape);
    ASSERT_GE(time_s, kRounding * flop / (curve.peak_fraction * kH100.peak_flop_per_s));
    ASSERT_GE(time_s, kRounding * bytes / (curve.hbm_fraction * kH100.hbm_bytes_per_s));
  }
}

TEST(CausalPairsTest, CountsWhatEachQuerySees) {
  EXPECT_EQ(CausalPairs(5, 0), 1 + 2 + 3 + 4 + 5);
  EXPECT_EQ(CausalPairs(5, 2), 1 + 2 + 2 + 2 + 2);
  EXPECT_EQ(CausalPairs(5, 9), CausalPairs(5, 0));
}

/// The closed forms for the number of steps against counting them.
TEST(PrefillAttentionTimeTest, AManyTileLoopIsTheSumOfItsTiles) {
  PrefillAttentionCurve curve;
  curve.launch_s = curve.softmax_s = curve.row_s_per_byte = curve.tile_s = curve.tile_head_s = curve.second_half_s = 0;
  curve.tail_tiles = 1e-9;
  curve.peak_fraction = curve.hbm_fraction = curve.head_128_launch_fraction = 1;
  curve.lone_fraction = 1e-9;  // So that only the sum over all tiles is left.
  curve.window_first_steps = curve.window_step_fraction = 0;
  Rng rng(3);
  for (int i = 0; i < 300; ++i) {
    PrefillAttentionShape shape = RandomPrefill(rng);
    shape.row_bytes = shape.kv_row_bytes = shape.core_row_bytes = shape.core_kv_row_bytes = 0;
    shape.requests *= 1000;
    const double fit = static_cast<double>(curve.key_tile_bytes) / (shape.qk_dim * shape.element_bytes);
    const double keys = std::min(256.0, std::exp2(std::floor(std::log2(fit))));
    const auto rows = static_cast<double>(curve.tile_rows);
    double steps = 0;
    for (double first = 0; first < shape.length; first += rows) {
      const double last = std::min(shape.length, first + rows);
      const bool windowed = shape.window > 0 && shape.window < shape.length;
      steps += std::ceil(last / keys) - (windowed ? std::floor(std::max(0.0, first - shape.window) / keys) : 0);
    }
    const double flop = shape.requests * shape.heads * steps * rows * keys * 2 * (shape.qk_dim + shape.v_dim);
    ASSERT_NEAR(PrefillAttentionTime(curve, kH100, shape) * kH100.peak_flop_per_s / flop, 1, 1e-6)
        << shape.length << " window " << shape.window << " keys " << keys;
  }
}

DecodeAttentionShape RandomDecode(Rng& rng) {
  const double kv_heads = Power(rng, 64);
  return {.requests = Power(rng, 2048),
          .heads = kv_heads * Power(rng, 64),
          .kv_heads = kv_heads,
          .head_dim = 64 * static_cast<double>(1 + rng.Below(4)),
          .window = rng.Below(3) == 0 ? 128.0 : 0.0,
          .length = Power(rng, 131072),
          .fp8 = rng.Below(2) == 0};
}

TEST(DecodeAttentionTimeTest, TheKernelFollowsTheShape) {
  const auto kernel = [](double requests, double heads, double kv_heads, bool fp8, double length = 4096) {
    return ChooseDecodeKernel(
        {.requests = requests, .heads = heads, .kv_heads = kv_heads, .length = length, .fp8 = fp8}, 132, true);
  };
  EXPECT_EQ(kernel(64, 32, 32, false), DecodeKernel::kHead) << "no group";
  EXPECT_EQ(kernel(64, 64, 1, false), DecodeKernel::kHead) << "a group of more than 32";
  EXPECT_EQ(kernel(64, 32, 1, false), DecodeKernel::kGroup);
  EXPECT_EQ(kernel(64, 32, 1, true), DecodeKernel::kGroupFp8);
  EXPECT_EQ(kernel(1, 8, 1, false, 1000), DecodeKernel::kHead) << "7 pieces for 132 units";
  EXPECT_EQ(kernel(1, 8, 1, true, 1000), DecodeKernel::kGroupFp8);
  EXPECT_EQ(ChooseDecodeKernel({.requests = 64, .heads = 8, .kv_heads = 1, .length = 4096, .fp8 = true}, 108, false),
            DecodeKernel::kGroup)
      << "no units for fp8";
}

template <class Curve, class TimeOf>
void CheckDecode(const Curve& curve, const TimeOf& time_of) {
  Rng rng(1);
  for (int i = 0; i < 1000; ++i) {
    const DecodeAttentionShape shape = RandomDecode(rng);
    ExpectBetterIsNotSlower<Curve>(curve, [&](const Curve& c, const DeviceRates& r) { return time_of(c, r, shape); });
    const double tokens = shape.window > 0 ? std::min(shape.window, shape.length) : shape.length;
    const double bytes = shape.requests * shape.kv_heads * tokens * 2 * shape.head_dim * (shape.fp8 ? 1 : 2);
    const double flop = 4 * shape.requests * shape.heads * tokens * shape.head_dim;
    const double time_s = time_of(curve, kH100, shape);
    ASSERT_GE(time_s, kRounding * bytes / (curve.hbm_fraction * kH100.hbm_bytes_per_s));
    ASSERT_GE(time_s, kRounding * flop / kH100.peak_flop_per_s);
  }
}

TEST(DecodeAttentionTimeTest, BetterIsNotSlowerAndNothingBeatsItsBounds) {
  CheckDecode(HeadDecodeCurve(), &HeadDecodeTime);
  CheckDecode(GroupDecodeCurve(), &GroupDecodeTime);
  CheckDecode(GroupFp8DecodeCurve(), &GroupFp8DecodeTime);
}

TEST(MlaDecodeTimeTest, BetterIsNotSlowerAndNothingBeatsItsBounds) {
  Rng rng(1);
  const MlaDecodeCurve curve;
  for (int i = 0; i < 1000; ++i) {
    MlaDecodeShape shape;
    shape.requests = Power(rng, 1024);
    shape.heads = Power(rng, 128);
    shape.length = Power(rng, 131072);
    shape.element_bytes = rng.Below(2) == 0 ? 1 : 2;
    ExpectBetterIsNotSlower<MlaDecodeCurve>(
        curve, [&](const MlaDecodeCurve& c, const DeviceRates& r) { return MlaDecodeTime(c, r, shape); });
    const double bytes = shape.requests * shape.length * 576 * shape.element_bytes;
    ASSERT_GE(MlaDecodeTime(curve, kH100, shape), kRounding * bytes / (curve.hbm_fraction * kH100.hbm_bytes_per_s));
  }
}

/// Pairs and experts of a class list, which the totals must be.
void ExpectSums(const ExpertLoads& loads, double tolerance) {
  double experts = 0, rows = 0;
  for (std::size_t i = 0; i < loads.num_classes; ++i) {
    experts += loads.classes[i].experts;
    rows += loads.classes[i].experts * loads.classes[i].rows;
  }
  EXPECT_NEAR(experts, loads.distinct, 1e-9 * (1 + loads.distinct));
  EXPECT_NEAR(rows, loads.rows, tolerance * (1 + loads.rows));
}

TEST(ExpertLoadsTest, DealtTokensAreCountedAsTheyAreDealt) {
  // 8 of 256 experts: every 32nd. 5 tokens take experts 0..4, 32..36, ...: of the first 64, ten.
  const ExpertLoads few = DealtLoads({.tokens = 5, .topk = 8, .experts = 256, .ranks = 4});
  EXPECT_EQ(few.distinct, 10);
  EXPECT_EQ(few.rows, 10);
  // 40 tokens: all experts once, and the first 8 of each 32 twice.
  const ExpertLoads more = DealtLoads({.tokens = 40, .topk = 8, .experts = 256, .ranks = 4});
  EXPECT_EQ(more.distinct, 64);
  EXPECT_EQ(more.rows, 64 + 16);
  EXPECT_EQ(more.Tiles(1), 64 + 16);
  EXPECT_EQ(more.Tiles(2), 64);
}

TEST(ExpertLoadsTest, OfOneRankHoldAllPairs) {
  Rng rng(1);
  for (int i = 0; i < 500; ++i) {
    const double experts = std::exp2(static_cast<double>(3 + rng.Below(6)));
    Routing routing{
        .tokens = Power(rng, 16384), .topk = std::exp2(static_cast<double>(rng.Below(4))), .experts = experts};
    const double pairs = routing.tokens * routing.topk;
    SCOPED_TRACE(std::to_string(routing.tokens) + " tokens, " + std::to_string(routing.topk) + " of " +
                 std::to_string(experts));
    for (const ExpertLoads& loads : {DealtLoads(routing), EvenLoads(routing), PowerLawLoads(routing, 1.2)}) {
      EXPECT_NEAR(loads.rows / pairs, 1, 0.05);
      EXPECT_LE(loads.distinct, experts * (1 + 1e-9));
      EXPECT_LE(loads.distinct, pairs * (1 + 1e-9));
    }
    ExpectSums(DealtLoads(routing), 1e-9);
    if (pairs >= 16 * experts) {  // Else the classes of few rows are rounded up to one.
      ExpectSums(EvenLoads(routing), 1e-9);
      ExpectSums(PowerLawLoads(routing, 1.2), 0.2);
    }
    // The busiest of several ranks has more than its share, and no less than all ranks' mean.
    routing.ranks = experts / 4;
    EXPECT_GE(PowerLawLoads(routing, 1.2).rows, std::min(1.0, pairs / routing.ranks) * (1 - 1e-9));
    EXPECT_GE(PowerLawLoads(routing, 1.2).rows * routing.ranks, pairs * (1 - 1e-9));
  }
}

TEST(MoeTimeTest, BetterIsNotSlowerAndNothingBeatsItsBounds) {
  Rng rng(1);
  MoeCurve curve;
  curve.quantise_elements_per_s = 1e9;
  for (int i = 0; i < 1000; ++i) {
    MoeShape shape;
    const double experts = std::exp2(static_cast<double>(3 + rng.Below(6)));
    shape.routing = {.tokens = Power(rng, 16384),
                     .topk = 1 + static_cast<double>(rng.Below(8)),
                     .experts = experts,
                     .ranks = std::exp2(static_cast<double>(rng.Below(4)))};
    shape.hidden = 128 * Power(rng, 64);
    shape.inter = 128 * Power(rng, 64);
    shape.gated = rng.Below(2) == 0;
    shape.kernel = static_cast<MoeKernel>(rng.Below(3));
    const ExpertLoads loads = rng.Below(2) == 0 ? EvenLoads(shape.routing) : PowerLawLoads(shape.routing, 1.2);
    double rows = 0;
    for (std::size_t c = 0; c < loads.num_classes; ++c) rows += loads.classes[c].experts * loads.classes[c].rows;
    ExpectBetterIsNotSlower<MoeCurve>(
        curve, [&](const MoeCurve& c, const DeviceRates& r) { return MoeTime(c, r, shape, loads); });
    const double weights = (shape.gated ? 3 : 2) * shape.hidden * shape.inter;
    const double time_s = MoeTime(curve, kH100, shape, loads);
    ASSERT_GE(time_s, kRounding * 2 * rows * weights / (curve.peak_fraction * kH100.peak_flop_per_s));
    ASSERT_GE(time_s, kRounding * 2 * loads.distinct * weights / (curve.hbm_fraction * kH100.hbm_bytes_per_s));
  }
}

TEST(FabricCollectiveTimeTest, MoreLinkAndLessLatencyAreNeverSlower) {
  Rng rng(1);
  const FabricCollectiveCurve curve;
  const EngineAllReduceCurve engine = {.host_s = 2e-5, .copy_link_ratio = 3};
  for (int i = 0; i < 1000; ++i) {
    const FabricGroup group{
        .ranks = 2 + static_cast<double>(rng.Below(70)), .link_bytes_per_s = 450e9, .adds = rng.Below(2) == 0};
    const double bytes = Power(rng, 1e10);
    for (const Collective kind :
         {Collective::kAllReduce, Collective::kAllGather, Collective::kReduceScatter, Collective::kAllToAll}) {
      const double before_s = FabricCollectiveTime(curve, group, kind, bytes);
      ASSERT_GT(before_s, FabricRoofline(group, kind, bytes) / 2) << "the switch halves an all-reduce, no more";
      FabricGroup better = group;
      better.link_bytes_per_s *= 1.5;
      ASSERT_LE(kRounding * FabricCollectiveTime(curve, better, kind, bytes), before_s);
      ASSERT_LE(kRounding * before_s, FabricCollectiveTime(curve, group, kind, 2 * bytes)) << "more is never quicker";
      ForEachBetter<FabricCollectiveCurve>(curve, [&](const FabricCollectiveCurve& c, const std::string& name) {
        ASSERT_LE(kRounding * FabricCollectiveTime(c, group, kind, bytes), before_s) << name;
      });
    }
    const double nccl_s = FabricCollectiveTime(curve, group, Collective::kAllReduce, bytes);
    const double before_s = EngineAllReduceTime(engine, group, bytes, 8e6, nccl_s);
    FabricGroup better = group;
    better.link_bytes_per_s *= 1.5;
    ASSERT_LE(kRounding * EngineAllReduceTime(engine, better, bytes, 8e6, nccl_s), before_s);
    ForEachBetter<EngineAllReduceCurve>(engine, [&](const EngineAllReduceCurve& c, const std::string& name) {
      ASSERT_LE(kRounding * EngineAllReduceTime(c, group, bytes, 8e6, nccl_s), before_s) << name;
    });
  }
}

TEST(FillTest, IsSmoothlyTheSmaller) {
  EXPECT_EQ(Fill(0, 1), 0);
  EXPECT_NEAR(Fill(1e-9, 1), 1e-9, 1e-15);
  EXPECT_NEAR(Fill(1e9, 1), 1, 1e-6);
  EXPECT_NEAR(Fill(1, 1), 1 / std::cbrt(2.0), 1e-12);
}

TEST(DeepEpTimeTest, DistinctPartsAreTheExpectation) {
  EXPECT_EQ(DistinctParts(4, 8, 1), 1);
  EXPECT_NEAR(DistinctParts(2, 4, 4), 2, 1e-12) << "all experts";
  // Two of four experts in two halves: the second is in the other half with 2/3.
  EXPECT_NEAR(DistinctParts(2, 4, 2), 1 + 2.0 / 3, 1e-12);
}

TEST(DeepEpTimeTest, BetterIsNotSlower) {
  Rng rng(1);
  for (int i = 0; i < 500; ++i) {
    DeepEpCall call;
    call.combine = rng.Below(2) == 0;
    call.nodes = std::exp2(static_cast<double>(rng.Below(4)));
    call.tokens = Power(rng, 16384);
    call.link_bytes_per_s = 450e9;
    call.nic_bytes_per_s = 50e9;
    for (double DeepEpCall::*rate : {&DeepEpCall::link_bytes_per_s, &DeepEpCall::nic_bytes_per_s}) {
      DeepEpCall better = call;
      better.*rate *= 1.5;
      ASSERT_LE(kRounding * DeepEpTime({}, better), DeepEpTime({}, call));
      ASSERT_LE(kRounding * DeepEpLowLatencyTime({}, better), DeepEpLowLatencyTime({}, call));
    }
    ForEachBetter<DeepEpCurve>({}, [&](const DeepEpCurve& c, const std::string& name) {
      ASSERT_LE(kRounding * DeepEpTime(c, call), DeepEpTime({}, call)) << name;
    });
    ForEachBetter<DeepEpLowLatencyCurve>({}, [&](const DeepEpLowLatencyCurve& c, const std::string& name) {
      ASSERT_LE(kRounding * DeepEpLowLatencyTime(c, call), DeepEpLowLatencyTime({}, call)) << name;
    });
    ASSERT_GE(DeepEpTime({}, call), DeepEpRoofline(call, false));
    call.nodes = 1;
    call.nic_bytes_per_s = 0;
    ASSERT_TRUE(std::isfinite(DeepEpTime({}, call) + DeepEpLowLatencyTime({}, call) + DeepEpRoofline(call, true)));
  }
}

}  // namespace
}  // namespace shardscout::internal
