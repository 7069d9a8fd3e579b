#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "shardscout/strategy_space.h"

namespace shardscout::agents {

/// What a policy network needs to know of one sub-action. Independent of StrategySpace, so that the network can be
/// tested on plain arrays.
struct SubAction {
  std::vector<double> log_prior;  ///< Logarithm of the prior weight of each choice. [num_choices]
  /// Numeric features of each choice, row-major, about 1 in size, or empty where choices are mere names.
  /// [num_choices, features.size() / num_choices]
  std::vector<float> features;
  std::size_t NumChoices() const { return log_prior.size(); }
};

/// A compound action space as a policy sees it: sub-actions in emission order, with masks.
class ActionSpace {
 public:
  virtual ~ActionSpace() = default;
  virtual const std::vector<SubAction>& sub_actions() const = 0;
  /// mask[i] = 1 where choice i may follow the given ones of the sub-actions before; at least one is 1.
  virtual void AllowedChoices(std::span<const int> prefix, std::vector<std::uint8_t>& mask) const = 0;
};

/// The decision variables of a StrategySpace that have more than one value; the others take no step of the policy. The
/// space must outlive this.
///
/// Each size v of the first eight variables (the degrees, batch_size, num_microbatches) carries numeric features: log2
/// v, fifteen bumps over log2 v (so that near sizes look alike), its powers of two and three, whether it is 2^k or 3 *
/// 2^k, and whether it divides the number of devices. A policy starts with embeddings made of them, so that what it
/// learns of tp = 8 holds a little for tp = 16, and the 24,576 sizes of a large cluster need no experience of each.
class StrategyActionSpace : public ActionSpace {
 public:
  explicit StrategyActionSpace(const StrategySpace& space);

  const std::vector<SubAction>& sub_actions() const override { return sub_actions_; }
  void AllowedChoices(std::span<const int> prefix, std::vector<std::uint8_t>& mask) const override;

  /// The space's variable of each sub-action.
  const std::vector<int>& variables() const { return variables_; }

  /// Between a compound action of the policy and a choice for each of the space's variables.
  Choices Expand(std::span<const int> action) const;
  Choices Reduce(const Choices& choices) const;

 private:
  const StrategySpace& space_;
  std::vector<int> variables_;
  std::vector<SubAction> sub_actions_;
};

}  // namespace shardscout::agents
