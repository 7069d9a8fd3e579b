#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "shardscout/problem.h"
#include "shardscout/random.h"
#include "shardscout/strategy.h"

namespace shardscout {

/// Decision variables: the fields of a Strategy in emission order, one a sharded operator, and training's own.
enum class Variable : std::uint8_t {
  kPipelineParallelSize,
  kTensorParallelSize,
  kContextParallelSize,
  kDataParallelSize,
  kExpertParallelSize,
  kExpertTensorParallelSize,
  kBatchSize,
  kNumMicrobatches,
  kResidualLayout,
  kDenseFfnGroup,
  kExpertExchange,
  kOverlap,
  kFirstSharding,  ///< kFirstSharding + i is the sharding of Operator(i).
  kVirtualPipelineParallelSize = kFirstSharding + kNumShardedOperators,
  kHeadLayers,
  kZeroStage,
  kRecomputation,
  kRecomputedLayers,
};
inline constexpr int kFirstShardingVariable = static_cast<int>(Variable::kFirstSharding);
/// Those of inference; the others have one value there.
inline constexpr int kNumInferenceVariables = kFirstShardingVariable + static_cast<int>(kNumShardedOperators);
inline constexpr int kNumVariables = kNumInferenceVariables + 5;
constexpr bool IsSharding(int variable) {
  return variable >= kFirstShardingVariable && variable < kNumInferenceVariables;
}

/// Spelled as in a strategy's JSON: "tensor_parallel_size", "shardings.qkv".
std::string VariableName(int variable);

/// A variable's value (see GetVariable) as a strategy's JSON spells it: "8", "token_sharded", "heads".
std::string ValueName(int variable, std::int64_t value);

/// One value of each variable, in Strategy's own numbers: sizes as they are, enumerations by their ordinal.
std::int64_t GetVariable(const Strategy& strategy, int variable);
void SetVariable(Strategy& strategy, int variable, std::int64_t value);

/// A compound action: for each variable the index of its value in StrategySpace::Values.
using Choices = std::vector<int>;

/// How many strategies a space holds. `exact` false: a proved lower bound (some degrees were not enumerated).
struct SpaceSize {
  double strategies = 0;
  double degree_tuples = 0;  ///< (pp, tp, cp, dp, ep, etp) with one strategy or more.
  bool exact = true;
};

/// The canonical valid strategies of a problem (docs/strategy_space.md, "Valid" and "Canonical"), as a tree of
/// decisions without dead ends: a prefix that AllowedChoices admits can always be completed, and what is completed is
/// valid and canonical. Immutable and thread safe. The problem must outlive the space.
class StrategySpace {
 public:
  explicit StrategySpace(const Problem& problem);
  explicit StrategySpace(Problem&&) = delete;
  ~StrategySpace();
  StrategySpace(const StrategySpace&) = delete;
  StrategySpace& operator=(const StrategySpace&) = delete;

  const Problem& problem() const { return problem_; }

  /// The variables that the workload has: the first kNumInferenceVariables, or all.
  int NumVariables() const;

  /// The values that a variable takes somewhere in the space, rising. Sizes may be many (up to the number of devices).
  std::span<const std::int64_t> Values(int variable) const;

  /// mask[i] = 1 where Values(variable)[i] may follow the given choices, variable = prefix.size() < kNumVariables.
  /// `mask` gets Values(variable).size() entries; at least one is 1 when the prefix is itself admitted. Empty space:
  /// SpecError at construction.
  void AllowedChoices(std::span<const int> prefix, std::vector<std::uint8_t>& mask) const;

  /// Unnormalised weights of a scale-free prior over the values of a variable, the same for every searcher's start: 1/v
  /// for parallel sizes (log-uniform), 1 for the rest. [Values(variable).size()]
  std::span<const double> PriorWeights(int variable) const;

  /// "" when the strategy is in the space, else the first rule that it breaks, in words, with the values concerned.
  std::string WhyNot(const Strategy& strategy) const;
  bool Contains(const Strategy& strategy) const { return WhyNot(strategy).empty(); }

  /// Inverse of Decode. The strategy must be in the space.
  Choices Encode(const Strategy& strategy) const;
  Strategy Decode(const Choices& choices) const;

  /// Variable by variable among the allowed choices, by PriorWeights.
  Strategy Sample(Rng& rng) const;

  /// The nearest member to `wanted`: variable by variable the wanted value where allowed, else the allowed one nearest
  /// in Values.
  Strategy Repair(const Strategy& wanted) const;

  /// A random different member close by: one variable that has a choice gets another allowed value (sizes: mostly one
  /// of the two allowed neighbours in Values; degrees: half the time a second degree gives way so that the product is
  /// kept), the rest is repaired. The strategy itself where the space has one member.
  Strategy Neighbour(const Strategy& strategy, Rng& rng) const;

  /// Calls `visit` for every member, in lexicographic order, until it returns false. For small spaces.
  void ForEach(const std::function<bool(const Strategy&)>& visit) const;

  /// Counts; cheap after the first call.
  SpaceSize Size() const;

 private:
  struct Impl;
  const Problem& problem_;
  std::unique_ptr<Impl> impl_;
};

/// The shardings that an operator admits at all, kNone first.
std::span<const Sharding> AdmittedShardings(Operator op);

}  // namespace shardscout
