#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "shardscout/evaluation.h"
#include "shardscout/strategy_space.h"

namespace shardscout {

/// Another variable that moved along with the one that was changed.
struct MovedVariable {
  int variable = 0;
  std::int64_t from = 0;
  std::int64_t to = 0;
  bool operator==(const MovedVariable&) const = default;
};

/// A strategy with one decision variable set to another value.
struct SingleChange {
  Strategy strategy;  ///< A member of the space.
  /// What else had to move, in emission order, because the space has no member that differs in the one variable alone.
  std::vector<MovedVariable> also;
  Evaluation evaluation;
  double earns = 1;  ///< See VariableDifference.
};

/// One decision variable in which two strategies, ours and theirs, differ, and what it earns: how many times as good
/// the objective is with our value as with theirs, all else equal (but for `also`). Above 1: our value is better. Each
/// of the two looks at it from one end; where they disagree, the variable's worth depends on others.
struct VariableDifference {
  int variable = 0;
  std::int64_t ours = 0;
  std::int64_t theirs = 0;
  SingleChange back;     ///< Our strategy with their value; earns = ours / changed.
  SingleChange forward;  ///< Their strategy with our value; earns = changed / theirs.
};

/// Where two strategies of one problem differ, one variable at a time.
struct StrategyDifference {
  Evaluation ours, theirs;
  double earns = 1;                           ///< Of all differences together: ours / theirs.
  std::vector<VariableDifference> variables;  ///< In emission order.
};

/// The member of the space nearest to `strategy` in which `variable` has `value`: that one change alone where it is
/// valid, else repaired, variable by variable, among the members that have the value. Some member must have it.
/// Example: dp 4, ep 8 on tp 2 with dp set to 2 has to bring ep down to 4.
Strategy WithVariable(const StrategySpace& space, const Strategy& strategy, int variable, std::int64_t value);

/// Ratios are of the problem's objective, inverted where smaller is better, with limits ignored: a change may well earn
/// by breaking one, which its evaluation tells. Both strategies must be members of the space. Calls `evaluate` on both
/// and twice for each variable in which they differ. Example: of 300 and 200 tokens/s/device ours earns 1.5; if with
/// their tensor_parallel_size ours has 240, that size earns 1.25.
StrategyDifference CompareStrategies(const StrategySpace& space, const Strategy& ours, const Strategy& theirs,
                                     const std::function<Evaluation(const Strategy&)>& evaluate);

}  // namespace shardscout
