#include "shardscout/plan_report.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "shardscout/error.h"
#include "shardscout/run_search.h"
#include "shardscout/stage_memory.h"

namespace shardscout {
namespace {

std::string EvaluatorOf(const Plan& plan) {
  return plan.search.evaluator.empty() ? "analytical" : plan.search.evaluator;
}

/// Values to try in place of the plan's: of sizes the two neighbours, of anything else all.
std::vector<std::int64_t> OtherValues(const StrategySpace& space, const Strategy& strategy, int variable) {
  const auto values = space.Values(variable);
  const std::int64_t own = GetVariable(strategy, variable);
  std::vector<std::int64_t> others;
  if (variable >= static_cast<int>(Variable::kResidualLayout)) {
    std::copy_if(values.begin(), values.end(), std::back_inserter(others), [&](std::int64_t v) { return v != own; });
    return others;
  }
  const auto at = std::lower_bound(values.begin(), values.end(), own);
  if (at != values.begin()) others.push_back(*std::prev(at));
  if (at != values.end() && std::next(at) != values.end()) others.push_back(*std::next(at));
  return others;
}

/// nullopt: a variable's values are those of all degrees together, and under the model's rules no strategy has this
/// one.
std::optional<Strategy> NearestWith(const StrategySpace& space, const Strategy& strategy, int variable,
                                    std::int64_t value) {
  try {
    return WithVariable(space, strategy, variable, value);
  } catch (const SpecError&) {
    return std::nullopt;
  }
}

std::vector<Alternative> AlternativesTo(const StrategySpace& space, const Strategy& strategy,
                                        const Evaluator& evaluator) {
  std::vector<Alternative> alternatives;
  for (int variable = 0; variable < kNumVariables; ++variable) {
    for (const std::int64_t value : OtherValues(space, strategy, variable)) {
      Alternative& other = alternatives.emplace_back();
      other.variable = variable;
      other.value = value;
      Strategy changed = strategy;
      SetVariable(changed, variable, value);
      other.broken_rule = space.WhyNot(changed);
      const std::optional<Strategy> nearest = NearestWith(space, strategy, variable, value);
      if (!nearest) continue;
      for (int moved = 0; moved < kNumVariables; ++moved) {
        const std::int64_t from = GetVariable(strategy, moved), to = GetVariable(*nearest, moved);
        if (moved != variable && from != to) other.also.push_back({moved, from, to});
      }
      other.nearest = Rival{*nearest, evaluator.Evaluate(*nearest)};
    }
  }
  return alternatives;
}

std::vector<FrameworkAnswer> AskFrameworks(const Plan& plan, const ExporterRegistry& exporters,
                                           const Evaluator& evaluator) {
  std::vector<FrameworkAnswer> answers;
  for (const std::string& target : exporters.List()) {
    if (target.starts_with("chakra")) continue;  // Traces, a file a rank: no framework runs them.
    FrameworkAnswer& answer = answers.emplace_back();
    answer.target = target;
    try {
      const ExportResult result =
          exporters.Get(target).Export(plan, [&](const Strategy& strategy) { return evaluator.Evaluate(strategy); });
      answer.command = result.command;
      answer.dropped = result.dropped;
      answer.lowered = result.lowered_evaluation;
    } catch (const SpecError& error) {
      answer.refused = error.what();
    }
  }
  return answers;
}

/// The optimum, unless the plan is proved to be it.
void FindOptimum(const PlanReportRequest& request, const SearcherRegistry& searchers,
                 const EvaluatorRegistry& evaluators, PlanReport& report) {
  if (report.plan.certificate && report.plan.certificate->gap <= 0) return;
  SearchRequest search;
  search.searcher = "exact";
  search.threads = request.threads;
  search.time_limit_s = request.time_limit_s;
  search.stop = request.stop;
  const SearchReport found = RunSearch(report.problem, search, searchers, evaluators);
  if (!found.plan) return;
  report.optimum = Rival{found.best->strategy, found.best->evaluation};
  report.optimum_certificate = found.plan->certificate;
}

}  // namespace

PlanReport MakePlanReport(const Plan& plan, const PlanReportRequest& request, const SearcherRegistry& searchers,
                          const EvaluatorRegistry& evaluators, const ExporterRegistry& exporters) {
  PlanReport report{.problem = ParseProblem(plan.problem_json, "the plan's problem"),
                    .plan = plan,
                    .best_so_far = request.best_so_far,
                    .front = request.front};
  for (const Pool& pool : plan.pools) report.memory.push_back(MemoryByStage(report.problem, pool.strategy));
  if (plan.pools.size() != 1) return report;

  const Strategy& strategy = plan.pools.front().strategy;
  const std::unique_ptr<Evaluator> evaluator = evaluators.Make(EvaluatorOf(plan), report.problem);
  const StrategySpace space(report.problem);
  if (const std::string broken = space.WhyNot(strategy); !broken.empty())
    throw SpecError("the plan's strategy", broken);
  if (report.plan.breakdown.rows.empty()) report.plan.breakdown = evaluator->Explain(strategy);
  const MegatronAnswer megatron =
      MegatronRule(space, [&](const Strategy& candidate) { return evaluator->Evaluate(candidate); });
  report.megatron = Rival{megatron.strategy, megatron.evaluation};
  report.alternatives = AlternativesTo(space, strategy, *evaluator);
  report.frameworks = AskFrameworks(plan, exporters, *evaluator);
  if (EvaluatorOf(plan) != "analytical") return report;
  FindOptimum(request, searchers, evaluators, report);
  // A step of training has one time, and so no front.
  if (!report.front && !report.problem.workload().IsTraining()) {
    report.front = FindParetoFront(
        report.problem, {.threads = request.threads, .time_limit_s = request.time_limit_s, .stop = request.stop},
        evaluators);
  }
  return report;
}

}  // namespace shardscout
