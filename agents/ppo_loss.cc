#include "agents/ppo_loss.h"

namespace shardscout::agents {
namespace {

at::Tensor WeightedMean(const at::Tensor& x, const at::Tensor& weight) {
  return (x * weight).sum() / weight.sum().clamp_min(1e-8);
}

}  // namespace

at::Tensor ClippedSurrogateLoss(const at::Tensor& logprob, const at::Tensor& old_logprob, const at::Tensor& advantage,
                                const at::Tensor& weight, double clip_range) {
  const at::Tensor ratio = (logprob - old_logprob).exp();
  const at::Tensor clipped = ratio.clamp(1 - clip_range, 1 + clip_range);
  return -WeightedMean(at::minimum(ratio * advantage, clipped * advantage), weight);
}

at::Tensor ValueLoss(const at::Tensor& value, const at::Tensor& reward, const at::Tensor& weight) {
  return WeightedMean((value - reward).square(), weight) / 2;
}

at::Tensor EntropyMean(const at::Tensor& entropy, const at::Tensor& weight) { return WeightedMean(entropy, weight); }

at::Tensor ImitationLoss(const at::Tensor& logprob, const at::Tensor& weight) { return -WeightedMean(logprob, weight); }

at::Tensor NormaliseAdvantage(const at::Tensor& advantage, const at::Tensor& weight) {
  const at::Tensor centred = (advantage - WeightedMean(advantage, weight)) * weight;
  const at::Tensor deviation = WeightedMean(centred.square(), weight).sqrt();
  return centred / (deviation + 1e-8);
}

}  // namespace shardscout::agents
