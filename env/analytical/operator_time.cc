#include "env/analytical/operator_time.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "shardscout/collective_time.h"

namespace shardscout {
namespace internal {
namespace {

constexpr double kSmallestTileM = 16;  // Rows of the least tensor-core tile.
constexpr double kLeastSplitK = 256;   // Of k that a split leaves to a unit.
constexpr double kIdlePaid = 0.3;      // Of the units that a last wave leaves idle; see the header.
constexpr double kMostIdle = 4;        // Times the even share: the idle units that a split of k still pays for.

}  // namespace

double MatmulComputeTime(const DeviceSpec& device, double peak_flop_per_s, double m, double n, double k, double count,
                         bool grouped) {
  const DeviceEfficiency& efficiency = device.efficiency;
  const double largest_m = static_cast<double>(efficiency.gemm_tile_m);
  double tile_m = std::min(kSmallestTileM, largest_m);
  while (tile_m < m && tile_m < largest_m) tile_m = std::min(2 * tile_m, largest_m);
  const double tile_n = static_cast<double>(efficiency.gemm_tile_n);
  const double units = static_cast<double>(efficiency.num_compute_units);
  double rows = 1;
  if (m > tile_m) rows = grouped ? m / tile_m + 0.5 : std::ceil(m / tile_m);
  const double tiles = count * rows * std::ceil(n / tile_n);
  const double x = tiles / units;
  const double even = x >= 1 ? x : std::max(x, std::min(1.0, kLeastSplitK / k));
  const double waves = even + kIdlePaid * ((x >= 1 ? std::ceil(x) : std::min(1.0, kMostIdle * even)) - even);
  return waves * 2 * tile_m * tile_n * k * units / (efficiency.gemm_peak_fraction * peak_flop_per_s);
}

}  // namespace internal

double OperatorTime(const DeviceSpec& device, const Task& task) {
  const Work& work = task.work;
  const DeviceEfficiency& efficiency = device.efficiency;
  const double kernels = work.kernels;
  const double bytes = work.read_bytes + work.weight_bytes + work.write_bytes;
  const double memory_s =
      kernels * efficiency.hbm_latency_s + bytes / (efficiency.hbm_peak_fraction * device.hbm_bytes_per_s);
  double compute_s = 0;
  if (work.flop > 0) {
    const double peak = device.PeakFlopPerS(work.dtype);
    const bool attention = task.kind == TaskKind::kAttention;
    compute_s = work.flop / ((attention ? efficiency.attention_peak_fraction : efficiency.gemm_peak_fraction) * peak);
    if (work.m > 0 && work.n > 0 && work.k > 0 && work.count > 0) {
      const bool grouped = task.kind == TaskKind::kExpertMatmul;
      compute_s =
          std::max(compute_s, internal::MatmulComputeTime(device, peak, work.m, work.n, work.k, work.count, grouped));
    }
  }
  return std::max(compute_s, memory_s) + kernels * device.kernel_launch_s;
}

}  // namespace shardscout
