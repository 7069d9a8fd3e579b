#include "env/analytical/gemm_time.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "env/analytical/p_norm.h"

namespace shardscout::internal {
namespace {

struct Tile {
  double m, n;
};

constexpr std::array<Tile, 16> kLibraryTiles = {{{64, 16},
                                                 {16, 64},
                                                 {128, 16},
                                                 {16, 128},
                                                 {64, 32},
                                                 {32, 64},
                                                 {128, 32},
                                                 {32, 128},
                                                 {64, 64},
                                                 {128, 64},
                                                 {64, 128},
                                                 {128, 128},
                                                 {64, 256},
                                                 {256, 64},
                                                 {256, 128},
                                                 {128, 256}}};
constexpr std::array<Tile, 10> kBlockScaledTiles = {
    {{64, 16}, {64, 32}, {64, 64}, {64, 96}, {64, 128}, {128, 16}, {128, 32}, {128, 64}, {128, 96}, {128, 160}}};

constexpr double kLeastSplitK = 128;       // Of k that a split leaves to a unit.
constexpr double kMostSplits = 32;         // Of k.
constexpr double kBlockScaledRows = 64;    // Of the smaller block-scaled tile.
constexpr double kQuantisedAtOnce = 2048;  // Elements that one unit takes.

/// Seconds of a product by one tile, unsplit and by the splits that the library would take.
double TileTime(const GemmCurve& curve, const DeviceRates& rates, const GemmShape& shape, const Tile& tile) {
  const double compute_s = 2 * tile.m * tile.n * rates.units / (curve.peak_fraction * rates.peak_flop_per_s);
  const double feed_s = (tile.m + tile.n) * shape.input_bytes / curve.feed_bytes_per_s;
  const double step_s = std::max({compute_s, feed_s, curve.k_step_s});
  const double tile_s = curve.tile_s + tile.m * tile.n * curve.tile_element_s;
  const double row_tiles = std::ceil(shape.m / tile.m);
  const double tiles = shape.count * row_tiles * std::ceil(shape.n / tile.n);
  double least_s = std::ceil(tiles / rates.units) * (tile_s + shape.k * step_s);
  if (shape.block_scaled) {
    if (shape.m > kBlockScaledRows) least_s += curve.missing_row_s * (row_tiles * tile.m - shape.m) * shape.k;
    return least_s;
  }
  const double summand_s = 8 * shape.count * shape.m * shape.n / curve.split_bytes_per_s;
  for (double s = 2; s <= kMostSplits && shape.k >= s * kLeastSplitK && tiles * s <= rates.units; s *= 2) {
    least_s = std::min(least_s, tile_s + shape.k / s * step_s + curve.split_s + s * summand_s);
  }
  return least_s;
}

template <class Tiles>
double LeastTime(const GemmCurve& curve, const DeviceRates& rates, const GemmShape& shape, const Tiles& tiles) {
  double least_s = std::numeric_limits<double>::infinity();
  for (const Tile& tile : tiles) {
    if (shape.block_scaled && tile.m > kBlockScaledRows && shape.m <= kBlockScaledRows) continue;
    least_s = std::min(least_s, TileTime(curve, rates, shape, tile));
  }
  return least_s;
}

}  // namespace

double GemmTime(const GemmCurve& curve, const DeviceRates& rates, const GemmShape& shape) {
  const double product_s = shape.block_scaled ? LeastTime(curve, rates, shape, kBlockScaledTiles)
                                              : LeastTime(curve, rates, shape, kLibraryTiles);
  const double memory_s = shape.bytes / (curve.hbm_fraction * rates.hbm_bytes_per_s);
  double time_s = curve.launch_s + PNorm(product_s, memory_s, curve.overlap_exponent);
  if (shape.quantises && curve.quantise_elements_per_s > 0) {
    const double elements = shape.count * shape.m * shape.k;
    const double units = std::clamp(elements / kQuantisedAtOnce, 1.0, rates.units);
    time_s += curve.quantise_s + elements / (units * curve.quantise_elements_per_s);
  }
  return time_s;
}

}  // namespace shardscout::internal
