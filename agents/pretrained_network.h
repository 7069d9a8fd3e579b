#pragma once

#include "agents/pretrained_weights.h"
#include "agents/torch_prelude.h"

namespace shardscout::agents {

/// The network of pretrained_weights.h as tensors; views of one vector of parameters.
struct PretrainedNetwork {
  at::Tensor parameters;  ///< [NumNumbers()]
  at::Tensor problem, strategy, bias, inner, inner_bias, heads, heads_bias, skip;

  /// Of the shape that the weights say, with their numbers; `track_gradients` for training.
  explicit PretrainedNetwork(const PretrainedWeights& weights, bool track_gradients = false);

  /// problems: A p + a of each row's problem [rows, width]; features: [rows, strategy_features]. Returns logit and
  /// value [rows, 2].
  at::Tensor Score(const at::Tensor& problems, const at::Tensor& features) const;
  /// [problems, problem_features] to A p + a.
  at::Tensor Problems(const at::Tensor& features) const { return at::addmm(bias, features, problem); }
};

}  // namespace shardscout::agents
