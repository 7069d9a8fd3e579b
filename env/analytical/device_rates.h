#pragma once

namespace shardscout::internal {

/// What a kernel runs on: the device's data sheet.
struct DeviceRates {
  double units = 1;            ///< Compute units.
  double peak_flop_per_s = 0;  ///< Dense, of the type that the kernel computes in.
  double hbm_bytes_per_s = 0;
  double l2_cache_bytes = 0;
};

}  // namespace shardscout::internal
