#pragma once

#include "env/analytical/device_rates.h"
#include "shardscout/device_curves.h"

/// Time of a matrix product [m, k] x [k, n] on one device.
///
/// Solves: which of a library's kernels is fastest, and how long it takes.
///
///   for each tile (tm x tn of the output) and split s of k, a power of two:
///     tiles   = count * ceil(m / tm) * ceil(n / tn) * s          on U units, one tile a unit at a time
///     step    = max(2 tm tn / (peak_fraction * peak / U),        compute
///                   (tm + tn) * input_bytes / feed_bytes_per_s,  both inputs to the unit
///                   k_step_s)                                    latency of the loop
///     product = ceil(tiles / U) * (tile_s + tm tn tile_element_s + k / s * step)
///               + (s > 1: split_s + 8 s count m n / split_bytes_per_s)
///   time = launch_s + (min(product)^p + memory^p)^(1/p)
///          + (where activations are quantised: quantise_s + m k / (units * quantise_elements_per_s))
///   memory = bytes / (hbm_fraction * hbm_bytes_per_s),           units = clamp(m k / 2048, 1, U)
///
/// Tiles. Library kinds: 16, 32, 64 or 128 by 64 or 128 (16 by 64 at the least), 64 by 256 and 128 by 256, each both
/// ways; s up to 32 while a unit keeps 128 of k and all tiles run at once. Block-scaled kinds (the DeepGEMM kernels of
/// fp8 with scales of 128 x 128): tm 64, or 128 where m > 64, tn 16 to 160, no split; where m > 64 a last tile that
/// lacks rows costs missing_row_s * k a row, once (measured; the reason is not known).
///
/// Monotone: never faster with more bytes, nor with less peak, bandwidth or a longer latency. Not monotone in m where
/// missing_row_s counts: a product of 129 rows is slower than one of 256.
///
/// Never below flop / (peak_fraction * peak), nor below memory.
///
/// Worked example (a test): 4 units of 1e9 FLOP/s, nothing but compute, [129, 100] x [100, 128]: tiles of 64 x 64 are
/// 6, two waves of 2 * 64 * 64 * 100 FLOP; those of 16 x 64 are 18, five waves of a quarter of that: 1.024 ms
/// against 1.638 ms. [128, 100] x [100, 128] takes 0.819 ms, all units busy to the end.
///
/// Not handled: reuse in the L2 cache between tiles, clocks that depend on power, alignment of n and k.
namespace shardscout::internal {

/// m, n, k, count > 0; m may be an expectation.
struct GemmShape {
  double m = 0, n = 0, k = 0;
  double count = 1;        ///< Products of that shape in one call.
  double input_bytes = 2;  ///< Of one element of the inputs, inside the kernel.
  double bytes = 0;        ///< Read and written in memory, all of it.
  bool quantises = true;   ///< Its activations, where the kind does; false: they come quantised.
  bool block_scaled = false;
};

/// Seconds.
double GemmTime(const GemmCurve& curve, const DeviceRates& rates, const GemmShape& shape);

}  // namespace shardscout::internal
