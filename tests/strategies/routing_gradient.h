#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <string>
#include <vector>

#include "tests/strategies/block_runner.h"

namespace shardscout::interpret {

/// On one rank, the gradients of the weights with which the results of tokens' experts are added up: [rows, choices]
/// for tokens, in the order of their routing, and [rows, 1] for pairs of token and expert. They travel with the
/// gradients of these rows. Each number carries the ranks whose summands are in it, so that a summand that is lost or
/// counted twice is an error.
struct RoutingGradient {
  using Ranks = Eigen::Matrix<std::uint64_t, Eigen::Dynamic, Eigen::Dynamic>;

  TagsPtr rows;
  Matrix data;
  Ranks ranks;  ///< Bit masks, of the size of `data`.

  static RoutingGradient Zero(TagsPtr rows, Eigen::Index choices);
};

/// What `parts` know together of `rows`, zero where they know nothing: summands of different ranks are added, equal
/// sums must agree. Throws InterpretError where a summand would count twice.
RoutingGradient Join(const std::vector<const RoutingGradient*>& parts, const TagsPtr& rows);

/// From pairs of token and expert to the choices of the tokens that a rank's experts were given (`routed`, with its
/// routing).
RoutingGradient ToChoices(const RoutingGradient& pairs, const Local& routed);

}  // namespace shardscout::interpret
