#pragma once

#include "env/analytical/device_rates.h"
#include "shardscout/device_curves.h"

/// Time of causal attention of whole sequences on themselves, on one device.
///
/// Solves: a FlashAttention-like kernel whose tiles, one a (request, head, tile_rows queries), take the keys in steps;
/// tiles wait in one queue, longest first, for U * tiles_per_unit slots. Before it, a kernel that rotates queries and
/// keys and writes the cache.
///
///   M = tile_rows; S = keys of a step: the power of two that fits key_tile_bytes / (qk_dim * element), at most 256
///   K = ceil(length / M) tiles a head; heads' tiles in all = requests * heads * K; slots = U * tiles_per_unit
///   steps(i)  = ceil(min(length, M (i + 1)) / S) - (window < length: floor(max(0, M i - window) / S));
///               key_share < 1: that times key_share, at least 1 (the mean also)
///   step_s    = tiles_per_unit * M S (2 (qk_dim + v_dim) U / (peak_fraction * peak) + softmax_s)
///   weight(s) = s; window < length: s + window_first_steps + (s - 1) window_step_fraction
///   begin_s   = tile_s + tile_head_s * qk_dim / 128 + (length > M / 2: second_half_s)
///   even_s    = tiles * (begin_s + step_s * weight(mean steps)) / slots
///   cost(x)   = begin_s + step_s * lone_fraction * weight(steps of the x-th longest tile)
///               (window and S > M: of the longest for the first M / S of the tiles, else of the mean one)
///   least_s   = K = 1: ceil(tiles / slots) * cost(0); else max over j = 0..3, j * slots < tiles, of
///               (j + 1) * cost(j * slots): of the j * slots + 1 longest tiles, j + 1 share a slot
///   compute   = max(least_s, even_s + (tiles > slots, K > 1: tail_tiles * cost of the mean tile))
///   memory    = (bytes - cached_saving * min(bytes, L2)) / (hbm_fraction * bandwidth) + row bytes * row_s_per_byte / U
///   time      = max(launch_s (* head_128_launch_fraction) + compute + memory, core bytes / (hbm_fraction * bandwidth))
///   bytes     = requests * length * (heads * row_bytes + key_share * cache_weight * kv_heads * kv_row_bytes)
///
/// With an fp8 cache TensorRT-LLM's kernel computes in fp8 whatever the type of its input, and pads heads of more than
/// 128 columns to 256.
///
/// Monotone in peak, bandwidth and every time. Never below FLOP / (peak_fraction * peak).
///
/// Worked example (a test): 2 units of 1e9 FLOP/s, M = S = 2, one head of 1 + 1 columns, length 4: tiles of one step
/// and of two, a step 2 * 2 * 2 * 2 FLOP = 16 ns: even (1 + 2) * 16 / 2 = 24 ns, but the longer tile takes 32 ns.
///
/// Source: structure from TensorRT-LLM's and FlashAttention-3's descriptions; parameters fitted (docs/calibration.md).
namespace shardscout::internal {

struct PrefillAttentionShape {
  double requests = 1, length = 1, heads = 1, kv_heads = 1;
  double qk_dim = 128, v_dim = 128;  ///< Columns of a head as the kernel computes them.
  double window = 0;                 ///< 0: none.
  double key_share = 1;              ///< Of the keys that a query sees, those that are on this device.
  double element_bytes = 2;          ///< Of a key inside the kernel.
  double row_bytes = 0;              ///< A token's and head's bytes that are not hidden behind the loop: q, output.
  double kv_row_bytes = 0;           ///< The same of a KV head.
  double core_row_bytes = 0, core_kv_row_bytes = 0;  ///< What the attention core alone must move.
};

/// The shape of heads of `head_dim` columns; `fp8`: of the cache, and so of the products. `output_bytes`: of an output.
PrefillAttentionShape GroupedPrefillShape(double requests, double length, double heads, double kv_heads,
                                          double head_dim, bool fp8, double output_bytes);

/// Of multi-latent attention with its heads projected up.
struct LatentDims {
  double nope = 128, rope = 64, value = 128, latent = 512;
};
PrefillAttentionShape MlaPrefillShape(double requests, double length, double heads, const LatentDims& dims, bool fp8);

/// Seconds. `rates.peak_flop_per_s` is that of the type that the kernel computes in.
double PrefillAttentionTime(const PrefillAttentionCurve& curve, const DeviceRates& rates,
                            const PrefillAttentionShape& shape);

/// Pairs of query and key of one head that are not masked.
double CausalPairs(double length, double window);

}  // namespace shardscout::internal
