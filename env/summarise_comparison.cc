#include <algorithm>
#include <cmath>
#include <span>
#include <sstream>
#include <string>
#include <utility>

#include "shardscout/comparison.h"
#include "shardscout/error.h"

namespace shardscout {
namespace {

/// A score this near the reference counts as having got there.
constexpr double kNear = 0.99;
/// What rounding may add to a score of 1.
constexpr double kTolerance = 1e-9;
constexpr int kMostCurvePoints = 100;
constexpr int kProfileSteps = 100;

/// What one run comes to.
struct ScoredRun {
  double score = 0, area = 0;
  std::optional<std::int64_t> until;
  std::vector<double> curve;
  double wall_s = 0;
  bool feasible = false;
};

/// The runs of one searcher: one list a problem.
using Strata = std::vector<std::vector<ScoredRun>>;

double ScoreOf(double reward, const Reference& reference) { return std::max(reward, 0.0) / reference.reward; }

/// Best-so-far score after each evaluation.
std::vector<double> ScoreCurve(const ComparisonRun& run, const Reference& reference) {
  std::vector<double> scores(static_cast<std::size_t>(run.evaluations), 0.0);
  double score = 0;
  std::size_t next = 0;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    if (next < run.improvements.size() && run.improvements[next].evaluation == static_cast<std::int64_t>(i) + 1) {
      score = ScoreOf(run.improvements[next++].reward, reference);
    }
    scores[i] = score;
  }
  SHARDSCOUT_CHECK_OP(next, ==, run.improvements.size());
  return scores;
}

ScoredRun Score(const ComparisonRun& run, const Reference& reference, const Comparison& comparison) {
  const std::vector<double> scores = ScoreCurve(run, reference);
  ScoredRun scored;
  scored.score = scores.empty() ? 0 : scores.back();
  scored.area = AreaUnderCurve(scores, comparison.budget);
  scored.until = EvaluationsUntil(scores, kNear);
  for (const std::int64_t at : comparison.curve_at) {
    const auto last = std::min(static_cast<std::size_t>(at), scores.size());
    scored.curve.push_back(last == 0 ? 0 : scores[last - 1]);
  }
  scored.wall_s = run.wall_s;
  scored.feasible = scored.score > 0;
  return scored;
}

template <class F>
std::vector<double> All(const Strata& strata, const F& value) {
  std::vector<double> values;
  for (const auto& stratum : strata) {
    for (const ScoredRun& run : stratum) values.push_back(value(run));
  }
  return values;
}

double Mean(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

SearcherSummary SummaryOf(const std::string& searcher, const Strata& strata, const Comparison& comparison) {
  SearcherSummary summary;
  summary.searcher = searcher;
  const std::vector<double> scores = All(strata, [](const ScoredRun& run) { return run.score; });
  std::vector<std::vector<double>> stratified;
  std::vector<std::optional<std::int64_t>> until;
  for (const auto& stratum : strata) {
    stratified.emplace_back();
    for (const ScoredRun& run : stratum) {
      stratified.back().push_back(run.score);
      until.push_back(run.until);
    }
  }
  const auto never = std::count(until.begin(), until.end(), std::nullopt);
  summary.runs = static_cast<std::int64_t>(scores.size());
  summary.score = InterquartileMean(scores);
  summary.interval = BootstrapInterval(stratified);
  summary.feasible_share = Mean(All(strata, [](const ScoredRun& run) { return run.feasible ? 1.0 : 0.0; }));
  summary.area = InterquartileMean(All(strata, [](const ScoredRun& run) { return run.area; }));
  summary.evaluations_until = MedianOrNever(until);
  summary.never_share = static_cast<double>(never) / static_cast<double>(until.size());
  summary.best_score = *std::max_element(scores.begin(), scores.end());
  summary.worst_score = *std::min_element(scores.begin(), scores.end());
  summary.wall_s = Mean(All(strata, [](const ScoredRun& run) { return run.wall_s; }));
  for (std::size_t i = 0; i < comparison.curve_at.size(); ++i) {
    summary.curve.push_back(InterquartileMean(All(strata, [i](const ScoredRun& run) { return run.curve[i]; })));
  }
  summary.profile = PerformanceProfile(stratified, comparison.taus);
  return summary;
}

std::vector<std::int64_t> CurvePoints(std::int64_t budget) {
  std::vector<std::int64_t> points;
  for (int i = 0; i < kMostCurvePoints; ++i) {
    const double share = static_cast<double>(i) / (kMostCurvePoints - 1);
    const auto point = static_cast<std::int64_t>(std::llround(std::pow(static_cast<double>(budget), share)));
    if (points.empty() || point > points.back()) points.push_back(point);
  }
  return points;
}

ProblemSummary Describe(const ComparedProblem& compared, const Reference& reference) {
  const Problem& problem = *compared.problem;
  ProblemSummary summary;
  summary.name = compared.name;
  summary.model = problem.model().name;
  summary.cluster = problem.cluster().name;
  summary.workload = problem.workload().name;
  summary.objective = ToString(problem.workload().objective);
  summary.devices = problem.cluster().num_devices;
  summary.reference = reference;
  return summary;
}

/// What is wrong with a run, or "".
std::string Impossible(const ComparisonRun& run, const Reference& reference) {
  const double reward = run.improvements.empty() ? 0 : run.improvements.back().reward;
  if (reward <= reference.reward * (1 + kTolerance)) return "";
  std::ostringstream text;
  text << run.searcher << " on " << run.problem << " with seed " << run.seed;
  if (reference.kind == ReferenceKind::kInfeasible) {
    text << " found a strategy where none is feasible";
  } else {
    text << " is better than the proved " << ToString(reference.kind) << ": its score is 1 + "
         << reward / reference.reward - 1;
  }
  return text.str();
}

}  // namespace

Comparison Summarise(const ComparisonRequest& request, const ComparisonResults& results) {
  SHARDSCOUT_CHECK(results.complete);
  SHARDSCOUT_CHECK_OP(results.references.size(), ==, request.problems.size());
  Comparison comparison;
  comparison.name = request.name;
  comparison.budget = request.budget;
  comparison.first_seed = request.first_seed;
  comparison.num_seeds = request.num_seeds;
  comparison.evaluator = request.evaluator;
  comparison.curve_at = CurvePoints(request.budget);
  for (int i = 0; i <= kProfileSteps; ++i) comparison.taus.push_back(static_cast<double>(i) / kProfileSteps);

  std::vector<Strata> strata(request.searchers.size());
  std::size_t next = 0;
  for (std::size_t p = 0; p < request.problems.size(); ++p) {
    const Reference& reference = results.references[p];
    ProblemSummary summary = Describe(request.problems[p], reference);
    for (std::size_t s = 0; s < request.searchers.size(); ++s) {
      std::vector<ScoredRun> scored;
      for (; next < results.runs.size(); ++next) {
        const ComparisonRun& run = results.runs[next];
        if (run.problem != summary.name || run.searcher != request.searchers[s].name) break;
        if (std::string wrong = Impossible(run, reference); !wrong.empty()) {
          comparison.impossible.push_back(std::move(wrong));
        }
        if (reference.reward > 0) scored.push_back(Score(run, reference, comparison));
      }
      if (scored.empty()) continue;
      summary.searchers.push_back(SummaryOf(request.searchers[s].name, {scored}, comparison));
      strata[s].push_back(std::move(scored));
    }
    comparison.problems.push_back(std::move(summary));
  }
  SHARDSCOUT_CHECK_OP(next, ==, results.runs.size());
  for (std::size_t s = 0; s < strata.size(); ++s) {
    if (strata[s].empty()) continue;
    comparison.overall.push_back(SummaryOf(request.searchers[s].name, strata[s], comparison));
  }
  return comparison;
}

}  // namespace shardscout
