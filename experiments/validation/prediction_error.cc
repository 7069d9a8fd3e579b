#include "experiments/validation/prediction_error.h"

#include <algorithm>
#include <cmath>

#include "shardscout/error.h"

namespace shardscout::validation {
namespace {

double Median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const std::size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : 0.5 * (values[half - 1] + values[half]);
}

int Sign(double x) { return (x > 0 ? 1 : 0) - (x < 0 ? 1 : 0); }

}  // namespace

ErrorSummary SummariseErrors(std::span<const double> measured, std::span<const double> predicted) {
  SHARDSCOUT_CHECK_OP(measured.size(), ==, predicted.size());
  std::vector<double> with_sign, without;
  ErrorSummary summary{.count = measured.size()};
  for (std::size_t i = 0; i < measured.size(); ++i) {
    with_sign.push_back(predicted[i] / measured[i] - 1);
    without.push_back(std::abs(with_sign.back()));
    summary.mean += without.back() / static_cast<double>(measured.size());
  }
  summary.median = Median(std::move(without));
  summary.median_signed = Median(std::move(with_sign));
  return summary;
}

double KendallTau(std::span<const double> a, std::span<const double> b) {
  SHARDSCOUT_CHECK_OP(a.size(), ==, b.size());
  double agreement = 0, untied_a = 0, untied_b = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    for (std::size_t j = i + 1; j < a.size(); ++j) {
      const int by_a = Sign(a[i] - a[j]), by_b = Sign(b[i] - b[j]);
      agreement += by_a * by_b;
      untied_a += by_a * by_a;
      untied_b += by_b * by_b;
    }
  }
  return untied_a > 0 && untied_b > 0 ? agreement / std::sqrt(untied_a * untied_b) : 0;
}

double Regret(std::span<const double> measured, std::span<const double> predicted) {
  SHARDSCOUT_CHECK_OP(measured.size(), ==, predicted.size());
  SHARDSCOUT_CHECK(!measured.empty());
  const auto chosen = std::min_element(predicted.begin(), predicted.end()) - predicted.begin();
  return measured[static_cast<std::size_t>(chosen)] / *std::min_element(measured.begin(), measured.end()) - 1;
}

}  // namespace shardscout::validation
