#pragma once

#include <optional>
#include <string>

#include "shardscout/evaluation.h"
#include "shardscout/problem.h"
#include "shardscout/strategy.h"
#include "shardscout/strategy_difference.h"

namespace shardscout {

/// One of two deployments that are held against one another.
struct ComparedPlan {
  std::string name;  ///< For people: a file's name, say.
  Problem problem;
  Strategy strategy;
  Evaluation evaluation;
  Breakdown breakdown;  ///< May be empty: then no time is broken down.
};

/// One page that needs nothing else, no network either, as PlanReportHtml's: metrics side by side, where the strategies
/// differ and what each difference earns (`difference`, ours against theirs, where both are of one problem), time and
/// memory by part on one scale, both plans in words. HaveCharts() (comparison_report.h) must be true.
std::string PlanComparisonHtml(const ComparedPlan& ours, const ComparedPlan& theirs,
                               const std::optional<StrategyDifference>& difference);

}  // namespace shardscout
