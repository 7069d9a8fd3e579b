#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "shardscout/evaluator.h"
#include "shardscout/exporter.h"
#include "shardscout/pareto.h"
#include "shardscout/plan.h"
#include "shardscout/searcher.h"
#include "shardscout/strategy_difference.h"

/// A plan for people: all that can be said of it, and one page that says it.
namespace shardscout {

/// A strategy to hold the plan against.
struct Rival {
  Strategy strategy;
  Evaluation evaluation;
};

/// The plan with one decision changed: why it was not taken.
struct Alternative {
  int variable = 0;
  std::int64_t value = 0;           ///< In place of the plan's.
  std::string broken_rule;          ///< What that change alone breaks; "": nothing.
  std::vector<MovedVariable> also;  ///< What else moved, then, to reach the nearest strategy that is valid.
  std::optional<Rival> nearest;     ///< That strategy; empty: no valid one has the value.
};

/// What a framework makes of the plan.
struct FrameworkAnswer {
  std::string target;   ///< "vllm@0.24"
  std::string refused;  ///< Why it runs nothing like the plan; "": it runs something.
  std::string command;
  std::vector<Dropped> dropped;       ///< Not empty: it runs another strategy.
  std::optional<Evaluation> lowered;  ///< What that one achieves.
};

struct PlanReportRequest {
  /// Of the search, where there was one: the best reward after each charged evaluation.
  std::vector<double> best_so_far = {};
  /// Unset: looked for, where the plan was made by the analytical evaluator.
  std::optional<ParetoFront> front = {};
  double time_limit_s = 20;  ///< Of the proof and of the front, each.
  int threads = 0;
  const std::atomic<bool>* stop = nullptr;  ///< Set by Ctrl-C. Not owned.
};

struct PlanReport {
  Problem problem;
  Plan plan;
  std::vector<std::vector<MemoryUse>> memory = {};  ///< By pool and stage.
  std::vector<double> best_so_far = {};
  // Of plans with one pool:
  std::optional<Rival> megatron = {};  ///< The Megatron rule's strategy.
  std::optional<Rival> optimum = {};   ///< The best that is known, where that is not the plan itself,
  std::optional<Certificate> optimum_certificate =
      {};  ///< and what is proved of it; of the plan itself: Plan::certificate.
  std::optional<ParetoFront> front = {};
  std::vector<Alternative> alternatives = {};  ///< In emission order, by rising value.
  std::vector<FrameworkAnswer> frameworks = {};
};

/// Scores rivals and alternatives with the plan's own evaluator; asks `exact` for the optimum and for the front where
/// that is the analytical one. SpecError where the plan's evaluator or the like is unknown.
PlanReport MakePlanReport(const Plan& plan, const PlanReportRequest& request, const SearcherRegistry& searchers,
                          const EvaluatorRegistry& evaluators, const ExporterRegistry& exporters);

/// One page that needs nothing else, no network either; light and dark, for a phone and for paper. HaveCharts()
/// (comparison_report.h) must be true.
std::string PlanReportHtml(const PlanReport& report);

}  // namespace shardscout
