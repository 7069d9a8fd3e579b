#include "agents/ppo.h"

#include <gtest/gtest.h>
#include <omp.h>

#include "tests/agents/plain_action_space.h"

namespace shardscout::agents {
namespace {

/// The share of sub-actions whose choice is (a + 1) % 4.
double Matches(const Choices& action) {
  double score = 0;
  for (std::size_t a = 0; a < action.size(); ++a) score += action[a] == static_cast<int>((a + 1) % 4) ? 1 : 0;
  return score / static_cast<double>(action.size());
}

struct Trained {
  std::vector<Choices> actions;
  double last_mean = 0;
  double confidence = 0;
};

/// A rollout that is all the policy's.
std::vector<Guide> Open(const PpoConfig& config) {
  return std::vector<Guide>(static_cast<std::size_t>(config.rollout_size));
}

/// Plain PPO: no imitation, whose fixed point is the mixture of the elites.
PpoConfig Plain() {
  PpoConfig config;
  config.elite_coef = 0;
  config.num_epochs = 4;
  config.learning_rate = 3e-4;
  return config;
}

Trained Train(const PlainActionSpace& space, int updates, std::uint64_t seed, double (*reward_of)(const Choices&),
              const PpoConfig& config = Plain()) {
  const TorchThreadScope threads;
  PpoAgent agent(space, config, seed);
  EliteHistory history(static_cast<std::size_t>(config.history_size));
  Trained out;
  for (int i = 0; i < updates; ++i) {
    std::vector<double> rewards;
    for (const Choices& action : agent.Sample(history, Open(config))) {
      rewards.push_back(reward_of(action));
      history.Add(action, rewards.back());
      out.actions.push_back(action);
    }
    agent.Update(rewards, history.elites(), static_cast<double>(i) / updates);
    out.last_mean = 0;
    for (const double reward : rewards) out.last_mean += reward / static_cast<double>(rewards.size());
  }
  out.confidence = agent.GreedyConfidence(history, 0.95);
  return out;
}

TEST(PpoAgentTest, SolvesTheTrivialProblem) {
  const PlainActionSpace space(std::vector<int>(10, 4), false);
  for (const std::uint64_t seed : {1u, 2u, 3u}) {
    const Trained trained = Train(space, 250, seed, Matches);
    double first_mean = 0;
    for (std::size_t i = 0; i < 64; ++i) first_mean += Matches(trained.actions[i]) / 64;
    EXPECT_LT(first_mean, 0.45);
    EXPECT_GT(trained.last_mean, 0.95) << seed;
  }
}

TEST(PpoAgentTest, LearnsWithoutACriticAndWithoutObservingElites) {
  const PlainActionSpace space(std::vector<int>(10, 4), false);
  PpoConfig config = Plain();
  config.critic = false;
  config.vf_coef = 0;
  EXPECT_GT(Train(space, 250, 1, Matches, config).last_mean, 0.9);
  config = Plain();
  config.observe_elites = false;
  EXPECT_GT(Train(space, 250, 1, Matches, config).last_mean, 0.9);
}

TEST(PpoAgentTest, WithoutObservationAPolicyIsTheSameWhateverTheElites) {
  const PlainActionSpace space(std::vector<int>(6, 4), false);
  PpoConfig config = Plain();
  EliteHistory empty(4), full(4);
  full.Add(Choices(6, 2), 3.0);
  const auto drawn = [&](const EliteHistory& history) {
    const TorchThreadScope threads;
    PpoAgent agent(space, config, 5);
    agent.Sample(history, Open(config));
    agent.Update(std::vector<double>(static_cast<std::size_t>(config.rollout_size), 1.0), history.elites(), 0);
    return agent.GreedyConfidence(history, 0);
  };
  EXPECT_NE(drawn(empty), drawn(full));
  config.observe_elites = false;
  EXPECT_EQ(drawn(empty), drawn(full));
}

TEST(PpoAgentTest, TheDefaultsFindTheBestAction) {
  const PlainActionSpace space(std::vector<int>(10, 4), false);
  const Trained trained = Train(space, 100, 1, Matches, PpoConfig());
  double best = 0;
  for (const Choices& action : trained.actions) best = std::max(best, Matches(action));
  EXPECT_EQ(best, 1) << "one of 4^10, in 1,600 draws";
  EXPECT_GT(trained.last_mean, 0.8);
}

TEST(PpoAgentTest, LearnsThroughMasks) {
  const PlainActionSpace space({6, 80, 6, 1, 6});
  const Trained trained =
      Train(space, 150, 1, [](const Choices& action) { return 0.1 * action[0] + 0.01 * action[1] - 0.1 * action[2]; });
  double first_mean = 0;
  for (std::size_t i = 0; i < 64; ++i)
    first_mean += 0.1 * trained.actions[i][0] + 0.01 * trained.actions[i][1] - 0.1 * trained.actions[i][2];
  EXPECT_GT(trained.last_mean, first_mean / 64 + 0.3);
}

/// All rewards are equal, so that only the elites can teach.
TEST(PpoAgentTest, ImitatesElitesThroughMasks) {
  const PlainActionSpace space({6, 80, 6, 1, 6});
  const TorchThreadScope threads;
  for (const bool imitates : {true, false}) {
    PpoConfig config;
    config.elite_coef = imitates ? 1 : 0;
    config.num_imitated = 1;
    PpoAgent agent(space, config, 1);
    const EliteHistory nothing(1);
    const Choices elite = agent.Sample(nothing, Open(config)).front();
    const Choices worse = agent.Sample(nothing, Open(config)).front();
    ASSERT_NE(elite, worse);
    const std::vector<Elite> elites = {{elite, 1}, {worse, 0.5}};
    const std::vector<double> rewards(static_cast<std::size_t>(config.rollout_size), 0.5);
    double loss = 0;
    std::int64_t seen = 0;
    for (int i = 0; i < 100; ++i) {
      seen = 0;
      for (const Choices& action : agent.Sample(nothing, Open(config))) seen += action == elite ? 1 : 0;
      loss = agent.Update(rewards, elites, 1).elite_loss;
    }
    if (imitates) {
      EXPECT_LT(loss, 0.1);
      EXPECT_GT(seen, config.rollout_size / 2);
    } else {
      EXPECT_EQ(loss, 0) << "not computed";
      EXPECT_LT(seen, config.rollout_size / 4);
    }
  }
}

TEST(PpoAgentTest, TheSameSeedGivesTheSameActionsOnAnyNumberOfThreads) {
  const PlainActionSpace space({3, 100, 4, 1, 70, 5});
  const int before = omp_get_max_threads();
  std::vector<Trained> runs;
  for (const int threads : {1, 1, 2}) {
    omp_set_num_threads(threads);
    runs.push_back(Train(space, 12, 4, Matches));
    EXPECT_EQ(omp_get_max_threads(), threads) << "given back";
  }
  omp_set_num_threads(before);
  EXPECT_EQ(runs[0].actions, runs[1].actions);
  EXPECT_EQ(runs[0].actions, runs[2].actions);
  EXPECT_EQ(runs[0].confidence, runs[2].confidence);
  EXPECT_NE(runs[0].actions, Train(space, 12, 5, Matches).actions);
}

TEST(PpoAgentTest, ConfidenceRisesWithLearning) {
  const PlainActionSpace space(std::vector<int>(4, 4), false);
  const PpoConfig config;
  PpoAgent fresh(space, config, 1);
  EXPECT_NEAR(fresh.GreedyConfidence(EliteHistory(4), 0), 0.25, 0.02);
  EXPECT_GT(Train(space, 250, 1, Matches).confidence, 0.9);
}

}  // namespace
}  // namespace shardscout::agents
