#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "shardscout/strategy_space.h"
#include "strategies/sharding_rules.h"

namespace shardscout {

constexpr int Index(Variable variable) { return static_cast<int>(variable); }

/// The tree of decisions. Degrees are looked ahead exactly: a size is allowed when some completion exists, found by
/// descending through the values in rising order (almost always the first works), with one test that no later choice
/// can mend made first.
struct StrategySpace::Impl {
  explicit Impl(const Problem& problem);

  /// One expert mesh shape: ep divides the experts, etp splits their width.
  struct ExpertMesh {
    std::int64_t ep = 1;
    std::int64_t etp = 1;
  };

  /// The values of a layer variable (from residual_layout on) that may follow; the strategy holds all degrees, the
  /// batch, the micro-batches and, for the FFN shardings, the group.
  bool LayerValueAllowed(const Strategy& s, int variable, std::int64_t value) const;
  /// Every layer variable has an allowed value.
  bool LayersComplete(const Strategy& s) const;
  /// A batch and micro-batch exist under which the layers complete.
  bool BatchExists(const Strategy& degrees) const;
  bool MicrobatchExists(const Strategy& s) const;
  bool ExpertMeshExists(const Strategy& s) const;  ///< pp, tp, cp, dp given.
  bool DataExists(const Strategy& s) const;        ///< pp, tp, cp given.
  /// Whether training's variables from this one on have values.
  bool TrainingComplete(const Strategy& s, int variable) const;
  bool ContextExists(const Strategy& s) const;  ///< pp, tp given.
  bool TensorExists(const Strategy& s) const;   ///< pp given.

  bool Allowed(const Strategy& s, int variable, std::int64_t value) const;
  /// Whether all values from 2 up are allowed alike, as far as devices reach: cp and dp of large clusters have tens of
  /// thousands.
  bool SizesAreAlike(const Strategy& s, int variable) const;
  void Mask(const Strategy& s, int variable, std::vector<std::uint8_t>& mask) const;

  /// The admitted batch sizes for these degrees: one where the workload gives it, else all.
  std::span<const std::int64_t> Batches(const Strategy& degrees) const;
  bool Fixed(int variable, std::int64_t value) const {
    const auto& fixed = fixed_values[static_cast<std::size_t>(variable)];
    return !fixed || *fixed == value;
  }
  /// A framework decides what is admitted beside the rules of the model.
  bool Framed() const { return problem.options().framework.has_value(); }
  std::int64_t MaxStage(const Strategy& s) const { return problem.cluster().num_devices / s.pipeline_parallel_size; }

  SpaceSize Count() const;
  SpaceSize CountFramed() const;
  /// Of training's own variables.
  double CountTraining(const Strategy& strategy) const;

  const Problem& problem;
  strategies::ShardingRules rules;
  std::array<std::optional<std::int64_t>, kNumVariables> fixed_values;
  bool any_fixed = false;
  std::array<std::vector<std::int64_t>, kNumVariables> values;
  std::array<std::vector<double>, kNumVariables> prior;
  std::vector<ExpertMesh> expert_meshes;  ///< Admitted by the model and the fixed values.

  /// Masks of the first degrees are asked for again and again; kept by their prefix, up to a bound.
  mutable std::mutex cache_mutex;
  mutable std::map<std::array<std::int64_t, 4>, std::vector<std::uint8_t>> mask_cache;
  mutable std::optional<SpaceSize> counted;
};

}  // namespace shardscout
