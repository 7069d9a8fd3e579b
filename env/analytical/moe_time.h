#pragma once

#include <cstdint>

#include "env/analytical/device_rates.h"
#include "env/analytical/expert_loads.h"
#include "shardscout/device_curves.h"

/// Time of the experts of one rank: a fused layer of two grouped products with what lies around them.
///
///   up     = fixed + permute + product(columns of gate and up, hidden)
///   down   = product(hidden, inter) + weighted sum
///   fixed  = launch_s + (tokens >= 256: large_launch_s) + (topk > 16: wide_routing_s) + experts expert_s
///            + tokens topk pair_s,      tokens: those that the rank holds
///   time   = up + activation + down
///
///   product(N, K), tiles of tm tokens and tw columns on U units:
///     waves   = max(1, tiles(tm) ceil(N / tw) / U + 1/2), tiles(tm) = sum over experts of ceil(rows / tm)
///     step    = max(2 tm tw U / (peak_fraction peak), (tm activation bytes + tw weight bytes) / feed_bytes_per_s)
///     compute = waves (tile_s + K step) + local experts scan_s
///     memory  = (distinct N K weight bytes + rows (K activation bytes + 2 N)) / (hbm_fraction bandwidth)
///     time    = (compute^p + memory^p)^(1/p)
///   permute, activation, weighted sum: their bytes at a share of the bandwidth of their own; with block scales also
///     rows (hidden + inter) / (U quantise_elements_per_s)
///
/// Tiles. kLibrary (bf16 and fp8 per tensor): of {16, 32, 64, 128, 256} x 128 and {64, 128} x 256 the one with the
/// least ceil(tiles ceil(N / tw) / U) (24 + tm) tw, at the number of tokens that the library's tuner saw (the last
/// power of two, at most 8192) under even routing. kBlockScaled: 16, 32, 64 or 128 x 128 for up to 16, below 32, up to
/// 64 and more mean rows of an expert. kTriton (mxfp4 weights): the power of two that holds all pairs over the rank's
/// experts, as the library counts, 16 to 128, x 128.
///
/// Monotone in peak, bandwidth and every time; tiles are chosen by shapes and units only. Never below the FLOP of the
/// rows in the loads' classes / (peak_fraction peak), nor below the products' bytes / (hbm_fraction bandwidth).
///
/// Worked example (a test), in us: 4 units of 8.192e9 FLOP/s each, bytes take nothing; launch_s 10, tile_s 20, scan_s
/// 10, expert_s and pair_s 1. 48 tokens dealt to one of 2 experts each, all on one rank; hidden = inter = 100, gated,
/// kTriton. An expert has 24 rows, so tm = 32, tw = 128, tiles(tm) = 2; a step is 2 * 32 * 128 FLOP, 1 us.
///   fixed = 10 + 2 * 1 + 48 * 1 = 60
///   up    = 60 + product(200, 100), waves 2 * 2 / 4 + 1/2 = 1.5:   60 + 1.5 (20 + 100) + 2 * 10 = 260
///   down  = product(100, 100), waves 2 * 1 / 4 + 1/2 = 1:          1 (20 + 100) + 2 * 10 = 140
///   time  = 400
///
/// Source: structure from AIConfigurator's collector and its tables; parameters fitted.
namespace shardscout::internal {

enum class MoeKernel : std::uint8_t { kLibrary, kBlockScaled, kTriton };

struct MoeShape {
  Routing routing;
  double held_tokens = 0;  ///< Of routing.tokens, those that lie on the rank (an exchange sends it a part); 0: all.
  double hidden = 1;
  double inter = 1;  ///< Of the rank's part of an expert.
  bool gated = true;
  double weight_bytes = 2;      ///< Of a weight, scales included.
  double activation_bytes = 2;  ///< Of an activation inside the products.
  MoeKernel kernel = MoeKernel::kLibrary;
  double HeldTokens() const { return held_tokens > 0 ? held_tokens : routing.tokens; }
};

/// Seconds of the layer's parts; `columns` and `depth` of a product as a rank has them. `rates.peak_flop_per_s` is that
/// of the type that the products compute in.
double ExpertUpTime(const MoeCurve& curve, const DeviceRates& rates, const MoeShape& shape, const ExpertLoads& loads,
                    double columns, double depth);
double ExpertActivationTime(const MoeCurve& curve, const DeviceRates& rates, double bytes);
double ExpertDownTime(const MoeCurve& curve, const DeviceRates& rates, const MoeShape& shape, const ExpertLoads& loads,
                      double columns, double depth);

/// Seconds of the whole layer.
double MoeTime(const MoeCurve& curve, const DeviceRates& rates, const MoeShape& shape, const ExpertLoads& loads);

/// The larger of FLOP / peak and bytes / bandwidth.
double MoeRoofline(const DeviceRates& rates, const MoeShape& shape, const ExpertLoads& loads);

}  // namespace shardscout::internal
