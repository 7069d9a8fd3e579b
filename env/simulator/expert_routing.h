#pragma once

#include <cstdint>
#include <vector>

#include "shardscout/program.h"

/// Which experts a batch's tokens go to, drawn and not expected.
namespace shardscout::env {

/// What the rank with the most (token, expert) pairs gets.
struct BusiestRank {
  double pairs = 0;
  double distinct = 0;  ///< Its experts that get any.
};

/// Tokens of each expert of one layer. The experts' popularity is Zipf's, the k-th most popular one's in proportion to
/// k^-skew, in an order drawn for the layer; counts are multinomial, and no expert gets a token twice. Skew 0: all
/// alike.
///
/// Equal arguments draw equally. The counts' sum is tokens * experts_per_token, both rounded.
std::vector<std::int64_t> DrawExpertTokens(const ExpertWork& routing, double skew, std::int64_t layer);

/// Rank r of R holds experts [r E / R, (r + 1) E / R).
BusiestRank FindBusiestRank(const std::vector<std::int64_t>& expert_tokens, std::int64_t ranks);

/// The task of a MoE layer, its work or payload expected for `expected`, as `drawn` has it.
Task WithRouting(Task task, const BusiestRank& expected, const BusiestRank& drawn);

}  // namespace shardscout::env
