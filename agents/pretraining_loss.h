#pragma once

#include <cstdint>

#include "agents/torch_prelude.h"

namespace shardscout::agents {

/// The policy's half of PretrainedNetwork::Score, [rows, 2], as logits that can be raised to powers as they are: no
/// need to take the largest of each decision off first. [rows]
inline constexpr double kLargestLogit = 30;
at::Tensor BoundedLogits(const at::Tensor& scores);

/// log(sum(exp(logit))) of each decision; decision: which one a row belongs to, rising from 0 [rows] int64.
/// [max(1, num_decisions)]
at::Tensor LogNormalisers(const at::Tensor& logits, const at::Tensor& decision, std::int64_t num_decisions);

/// What a value is trained to be, by a strategy's score (value over the best one's, negative where infeasible):
/// log(score), and for infeasible strategies kInfeasibleValue and one less for the worst.
double ValueTarget(double score);

/// Smooth L1 loss of difference = value - target of one problem's strategies [strategies], less its mean over the
/// `measured` ones (1, else 0): values are for comparing strategies of one problem.
struct ValueError {
  at::Tensor loss;
  at::Tensor error;  ///< |difference - mean|. [strategies]
};
ValueError ValueErrorOf(const at::Tensor& difference, const at::Tensor& measured);

}  // namespace shardscout::agents
