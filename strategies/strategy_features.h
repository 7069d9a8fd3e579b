#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "shardscout/strategy_space.h"

/// A problem and a strategy, begun or whole, as numbers of about 1 in size: what a policy that serves all problems
/// sees. No number is an index into one problem's values, so that what is learned of one problem holds for another.
///
/// Of the problem: sizes of the model, rates of the device and the network, lengths and targets of the workload, as
/// logarithms; kinds as 0 or 1. Of a strategy: each size's logarithm, each other value as 0 or 1, and what follows from
/// them by a roofline: parts of the device's memory, the network tier that each group spans, and the seconds of a stage
/// for weights, cache, products and collectives, against each other and against the targets. The roofline knows peaks
/// and nothing of curves: it is there to say what competes with what. Where a variable is not decided yet, its size is
/// 1 and its sharding the one that holds least.
///
/// Every feature has a name. Weights are stored with the names that they were trained on, so that a decision variable
/// or a value that is new leaves them usable: it has no feature in them.
namespace shardscout {

/// Names of the features of any problem, in order.
std::span<const std::string> ProblemFeatureNames();

/// [ProblemFeatureNames().size()]
std::vector<float> ProblemFeatures(const Problem& problem);

/// Names of the features of a strategy of this space: those of every space first, then two a variable and one a value.
std::vector<std::string> StrategyFeatureNames(const StrategySpace& space);

/// Writes the features of one space's strategies in the order of `names`; 0 for a name that the space does not have.
/// The space must outlive this. Thread safe.
class StrategyFeatures {
 public:
  StrategyFeatures(const StrategySpace& space, std::span<const std::string> names);

  std::size_t size() const { return size_; }
  /// Whether the names hold this variable; else what was trained on them knows nothing of it.
  bool Knows(int variable) const { return variable_column_[static_cast<std::size_t>(variable)] >= 0; }

  /// Names of the features that every space has, in order.
  std::vector<std::string> DerivedNames() const;

  /// row: the features of the first `num_decided` >= 1 variables of `strategy`; the last of them is the one at issue.
  /// [size()]
  void Write(const Strategy& strategy, int num_decided, std::span<float> row) const;

 private:
  /// What every strategy of the problem shares.
  struct Totals {
    double attention_bytes = 0, dense_bytes = 0, shared_bytes = 0, expert_bytes = 0, end_bytes = 0;  ///< Weights.
    double cache_bytes = 0;       ///< Of a request at its last position.
    double limit_bytes = 0;       ///< Of a device.
    double layer_parameters = 0;  ///< Used for a token, in all layers, attention and dense parts.
    double expert_parameters = 0;
    double peak_flop_per_s = 1;
  };
  struct Tier {
    double span = 0, bytes_per_s = 1, latency_s = 0;
  };
  struct Split;
  struct StageSeconds;

  const Tier& TierOf(double ranks) const;
  Split SplitOf(const Strategy& strategy, int num_decided) const;
  StageSeconds SecondsOf(const Split& split, Phase phase) const;
  template <class Visit>
  void VisitDerived(const Strategy& strategy, int num_decided, Visit visit_named) const;

  const StrategySpace& space_;
  std::size_t size_;
  Totals totals_;
  std::vector<Tier> tiers_;
  std::vector<int> derived_column_;                   ///< Of each derived feature; -1: not among the names.
  std::array<int, kNumVariables> variable_column_{};  ///< 1 where the variable is the one at issue.
  std::array<int, kNumVariables> size_column_{};      ///< Logarithm of its value.
  std::array<std::vector<std::pair<std::int64_t, int>>, kNumVariables> value_column_;  ///< 1 where it has that value.
};

}  // namespace shardscout
