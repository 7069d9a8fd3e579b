#pragma once

#include "agents/torch_prelude.h"

namespace shardscout::agents {

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
