#include "agents/imitation.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numbers>
#include <numeric>

#include "agents/adam.h"
#include "agents/ppo.h"
#include "agents/pretrained_network.h"
#include "agents/pretrained_policy.h"
#include "agents/pretraining_loss.h"
#include "shardscout/error.h"
#include "shardscout/random.h"
#include "strategies/strategy_features.h"

namespace shardscout::agents {
namespace {

constexpr double kLeastWeight = 1e-3;  // Of a prefix: decisions below it teach nothing.

/// A problem's decisions and whole strategies as rows. Features of strategies are kept in 16 bits: thousands of
/// lessons.
struct Lesson {
  at::Tensor problem;   ///< [1, problem_features]
  at::Tensor choices;   ///< Features of all choices of all decisions. [rows, strategy_features]
  at::Tensor target;    ///< p(prefix, choice). [rows]
  at::Tensor decision;  ///< Which decision a row belongs to, rising from 0. [rows] int64
  std::int64_t num_decisions = 0;
  at::Tensor wholes;    ///< [strategies, strategy_features]
  at::Tensor value;     ///< [strategies]
  at::Tensor measured;  ///< 1 for strategies whose error is reported and whose mean error is no error. [strategies]
};

at::Tensor Floats(const std::vector<float>& numbers, std::size_t columns) {
  const auto rows = static_cast<std::int64_t>(numbers.size() / columns);
  at::Tensor tensor = at::empty({rows, static_cast<std::int64_t>(columns)});
  std::copy(numbers.begin(), numbers.end(), tensor.data_ptr<float>());
  return tensor;
}

/// Collects the decisions on the way to strategies, prefix by prefix.
class DecisionRows {
 public:
  DecisionRows(const StrategySpace& space, const StrategyFeatures& features) : space_(space), features_(features) {}

  /// weights: of the strategies, sum 1. Choices with their weights below one prefix.
  void Add(std::map<Choices, double> weights) { Below({}, weights.begin(), weights.end()); }

  std::vector<float> rows, target;
  std::vector<std::int64_t> decision;
  std::int64_t num_decisions = 0;

 private:
  using Position = std::map<Choices, double>::const_iterator;

  void Below(const Choices& prefix, Position first, Position last) {
    const std::size_t variable = prefix.size();
    if (variable == static_cast<std::size_t>(kNumVariables)) return;
    std::map<int, std::pair<Position, double>> chosen;  // Choice -> where its strategies begin, weight.
    double total = 0;
    for (Position at = first; at != last; ++at) {
      chosen.try_emplace(at->first[variable], at, 0.0).first->second.second += at->second;
      total += at->second;
    }
    if (total < kLeastWeight) return;
    Decide(prefix, chosen);
    for (auto at = chosen.begin(); at != chosen.end(); ++at) {
      Choices next = prefix;
      next.push_back(at->first);
      const auto after = std::next(at);
      Below(next, at->second.first, after == chosen.end() ? last : after->second.first);
    }
  }

  void Decide(const Choices& prefix, const std::map<int, std::pair<Position, double>>& chosen) {
    const int variable = static_cast<int>(prefix.size());
    const std::vector<std::size_t> allowed = ProposedChoices(space_, prefix);
    if (allowed.size() < 2) return;
    Strategy strategy;
    for (int v = 0; v < variable; ++v) {
      SetVariable(strategy, v, space_.Values(v)[static_cast<std::size_t>(prefix[static_cast<std::size_t>(v)])]);
    }
    AppendChoices(features_, strategy, variable, space_.Values(variable), allowed, rows);
    for (const std::size_t choice : allowed) {
      const auto found = chosen.find(static_cast<int>(choice));
      target.push_back(found == chosen.end() ? 0 : static_cast<float>(found->second.second));
      decision.push_back(num_decisions);
    }
    ++num_decisions;
  }

  const StrategySpace& space_;
  const StrategyFeatures& features_;
};

}  // namespace

struct Imitation::Impl {
  struct Losses {
    at::Tensor policy, value;
    double error = 0;
  };
  Losses LossOf(const PretrainedNetwork& network, const Lesson& lesson) const;
  ImitationLoss Measure(const PretrainedNetwork& network, const std::vector<Lesson>& lessons) const;

  ImitationConfig config;
  PretrainedWeights weights;
  std::vector<Lesson> learned, held_out;
};

Imitation::Imitation(std::vector<std::string> strategy_features, const ImitationConfig& config)
    : impl_(std::make_unique<Impl>()) {
  impl_->config = config;
  const auto problem_features = ProblemFeatureNames();
  impl_->weights.problem_features.assign(problem_features.begin(), problem_features.end());
  impl_->weights.strategy_features = std::move(strategy_features);
  impl_->weights.width = config.width;
  impl_->weights.inner_width = config.inner_width;
}

Imitation::~Imitation() = default;

void Imitation::Add(const StrategySpace& space, std::span<const Strategy> strategies, std::span<const double> scores,
                    bool held_out) {
  SHARDSCOUT_CHECK_OP(strategies.size(), ==, scores.size());
  const StrategyFeatures features(space, impl_->weights.strategy_features);
  std::map<Choices, double> weights;
  double total = 0;
  std::vector<float> wholes(strategies.size() * features.size()), value, measured;
  for (std::size_t i = 0; i < strategies.size(); ++i) {
    const double weight = scores[i] > 0 ? std::exp((scores[i] - 1) / impl_->config.temperature) : 0;
    total += weight;
    if (weight > 0) weights[space.Encode(strategies[i])] = weight;
    features.Write(strategies[i], kNumVariables, std::span(wholes).subspan(i * features.size(), features.size()));
    value.push_back(static_cast<float>(ValueTarget(scores[i])));
    measured.push_back(scores[i] > 0.5 ? 1.0F : 0.0F);
  }
  SHARDSCOUT_CHECK(total > 0);
  for (auto& [choices, weight] : weights) weight /= total;
  DecisionRows rows(space, features);
  rows.Add(std::move(weights));
  Lesson lesson;
  lesson.problem = Floats(ProblemFeatures(space.problem()), impl_->weights.problem_features.size());
  lesson.choices = Floats(rows.rows, features.size()).to(at::kHalf);
  lesson.target = Floats(rows.target, 1).squeeze(1);
  lesson.num_decisions = rows.num_decisions;
  lesson.decision = at::empty({static_cast<std::int64_t>(rows.decision.size())}, at::kLong);
  std::copy(rows.decision.begin(), rows.decision.end(), lesson.decision.data_ptr<std::int64_t>());
  lesson.wholes = Floats(wholes, features.size()).to(at::kHalf);
  lesson.value = Floats(value, 1).squeeze(1);
  lesson.measured = Floats(measured, 1).squeeze(1);
  (held_out ? impl_->held_out : impl_->learned).push_back(std::move(lesson));
}

Imitation::Impl::Losses Imitation::Impl::LossOf(const PretrainedNetwork& network, const Lesson& lesson) const {
  const at::Tensor problem = network.Problems(lesson.problem);
  const auto rows = [&](const at::Tensor& features) {
    return network.Score(problem.expand({features.size(0), problem.size(1)}), features.to(at::kFloat));
  };
  Losses losses;
  const at::Tensor logits = BoundedLogits(rows(lesson.choices));
  const at::Tensor normaliser =
      LogNormalisers(logits, lesson.decision, lesson.num_decisions).index_select(0, lesson.decision);
  losses.policy = (lesson.target * (normaliser - logits)).sum();
  const ValueError value = ValueErrorOf(rows(lesson.wholes).select(1, 1) - lesson.value, lesson.measured);
  losses.value = value.loss;
  losses.error = ((value.error.detach() * lesson.measured).sum() / lesson.measured.sum().clamp_min(1)).item<double>();
  return losses;
}

ImitationLoss Imitation::Impl::Measure(const PretrainedNetwork& network, const std::vector<Lesson>& lessons) const {
  const at::NoGradGuard no_grad;
  ImitationLoss mean;
  for (const Lesson& lesson : lessons) {
    const Losses losses = LossOf(network, lesson);
    mean.policy += losses.policy.item<double>() / static_cast<double>(lessons.size());
    mean.value += losses.error / static_cast<double>(lessons.size());
  }
  return mean;
}

PretrainedWeights Imitation::Train(
    std::uint64_t seed, const std::function<void(std::int64_t, const ImitationLoss&, const ImitationLoss&)>& on_epoch) {
  const TorchThreadScope threads;  // Sums of products on more would end in other weights.
  Impl& impl = *impl_;
  PretrainedWeights& weights = impl.weights;
  Rng rng = Rng::Stream(seed, "pretraining");
  weights.numbers.assign(weights.NumNumbers(), 0);
  {
    PretrainedNetwork fresh(weights);
    for (const at::Tensor& matrix : {fresh.problem, fresh.strategy, fresh.inner, fresh.heads}) {
      const double scale = std::sqrt(2.0 / static_cast<double>(matrix.size(0)));
      float* numbers = matrix.data_ptr<float>();
      for (std::int64_t i = 0; i < matrix.numel(); ++i) numbers[i] = static_cast<float>(scale * rng.Normal());
    }
    std::copy_n(fresh.parameters.data_ptr<float>(), weights.numbers.size(), weights.numbers.begin());
  }
  Adam adam(static_cast<std::int64_t>(weights.numbers.size()));
  std::vector<std::size_t> order(impl.learned.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto step = static_cast<std::size_t>(impl.config.problems_a_step);
  for (std::int64_t epoch = 0; epoch < impl.config.epochs; ++epoch) {
    rng.Shuffle(order);
    ImitationLoss mean;
    for (std::size_t begin = 0; begin < order.size(); begin += step) {
      const std::size_t count = std::min(step, order.size() - begin);
      PretrainedNetwork network(weights, true);
      at::Tensor loss = at::zeros({});
      for (std::size_t i = begin; i < begin + count; ++i) {
        const Impl::Losses losses = impl.LossOf(network, impl.learned[order[i]]);
        loss = loss + (losses.policy * 0.1 + impl.config.value_coef * losses.value) / static_cast<double>(count);
        mean.policy += losses.policy.item<double>() / static_cast<double>(order.size());
        mean.value += losses.error / static_cast<double>(order.size());
      }
      loss.backward();
      const double done =
          (static_cast<double>(epoch) + static_cast<double>(begin) / static_cast<double>(order.size())) /
          static_cast<double>(impl.config.epochs);
      adam.Step(weights.numbers.data(), network.parameters.grad().data_ptr<float>(),
                impl.config.learning_rate * (0.02 + 0.98 * (1 + std::cos(std::numbers::pi * done)) / 2), 1.0);
    }
    if (on_epoch) on_epoch(epoch, mean, impl.Measure(PretrainedNetwork(weights), impl.held_out));
  }
  return weights;
}

}  // namespace shardscout::agents
