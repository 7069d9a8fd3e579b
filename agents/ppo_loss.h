#pragma once

#include "agents/torch_prelude.h"

namespace shardscout::agents {

// The losses of PPO (Schulman et al. 2017, arXiv 1707.06347, equations 7 and 9) and of imitation as pure functions of
// tensors of one shape. `weight` says how much each entry counts: 0 for a sub-action that the mask forced, which has
// nothing to learn. All are means over the weights and are to be minimised, but EntropyMean, which is to be maximised.

/// -mean of min(ratio * A, clip(ratio, 1 - clip_range, 1 + clip_range) * A), ratio = exp(logprob - old_logprob).
///
/// Example, clip_range 0.2, weights 1: ratios (1.5, 0.5), advantages (1, -1): -(min(1.5, 1.2) + min(-0.5, -0.8)) / 2 =
/// -0.2.
at::Tensor ClippedSurrogateLoss(const at::Tensor& logprob, const at::Tensor& old_logprob, const at::Tensor& advantage,
                                const at::Tensor& weight, double clip_range);

/// Mean of (value - reward)^2 / 2.
at::Tensor ValueLoss(const at::Tensor& value, const at::Tensor& reward, const at::Tensor& weight);

/// Mean of the entropies.
at::Tensor EntropyMean(const at::Tensor& entropy, const at::Tensor& weight);

/// -mean log probability of imitated sub-actions (Abolafia et al. 2018, arXiv 1801.03526, equation 2, with equal
/// weights).
at::Tensor ImitationLoss(const at::Tensor& logprob, const at::Tensor& weight);

/// (A - mean) / (standard deviation + 1e-8) over the entries by weight; entries of weight 0 become 0. A single entry,
/// or equal ones, become 0.
at::Tensor NormaliseAdvantage(const at::Tensor& advantage, const at::Tensor& weight);

}  // namespace shardscout::agents
