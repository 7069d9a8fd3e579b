#include "agents/reinforcement.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "agents/imitation.h"
#include "agents/pretrained_policy.h"
#include "shardscout/random.h"
#include "strategies/strategy_features.h"
#include "tests/test_evaluators.h"

namespace shardscout::agents {
namespace {

/// Nothing but four ways of tensor parallelism is good; every second size of a batch is infeasible.
double Score(const Strategy& s) {
  if (s.batch_size % 2 != 0) return -0.5;
  return s.tensor_parallel_size == 4 ? 1 : 0.1;
}

class ReinforcementTest : public testing::Test {
 protected:
  ReinforcementTest() {
    ImitationConfig config;
    config.width = 16;
    config.inner_width = 8;
    config.epochs = 1;
    Rng rng(5);
    std::vector<Strategy> strategies;
    std::vector<double> scores;
    for (int i = 0; i < 50; ++i) {
      strategies.push_back(space_->Sample(rng));
      scores.push_back(1);
    }
    Imitation imitation(StrategyFeatureNames(*space_), config);
    imitation.Add(*space_, strategies, scores, false);
    untaught_ = imitation.Train(1, nullptr);
  }

  /// means: of each step's draws.
  PretrainedWeights Taught(std::int64_t steps, std::vector<double>* means = nullptr) const {
    ReinforcementConfig config;
    config.steps = steps;
    config.problems_a_step = 2;
    config.learning_rate = 1e-2;
    const Exercise exercise{.space = space_, .score = [](std::span<const Strategy> strategies) {
                              std::vector<double> scores;
                              for (const Strategy& strategy : strategies) scores.push_back(Score(strategy));
                              return scores;
                            }};
    return Reinforce(
        untaught_, config, 1, [&](std::int64_t) { return exercise; },
        [&](std::int64_t, double mean, double) {
          if (means != nullptr) means->push_back(mean);
        });
  }

  const Problem problem_{test::TinyModel(), test::TinyCluster(8), test::TinyWorkload()};
  const std::shared_ptr<const StrategySpace> space_ = std::make_shared<const StrategySpace>(problem_);
  PretrainedWeights untaught_;
};

TEST_F(ReinforcementTest, DrawsWhatScoresHigh) {
  std::vector<double> means;
  Taught(40, &means);
  ASSERT_EQ(means.size(), 40u);
  EXPECT_LT(means.front(), 0.12);
  // From where a quarter of what is drawn is as good as can be, there is nothing more to seek.
  EXPECT_GT(*std::min_element(means.end() - 10, means.end()), 0.25);
}

TEST_F(ReinforcementTest, ValuesLearnFromWhatWasDrawn) {
  const PretrainedWeights weights = Taught(40);
  const PretrainedPolicy policy(*space_, weights);
  Rng rng(4);
  std::vector<Strategy> good, infeasible;
  for (int i = 0; i < 400; ++i) {
    const Strategy strategy = space_->Sample(rng);
    if (Score(strategy) == 1) good.push_back(strategy);
    if (Score(strategy) < 0) infeasible.push_back(strategy);
  }
  ASSERT_GT(good.size(), 10u);
  ASSERT_GT(infeasible.size(), 10u);
  const auto mean = [&](const std::vector<Strategy>& strategies) {
    double sum = 0;
    for (const double value : policy.Values(strategies)) sum += value;
    return sum / static_cast<double>(strategies.size());
  };
  EXPECT_GT(mean(good), mean(infeasible) + 1);
}

TEST_F(ReinforcementTest, TheSameSeedGivesTheSameWeightsOnAnyNumberOfThreads) {
  const int before = omp_get_max_threads();
  std::vector<PretrainedWeights> weights;
  for (const int threads : {1, 4}) {
    omp_set_num_threads(threads);
    weights.push_back(Taught(3));
  }
  omp_set_num_threads(before);
  EXPECT_EQ(weights[0], weights[1]);
  EXPECT_NE(weights[0], untaught_);
}

TEST_F(ReinforcementTest, LearnsNothingWhereAllIsAlike) {
  ReinforcementConfig config;
  config.steps = 3;
  config.value_coef = 0;
  const Exercise exercise{.space = space_, .score = [](std::span<const Strategy> strategies) {
                            return std::vector<double>(strategies.size(), 0.7);
                          }};
  EXPECT_EQ(Reinforce(
                untaught_, config, 1, [&](std::int64_t) { return exercise; }, nullptr),
            untaught_);
}

}  // namespace
}  // namespace shardscout::agents
