#pragma once

#include <cstdint>

#include "env/analytical/device_rates.h"
#include "shardscout/device_curves.h"

/// Time of attention of one new token a request on its KV cache, on one device: TensorRT-LLM's decode kernels.
///
/// Solves: which kernel a shape gets, into how many tiles it is cut, and how long their waves over the units take.
///
///   g = heads / kv_heads, tokens = min(length, window), D = head_dim / 128, U units
///   kernel: g = 1 or g > 32: a tile a head. Else an fp8 cache on a device with such units: a tile a group, fp8. Else
///           4 requests kv_heads max(1, floor(length / 128)) < U: a tile a head. Else a tile a group.
///
///   waves(tiles, slots, latency, serial, memory, p): full waves, and a last one of the rest r of a wave:
///           |full latency, memory full slots / tiles|_p + full serial  +  |latency', memory r slots / tiles|_p +
///           serial' with |a, b|_p = (a^p + b^p)^(1/p); ' where fewer tiles share a unit. latency = overlap_fraction
///           begin + loop; serial = (1 - overlap_fraction) begin
///   memory  = bytes / (hbm_fraction bandwidth); bytes of the cache's tokens, and of queries, new keys and outputs
///
/// A tile a head: blocks of 1024, 512 or 256 threads as 4 U / (requests heads) fill 4, 2 or 1 places of a unit; a token
/// takes 8, 16 or 32 threads (64 for heads of 192 in bf16), a step eight passes; tokens of a head are split until all
/// units have a block (a step's tokens at least), and until scores (6 bytes a token) fit the shared memory. t tokens of
/// a tile, the next one among them, of which a pass takes q and a step 8 q; busy: the share of a unit's places in use,
///   begin = tile_s + tile_head_s D + busy ((t > q / 2: half_pass_s) + (t > q: full_pass_s))
///   loop  = (ceil(t / 8q) - 1) step_s + max(0, ceil(t / q) / 8 - 1) busy busy_step_s
///
/// A tile a group: s = floor(length / 128) splits, at most round(sqrt(8 s)), at most 8 waves of tiles; chosen by the
/// whole length, so that with a window some are empty. 256 tokens a step, heads padded to 64, 128 or 256 columns:
///   begin = tile_s + tile_row_s g padded / 128 + (g > 16: wide_group_s);  loop = steps of a split * step_s padded /
///   128
/// In fp8: 64 tokens a step; half of begin overlaps; 4, 3 or 2 tiles a unit for 64, 128 and more columns, one less for
/// more than 16 rows or 2048 columns of rows; outputs cost more where the cache does not fit L2.
///
/// Monotone in bandwidth, peak and every time: what is chosen depends on shapes and units only. Never below bytes of
/// the cache / (hbm_fraction bandwidth), nor below FLOP / peak.
///
/// Worked example (a test), in us: 10 units, one request, heads of 128 columns, no fp8, bytes and FLOP take nothing;
/// launch_s and tile_s 1, split_s 3, tiles' other times 0 but for step_s.
///   4 heads, 2 KV heads, length 4096: 4 * 2 * 32 >= 10, a tile a group (at 128, 4 * 2 * 1 < 10, a tile a head).
///     s = 32, at most round(sqrt(256)) = 16; 2 * 16 tiles are four waves, under 8. A tile is 256 tokens, one step;
///     with step_s 2 the time is 1 + 4 (1 + 2) + 3 = 16.
///   A tile a head, length 2560, step_s 0: 2 heads become 10 tiles, one wave: 1 + 1 + 3 = 5. 50 heads: 4 U / 50 < 1, so
///     blocks of 256 threads, four a unit; 40 tiles are a wave and 10 the last: 1 + 2 * 1 = 3.
///
/// Not handled: other engines' kernels and other versions' constants (128 tokens, 8 waves, groups of 32).
///
/// Source: structure from TensorRT-LLM's public kernels and AIConfigurator's tables; parameters fitted.
namespace shardscout::internal {

struct DecodeAttentionShape {
  double requests = 1, heads = 1, kv_heads = 1;
  double head_dim = 128;
  double window = 0;  ///< 0: none.
  double length = 1;  ///< Of the cache, with the new token.
  bool fp8 = false;   ///< The cache.
};

enum class DecodeKernel : std::uint8_t { kHead, kGroup, kGroupFp8 };

/// `fp8_units`: the device has matrix units for fp8.
DecodeKernel ChooseDecodeKernel(const DecodeAttentionShape& shape, double units, bool fp8_units);

/// Seconds by each kernel. `rates.peak_flop_per_s` is that of the cache's type.
double HeadDecodeTime(const HeadDecodeCurve& curve, const DeviceRates& rates, const DecodeAttentionShape& shape);
double GroupDecodeTime(const GroupDecodeCurve& curve, const DeviceRates& rates, const DecodeAttentionShape& shape);
double GroupFp8DecodeTime(const GroupFp8DecodeCurve& curve, const DeviceRates& rates,
                          const DecodeAttentionShape& shape);

/// The larger of FLOP / peak and bytes / bandwidth.
double DecodeRoofline(const DeviceRates& rates, const DecodeAttentionShape& shape);

}  // namespace shardscout::internal
