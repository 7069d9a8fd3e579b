#include "agents/reinforcement.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <utility>

#include "agents/adam.h"
#include "agents/ppo.h"
#include "agents/ppo_loss.h"
#include "agents/pretrained_network.h"
#include "agents/pretrained_policy.h"
#include "agents/pretraining_loss.h"
#include "shardscout/error.h"
#include "shardscout/random.h"
#include "strategies/strategy_features.h"

namespace shardscout::agents {
namespace {

/// Strategies that were drawn for one problem, and every decision on the way to them that had a choice.
struct Draws {
  std::vector<Strategy> strategies;
  at::Tensor problem;                  ///< [1, problem_features]
  std::vector<at::Tensor> rows;        ///< Features of all choices of decisions. [rows, strategy_features] each
  std::vector<std::int64_t> decision;  ///< Of a row, rising from 0. [rows]
  std::vector<std::int64_t> chosen;    ///< Row that was taken. [decisions]
  std::vector<std::int64_t> strategy;  ///< [decisions]
  std::vector<double> logprob;         ///< [decisions]
};

at::Tensor Indices(const std::vector<std::int64_t>& values) {
  return at::tensor(at::ArrayRef<std::int64_t>(values), at::kLong);
}

at::Tensor Floats(const std::vector<double>& values) { return at::tensor(at::ArrayRef<double>(values), at::kFloat); }

at::Tensor ScoreOf(const PretrainedNetwork& network, const at::Tensor& problem, const at::Tensor& features) {
  const at::Tensor known = network.Problems(problem);
  return network.Score(known.expand({features.size(0), known.size(1)}), features);
}

/// Draws, once, from what the policy says of each choice; where the features do not know a variable, by the space's
/// prior.
class Drawing {
 public:
  Drawing(const StrategySpace& space, const PretrainedWeights& weights)
      : space_(space), network_(weights), features_(space, weights.strategy_features) {
    const std::vector<float> problem = ProblemFeatures(space.problem());
    SHARDSCOUT_CHECK_OP(problem.size(), ==, weights.problem_features.size());
    draws_.problem = at::empty({1, static_cast<std::int64_t>(problem.size())});
    std::copy(problem.begin(), problem.end(), draws_.problem.data_ptr<float>());
  }

  Draws Of(std::int64_t count, Rng& rng) {
    const at::NoGradGuard no_grad;
    choices_.assign(static_cast<std::size_t>(count), {});
    draws_.strategies.assign(static_cast<std::size_t>(count), Strategy());
    for (int variable = 0; variable < kNumVariables; ++variable) Decide(variable, rng);
    return std::move(draws_);
  }

 private:
  void Decide(int variable, Rng& rng) {
    const auto values = space_.Values(variable);
    std::vector<std::vector<std::size_t>> allowed;
    std::vector<float> rows;
    for (std::size_t i = 0; i < choices_.size(); ++i) {
      allowed.push_back(ProposedChoices(space_, choices_[i]));
      if (allowed[i].size() < 2 || !features_.Knows(variable)) continue;
      AppendChoices(features_, draws_.strategies[i], variable, values, allowed[i], rows);
    }
    at::Tensor logits;
    if (!rows.empty()) {
      const auto columns = static_cast<std::int64_t>(features_.size());
      at::Tensor features = at::empty({static_cast<std::int64_t>(rows.size()) / columns, columns});
      std::copy(rows.begin(), rows.end(), features.data_ptr<float>());
      logits = BoundedLogits(ScoreOf(network_, draws_.problem, features)).contiguous();
      draws_.rows.push_back(features);
    }
    std::size_t row = 0;
    for (std::size_t i = 0; i < choices_.size(); ++i) {
      std::vector<double> weights;
      const bool learned = allowed[i].size() > 1 && features_.Knows(variable);
      for (std::size_t c = 0; c < allowed[i].size(); ++c) {
        weights.push_back(learned ? std::exp(static_cast<double>(logits.data_ptr<float>()[row + c]))
                                  : space_.PriorWeights(variable)[allowed[i][c]]);
      }
      const std::size_t taken = rng.Choice(weights);
      if (learned) {
        double total = 0;
        for (const double weight : weights) total += weight;
        draws_.chosen.push_back(static_cast<std::int64_t>(draws_.decision.size() + taken));
        draws_.decision.insert(draws_.decision.end(), weights.size(),
                               static_cast<std::int64_t>(draws_.strategy.size()));
        draws_.strategy.push_back(static_cast<std::int64_t>(i));
        draws_.logprob.push_back(std::log(weights[taken] / total));
        row += weights.size();
      }
      choices_[i].push_back(static_cast<int>(allowed[i][taken]));
      SetVariable(draws_.strategies[i], variable, values[allowed[i][taken]]);
    }
  }

  const StrategySpace& space_;
  const PretrainedNetwork network_;
  const StrategyFeatures features_;
  std::vector<Choices> choices_;
  Draws draws_;
};

/// What the gradient steps need of a problem's draws.
struct DrawnLesson {
  at::Tensor problem, rows, decision, chosen, logprob, advantage;
  at::Tensor wholes, value, measured;
};

/// How far above the worst of the best: of mean square 1 over these; 0 for the others, and where all are alike.
std::vector<double> Advantages(std::vector<double> scores, double best_share) {
  for (double& score : scores) score = std::max(0.0, score);
  std::vector<double> sorted = scores;
  std::sort(sorted.begin(), sorted.end(), std::greater<>());
  const auto last = static_cast<std::size_t>(best_share * static_cast<double>(sorted.size()));
  const double least = sorted[std::min(last, sorted.size() - 1)];
  double squares = 0;
  std::size_t count = 0;
  for (double& score : scores) {
    score = std::max(0.0, score - least);
    squares += score * score;
    count += score > 0 ? 1 : 0;
  }
  if (count == 0) return scores;
  for (double& score : scores) score /= std::sqrt(squares / static_cast<double>(count));
  return scores;
}

DrawnLesson LessonOf(const Draws& draws, const StrategySpace& space, const PretrainedWeights& weights,
                     const std::vector<double>& scores, double best_share) {
  const StrategyFeatures features(space, weights.strategy_features);
  const std::vector<double> of_strategy = Advantages(scores, best_share);
  std::vector<double> advantage, value, measured;
  for (const std::int64_t i : draws.strategy) advantage.push_back(of_strategy[static_cast<std::size_t>(i)]);
  at::Tensor wholes = at::empty({static_cast<std::int64_t>(scores.size()), static_cast<std::int64_t>(features.size())});
  for (std::size_t i = 0; i < scores.size(); ++i) {
    features.Write(draws.strategies[i], kNumVariables,
                   {wholes.data_ptr<float>() + i * features.size(), features.size()});
    value.push_back(ValueTarget(scores[i]));
    measured.push_back(scores[i] > 0.5 ? 1 : 0);
  }
  return {.problem = draws.problem,
          .rows = at::cat(draws.rows),
          .decision = Indices(draws.decision),
          .chosen = Indices(draws.chosen),
          .logprob = Floats(draws.logprob),
          .advantage = Floats(advantage),
          .wholes = wholes,
          .value = Floats(value),
          .measured = Floats(measured)};
}

at::Tensor LossOf(const PretrainedNetwork& network, const DrawnLesson& lesson, const ReinforcementConfig& config) {
  const at::Tensor logits = BoundedLogits(ScoreOf(network, lesson.problem, lesson.rows));
  const at::Tensor logprob =
      logits.index_select(0, lesson.chosen) - LogNormalisers(logits, lesson.decision, lesson.chosen.size(0));
  const at::Tensor policy = ClippedSurrogateLoss(logprob, lesson.logprob, lesson.advantage,
                                                 at::ones_like(lesson.advantage), config.clip_range);
  const at::Tensor values = ScoreOf(network, lesson.problem, lesson.wholes).select(1, 1);
  return policy + config.value_coef * ValueErrorOf(values - lesson.value, lesson.measured).loss;
}

}  // namespace

PretrainedWeights Reinforce(const PretrainedWeights& from, const ReinforcementConfig& config, std::uint64_t seed,
                            const std::function<Exercise(std::int64_t draw)>& exercise,
                            const std::function<void(std::int64_t, double mean, double best)>& on_step) {
  const TorchThreadScope threads;
  PretrainedWeights weights = from;
  Rng rng = Rng::Stream(seed, "reinforcement");
  Adam adam(static_cast<std::int64_t>(weights.numbers.size()));
  std::int64_t draw = 0;
  for (std::int64_t step = 0; step < config.steps; ++step) {
    std::vector<DrawnLesson> lessons;
    double mean = 0, best = 0;
    while (static_cast<std::int64_t>(lessons.size()) < config.problems_a_step) {
      const Exercise problem = exercise(draw++);
      const Draws draws = Drawing(*problem.space, weights).Of(config.samples, rng);
      if (draws.chosen.empty()) continue;  // A space of one strategy.
      const std::vector<double> scores = problem.score(draws.strategies);
      const double share = 1 / static_cast<double>(config.problems_a_step);
      for (const double score : scores) mean += share * std::max(0.0, score) / static_cast<double>(scores.size());
      best += share * std::max(0.0, *std::max_element(scores.begin(), scores.end()));
      lessons.push_back(LessonOf(draws, *problem.space, weights, scores, config.best_share));
    }
    for (std::int64_t pass = 0; pass < config.passes; ++pass) {
      const PretrainedNetwork network(weights, true);
      at::Tensor loss = at::zeros({});
      for (const DrawnLesson& lesson : lessons) {
        loss = loss + LossOf(network, lesson, config) / static_cast<double>(lessons.size());
      }
      loss.backward();
      const double left = 1 - static_cast<double>(step) / static_cast<double>(config.steps);
      adam.Step(weights.numbers.data(), network.parameters.grad().data_ptr<float>(), config.learning_rate * left, 1.0);
    }
    if (on_step) on_step(step, mean, best);
  }
  return weights;
}

}  // namespace shardscout::agents
