#include "agents/pretrained_network.h"

#include "shardscout/error.h"

namespace shardscout::agents {

PretrainedNetwork::PretrainedNetwork(const PretrainedWeights& weights, bool track_gradients) {
  SHARDSCOUT_CHECK_OP(weights.numbers.size(), ==, weights.NumNumbers());
  const auto size = [](std::size_t n) { return static_cast<std::int64_t>(n); };
  parameters = at::empty({size(weights.numbers.size())}, at::kFloat);
  std::copy(weights.numbers.begin(), weights.numbers.end(), parameters.data_ptr<float>());
  if (track_gradients) parameters.set_requires_grad(true);
  std::int64_t next = 0;
  const auto take = [&](std::size_t rows, std::size_t columns) {
    const at::Tensor part = parameters.narrow(0, next, size(rows * columns)).view({size(rows), size(columns)});
    next += size(rows * columns);
    return part;
  };
  problem = take(weights.problem_features.size(), weights.width);
  strategy = take(weights.strategy_features.size(), weights.width);
  bias = take(1, weights.width);
  inner = take(weights.width, weights.inner_width);
  inner_bias = take(1, weights.inner_width);
  heads = take(weights.inner_width, 2);
  heads_bias = take(1, 2);
  skip = take(weights.strategy_features.size(), 2);
}

at::Tensor PretrainedNetwork::Score(const at::Tensor& problems, const at::Tensor& features) const {
  const at::Tensor outer = at::addmm(problems, features, strategy).relu();
  const at::Tensor deep = at::addmm(inner_bias, outer, inner).relu();
  return at::addmm(at::addmm(heads_bias, deep, heads), features, skip);
}

}  // namespace shardscout::agents
