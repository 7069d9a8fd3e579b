#include "agents/rollout.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace shardscout::agents {
namespace {

/// The masked distribution over choices, in double precision: unnormalised weights whose largest is 1.
struct Distribution {
  std::vector<double> weights;
  double total = 0;

  void Set(const float* logits, std::span<const double> log_prior, std::span<const std::uint8_t> mask) {
    weights.assign(mask.size(), 0);
    double top = -std::numeric_limits<double>::infinity();
    for (std::size_t c = 0; c < mask.size(); ++c) {
      if (mask[c]) top = std::max(top, static_cast<double>(logits[c]) + log_prior[c]);
    }
    total = 0;
    for (std::size_t c = 0; c < mask.size(); ++c) {
      if (!mask[c]) continue;
      weights[c] = std::exp(static_cast<double>(logits[c]) + log_prior[c] - top);
      total += weights[c];
    }
  }
};

}  // namespace

Rollout SampleActions(const PolicyNetwork& network, const at::Tensor& memory, const ActionSpace& space, int num_actions,
                      Rng& rng) {
  const int length = network.NumSubActions();
  const std::size_t count = static_cast<std::size_t>(num_actions);
  Rollout rollout;
  rollout.actions.assign(count, {});
  rollout.choices = at::zeros({num_actions, length}, at::kLong);
  rollout.logprob = at::zeros({num_actions, length});
  rollout.value = at::zeros({num_actions, length});
  rollout.free = at::zeros({num_actions, length});
  rollout.bias = network.EmptyBias(num_actions);
  PolicyNetwork::Decoder decoder(network, memory, num_actions);
  std::vector<int> last(count, 0);
  std::vector<std::vector<std::uint8_t>> masks(count);
  Distribution distribution;
  for (int a = 0; a < length; ++a) {
    decoder.Advance(last);
    bool all_forced = true;
    for (std::size_t i = 0; i < count; ++i) {
      space.AllowedChoices(rollout.actions[i], masks[i]);
      network.SetBias(rollout.bias, static_cast<int>(i), a, masks[i]);
      const bool forced = std::count(masks[i].begin(), masks[i].end(), 1) == 1;
      last[i] = forced ? static_cast<int>(std::find(masks[i].begin(), masks[i].end(), 1) - masks[i].begin()) : -1;
      all_forced = all_forced && forced;
    }
    rollout.value.select(1, a).copy_(decoder.Values());
    const at::Tensor logits = all_forced ? at::Tensor() : decoder.Logits();
    for (std::size_t i = 0; i < count; ++i) {
      const std::int64_t cell = static_cast<std::int64_t>(i) * length + a;
      if (last[i] < 0) {
        const float* row = logits.data_ptr<float>() + static_cast<std::int64_t>(i) * logits.size(1);
        distribution.Set(row, network.sub_actions()[static_cast<std::size_t>(a)].log_prior, masks[i]);
        last[i] = static_cast<int>(rng.Choice(distribution.weights));
        const double weight = distribution.weights[static_cast<std::size_t>(last[i])];
        rollout.logprob.data_ptr<float>()[cell] = static_cast<float>(std::log(weight / distribution.total));
        rollout.free.data_ptr<float>()[cell] = 1;
      }
      rollout.choices.data_ptr<std::int64_t>()[cell] = last[i];
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
  Distribution distribution;
  std::vector<int> last(1, 0);
  for (int a = 0; a < network.NumSubActions(); ++a) {
    decoder.Advance(last);
    space.AllowedChoices(out.action, mask);
    if (std::count(mask.begin(), mask.end(), 1) == 1) {
      last[0] = static_cast<int>(std::find(mask.begin(), mask.end(), 1) - mask.begin());
    } else {
      const at::Tensor logits = decoder.Logits();
      distribution.Set(logits.data_ptr<float>(), network.sub_actions()[static_cast<std::size_t>(a)].log_prior, mask);
      const auto top = std::max_element(distribution.weights.begin(), distribution.weights.end());
      last[0] = static_cast<int>(top - distribution.weights.begin());
      out.confidence = std::min(out.confidence, *top / distribution.total);
    }
    out.action.push_back(last[0]);
    if (out.confidence <= stop_at) break;
  }
  return out;
}

}  // namespace shardscout::agents
