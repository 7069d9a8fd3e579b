#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "shardscout/comparison_statistics.h"
#include "shardscout/evaluator.h"
#include "shardscout/problem.h"
#include "shardscout/run_search.h"
#include "shardscout/searcher.h"

/// Searchers x problems x seeds under one budget: what `shardscout compare --suite` does, for a C++ program.
///
/// Every run is a search of its own through RunSearch, so that all are counted alike. Its score is the best value over
/// the problem's optimum, turned so that larger is better (comparison_statistics.h). The optimum is proved first, once
/// a problem, by the searcher `exact`, and costs no run anything.
namespace shardscout {

/// By what the values of a problem are divided.
enum class ReferenceKind : std::uint8_t {
  kOptimum,     ///< The best value, proved.
  kBound,       ///< A proved bound: the proof did not finish in time, so that scores are too low rather than too high.
  kBestFound,   ///< The best that any run of this comparison found: no proof for this evaluator, or no bound in time.
  kInfeasible,  ///< Proved to have no feasible strategy: nothing to score.
  kNoneFound,   ///< Nothing is proved and no run found a feasible strategy: nothing to score either.
};
/// "optimum", "bound", "best found", "infeasible", "none found".
std::string_view ToString(ReferenceKind kind);

struct Reference {
  ReferenceKind kind = ReferenceKind::kBestFound;
  double reward = 0;  ///< Of that value, as searchers' rewards are normalised. 0 where there is nothing to score.
  double value = 0;   ///< The objective's own number.
  double wall_s = 0;  ///< That the proof took.
  bool operator==(const Reference&) const = default;
};

/// The best-so-far curve of a search, where it rises.
struct Improvement {
  std::int64_t evaluation = 0;  ///< From 1.
  double reward = 0;            ///< Below 0: nothing feasible yet.
  bool operator==(const Improvement&) const = default;
};

/// One search.
struct ComparisonRun {
  std::string problem, searcher;
  std::int64_t seed = 0;  ///< 0 for a searcher that draws no random numbers: it is run once.
  std::string status;     ///< ToString(SearchStatus)
  std::int64_t evaluations = 0;
  std::int64_t feasible_evaluations = 0;
  double value = 0;                       ///< The objective's own number of the best; 0 where nothing is feasible.
  std::vector<Improvement> improvements;  ///< Rising in both.
  double wall_s = 0;
  bool operator==(const ComparisonRun&) const = default;
};

struct ComparedProblem {
  std::string name;                        ///< Unique within a comparison.
  std::shared_ptr<const Problem> problem;  ///< Shared, since neither copied nor moved into place cheaply.
};

struct ComparedSearcher {
  std::string name;
  SearcherSettings settings;
};

struct ComparisonProgress {
  std::int64_t done = 0, total = 0;  ///< Proofs and runs; those of an earlier process are done.
  std::string last;                  ///< What was done last: "optimum of X", "annealing on X".
};

struct ComparisonRequest {
  std::string name;  ///< As reports call it.
  std::vector<ComparedProblem> problems;
  std::vector<ComparedSearcher> searchers;
  std::string evaluator = "analytical";
  std::int64_t budget = 1000;  ///< Of every run.
  std::int64_t first_seed = 1;
  std::int64_t num_seeds = 20;  ///< first_seed, first_seed + 1, ...
  StartFrom start = StartFrom::kNone;
  std::optional<ScreenRequest> screen;      ///< Of every run, as in SearchRequest.
  double optimum_time_limit_s = 300;        ///< Of one proof; 0: none.
  int threads = 0;                          ///< Runs at a time; 0: OpenMP's default. Changes nothing but wall times.
  std::string results_path;                 ///< Where every run is appended, as JSON lines; "": nowhere.
  bool resume = false;                      ///< Takes what results_path holds; needs one.
  std::string build;                        ///< As in SearchRequest.
  const std::atomic<bool>* stop = nullptr;  ///< Set by Ctrl-C. Not owned.
  std::function<void(const ComparisonProgress&)> on_progress;  ///< From one thread at a time.
};

/// What a comparison gathered, in the order of the request whatever ran first.
struct ComparisonResults {
  std::vector<Reference> references;  ///< [problems]
  std::vector<ComparisonRun> runs;    ///< Problem by problem, searcher by searcher, seed by seed.
  std::int64_t reused = 0;            ///< Of references and runs, how many an earlier process had paid for.
  bool complete = false;              ///< False where it was interrupted; then some are missing.
  std::vector<std::string> warnings;
};

/// Throws SpecError for what the user asked wrongly, before anything is run: an unknown searcher, one that can't work
/// with the evaluator, results that are of another comparison or, without `resume`, are there already.
ComparisonResults RunComparison(const ComparisonRequest& request, const SearcherRegistry& searchers,
                                const EvaluatorRegistry& evaluators);

/// One searcher on one problem, or on all.
struct SearcherSummary {
  std::string searcher;
  std::int64_t runs = 0;
  double score = 0;           ///< Interquartile mean.
  Interval interval;          ///< 95 %, bootstrap; stratified over problems where it is of all.
  double feasible_share = 0;  ///< Of the runs.
  double area = 0;            ///< Interquartile mean of the area under the curve of the best-so-far score.
  std::optional<double> evaluations_until;  ///< Median until the score is 0.99; unset: at least half never get there.
  double never_share = 0;                   ///< Of the runs that never get there.
  double best_score = 0, worst_score = 0;
  double wall_s = 0;            ///< Mean of one run.
  std::vector<double> curve;    ///< Interquartile mean of the best-so-far score. [Comparison::curve_at]
  std::vector<double> profile;  ///< Share of the runs whose score is at least tau. [Comparison::taus]
};

struct ProblemSummary {
  std::string name, model, cluster, workload, objective;
  std::int64_t devices = 0;
  Reference reference;
  std::vector<SearcherSummary> searchers;  ///< Empty where there is nothing to score.
};

/// What reports show.
struct Comparison {
  std::string name;
  std::int64_t budget = 0, first_seed = 0, num_seeds = 0;
  std::string evaluator;
  std::vector<std::int64_t> curve_at;  ///< Evaluations, rising, at most 100, evenly spaced on a logarithmic axis.
  std::vector<double> taus;            ///< From 0 to 1.
  std::vector<ProblemSummary> problems;
  std::vector<SearcherSummary> overall;  ///< Over the problems that have a reference.
  /// Each run that beat its reference by more than 1e-9 of it. A mistake in the searcher or in the proof: nothing may.
  std::vector<std::string> impossible;
};

/// Pure. `results` are complete and of this request.
Comparison Summarise(const ComparisonRequest& request, const ComparisonResults& results);

}  // namespace shardscout
