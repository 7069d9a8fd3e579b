#include "agents/ppo.h"

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <mutex>
#include <numeric>

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

/// Adam (Kingma and Ba 2015, algorithm 1) over one vector, after clipping the gradient's norm. One pass over memory
/// instead of some ten tensor operations a parameter. beta1 0.9, beta2 0.999, epsilon 1e-8.
class Adam {
 public:
  explicit Adam(std::int64_t size) : mean_(static_cast<std::size_t>(size)), square_(mean_.size()) {}

  void Step(float* weights, const float* gradients, double learning_rate, double max_grad_norm) {
    double norm = 0;
    for (std::size_t i = 0; i < mean_.size(); ++i)
      norm += static_cast<double>(gradients[i]) * static_cast<double>(gradients[i]);
    norm = std::sqrt(norm);
    const float scale = static_cast<float>(std::min(1.0, max_grad_norm / (norm + 1e-6)));
    beta1_power_ *= 0.9;
    beta2_power_ *= 0.999;
    const float rate = static_cast<float>(learning_rate / (1 - beta1_power_));
    const float correction = static_cast<float>(1 / std::sqrt(1 - beta2_power_));
    for (std::size_t i = 0; i < mean_.size(); ++i) {
      const float gradient = gradients[i] * scale;
      const float mean = 0.9F * mean_[i] + 0.1F * gradient;
      mean_[i] =
          std::abs(mean) < 1e-30F ? 0.0F : mean;  // Numbers that decay into denormals would cost 100 cycles each.
      square_[i] = 0.999F * square_[i] + 0.001F * gradient * gradient;
      weights[i] -= rate * mean_[i] / (std::sqrt(square_[i]) * correction + 1e-8F);
    }
  }

 private:
  std::vector<float> mean_, square_;
  double beta1_power_ = 1, beta2_power_ = 1;
};

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

  UpdateStats Minibatch(const std::vector<std::size_t>& actions, const at::Tensor& reward, const at::Tensor& advantage,
                        double ent_coef);

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

const std::vector<Choices>& PpoAgent::Sample(const EliteHistory& history) {
  const at::NoGradGuard no_grad;
  impl_->observation.assign(history.elites().begin(), history.elites().end());
  const at::Tensor memory = impl_->network.Encode(impl_->observation);
  impl_->rollout = SampleActions(impl_->network, memory, impl_->space, static_cast<int>(impl_->config.rollout_size),
                                 impl_->action_rng);
  return impl_->rollout.actions;
}

UpdateStats PpoAgent::Impl::Minibatch(const std::vector<std::size_t>& actions, const at::Tensor& reward,
                                      const at::Tensor& advantage, double ent_coef) {
  const ActionEvaluation now = network.Evaluate(network.Encode(observation), rollout.record, actions);
  at::Tensor rows = at::empty({static_cast<std::int64_t>(actions.size())}, at::kLong);
  std::copy(actions.begin(), actions.end(), rows.data_ptr<std::int64_t>());
  const at::Tensor weight = rollout.free.index_select(0, rows);
  const at::Tensor old_logprob = rollout.logprob.index_select(0, rows);
  const at::Tensor goal = reward.index_select(0, rows).unsqueeze(1).expand_as(now.value);
  const at::Tensor adv = advantage.index_select(0, rows);
  const at::Tensor surrogate = config.joint
                                   ? ClippedSurrogateLoss(now.logprob.sum(1), old_logprob.sum(1), adv.select(1, 0),
                                                          at::ones({rows.size(0)}), config.clip_range)
                                   : ClippedSurrogateLoss(now.logprob, old_logprob, adv, weight, config.clip_range);
  const at::Tensor value = ValueLoss(now.value, goal, weight);
  const at::Tensor entropy = EntropyMean(now.entropy, weight);
  network.gradients().zero_();
  (surrogate + config.vf_coef * value - ent_coef * entropy).backward();
  adam.Step(network.weights().data_ptr<float>(), network.gradients().data_ptr<float>(), config.learning_rate,
            config.max_grad_norm);
  return {surrogate.item<double>(), value.item<double>(), entropy.item<double>()};
}

UpdateStats PpoAgent::Update(std::span<const double> rewards, double progress) {
  Impl& impl = *impl_;
  SHARDSCOUT_CHECK_OP(rewards.size(), ==, impl.rollout.actions.size());
  at::Tensor reward = at::empty({static_cast<std::int64_t>(rewards.size())});
  std::transform(rewards.begin(), rewards.end(), reward.data_ptr<float>(),
                 [](double r) { return static_cast<float>(r); });
  const Rollout& rollout = impl.rollout;
  at::Tensor advantage;
  if (impl.config.joint) {
    advantage = NormaliseAdvantage(reward - rollout.value.select(1, 0), at::ones_like(reward))
                    .unsqueeze(1)
                    .expand_as(rollout.value);
  } else {
    advantage = NormaliseAdvantage(reward.unsqueeze(1) - rollout.value, rollout.free);
  }
  const double ent_coef =
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
      const UpdateStats some = impl.Minibatch(actions, reward, advantage, ent_coef);
      const double share = static_cast<double>(count) / static_cast<double>(order.size());
      stats.surrogate_loss += share * some.surrogate_loss;
      stats.value_loss += share * some.value_loss;
      stats.entropy += share * some.entropy;
    }
  }
  return stats;
}

double PpoAgent::GreedyConfidence(const EliteHistory& history, double threshold) const {
  const at::NoGradGuard no_grad;
  const at::Tensor memory = impl_->network.Encode(history.elites());
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

namespace shardscout {

std::string TorchVersion() { return TORCH_VERSION; }

}  // namespace shardscout
