#include "env/analytical/prefill_attention_time.h"

#include <algorithm>
#include <cmath>

namespace shardscout::internal {
namespace {

constexpr double kMostKeysOfAStep = 256;
constexpr double kHeadColumns = 128;
constexpr double kPaddedFrom = 128;  // Columns of a head, above which the fp8 kernel pads to:
constexpr double kPaddedTo = 256;
constexpr double kProjected = 2;  // Bytes of a query, key or value as the projection leaves it, bf16.

double KeysOfAStep(const PrefillAttentionCurve& curve, const PrefillAttentionShape& shape) {
  const double fit = static_cast<double>(curve.key_tile_bytes) / (shape.qk_dim * shape.element_bytes);
  return std::clamp(std::exp2(std::floor(std::log2(fit))), 1.0, kMostKeysOfAStep);
}

/// The sum over i < n of floor((first + rows * i) / keys): in closed form where one of rows and keys is a multiple of
/// the other, as in the kernels that are known.
double SumOfFloors(double first, double n, double rows, double keys) {
  if (n <= 0) return 0;
  if (std::fmod(rows, keys) == 0) return n * std::floor(first / keys) + rows / keys * n * (n - 1) / 2;
  double sum = 0;
  if (std::fmod(keys, rows) != 0) {
    for (double i = 0; i < n; ++i) sum += std::floor((first + rows * i) / keys);
    return sum;
  }
  const double period = keys / rows;
  for (double r = 0; r < period; ++r) {
    const double m = std::ceil((n - r) / period);
    if (m > 0) sum += m * std::floor((first + rows * r) / keys) + m * (m - 1) / 2;
  }
  return sum;
}

/// How many steps the tiles of a head take.
struct Steps {
  double rows, keys;  ///< Of a tile and of a step.
  double length, window;
  double tiles;  ///< Of a head.
  bool windowed;

  double Of(double tile) const {
    const double end = std::ceil(std::min(length, rows * (tile + 1)) / keys);
    return windowed ? end - std::floor(std::max(0.0, rows * tile - window) / keys) : end;
  }
  double Sum() const {
    double sum =
        tiles + SumOfFloors(rows - 1, tiles, rows, keys) + std::ceil(length / keys) - std::ceil(rows * tiles / keys);
    if (windowed) {
      const double first = std::ceil(window / rows);
      sum -= SumOfFloors(first * rows - window, tiles - first, rows, keys);
    }
    return sum;
  }
  /// With a window the last tiles differ by where their keys begin.
  double Most() const {
    double most = Of(tiles - 1);
    for (double j = 2; windowed && j <= std::max(2.0, keys / rows) && j <= tiles; ++j) {
      most = std::max(most, Of(tiles - j));
    }
    return most;
  }
};

double ComputeTime(const PrefillAttentionCurve& curve, const DeviceRates& rates, const PrefillAttentionShape& shape) {
  const auto rows = static_cast<double>(curve.tile_rows);
  const auto per_unit = static_cast<double>(curve.tiles_per_unit);
  const double slots = rates.units * per_unit;
  const double keys = KeysOfAStep(curve, shape);
  const bool windowed = shape.window > 0 && shape.window < shape.length;
  const Steps steps{.rows = rows,
                    .keys = keys,
                    .length = shape.length,
                    .window = shape.window,
                    .tiles = std::ceil(shape.length / rows),
                    .windowed = windowed};
  const double all_heads = shape.requests * shape.heads;
  const double tiles = all_heads * steps.tiles;
  const double flop = 2 * (shape.qk_dim + shape.v_dim);
  const double step_s =
      per_unit * rows * keys * (flop * rates.units / (curve.peak_fraction * rates.peak_flop_per_s) + curve.softmax_s);
  const double begin_s = curve.tile_s + curve.tile_head_s * shape.qk_dim / kHeadColumns +
                         (shape.length > rows / 2 ? curve.second_half_s : 0);
  const auto weight = [&](double count) {
    if (shape.key_share < 1) count = std::max(1.0, count * shape.key_share);
    return windowed ? count + curve.window_first_steps + (count - 1) * curve.window_step_fraction : count;
  };
  const double mean_steps = steps.Sum() / steps.tiles;
  const double even_s = tiles * (begin_s + step_s * weight(mean_steps)) / slots;
  const double most_steps = steps.Most();
  const auto cost_s = [&](double index) {
    double count = std::min(most_steps, mean_steps);
    if (!(windowed && keys > rows)) {
      count = std::min(most_steps, steps.Of(std::max(0.0, steps.tiles - 1 - std::floor(index / all_heads))));
    } else if (index < tiles * rows / keys) {
      count = most_steps;
    }
    return begin_s + step_s * curve.lone_fraction * weight(count);
  };
  double least_s = cost_s(0);
  if (steps.tiles == 1) {
    least_s *= std::ceil(tiles / slots);
  } else {
    for (double j = 1; j <= 3 && j * slots < tiles; ++j) least_s = std::max(least_s, (j + 1) * cost_s(j * slots));
  }
  const double mean_s = begin_s + step_s * curve.lone_fraction * weight(mean_steps);
  return std::max(least_s, even_s + (tiles > slots && steps.tiles > 1 ? curve.tail_tiles * mean_s : 0));
}

}  // namespace

double CausalPairs(double length, double window) {
  const double seen = window > 0 ? std::min(window, length) : length;
  return seen * (seen + 1) / 2 + (length - seen) * seen;
}

PrefillAttentionShape GroupedPrefillShape(double requests, double length, double heads, double kv_heads,
                                          double head_dim, bool fp8, double output_bytes) {
  const double element = fp8 ? 1 : 2;
  const double padded = fp8 && head_dim > kPaddedFrom ? std::max(head_dim, kPaddedTo) : head_dim;
  return {.requests = requests,
          .length = length,
          .heads = heads,
          .kv_heads = kv_heads,
          .qk_dim = padded,
          .v_dim = padded,
          .element_bytes = element,
          .row_bytes = head_dim * (kProjected + 2 * element + output_bytes),
          .kv_row_bytes = head_dim * (kProjected + element),
          .core_row_bytes = head_dim * (element + output_bytes),
          .core_kv_row_bytes = 2 * head_dim * element};
}

PrefillAttentionShape MlaPrefillShape(double requests, double length, double heads, const LatentDims& dims, bool fp8) {
  const double element = fp8 ? 1 : 2;
  const double qk = dims.nope + dims.rope;
  const double core = (2 * qk + dims.value) * element + 2 * dims.value;
  return {.requests = requests,
          .length = length,
          .heads = heads,
          .kv_heads = 1,
          .qk_dim = qk,
          .v_dim = dims.value,
          .element_bytes = element,
          // In fp8, q, k and v are read in bf16 and written in fp8 before.
          .row_bytes = fp8 ? core + (2 * qk + dims.value) * (kProjected + element)
                           : (qk + dims.value + 3 * dims.rope) * kProjected,
          .kv_row_bytes = (dims.latent + dims.rope) * (kProjected + element),
          .core_row_bytes = core};
}

double PrefillAttentionTime(const PrefillAttentionCurve& curve, const DeviceRates& rates,
                            const PrefillAttentionShape& shape) {
  const double tokens = shape.requests * shape.length;
  const double bytes_per_s = curve.hbm_fraction * rates.hbm_bytes_per_s;
  const double row_bytes = tokens * shape.heads * shape.row_bytes;
  const double kv_rows = tokens * shape.key_share * shape.kv_heads;
  const double bytes = row_bytes + curve.cache_weight * kv_rows * shape.kv_row_bytes;
  const double memory_s = (bytes - curve.cached_saving * std::min(bytes, rates.l2_cache_bytes)) / bytes_per_s +
                          row_bytes * curve.row_s_per_byte / rates.units;
  const double launch_s = curve.launch_s * (shape.qk_dim == kHeadColumns ? curve.head_128_launch_fraction : 1);
  const double core_bytes = tokens * shape.heads * shape.core_row_bytes + kv_rows * shape.core_kv_row_bytes;
  return std::max(launch_s + ComputeTime(curve, rates, shape) + memory_s, core_bytes / bytes_per_s);
}

}  // namespace shardscout::internal
