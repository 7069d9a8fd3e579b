#include "shardscout/comparison_statistics.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "shardscout/error.h"
#include "shardscout/random.h"

namespace shardscout {
namespace {

/// InterquartileMean in place: `scores` are sorted.
double SortAndTrim(std::vector<double>& scores) {
  SHARDSCOUT_CHECK(!scores.empty());
  std::sort(scores.begin(), scores.end());
  const auto size = static_cast<double>(scores.size());
  const double cut = size / 4;
  double sum = 0;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    const auto begin = static_cast<double>(i);
    const double weight = std::min(begin + 1, size - cut) - std::max(begin, cut);
    if (weight > 0) sum += weight * scores[i];
  }
  return sum / (size - 2 * cut);
}

}  // namespace

double InterquartileMean(std::vector<double> scores) { return SortAndTrim(scores); }

Interval BootstrapInterval(std::span<const std::vector<double>> strata, const BootstrapOptions& options) {
  SHARDSCOUT_CHECK(!strata.empty());
  SHARDSCOUT_CHECK_OP(options.repetitions, >=, 1);
  std::size_t size = 0;
  for (const std::vector<double>& stratum : strata) {
    SHARDSCOUT_CHECK(!stratum.empty());
    size += stratum.size();
  }
  Rng rng = Rng::Stream(options.seed, "bootstrap");
  std::vector<double> means, sample(size);
  for (int repetition = 0; repetition < options.repetitions; ++repetition) {
    std::size_t next = 0;
    for (const std::vector<double>& stratum : strata) {
      for (std::size_t i = 0; i < stratum.size(); ++i) sample[next++] = stratum[rng.Below(stratum.size())];
    }
    means.push_back(SortAndTrim(sample));
  }
  const double tail = (1 - options.coverage) / 2;
  return {Quantile(means, tail), Quantile(means, 1 - tail)};
}

double Quantile(std::vector<double> values, double share) {
  SHARDSCOUT_CHECK(!values.empty());
  std::sort(values.begin(), values.end());
  const double at = share * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::size_t>(std::floor(at));
  const std::size_t above = std::min(below + 1, values.size() - 1);
  return values[below] + (at - static_cast<double>(below)) * (values[above] - values[below]);
}

double AreaUnderCurve(std::span<const double> best_so_far, std::int64_t budget) {
  SHARDSCOUT_CHECK_OP(budget, >=, 1);
  SHARDSCOUT_CHECK(std::cmp_less_equal(best_so_far.size(), budget));
  if (best_so_far.empty()) return 0;
  double sum = 0;
  for (const double score : best_so_far) sum += score;
  sum += best_so_far.back() * static_cast<double>(budget - static_cast<std::int64_t>(best_so_far.size()));
  return sum / static_cast<double>(budget);
}

std::optional<std::int64_t> EvaluationsUntil(std::span<const double> best_so_far, double target) {
  for (std::size_t i = 0; i < best_so_far.size(); ++i) {
    if (best_so_far[i] >= target) return static_cast<std::int64_t>(i) + 1;
  }
  return std::nullopt;
}

std::optional<double> MedianOrNever(std::span<const std::optional<std::int64_t>> runs) {
  SHARDSCOUT_CHECK(!runs.empty());
  constexpr double kNever = std::numeric_limits<double>::infinity();
  std::vector<double> sorted;
  for (const auto& run : runs) sorted.push_back(run ? static_cast<double>(*run) : kNever);
  std::sort(sorted.begin(), sorted.end());
  const std::size_t half = sorted.size() / 2;
  const double median = sorted.size() % 2 == 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
  if (median == kNever) return std::nullopt;
  return median;
}

std::vector<double> PerformanceProfile(std::span<const std::vector<double>> strata, std::span<const double> taus) {
  SHARDSCOUT_CHECK(!strata.empty());
  std::vector<double> profile;
  for (const double tau : taus) {
    double sum = 0;
    for (const std::vector<double>& stratum : strata) {
      SHARDSCOUT_CHECK(!stratum.empty());
      const auto reached = std::count_if(stratum.begin(), stratum.end(), [&](double score) { return score >= tau; });
      sum += static_cast<double>(reached) / static_cast<double>(stratum.size());
    }
    profile.push_back(sum / static_cast<double>(strata.size()));
  }
  return profile;
}

}  // namespace shardscout
