#include "env/screening.h"

#include <algorithm>
#include <memory>
#include <string>
#include <unordered_set>
#include <utility>

#include "shardscout/error.h"
#include "shardscout/reward.h"

namespace shardscout::env {
namespace {

/// The search's own but for what the screen says, without journal.
SearchRequest ScreeningSearch(const SearchRequest& request) {
  const ScreenRequest& screen = *request.screen;
  SearchRequest search = request;
  search.screen.reset();
  search.journal_path.clear();
  search.resume = false;
  search.evaluator = screen.evaluator;
  search.budget = screen.budget;
  search.top = screen.keep;
  if (!screen.searcher.empty()) {
    search.searcher = screen.searcher;
    search.settings = screen.settings;
  }
  return search;
}

}  // namespace

void CheckScreen(const Problem& problem, const SearchRequest& request, const SearcherRegistry& searchers,
                 const EvaluatorRegistry& evaluators) {
  const ScreenRequest& screen = *request.screen;
  if (screen.evaluator == request.evaluator) {
    throw SpecError("--screen", "found \"" + screen.evaluator + "\", which is the search's own --evaluator");
  }
  if (screen.budget < 1) {
    throw SpecError("--screen-budget", "found " + std::to_string(screen.budget) + ", expected at least 1");
  }
  if (screen.keep < 1) throw SpecError("--screen-keep", "found 0, expected at least 1");
  const SearchRequest search = ScreeningSearch(request);
  evaluators.Make(search.evaluator, problem);        // Throws for one that there is not,
  searchers.Make(search.searcher, search.settings);  // and so does this.
}

std::string DescribeScreen(const ScreenRequest& screen, const SearcherRegistry& searchers) {
  const std::string configuration =
      screen.searcher.empty() ? "" : searchers.Make(screen.searcher, screen.settings)->ConfigJson();
  return screen.evaluator + "\n" + screen.searcher + "\n" + configuration + "\n" + std::to_string(screen.budget) +
         "\n" + std::to_string(screen.keep);
}

ScreenReport RunScreen(const Problem& problem, const StrategySpace& space, const SearchRequest& request,
                       const SearcherRegistry& searchers, const EvaluatorRegistry& evaluators) {
  const ScreenRequest& screen = *request.screen;
  const SearchReport found = RunSearch(problem, ScreeningSearch(request), searchers, evaluators);

  ScreenReport report{.evaluator = screen.evaluator,
                      .searcher = found.searcher,
                      .status = found.status,
                      .budget = screen.budget,
                      .evaluations = found.evaluations,
                      .kept = found.top,
                      .of_best = {},
                      .wall_s = found.wall_s};
  // A cheap evaluator may not see what `overlap` does, so that each goes on with every one that is admitted.
  const std::unique_ptr<Evaluator> evaluator = evaluators.Make(screen.evaluator, problem);
  std::unordered_set<Strategy, StrategyHash> kept;
  for (const Scored& scored : found.top) kept.insert(scored.strategy);
  const WorkloadSpec& workload = problem.workload();
  for (const Scored& scored : found.top) {
    for (const Overlap overlap : problem.options().admitted_overlaps) {
      Strategy variant = scored.strategy;
      variant.overlap = overlap;
      if (!space.Contains(variant) || !kept.insert(variant).second) continue;
      const Evaluation evaluation = evaluator->Evaluate(variant);
      report.kept.push_back(
          {variant, evaluation, Reward(evaluation, workload.objective, workload.kind, found.normaliser)});
    }
  }
  std::sort(report.kept.begin(), report.kept.end(), Better);
  if (report.kept.size() > screen.keep) report.kept.resize(screen.keep);
  return report;
}

}  // namespace shardscout::env
