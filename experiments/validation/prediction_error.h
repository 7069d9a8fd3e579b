#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace shardscout::validation {

/// Of |predicted / measured - 1|, in no unit; and of predicted / measured - 1, with its sign.
struct ErrorSummary {
  std::size_t count = 0;
  double mean = 0, median = 0;
  double median_signed = 0;  ///< Above 0: predicted too slow.
};

/// `measured` > 0, as many as `predicted`. Zeros where there are none.
ErrorSummary SummariseErrors(std::span<const double> measured, std::span<const double> predicted);

/// Kendall's tau-b of two figures of the same things: 1, the same order; -1, the opposite; 0 where one of them is
/// constant.
double KendallTau(std::span<const double> a, std::span<const double> b);

/// Points of one group: what choosing the one with the least prediction loses, measured(chosen) / least measured - 1.
/// Ties go to the first.
double Regret(std::span<const double> measured, std::span<const double> predicted);

}  // namespace shardscout::validation
