#include "agents/pretraining_loss.h"

#include <algorithm>
#include <cmath>

#include "agents/pretrained_weights.h"

namespace shardscout::agents {
namespace {

constexpr double kLowestScore = 0.06;  // Above exp(kInfeasibleValue): what is worse is all alike.
constexpr double kSmooth = 0.05;

}  // namespace

at::Tensor BoundedLogits(const at::Tensor& scores) { return scores.select(1, 0).clamp(-kLargestLogit, kLargestLogit); }

at::Tensor LogNormalisers(const at::Tensor& logits, const at::Tensor& decision, std::int64_t num_decisions) {
  return at::zeros({std::max<std::int64_t>(1, num_decisions)}).index_add(0, decision, logits.exp()).log();
}

double ValueTarget(double score) {
  return score > 0 ? std::log(std::max(score, kLowestScore)) : kInfeasibleValue - 0.2 + score;
}

ValueError ValueErrorOf(const at::Tensor& difference, const at::Tensor& measured) {
  const at::Tensor mean = (difference * measured).sum() / measured.sum().clamp_min(1);
  const at::Tensor error = (difference - mean).abs();
  return {.loss = at::where(error < kSmooth, error * error / (2 * kSmooth), error - kSmooth / 2).mean(),
          .error = error};
}

}  // namespace shardscout::agents
