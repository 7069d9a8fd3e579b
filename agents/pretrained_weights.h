#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace shardscout::agents {

/// What a policy has learned on other problems: a network that scores any choice of any problem by its features
/// (strategies/strategy_features.h), and a strategy's value.
///
///     h = relu(A p + B s + a)            p: problem, s: a strategy with its choices so far
///     g = relu(C h + c)
///     (logit, value) = E g + F s + e
///
/// The logits of the choices that a mask leaves are the policy's. The value of a whole strategy is log(value / optimum)
/// but for a constant of the problem, and about kInfeasibleValue less than that where it would break a limit.
struct PretrainedWeights {
  std::vector<std::string> problem_features, strategy_features;
  std::size_t width = 0, inner_width = 0;
  /// A, B, a, C, c, E, e, F row by row; matrices have one row an input.
  std::vector<float> numbers;
  std::string origin;  ///< How they were trained, for people.

  std::size_t NumNumbers() const;
  bool operator==(const PretrainedWeights&) const = default;
};

/// What infeasible strategies are trained to lie below, feasible ones above.
inline constexpr double kInfeasibleValue = -3;

/// configs/policies/ppo.weights of the presets in use.
std::string PretrainedWeightsPath();

/// Of the numbers, as the file's header has it.
std::string DigestOf(const PretrainedWeights& weights);

/// A line of JSON (format, version, digest of what follows, names and widths), then the numbers as little-endian
/// float32. SpecError with what to do where the file can't be read, is of another version, or is not what its digest
/// says.
PretrainedWeights ReadPretrainedWeights(const std::string& path);
void WritePretrainedWeights(const PretrainedWeights& weights, const std::string& path);

}  // namespace shardscout::agents
