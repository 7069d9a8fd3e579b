#pragma once

#include "env/analytical/device_rates.h"
#include "shardscout/device_curves.h"

/// Time of absorbed multi-latent attention of one new token a request on its cache of latents, on one device: FlashMLA.
///
///   n       = ceil(length / 64) blocks of a request's tokens; parts = floor(U / ceil(heads / 64)) workers, each given
///             the same payload of ceil(requests (n + 5) / parts) + 5 blocks (a request begun costs 5)
///   whole   = requests that a worker does whole, left = what is left of its payload for a part of one
///   pieces  = whole + (left > 5), blocks = whole n + max(0, left - 5)
///   time    = launch_s + ||blocks step_s, cache bytes / (hbm_fraction bandwidth)|, FLOP / (peak_fraction peak)|
///             + max(1, pieces) (piece_s + piece_rows_s min(heads, 64) / 64) + max(1, whole) mask_s (n - length / 64)
///             + (whole < 1 or left > 5, n > 1: split_s + split_traffic summands' bytes / bandwidth)
///             + row_traffic bytes of queries and outputs / bandwidth,         |a, b| = (a^3 + b^3)^(1/3)
///   bytes   of summands: min(requests n, requests + parts) heads latent 8; of queries and outputs: requests heads
///           (2 c + 2 c element_bytes + 2 latent), c = latent + rope
///
/// Monotone in bandwidth, peak and every time. Never below FLOP / (peak_fraction peak) nor below the cache's bytes /
/// (hbm_fraction bandwidth).
///
/// Worked example (a test), in us: 2 units, each of the curve's times 1, bytes and FLOP take nothing; 32 heads, length
/// 608, so n = ceil(9.5) = 10 and parts = 2.
///   3 requests: payload ceil(3 * 15 / 2) + 5 = 28, whole 1, left 13, pieces 2, blocks 10 + 8;
///               launch 1 + 18 + 2 (1 + 32 / 64) + mask 0.5 + split 1 = 23.5
///   1 request:  payload ceil(15 / 2) + 5 = 13, whole 0, left 13, pieces 1, blocks 8;   1 + 8 + 1.5 + 0.5 + 1 = 12
///
/// Source: FlashMLA's tile scheduler; parameters fitted.
namespace shardscout::internal {

struct MlaDecodeShape {
  double requests = 1, heads = 1;
  double length = 1;  ///< Of the cache, with the new token.
  double latent = 512, rope = 64;
  double element_bytes = 2;  ///< Of the cache.
};

/// Seconds. `rates.peak_flop_per_s` is that of the cache's type.
double MlaDecodeTime(const MlaDecodeCurve& curve, const DeviceRates& rates, const MlaDecodeShape& shape);

/// The larger of FLOP / peak and bytes / bandwidth.
double MlaDecodeRoofline(const DeviceRates& rates, const MlaDecodeShape& shape);

}  // namespace shardscout::internal
