#include "shardscout/strategy_difference.h"

#include <string>
#include <utility>

#include "shardscout/error.h"
#include "shardscout/reward.h"

namespace shardscout {
namespace {

/// How many times as good `a` is as `b`.
double Ratio(const Problem& problem, const Evaluation& a, const Evaluation& b) {
  const WorkloadSpec& workload = problem.workload();
  const ObjectiveValue x = ObjectiveOf(a, workload.objective, workload.kind);
  return x.TimesAsGoodAs(ObjectiveOf(b, workload.objective, workload.kind).value);
}

SingleChange Change(const StrategySpace& space, const Strategy& from, int variable, std::int64_t value,
                    const std::function<Evaluation(const Strategy&)>& evaluate) {
  SingleChange change;
  change.strategy = WithVariable(space, from, variable, value);
  for (int v = 0; v < kNumVariables; ++v) {
    const std::int64_t before = GetVariable(from, v), after = GetVariable(change.strategy, v);
    if (v != variable && before != after) change.also.push_back({v, before, after});
  }
  change.evaluation = evaluate(change.strategy);
  return change;
}

}  // namespace

Strategy WithVariable(const StrategySpace& space, const Strategy& strategy, int variable, std::int64_t value) {
  Strategy changed = strategy;
  SetVariable(changed, variable, value);
  if (space.Contains(changed)) return changed;
  const Problem& problem = space.problem();
  ProblemOptions options = problem.options();
  options.fixed[VariableName(variable)] = ValueName(variable, value);
  const Problem fixed(problem.model(), problem.cluster(), problem.workload(), std::move(options));
  changed = StrategySpace(fixed).Repair(changed);
  // NOLINTNEXTLINE(readability-container-size-empty): a check prints what it compares.
  SHARDSCOUT_CHECK_OP(space.WhyNot(changed), ==, "");
  return changed;
}

StrategyDifference CompareStrategies(const StrategySpace& space, const Strategy& ours, const Strategy& theirs,
                                     const std::function<Evaluation(const Strategy&)>& evaluate) {
  const Problem& problem = space.problem();
  StrategyDifference difference;
  difference.ours = evaluate(ours);
  difference.theirs = evaluate(theirs);
  difference.earns = Ratio(problem, difference.ours, difference.theirs);
  for (int v = 0; v < kNumVariables; ++v) {
    VariableDifference row;
    row.variable = v;
    row.ours = GetVariable(ours, v);
    row.theirs = GetVariable(theirs, v);
    if (row.ours == row.theirs) continue;
    row.back = Change(space, ours, v, row.theirs, evaluate);
    row.back.earns = Ratio(problem, difference.ours, row.back.evaluation);
    row.forward = Change(space, theirs, v, row.ours, evaluate);
    row.forward.earns = Ratio(problem, row.forward.evaluation, difference.theirs);
    difference.variables.push_back(std::move(row));
  }
  return difference;
}

}  // namespace shardscout
