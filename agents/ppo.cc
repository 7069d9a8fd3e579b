#include "agents/ppo.h"

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <mutex>
#include <numeric>

#include "agents/adam.h"
#include "agents/policy_network.h"
#include "agents/ppo_loss.h"
#include "agents/rollout.h"
#include "shardscout/error.h"
#include "shardscout/searcher.h"

namespace shardscout::agents {
namespace {

PolicySize SizeOf(const PpoConfig& config) {
  return {.width = static_cast<int>(config.width),
          .num_layers = static_cast<int>(config.num_layers),
          .num_heads = static_cast<int>(config.num_heads),
          .ffn_width = static_cast<int>(config.ffn_width),
          .table_width = static_cast<int>(config.table_width)};
}

}  // namespace

struct PpoAgent::Impl {
  Impl(const ActionSpace& the_space, const PpoConfig& the_config, std::uint64_t seed)
      : space(the_space),
        config(the_config),
        action_rng(Rng::Stream(seed, "actions")),
        order_rng(Rng::Stream(seed, "minibatches")),
        weight_rng(Rng::Stream(seed, "weights")),
        network(space.sub_actions(), SizeOf(config), weight_rng),
        adam(network.weights().numel()) {}

  /// What an update learns from: the rollout with its rewards, and the elites recorded behind it.
  struct Batch {
    ActionRecord record;  ///< [rollout_size + num_elites]
    std::vector<std::size_t> elites;
    at::Tensor elite_free;  ///< 1 where the sub-action was not forced. [num_elites, num_sub_actions]
    at::Tensor reward;      ///< [rollout_size]
    at::Tensor advantage;   ///< [rollout_size, num_sub_actions]
    double ent_coef = 0;
  };
  std::vector<Elite> Observe(const EliteHistory& history) const {
    if (!config.observe_elites) return {};
    return {history.elites().begin(), history.elites().end()};
  }
  /// Records actions behind those that are there. Returns 1 where a sub-action was not forced. [actions.size(),
  /// num_sub_actions]
  at::Tensor Append(std::span<const Choices> actions, ActionRecord& record) const;
  UpdateStats Minibatch(const Batch& batch, const std::vector<std::size_t>& actions);

  const ActionSpace& space;
  const PpoConfig config;
  Rng action_rng, order_rng, weight_rng;
  PolicyNetwork network;
  Adam adam;
  std::vector<Elite> observation;  ///< Of the last rollout.
  Rollout rollout;
};

PpoAgent::PpoAgent(const ActionSpace& space, const PpoConfig& config, std::uint64_t seed)
    : impl_(std::make_unique<Impl>(space, config, seed)) {}

PpoAgent::~PpoAgent() = default;

const std::vector<Choices>& PpoAgent::Sample(const EliteHistory& history, std::span<const Guide> guides) {
  const at::NoGradGuard no_grad;
  impl_->observation = impl_->Observe(history);
  const at::Tensor memory = impl_->network.Encode(impl_->observation);
  impl_->rollout = SampleActions(impl_->network, memory, impl_->space, guides, impl_->action_rng);
  return impl_->rollout.actions;
}

at::Tensor PpoAgent::Impl::Append(std::span<const Choices> actions, ActionRecord& record) const {
  const std::size_t length = static_cast<std::size_t>(network.NumSubActions());
  const std::size_t begin = record.num_actions();
  record.Resize(begin + actions.size());
  at::Tensor free = at::zeros({static_cast<std::int64_t>(actions.size()), network.NumSubActions()});
  std::vector<std::uint8_t> mask;
  ActionRecord::Options allowed;
  for (std::size_t i = 0; i < actions.size(); ++i) {
    const Choices& choices = actions[i];
    for (std::size_t a = 0; a < length; ++a) {
      space.AllowedChoices(std::span(choices).first(a), mask);
      network.Allowed(a, mask, allowed);
      const auto chosen = static_cast<std::size_t>(std::count(mask.begin(), mask.begin() + choices[a], 1));
      record.Set(begin + i, a, allowed, chosen);
      free.data_ptr<float>()[i * length + a] = allowed.size() > 1 ? 1 : 0;
    }
  }
  return free;
}

UpdateStats PpoAgent::Impl::Minibatch(const Batch& batch, const std::vector<std::size_t>& actions) {
  const std::int64_t count = static_cast<std::int64_t>(actions.size());
  const std::int64_t num_elites = static_cast<std::int64_t>(batch.elites.size());
  std::vector<std::size_t> all = actions;
  all.insert(all.end(), batch.elites.begin(), batch.elites.end());
  const ActionEvaluation now = network.Evaluate(network.Encode(observation), batch.record, all);
  at::Tensor rows = at::empty({count}, at::kLong);
  std::copy(actions.begin(), actions.end(), rows.data_ptr<std::int64_t>());
  const at::Tensor weight = rollout.free.index_select(0, rows);
  const at::Tensor old_logprob = rollout.logprob.index_select(0, rows);
  const at::Tensor goal = batch.reward.index_select(0, rows).unsqueeze(1).expand_as(weight);
  const at::Tensor advantage = batch.advantage.index_select(0, rows);
  const at::Tensor logprob = now.logprob.narrow(0, 0, count);
  const at::Tensor surrogate = config.joint
                                   ? ClippedSurrogateLoss(logprob.sum(1), old_logprob.sum(1), advantage.select(1, 0),
                                                          at::ones({count}), config.clip_range)
                                   : ClippedSurrogateLoss(logprob, old_logprob, advantage, weight, config.clip_range);
  const at::Tensor value = ValueLoss(now.value.narrow(0, 0, count), goal, weight);
  const at::Tensor entropy = EntropyMean(now.entropy.narrow(0, 0, count), weight);
  at::Tensor loss = surrogate + config.vf_coef * value - batch.ent_coef * entropy;
  UpdateStats stats{surrogate.item<double>(), value.item<double>(), entropy.item<double>(), 0};
  if (num_elites > 0) {
    const at::Tensor imitation = ImitationLoss(now.logprob.narrow(0, count, num_elites), batch.elite_free);
    loss = loss + config.elite_coef * imitation;
    stats.elite_loss = imitation.item<double>();
  }
  network.gradients().zero_();
  loss.backward();
  adam.Step(network.weights().data_ptr<float>(), network.gradients().data_ptr<float>(), config.learning_rate,
            config.max_grad_norm);
  return stats;
}

UpdateStats PpoAgent::Update(std::span<const double> rewards, std::span<const Elite> elites, double progress) {
  Impl& impl = *impl_;
  const Rollout& rollout = impl.rollout;
  SHARDSCOUT_CHECK_OP(rewards.size(), ==, rollout.actions.size());
  Impl::Batch batch;
  batch.record = rollout.record;
  if (impl.config.elite_coef > 0) {
    std::vector<Choices> imitated;
    for (const Elite& elite :
         elites.first(std::min(elites.size(), static_cast<std::size_t>(impl.config.num_imitated)))) {
      batch.elites.push_back(batch.record.num_actions() + imitated.size());
      imitated.push_back(elite.choices);
    }
    batch.elite_free = impl.Append(imitated, batch.record);
  }
  batch.reward = at::empty({static_cast<std::int64_t>(rewards.size())});
  std::transform(rewards.begin(), rewards.end(), batch.reward.data_ptr<float>(),
                 [](double r) { return static_cast<float>(r); });
  if (impl.config.joint || !impl.config.critic) {
    // Less the mean of the others is less the mean of all, but for a factor that normalising takes off.
    const at::Tensor above = impl.config.critic ? batch.reward - rollout.value.select(1, 0) : batch.reward;
    batch.advantage = NormaliseAdvantage(above, at::ones_like(above)).unsqueeze(1).expand_as(rollout.value);
  } else {
    batch.advantage = NormaliseAdvantage(batch.reward.unsqueeze(1) - rollout.value, rollout.free);
  }
  batch.ent_coef =
      impl.config.ent_coef + (impl.config.ent_coef_final - impl.config.ent_coef) * std::clamp(progress, 0.0, 1.0);
  std::vector<std::size_t> order(rewards.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const std::size_t step = static_cast<std::size_t>(impl.config.minibatch_size);
  UpdateStats stats;
  for (std::int64_t epoch = 0; epoch < impl.config.num_epochs; ++epoch) {
    impl.order_rng.Shuffle(order);
    stats = {};
    for (std::size_t begin = 0; begin < order.size(); begin += step) {
      const std::size_t count = std::min(step, order.size() - begin);
      const auto first = order.begin() + static_cast<std::ptrdiff_t>(begin);
      const std::vector<std::size_t> actions(first, first + static_cast<std::ptrdiff_t>(count));
      const UpdateStats some = impl.Minibatch(batch, actions);
      const double share = static_cast<double>(count) / static_cast<double>(order.size());
      stats.surrogate_loss += share * some.surrogate_loss;
      stats.value_loss += share * some.value_loss;
      stats.entropy += share * some.entropy;
      stats.elite_loss += share * some.elite_loss;
    }
  }
  return stats;
}

double PpoAgent::GreedyConfidence(const EliteHistory& history, double threshold) const {
  const at::NoGradGuard no_grad;
  const at::Tensor memory = impl_->network.Encode(impl_->Observe(history));
  return GreedyAction(impl_->network, memory, impl_->space, threshold).confidence;
}

TorchThreadScope::TorchThreadScope() : openmp_threads_(omp_get_max_threads()), torch_threads_(at::get_num_threads()) {
  static std::once_flag once;
  std::call_once(once, [] {
    try {
      at::set_num_interop_threads(1);
    } catch (const c10::Error&) {  // Set before, or already running: nothing here uses inter-op threads.
    }
  });
  at::set_num_threads(1);
}

TorchThreadScope::~TorchThreadScope() {
  at::set_num_threads(torch_threads_);
  omp_set_num_threads(openmp_threads_);
}

}  // namespace shardscout::agents
