#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "shardscout/evaluator.h"
#include "shardscout/reward.h"
#include "shardscout/strategy_space.h"

namespace shardscout {

class Journal;

/// A strategy with what is known of it.
struct Scored {
  Strategy strategy;
  Evaluation evaluation;
  double reward = 0;
};

/// Better: higher reward; ties go to the lexicographically smaller strategy.
bool Better(const Scored& a, const Scored& b);

/// What a progress display may show; handed out after every batch.
struct Progress {
  std::int64_t evaluations = 0;  ///< Charged so far.
  std::int64_t budget = 0;
  std::int64_t feasible = 0;  ///< Of the charged ones.
  double best_reward = 0;     ///< -infinity before the first.
};

/// A point of a curve, "ppo/entropy" say, of which a searcher tells while it learns.
struct Scalar {
  std::string name;
  double value = 0;
};

/// Gets points of curves, which belong to so many charged evaluations.
using OnScalars = std::function<void(std::int64_t evaluations, std::span<const Scalar> scalars)>;

struct EnvironmentOptions {
  std::int64_t budget = 4000;  ///< Charged evaluations: distinct canonical strategies.
  double time_limit_s = 0;     ///< 0: none. A time-limited search is not repeatable.
  int threads = 0;             ///< For evaluation; 0: OpenMP's default. Does not change any result.
  double normaliser = 1;       ///< The Megatron rule's objective, see MegatronRule.
  double until_gap = 0;  ///< A searcher that knows a bound may stop once its best is proved so near (bound/best - 1).
  /// The search ends once a feasible strategy has this reward.
  double enough_reward = std::numeric_limits<double>::infinity();
  std::vector<Strategy> start = {};  ///< Evaluated first and charged, the same for every searcher (--start megatron).
  const std::atomic<bool>* stop = nullptr;  ///< Set by Ctrl-C; looked at before every batch. Not owned.
  Journal* journal = nullptr;               ///< Not owned; see journal.h.
  const Evaluator* estimator = nullptr;     ///< A cheaper evaluator; see Estimate. Not owned.
  /// Scores a batch elsewhere (DistributedEvaluator), as the evaluator would; unset: on this process's threads.
  std::function<std::vector<Evaluation>(std::span<const Strategy>)> evaluate_batch = {};
  std::function<void(const Progress&)> on_progress = {};
  OnScalars on_scalars = {};
};

/// Why no further evaluation will be given.
enum class EndReason : std::uint8_t { kNone, kBudget, kSpace, kTime, kInterrupted, kStalled, kEnough };

/// The only way from a searcher to an evaluator: counts, caches, journals, keeps the best. One search, one environment.
///
/// Charged: the first evaluation of a canonical strategy. Asking again is free and answered from the cache. A searcher
/// that asks for nothing new 200 * budget times in all is stopped (kStalled), so that none can loop for ever.
class SearchEnvironment {
 public:
  SearchEnvironment(const StrategySpace& space, const Evaluator& evaluator, EnvironmentOptions options);
  ~SearchEnvironment();
  SearchEnvironment(const SearchEnvironment&) = delete;
  SearchEnvironment& operator=(const SearchEnvironment&) = delete;

  const StrategySpace& space() const;
  const Problem& problem() const;
  int threads() const;  ///< For work that a searcher does itself between evaluations.

  /// Scores a batch, in parallel; answers in the order asked. Strategies must be members of the space (checked). New
  /// ones are charged in batch order; those past the end of the budget are left out of the answer together with
  /// everything after them, so an answer shorter than the batch means that the search is over. Once ended() is not
  /// kNone every answer is empty. Where the evaluator throws, what came before in batch order is journalled, nothing of
  /// the batch is charged, and the exception goes on.
  std::vector<Scored> Evaluate(std::span<const Strategy> batch);
  /// The same for one; nullopt when the search is over.
  std::optional<Scored> Evaluate(const Strategy& strategy);

  /// Free: whether the strategy was scored before in this search.
  bool Known(const Strategy& strategy) const;

  std::int64_t Remaining() const;    ///< Charged evaluations left.
  std::int64_t Evaluations() const;  ///< Charged so far.
  std::int64_t FeasibleEvaluations() const;
  EndReason ended() const;  ///< kNone while evaluations are given.
  /// Looks at the clock and at Ctrl-C, as Evaluate does before each batch: for a searcher that computes long between.
  EndReason Poll();
  const std::optional<Scored>& best() const;

  /// Free: rewards by EnvironmentOptions::estimator, in the order asked, normalised as those of the evaluator; empty
  /// without one.
  std::vector<double> Estimate(std::span<const Strategy> batch) const;
  bool HasEstimates() const;
  std::int64_t Estimates() const;  ///< Asked for so far.

  /// Hands points of curves to EnvironmentOptions::on_scalars, at Evaluations(); nothing where that is unset.
  void Record(std::span<const Scalar> scalars) const;

  /// The `n` best distinct strategies scored so far, best first (fewer where fewer were scored).
  std::vector<Scored> Top(std::size_t n) const;

  /// EnvironmentOptions::until_gap, for searchers that know a bound.
  double until_gap() const;

  /// What was scored by EnvironmentOptions::start, in order.
  std::span<const Scored> start() const;

  /// Best reward after each charged evaluation. [Evaluations()]
  std::span<const double> best_so_far() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace shardscout
