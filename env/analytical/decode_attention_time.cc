#include "env/analytical/decode_attention_time.h"

#include <algorithm>
#include <cmath>

#include "env/analytical/p_norm.h"

namespace shardscout::internal {
namespace {

// The library's rules (see the header).
constexpr double kLargestGroup = 32;
constexpr double kSplitTokens = 128;
constexpr double kMostWaves = 8;
constexpr double kPlaces = 4;  // Blocks of 256 threads on a unit.
constexpr double kPassesOfAStep = 8;
constexpr double kScoreBytes = 6;          // Of a token, in shared memory.
constexpr double kSplitSpareBytes = 4096;  // Of shared memory.
constexpr double kBlockSpareBytes = 2048;
constexpr double kBusyColumns = 65536;  // Columns of tokens in flight that keep a unit busy.
constexpr double kGroupStepTokens = 256;
constexpr double kFp8StepTokens = 64;
constexpr double kHeadColumns = 128;
constexpr double kRounding = 1e-9;  // Of a quotient of counts.

double Tokens(const DecodeAttentionShape& shape) {
  return shape.window > 0 ? std::min(shape.length, shape.window) : shape.length;
}
double Element(const DecodeAttentionShape& shape) { return shape.fp8 ? 1 : 2; }
/// Queries, new keys and values, outputs.
double RowBytes(const DecodeAttentionShape& shape) {
  return shape.requests * (2 * shape.heads + 2 * shape.kv_heads) * shape.head_dim * 2;
}
double CacheBytes(const DecodeAttentionShape& shape, double tokens) {
  return shape.requests * shape.kv_heads * tokens * 2 * shape.head_dim * Element(shape);
}
double Flop(const DecodeAttentionShape& shape) {
  return 4 * shape.requests * shape.heads * Tokens(shape) * shape.head_dim;
}

/// What a tile takes: the part that loads of other tiles hide, and the part that they do not.
struct TileTime {
  double latency_s = 0;
  double serial_s = 0;
};

TileTime Divide(double begin_s, double overlap, double loop_s) {
  return {.latency_s = overlap * begin_s + loop_s, .serial_s = (1 - overlap) * begin_s};
}

double Waves(double tiles, double slots, const TileTime& tile, const TileTime& last, double memory_s, double p) {
  const double full = std::floor(tiles / slots + kRounding);
  const double rest = tiles / slots - full;
  double time_s = 0;
  if (full > 0) time_s += PNorm(full * tile.latency_s, memory_s * full * slots / tiles, p) + full * tile.serial_s;
  if (rest > kRounding) time_s += PNorm(last.latency_s, memory_s * rest * slots / tiles, p) + last.serial_s;
  return time_s;
}

double GroupSplits(const DecodeAttentionShape& shape, double units) {
  double splits = std::floor(shape.length / kSplitTokens);
  splits = std::max(1.0, std::min(splits, std::round(std::sqrt(8 * splits))));
  const double over = shape.requests * shape.kv_heads * splits / units / kMostWaves;
  return over > 1 ? std::max(1.0, std::floor(splits / over)) : splits;
}

/// Threads that take one token together.
double ThreadsOfAToken(const DecodeAttentionShape& shape) {
  if (shape.head_dim <= 64) return 8;
  if (shape.head_dim <= 128) return 16;
  return shape.head_dim == 192 && !shape.fp8 ? 64 : 32;
}

}  // namespace

DecodeKernel ChooseDecodeKernel(const DecodeAttentionShape& shape, double units, bool fp8_units) {
  const double group = shape.heads / shape.kv_heads;
  if (group <= 1 || group > kLargestGroup) return DecodeKernel::kHead;
  if (shape.fp8 && fp8_units) return DecodeKernel::kGroupFp8;
  const double pieces = shape.requests * shape.kv_heads * std::max(1.0, std::floor(shape.length / kSplitTokens));
  return 4 * pieces < units ? DecodeKernel::kHead : DecodeKernel::kGroup;
}

double HeadDecodeTime(const HeadDecodeCurve& curve, const DeviceRates& rates, const DecodeAttentionShape& shape) {
  const double tokens = Tokens(shape);
  const double shared_bytes = static_cast<double>(curve.shared_memory_bytes);
  const double all_heads = shape.requests * shape.heads;
  const double places = std::min(std::ceil(kPlaces * rates.units / all_heads), kPlaces);
  const double threads = places >= 4 ? 1024 : (places >= 2 ? 512 : 256);
  const double pass_tokens = threads / ThreadsOfAToken(shape);
  const double step_tokens = kPassesOfAStep * pass_tokens;
  double splits = std::min(std::ceil((shape.length + 1) / step_tokens), std::ceil(rates.units / all_heads));
  splits = std::max(splits, std::ceil(tokens * kScoreBytes / (shared_bytes - kSplitSpareBytes)));
  const double tile_tokens = std::ceil((tokens + 1) / splits);
  const double by_memory = std::floor(shared_bytes / (tile_tokens * kScoreBytes + kBlockSpareBytes));
  const double per_unit = std::min(1024 / threads, std::max(1.0, by_memory));
  const double tiles = all_heads * splits;
  const double slots = rates.units * per_unit;
  const double rest = tiles - std::floor(tiles / slots + kRounding) * slots;
  const double steps = std::ceil(tile_tokens / step_tokens);
  const double passes = std::ceil(tile_tokens / pass_tokens);
  const auto tile_with = [&](double on_unit) {
    const double busy = std::min(1.0, on_unit * step_tokens * shape.head_dim / kBusyColumns);
    const double begin_s = curve.tile_s + curve.tile_head_s * shape.head_dim / kHeadColumns +
                           busy * ((tile_tokens > pass_tokens / 2 ? curve.half_pass_s : 0) +
                                   (tile_tokens > pass_tokens ? curve.full_pass_s : 0));
    const double loop_s =
        (steps - 1) * curve.step_s + std::max(0.0, passes / kPassesOfAStep - 1) * curve.busy_step_s * busy;
    return Divide(begin_s, curve.overlap_fraction, loop_s);
  };
  const double memory_s = (CacheBytes(shape, tokens) + RowBytes(shape)) / (curve.hbm_fraction * rates.hbm_bytes_per_s);
  const double time_s = curve.launch_s + (splits > 1 ? curve.split_s : 0) +
                        Waves(tiles, slots, tile_with(per_unit), tile_with(std::ceil(rest / rates.units)), memory_s, 3);
  return std::max(time_s, Flop(shape) / rates.peak_flop_per_s);
}

double GroupDecodeTime(const GroupDecodeCurve& curve, const DeviceRates& rates, const DecodeAttentionShape& shape) {
  const double tokens = Tokens(shape);
  const double group = shape.heads / shape.kv_heads;
  const double columns = shape.head_dim / kHeadColumns;
  const double padded = columns <= 0.5 ? 0.5 : (columns <= 1 ? 1 : 2);
  const double rows = group <= 8 ? 8 : (group <= 16 ? 16 : 32);
  const double groups = shape.requests * shape.kv_heads;
  const double splits = GroupSplits(shape, rates.units);
  const double steps = std::ceil(tokens / kGroupStepTokens);
  const double used = std::min(splits, steps);
  const double begin_s = curve.tile_s + curve.tile_row_s * group * padded + (group > 16 ? curve.wide_group_s : 0);
  const TileTime tile = Divide(begin_s, curve.overlap_fraction, std::ceil(steps / used) * curve.step_s * padded);
  const double memory_s = (CacheBytes(shape, tokens) + RowBytes(shape)) / (curve.hbm_fraction * rates.hbm_bytes_per_s);
  double time_s = curve.launch_s + Waves(groups * used, rates.units, tile, tile, memory_s, 3);
  const double empty_waves =
      std::ceil(groups * splits / rates.units - kRounding) - std::ceil(groups * used / rates.units - kRounding);
  time_s += std::max(0.0, empty_waves) * curve.empty_tile_fraction * (begin_s + curve.step_s * padded);
  if (splits > 1) time_s += curve.split_s + curve.split_row_s * splits * rows / 8 * columns;
  return std::max(time_s, Flop(shape) / rates.peak_flop_per_s);
}

double GroupFp8DecodeTime(const GroupFp8DecodeCurve& curve, const DeviceRates& rates,
                          const DecodeAttentionShape& shape) {
  const double group = shape.heads / shape.kv_heads;
  const double columns = shape.head_dim / kHeadColumns;
  const double rows = 8 * std::ceil(group / 8);
  const double groups = shape.requests * shape.kv_heads;
  const double steps = std::ceil(Tokens(shape) / kFp8StepTokens);
  const double splits = GroupSplits(shape, rates.units);
  const double used = std::min(splits, steps);
  double per_unit = columns <= 0.5 ? 4 : (columns <= 1 ? 3 : 2);
  if (rows * shape.head_dim > 2048 || rows > 16) per_unit -= 1;
  const double bytes = CacheBytes(shape, steps * kFp8StepTokens) + RowBytes(shape);
  const double missed = 1 / (1 + std::pow(rates.l2_cache_bytes * curve.l2_fraction / bytes, 4));
  const double begin_s = curve.tile_s + rows * (curve.tile_row_s + curve.tile_row_head_s * columns) +
                         missed * curve.miss_row_s * group * columns;
  const TileTime tile = Divide(begin_s, 0.5, std::ceil(steps / used) * curve.step_s);
  double time_s = curve.launch_s + (columns < 1 ? curve.small_head_launch_s : 0);
  time_s += Waves(groups * used, rates.units * per_unit, tile, tile,
                  bytes / (curve.hbm_fraction * rates.hbm_bytes_per_s), curve.overlap_exponent);
  if (splits > 1) time_s += curve.split_s + curve.split_row_s * used * std::max(group, 4.0) / 8 * columns;
  return std::max(time_s, Flop(shape) / rates.peak_flop_per_s);
}

double DecodeRoofline(const DeviceRates& rates, const DecodeAttentionShape& shape) {
  return std::max(Flop(shape) / rates.peak_flop_per_s,
                  (CacheBytes(shape, Tokens(shape)) + RowBytes(shape)) / rates.hbm_bytes_per_s);
}

}  // namespace shardscout::internal
