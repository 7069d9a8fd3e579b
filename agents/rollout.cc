#include "agents/rollout.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <numeric>

namespace shardscout::agents {
namespace {

/// Unnormalised probabilities in double precision, the largest 1; returns their sum.
double Weights(const std::vector<float>& logits, std::vector<double>& weights) {
  const double top = static_cast<double>(*std::max_element(logits.begin(), logits.end()));
  double total = 0;
  weights.clear();
  for (const float logit : logits) {
    weights.push_back(std::exp(static_cast<double>(logit) - top));
    total += weights.back();
  }
  return total;
}

/// Leaves what the guide does.
void Restrict(const Guide& guide, std::size_t sub_action, std::vector<std::uint8_t>& mask) {
  const int settled = guide.settled.empty() ? Guide::kOpen : guide.settled[sub_action];
  const int avoided = guide.avoided.empty() ? Guide::kOpen : guide.avoided[sub_action];
  if (settled == Guide::kOpen) {
    if (avoided != Guide::kOpen && std::count(mask.begin(), mask.end(), 1) > 1) {
      mask[static_cast<std::size_t>(avoided)] = 0;
    }
    return;
  }
  int nearest = Guide::kOpen;
  for (int c = 0; c < static_cast<int>(mask.size()); ++c) {
    const bool nearer = nearest == Guide::kOpen || std::abs(c - settled) < std::abs(nearest - settled);
    if (mask[static_cast<std::size_t>(c)] != 0 && nearer) nearest = c;
  }
  std::fill(mask.begin(), mask.end(), std::uint8_t{0});
  mask[static_cast<std::size_t>(nearest)] = 1;
}

}  // namespace

Rollout SampleActions(const PolicyNetwork& network, const at::Tensor& memory, const ActionSpace& space,
                      std::span<const Guide> guides, Rng& rng) {
  const std::size_t count = guides.size();
  const int num_actions = static_cast<int>(count);
  const std::size_t length = static_cast<std::size_t>(network.NumSubActions());
  const std::vector<std::int64_t> shape = {num_actions, network.NumSubActions()};
  Rollout rollout{std::vector<Choices>(count), ActionRecord(count, length), at::zeros(shape), at::zeros(shape),
                  at::zeros(shape)};
  PolicyNetwork::Decoder decoder(network, memory, num_actions);
  std::vector<int> last(count, 0);
  std::vector<std::uint8_t> mask;
  ActionRecord::Options allowed;
  std::vector<float> logits;
  std::vector<double> weights;
  for (std::size_t a = 0; a < length; ++a) {
    decoder.Advance(last);
    const at::Tensor values = decoder.Values();
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t cell = i * length + a;
      space.AllowedChoices(rollout.actions[i], mask);
      Restrict(guides[i], a, mask);
      network.Allowed(a, mask, allowed);
      std::size_t chosen = 0;
      if (allowed.size() > 1) {
        decoder.Logits(i, allowed, logits);
        const double total = Weights(logits, weights);
        chosen = rng.Choice(weights);
        rollout.logprob.data_ptr<float>()[cell] = static_cast<float>(std::log(weights[chosen] / total));
        rollout.free.data_ptr<float>()[cell] = 1;
      }
      rollout.value.data_ptr<float>()[cell] = values.data_ptr<float>()[i];
      rollout.record.Set(i, a, allowed, chosen);
      last[i] = network.ChoiceOf(a, allowed.rows[chosen]);
      rollout.actions[i].push_back(last[i]);
    }
  }
  return rollout;
}

GreedyRollout GreedyAction(const PolicyNetwork& network, const at::Tensor& memory, const ActionSpace& space,
                           double stop_at) {
  PolicyNetwork::Decoder decoder(network, memory, 1);
  GreedyRollout out;
  std::vector<std::uint8_t> mask;
  ActionRecord::Options allowed;
  std::vector<float> logits;
  std::vector<double> weights;
  std::vector<int> last(1, 0);
  for (std::size_t a = 0; a < static_cast<std::size_t>(network.NumSubActions()); ++a) {
    decoder.Advance(last);
    space.AllowedChoices(out.action, mask);
    network.Allowed(a, mask, allowed);
    std::size_t chosen = 0;
    if (allowed.size() > 1) {
      decoder.Logits(0, allowed, logits);
      const double total = Weights(logits, weights);
      chosen = static_cast<std::size_t>(std::max_element(weights.begin(), weights.end()) - weights.begin());
      out.confidence = std::min(out.confidence, weights[chosen] / total);
    }
    last[0] = network.ChoiceOf(a, allowed.rows[chosen]);
    out.action.push_back(last[0]);
    if (out.confidence <= stop_at) break;
  }
  return out;
}

}  // namespace shardscout::agents
