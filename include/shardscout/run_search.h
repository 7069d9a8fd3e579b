#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "shardscout/evaluator.h"
#include "shardscout/event_file.h"
#include "shardscout/megatron_rule.h"
#include "shardscout/plan.h"
#include "shardscout/problem.h"
#include "shardscout/screening.h"
#include "shardscout/search_environment.h"
#include "shardscout/searcher.h"

/// From a problem to a plan: what `shardscout search` does, for a C++ program. Builds the space, normalises by the
/// Megatron rule, opens the journal, runs a searcher inside a search environment, and re-evaluates its winner by itself
/// (nobody marks their own homework) before it becomes a plan.
namespace shardscout {

/// Strategies that every searcher is given first, charged to its budget.
enum class StartFrom : std::uint8_t { kNone, kMegatron };
std::string_view ToString(StartFrom start);
StartFrom ParseStartFrom(std::string_view text, std::string_view place);

struct SearchRequest {
  std::string searcher = "ppo";
  SearcherSettings settings = {};
  std::string evaluator = "analytical";
  std::int64_t budget = 4000;  ///< Charged evaluations, >= 1.
  std::uint64_t seed = 1;
  StartFrom start = StartFrom::kNone;
  std::optional<ScreenRequest> screen = {};  ///< A cheaper evaluator's search first (screening.h).
  std::size_t top = 0;                       ///< SearchReport::top holds so many.
  int threads = 0;                           ///< 0: OpenMP's default. Changes no result.
  double time_limit_s = 0;                   ///< 0: none. A time-limited search is not repeatable.
  /// Above 0: the search ends as soon as its best is proved to be within this of the optimum, (bound / best) - 1 where
  /// more is better. The bound is that of `exact`, which is asked for it first, free of charge, and stops at the same
  /// gap; what it finds is not told to the searcher. Its time counts to time_limit_s, of which it takes half at most.
  /// SpecError where `exact` does not know the evaluator.
  double until_gap = 0;
  std::string journal_path = {};  ///< "": no journal.
  bool resume = false;            ///< Replays the journal at journal_path; needs one.
  std::string build = {};         ///< Of what else is linked in (LibTorch), noted in the journal beside Version().
  const std::atomic<bool>* stop = nullptr;  ///< Set by Ctrl-C. Not owned.
  std::function<void(const Progress&)> on_progress = {};
  OnScalars on_scalars = {};  ///< What the searcher tells of its learning (event_file.h).
  /// EnvironmentOptions::evaluate_batch. Changes no result.
  std::function<std::vector<Evaluation>(std::span<const Strategy>)> evaluate_batch = {};
};

/// What a search found. Wall times are here and never in the plan.
struct SearchReport {
  std::string searcher;
  SearchStatus status = SearchStatus::kNothingFound;
  SpaceSize space;
  MegatronAnswer megatron;  ///< The rule's own strategy: the normaliser, free of charge.
  double normaliser = 1;    ///< Its objective.
  std::optional<ScreenReport> screen;
  std::optional<Scored> best;       ///< Best strategy seen, feasible or not.
  std::optional<Plan> plan;         ///< Of the best strategy; absent where none was feasible.
  std::vector<Scored> top;          ///< Best first.
  std::vector<double> best_so_far;  ///< Best reward after each charged evaluation.
  std::int64_t evaluations = 0;
  std::int64_t feasible_evaluations = 0;
  std::int64_t replayed = 0;  ///< Of the charged evaluations, how many a resumed journal had already paid for.
  double bound_s = 0;         ///< Of wall_s, how long the bound of until_gap took.
  double wall_s = 0;
  std::vector<std::string> warnings;
};

/// Throws SpecError for what the user asked wrongly (unknown searcher, empty space, an unwritable or foreign journal).
/// The problem must outlive the call only.
SearchReport RunSearch(const Problem& problem, const SearchRequest& request, const SearcherRegistry& searchers,
                       const EvaluatorRegistry& evaluators);

/// Has the request's search write its curves to a TensorBoard event file: after every batch search/best_reward (once a
/// strategy was scored) and search/feasible_share, and what the searcher itself records (ppo: agents/ppo_searcher.h),
/// each at the number of charged evaluations. The callbacks that the request had are still called. `file` must outlive
/// the search.
void WriteCurves(SearchRequest& request, EventFile& file);

/// Index of the report with the best strategy (feasible before infeasible); reports of the same problem. Ties go to the
/// smaller strategy, then to the first. `reports` must not be empty.
std::size_t BestReport(std::span<const SearchReport> reports);

/// Each chosen searcher's share of a configuration file and of "--set name.key=value" assignments, in the order of
/// `chosen`. The file is one JSON object: searcher name -> object of its settings (an empty `config_place`: no file);
/// it may speak of searchers that were not chosen, an assignment may not. SpecError for a name that is not registered.
std::vector<SearcherSettings> SettingsFor(const std::vector<std::string>& chosen, const SearcherRegistry& searchers,
                                          std::string_view config_json, const std::string& config_place,
                                          const std::vector<std::string>& assignments);

/// One strategy, priced.
struct StrategyReport {
  Evaluation evaluation;
  Breakdown breakdown;
  double reward = 0;
  MegatronAnswer megatron;
  double normaliser = 1;
};

/// SpecError, with the rule that it breaks, where the strategy is not valid and canonical on the problem.
StrategyReport EvaluateStrategy(const Problem& problem, const Strategy& strategy, const std::string& evaluator,
                                const EvaluatorRegistry& evaluators);

/// What would have to give for `nearest` to be feasible: the limits that it breaks, at its own values. A field is set
/// where that limit is broken.
struct Relaxation {
  std::optional<double> memory_fraction;  ///< Above 1: no setting helps, the device is too small.
  std::optional<double> ttft_target_s;
  std::optional<double> tpot_target_s;
};
Relaxation RelaxationFor(const Problem& problem, const Evaluation& nearest);

/// The smallest whole number of nodes, in devices, on which megatron-tuned finds a feasible strategy within `budget`
/// evaluations; nullopt where none up to `max_devices` is. A sufficient count, not a necessary one: another searcher
/// may do with fewer. Found by doubling and bisection (a strategy that fits n devices fits more).
std::optional<std::int64_t> SufficientDevices(const Problem& problem, const std::string& evaluator,
                                              const EvaluatorRegistry& evaluators, std::int64_t budget,
                                              std::int64_t max_devices, const std::atomic<bool>* stop = nullptr);

}  // namespace shardscout
