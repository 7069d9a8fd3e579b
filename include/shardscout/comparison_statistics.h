#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

/// The statistics of a comparison of searchers over problems and seeds: pure functions of scores.
///
/// A score is value / optimum, turned so that larger is better: 1 is the optimum, 0 is a run that found nothing
/// feasible. Source of the choice: Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical
/// Precipice", arXiv 2108.13264, sections 4.1 to 4.3. It departs from its program (rliable) in two ways: the quarters
/// that the interquartile mean drops are exact (rliable rounds them down to whole runs), and the optimum is proved by
/// another searcher, not the best score that is known.
namespace shardscout {

/// The mean of the middle half: a quarter of the weight is cut off at each end, a score at the cut counts in part.
/// Worked example: of {1, 2, 3, 4, 5} 1.25 scores go at each end, so 2 and 4 count 0.75: (1.5 + 3 + 3) / 2.5 = 3.
/// `scores` must not be empty.
double InterquartileMean(std::vector<double> scores);

struct Interval {
  double low = 0, high = 0;
  bool operator==(const Interval&) const = default;
};

struct BootstrapOptions {
  int repetitions = 5000;  ///< Resampled data sets.
  double coverage = 0.95;
  std::uint64_t seed = 1;
};

/// Percentile bootstrap interval of the interquartile mean of all scores together, stratified: each stratum (the seeds
/// of one problem) is resampled by itself, so that every problem keeps its weight. No stratum may be empty.
Interval BootstrapInterval(std::span<const std::vector<double>> strata, const BootstrapOptions& options = {});

/// The value below which a share of `values` lies, linear between order statistics: of {1, 2, 4}, 0.25 is 1.5.
/// `values` must not be empty.
double Quantile(std::vector<double> values, double share);

/// Mean of the best-so-far score over evaluations 1..budget; a search that ended early keeps its last score. Worked
/// example: {0, 0.5} with budget 4 is (0 + 0.5 + 0.5 + 0.5) / 4 = 0.375. Empty scores are 0.
double AreaUnderCurve(std::span<const double> best_so_far, std::int64_t budget);

/// The first evaluation, from 1, whose best-so-far score is at least `target`; nullopt where none is.
std::optional<std::int64_t> EvaluationsUntil(std::span<const double> best_so_far, double target);

/// The median, a run that never got there counting as infinitely long: {10, 30, never, never} and {never} give nullopt,
/// {10, 30, never} 30, {10, 30} 20. `runs` must not be empty.
std::optional<double> MedianOrNever(std::span<const std::optional<std::int64_t>> runs);

/// Performance profile: the share of scores >= tau for each tau. Stratified as above: the mean over strata of each
/// one's share. [taus.size()]
std::vector<double> PerformanceProfile(std::span<const std::vector<double>> strata, std::span<const double> taus);

}  // namespace shardscout
