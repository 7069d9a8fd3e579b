#include "env/analytical/gemm_time.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "shardscout/random.h"

namespace shardscout::internal {
namespace {

constexpr DeviceRates kFourUnits = {.units = 4, .peak_flop_per_s = 4e9, .hbm_bytes_per_s = 1e12};
constexpr DeviceRates kH100 = {.units = 132, .peak_flop_per_s = 989e12, .hbm_bytes_per_s = 3.35e12};

/// Nothing but compute.
GemmCurve OnlyCompute() {
  return {.peak_fraction = 1,
          .hbm_fraction = 1,
          .launch_s = 0,
          .k_step_s = 0,
          .feed_bytes_per_s = 1e21,
          .tile_s = 0,
          .tile_element_s = 0,
          .split_s = 1,
          .overlap_exponent = 1000};
}

TEST(GemmTimeTest, WorkedExample) {
  EXPECT_NEAR(GemmTime(OnlyCompute(), kFourUnits, {.m = 128, .n = 128, .k = 100}), 0.8192e-3, 1e-9);
  EXPECT_NEAR(GemmTime(OnlyCompute(), kFourUnits, {.m = 129, .n = 128, .k = 100}), 1.024e-3, 1e-9);
}

TEST(GemmTimeTest, ASplitOfKUsesTheIdleUnits) {
  GemmCurve curve = OnlyCompute();
  const GemmShape shape = {.m = 64, .n = 16, .k = 1024};
  // One tile of 64 x 16, or four of 16 x 16 if there were such: alone on its unit.
  EXPECT_NEAR(GemmTime(curve, kFourUnits, shape), 2 * 64 * 16 * 1024 / 1e9, 1e-9);
  curve.split_s = 1e-5;
  curve.split_bytes_per_s = 1e9;
  // Four splits leave 256 of k each, and four summands of 64 x 16 are written and read.
  EXPECT_NEAR(GemmTime(curve, kFourUnits, shape), 2 * 64 * 16 * 256 / 1e9 + 1e-5 + 4 * 8 * 64 * 16 / 1e9, 1e-9);
}

TEST(GemmTimeTest, ABlockScaledTileThatLacksRowsCosts) {
  GemmCurve curve = OnlyCompute();
  curve.missing_row_s = 1e-9;
  const auto time_s = [&](double m) {
    return GemmTime(curve, kH100, {.m = m, .n = 1024, .k = 8192, .block_scaled = true});
  };
  // 129 rows are one more than a tile has, so that 63 or 127 are missing.
  EXPECT_NEAR(time_s(129) - time_s(128), 63 * 8192 * 1e-9, 5e-6);
  EXPECT_NEAR(time_s(129) - time_s(192), 63 * 8192 * 1e-9, 5e-6);
  EXPECT_LT(time_s(17) - time_s(16), 1e-9) << "up to 64 rows none";
}

TEST(GemmTimeTest, ActivationsAreQuantisedByAsManyUnitsAsTheyFill) {
  GemmCurve curve = OnlyCompute();
  const GemmShape small = {.m = 1, .n = 64, .k = 2048}, large = {.m = 4096, .n = 64, .k = 2048},
                  several = {.m = 1024, .n = 64, .k = 2048, .count = 4};
  const double before_several = GemmTime(curve, kH100, several);
  const double before_small = GemmTime(curve, kH100, small), before_large = GemmTime(curve, kH100, large);
  curve.quantise_s = 1e-6;
  curve.quantise_elements_per_s = 1e9;
  EXPECT_NEAR(GemmTime(curve, kH100, small) - before_small, 1e-6 + 2048 / 1e9, 1e-12);
  EXPECT_NEAR(GemmTime(curve, kH100, large) - before_large, 1e-6 + 4096.0 * 2048 / 132e9, 1e-12);
  EXPECT_NEAR(GemmTime(curve, kH100, several) - before_several, 1e-6 + 4096.0 * 2048 / 132e9, 1e-12);
}

GemmShape RandomShape(Rng& rng) {
  const auto size = [&](double most) { return std::floor(std::pow(most, rng.Uniform())); };
  GemmShape shape = {.m = size(8192), .n = size(65536), .k = size(65536), .count = rng.Below(4) == 0 ? 16.0 : 1.0};
  shape.block_scaled = rng.Below(3) == 0;
  shape.input_bytes = shape.block_scaled ? 1 : 2;
  shape.bytes = 2 * shape.count * (shape.m * shape.k + shape.n * shape.k + shape.m * shape.n);
  return shape;
}

TEST(GemmTimeTest, NothingBetterIsSlowerAndNothingIsQuickerThanItsBounds) {
  Rng rng(1);
  const GemmCurve curve = {.quantise_s = 1e-6, .quantise_elements_per_s = 5e9, .missing_row_s = 1e-11};
  for (int i = 0; i < 2000; ++i) {
    const GemmShape shape = RandomShape(rng);
    const double time_s = GemmTime(curve, kH100, shape);
    ASSERT_TRUE(std::isfinite(time_s));
    const double rounding = 1 - 1e-9;
    const double flop = 2 * shape.count * shape.m * shape.n * shape.k;
    ASSERT_GE(time_s, rounding * (curve.launch_s + flop / (curve.peak_fraction * kH100.peak_flop_per_s)));
    ASSERT_GE(time_s, rounding * (curve.launch_s + shape.bytes / (curve.hbm_fraction * kH100.hbm_bytes_per_s)));
    DeviceRates better = kH100;
    better.peak_flop_per_s *= 1.3;
    ASSERT_LE(rounding * GemmTime(curve, better, shape), time_s);
    better = kH100;
    better.hbm_bytes_per_s *= 1.3;
    ASSERT_LE(rounding * GemmTime(curve, better, shape), time_s);
    for (double GemmCurve::*latency : {&GemmCurve::launch_s, &GemmCurve::k_step_s, &GemmCurve::tile_s,
                                       &GemmCurve::tile_element_s, &GemmCurve::split_s, &GemmCurve::quantise_s}) {
      GemmCurve quicker = curve;
      quicker.*latency *= 0.5;
      ASSERT_LE(rounding * GemmTime(quicker, kH100, shape), time_s);
    }
    for (double GemmCurve::*rate : {&GemmCurve::peak_fraction, &GemmCurve::hbm_fraction, &GemmCurve::feed_bytes_per_s,
                                    &GemmCurve::split_bytes_per_s, &GemmCurve::quantise_elements_per_s}) {
      GemmCurve quicker = curve;
      quicker.*rate *= 1.1;
      ASSERT_LE(rounding * GemmTime(quicker, kH100, shape), time_s);
    }
    GemmShape heavier = shape;
    heavier.bytes *= 2;
    ASSERT_LE(rounding * time_s, GemmTime(curve, kH100, heavier));
  }
}

}  // namespace
}  // namespace shardscout::internal
