#pragma once

#include "shardscout/cluster_spec.h"
#include "shardscout/program.h"

/// Time of a compute task on one device: OperatorTime (declared in shardscout/collective_time.h) and its parts.
///
///   time = max(compute, kernels * hbm_latency_s + bytes / (hbm_peak_fraction * hbm_bytes_per_s))
///          + kernels * kernel_launch_s
///
/// bytes = read + weight + write. A task without kernels pays no latency and no launch (fused, or a view: a local slice
/// of nothing costs 0).
///
/// compute of a matrix product (`count` of [m, k] x [k, n]), U units of peak / U each:
///   tile_m  = least power of two >= 16 that covers m, at most gemm_tile_m;   tile_n = gemm_tile_n
///   tiles   = count * ceil(m / tile_m) * ceil(n / tile_n)
///   x       = tiles / U                                                      (waves)
///   even    = x >= 1 ? x : max(x, min(1, 256 / k))                           (split-k to chunks of 256 at least)
///   waves   = even + 0.3 * (idle - even),   idle = x >= 1 ? ceil(x) : min(1, 4 even)
///   compute = waves * 2 tile_m tile_n k / (gemm_peak_fraction * peak / U)
/// The library picks tile shapes and splits k, so that only a part of the units that a last wave leaves idle is paid
/// for. 0.3 and 4 were read from AIConfigurator's H100 bf16 table, at 0.8 of the peak and 1.5 us a launch: median error
/// 4 % where n k > 16e6, 8-13 % where n k > 1e6, 15-29 % below (launch-bound).
/// Grouped products of experts have unequal numbers of rows, m in expectation: ceil(m / tile_m) becomes m / tile_m +
/// 1/2 above one tile, and 1 up to one. compute of attention: flop / (attention_peak_fraction * peak). Of any other
/// task: flop / (gemm_peak_fraction * peak), a lower bound which bytes always outweigh.
///
/// Monotone: never faster with more bytes, m, n, k, count, kernels or less bandwidth or peak; more units of the same
/// rate (peak risen in proportion) are never slower. More units at the same peak are slower units, and may be.
///
/// Worked example (a test): H100 (132 units, 989 TFLOP/s, 0.8), 512 x 4096 x 4096: tiles 4 * 32 = 128, x = 0.970, even
/// 0.970, waves 0.979, compute 0.979 * 2 * 128 * 128 * 4096 / 5.994e12 = 21.9 us (measured 25.2).
///
/// Not handled: L2 reuse, the dependence of clocks on power, latency of a k loop, attention's own waves.
namespace shardscout::internal {

/// Seconds of compute, without launch. m, n, k, count > 0. `grouped`: unequal rows.
double MatmulComputeTime(const DeviceSpec& device, double peak_flop_per_s, double m, double n, double k, double count,
                         bool grouped);

}  // namespace shardscout::internal
