#pragma once

#include <algorithm>
#include <cmath>

namespace shardscout::internal {

/// (a^p + b^p)^(1/p) of times that overlap in part: p = 1 adds them, a large p takes the larger. a, b >= 0, p >= 1.
inline double PNorm(double a, double b, double p) {
  const double larger = std::max(a, b);
  if (larger == 0) return 0;
  // Scaled by the larger, so that no power overflows or vanishes.
  return larger * std::pow(1 + std::pow(std::min(a, b) / larger, p), 1 / p);
}

}  // namespace shardscout::internal
