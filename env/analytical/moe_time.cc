#include "env/analytical/moe_time.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "env/analytical/p_norm.h"

namespace shardscout::internal {
namespace {

constexpr double kLargeBatch = 256;
constexpr double kWideRouting = 16;
constexpr double kMostTunedTokens = 8192;
constexpr double kTileBegin = 24;  // Rows that the begin of a tile is worth, where tiles are chosen.
constexpr double kRounding = 1e-9;
constexpr double kOutputBytes = 2;

struct Tile {
  double rows, columns;
};
constexpr std::array<Tile, 7> kLibraryTiles = {
    {{16, 128}, {32, 128}, {64, 128}, {128, 128}, {256, 128}, {64, 256}, {128, 256}}};

/// The loads that the library's tuner sees.
ExpertLoads TunedLoads(const MoeShape& shape) {
  Routing routing = shape.routing;
  routing.tokens = std::min(kMostTunedTokens, std::exp2(std::floor(std::log2(routing.tokens) + kRounding)));
  return EvenLoads(routing);
}

Tile LibraryTile(const ExpertLoads& tuned, double columns, double units) {
  Tile best = kLibraryTiles.front();
  double least = std::numeric_limits<double>::infinity();
  for (const Tile& tile : kLibraryTiles) {
    const double waves = std::ceil(tuned.Tiles(tile.rows) * std::ceil(columns / tile.columns) / units - kRounding);
    const double work = waves * (kTileBegin + tile.rows) * tile.columns;
    if (work >= least) continue;
    least = work;
    best = tile;
  }
  return best;
}

Tile BlockScaledTile(const Routing& routing) {
  const double rows = std::ceil(routing.tokens * routing.topk / routing.experts);
  if (rows <= 16) return {16, 128};
  if (rows < 32) return {32, 128};
  return {rows <= 64 ? 64.0 : 128.0, 128};
}

Tile TritonTile(const Routing& routing) {
  const double pairs = std::max(1.0, std::floor(routing.tokens * routing.topk / routing.LocalExperts()));
  return {std::clamp(std::exp2(std::ceil(std::log2(pairs))), 16.0, 128.0), 128};
}

double ProductTime(const MoeCurve& curve, const DeviceRates& rates, const MoeShape& shape, const ExpertLoads& loads,
                   const Tile& tile, double columns, double depth) {
  const double compute_s = 2 * tile.rows * tile.columns * rates.units / (curve.peak_fraction * rates.peak_flop_per_s);
  const double feed_bytes = tile.rows * shape.activation_bytes + tile.columns * shape.weight_bytes;
  const double feed_s = curve.feed_bytes_per_s > 0 ? feed_bytes / curve.feed_bytes_per_s : 0;
  const double tiles = loads.Tiles(tile.rows) * std::ceil(columns / tile.columns);
  const double waves = std::max(1.0, tiles / rates.units + 0.5);
  const double product_s =
      waves * (curve.tile_s + depth * std::max(compute_s, feed_s)) + curve.scan_s * shape.routing.LocalExperts();
  const double bytes = loads.distinct * columns * depth * shape.weight_bytes +
                       loads.rows * (depth * shape.activation_bytes + columns * kOutputBytes);
  const double memory_s = bytes / (curve.hbm_fraction * rates.hbm_bytes_per_s);
  return PNorm(product_s, memory_s, curve.overlap_exponent);
}

double UpColumns(const MoeShape& shape) { return (shape.gated ? 2 : 1) * shape.inter; }

Tile TileOf(const MoeShape& shape, double columns, double units) {
  switch (shape.kernel) {
    case MoeKernel::kLibrary:
      return LibraryTile(TunedLoads(shape), columns, units);
    case MoeKernel::kBlockScaled:
      return BlockScaledTile(shape.routing);
    case MoeKernel::kTriton:
      return TritonTile(shape.routing);
  }
  return {};
}

double QuantiseTime(const MoeCurve& curve, const DeviceRates& rates, double elements) {
  return curve.quantise_elements_per_s > 0 ? elements / (rates.units * curve.quantise_elements_per_s) : 0;
}

}  // namespace

double ExpertUpTime(const MoeCurve& curve, const DeviceRates& rates, const MoeShape& shape, const ExpertLoads& loads,
                    double columns, double depth) {
  const Routing& routing = shape.routing;
  const double tokens = shape.HeldTokens();
  const double fixed_s = curve.launch_s + (tokens >= kLargeBatch ? curve.large_launch_s : 0) +
                         (routing.topk > kWideRouting ? curve.wide_routing_s : 0) + curve.expert_s * routing.experts +
                         curve.pair_s * tokens * routing.topk;
  const double permuted_bytes =
      std::min(tokens, loads.rows) * depth * kOutputBytes + loads.rows * depth * shape.activation_bytes;
  return fixed_s + permuted_bytes / (curve.permute_hbm_fraction * rates.hbm_bytes_per_s) +
         QuantiseTime(curve, rates, loads.rows * depth) +
         ProductTime(curve, rates, shape, loads, TileOf(shape, columns, rates.units), columns, depth);
}

double ExpertActivationTime(const MoeCurve& curve, const DeviceRates& rates, double bytes) {
  return bytes / (curve.activation_hbm_fraction * rates.hbm_bytes_per_s);
}

double ExpertDownTime(const MoeCurve& curve, const DeviceRates& rates, const MoeShape& shape, const ExpertLoads& loads,
                      double columns, double depth) {
  const double summed_bytes = (shape.HeldTokens() + loads.rows) * columns * kOutputBytes;
  return summed_bytes / (curve.sum_hbm_fraction * rates.hbm_bytes_per_s) +
         QuantiseTime(curve, rates, loads.rows * depth) +
         ProductTime(curve, rates, shape, loads, TileOf(shape, columns, rates.units), columns, depth);
}

double MoeTime(const MoeCurve& curve, const DeviceRates& rates, const MoeShape& shape, const ExpertLoads& loads) {
  const double up_columns = UpColumns(shape);
  const double activation_bytes = loads.rows * (up_columns * kOutputBytes + shape.inter * shape.activation_bytes);
  return ExpertUpTime(curve, rates, shape, loads, up_columns, shape.hidden) +
         ExpertActivationTime(curve, rates, activation_bytes) +
         ExpertDownTime(curve, rates, shape, loads, shape.hidden, shape.inter);
}

double MoeRoofline(const DeviceRates& rates, const MoeShape& shape, const ExpertLoads& loads) {
  const double weights = (UpColumns(shape) + shape.inter) * shape.hidden;
  const double bytes =
      loads.distinct * weights * shape.weight_bytes + 2 * shape.routing.tokens * shape.hidden * kOutputBytes;
  return std::max(2 * loads.rows * weights / rates.peak_flop_per_s, bytes / rates.hbm_bytes_per_s);
}

}  // namespace shardscout::internal
