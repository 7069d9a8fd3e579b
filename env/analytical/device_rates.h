#pragma once

#include "shardscout/cluster_spec.h"

namespace shardscout::internal {

/// What a kernel runs on: the device's data sheet.
struct DeviceRates {
  double units = 1;            ///< Compute units.
  double peak_flop_per_s = 0;  ///< Dense, of the type that the kernel computes in.
  double hbm_bytes_per_s = 0;
  double l2_cache_bytes = 0;
};

/// Computing in `dtype`.
inline DeviceRates RatesOf(const DeviceSpec& device, DType dtype) {
  return {.units = static_cast<double>(device.num_compute_units),
          .peak_flop_per_s = device.PeakFlopPerS(dtype),
          .hbm_bytes_per_s = device.hbm_bytes_per_s,
          .l2_cache_bytes = device.l2_cache_bytes};
}

/// Whether the device has units for fp8 (Hopper and later).
inline bool HasFp8(const DeviceSpec& device) {
  return device.peak_flop_per_s[static_cast<std::size_t>(DType::kFp8)] > 0;
}

}  // namespace shardscout::internal
