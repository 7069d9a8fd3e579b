#include "agents/ppo_searcher.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <map>
#include <mutex>
#include <numeric>
#include <set>
#include <string>

#include "agents/action_space.h"
#include "shardscout/error.h"
#include "tests/test_evaluators.h"

namespace shardscout::agents {
namespace {

using test::Constant;
using test::Feasible;
using test::FunctionEvaluator;

struct Outcome {
  SearchStatus claim = SearchStatus::kFinished;
  EndReason ended = EndReason::kNone;
  std::int64_t evaluations = 0;
  double best = 0;
  std::vector<Strategy> asked;  ///< In the order charged; evaluation is on one thread.
  std::vector<AgentReport> agents;
  std::vector<std::map<std::string, double>> curves;  ///< What was recorded, a map a call; "step": the evaluations.
};

Outcome SearchWith(const StrategySpace& space, const FunctionEvaluator::Function& function, std::int64_t budget,
                   PpoConfig config = {}, std::uint64_t seed = 1, std::vector<Strategy> start = {}) {
  Outcome out;
  const FunctionEvaluator evaluator([&](const Strategy& strategy) {
    out.asked.push_back(strategy);
    return function(strategy);
  });
  EnvironmentOptions options;
  options.budget = budget;
  options.threads = 1;
  options.start = std::move(start);
  options.on_scalars = [&out](std::int64_t evaluations, std::span<const Scalar> scalars) {
    out.curves.push_back({{"step", static_cast<double>(evaluations)}});
    for (const Scalar& scalar : scalars) out.curves.back()[scalar.name] = scalar.value;
  };
  SearchEnvironment environment(space, evaluator, options);
  PpoSearcher searcher(config);
  searcher.on_agent = [&](const AgentReport& report) { out.agents.push_back(report); };
  out.claim = searcher.Search(environment, seed);
  out.ended = environment.ended();
  out.evaluations = environment.Evaluations();
  out.best = environment.best() ? environment.best()->reward : 0;
  return out;
}

/// 0.2 and 0.04 more for every layer variable that has its largest allowed ordinal.
FunctionEvaluator::Function LastSharding(const StrategySpace& space) {
  return [&space](const Strategy& strategy) {
    double score = 0.2 + (strategy.tensor_parallel_size == 4 ? 0.3 : 0) + (strategy.batch_size == 8 ? 0.2 : 0);
    for (int v = static_cast<int>(Variable::kResidualLayout); v < kNumVariables; ++v) {
      if (GetVariable(strategy, v) == space.Values(v).back()) score += 0.04;
    }
    return Feasible(score);
  };
}

TEST(PpoSearcherTest, RecordsACurvesPointAnUpdate) {
  const Problem problem = test::WideProblem(true);
  const StrategySpace space(problem);
  const Outcome out = SearchWith(space, LastSharding(space), 600);
  const std::int64_t updates =
      std::accumulate(out.agents.begin(), out.agents.end(), std::int64_t{0},
                      [](std::int64_t sum, const AgentReport& report) { return sum + report.updates; });
  ASSERT_GT(updates, 0);
  ASSERT_EQ(static_cast<std::int64_t>(out.curves.size()), updates);
  double step = 0, last_agent = 0, best = 0, entropy = 0;
  for (std::map<std::string, double> point : out.curves) {
    EXPECT_EQ(point.size(), 10u);
    for (const auto& [name, value] : point) EXPECT_TRUE(std::isfinite(value)) << name;
    EXPECT_GE(point["step"], step);
    EXPECT_GE(point["ppo/agent"], last_agent);
    EXPECT_LE(point["ppo/rollout_reward_mean"], point["ppo/rollout_reward_best"]);
    EXPECT_GE(point["ppo/entropy"], 0);
    EXPECT_GE(point["ppo/rollout_new_share"], 0);
    EXPECT_LE(point["ppo/rollout_new_share"], 1);
    EXPECT_GT(point["ppo/greedy_confidence"], 0);
    EXPECT_LE(point["ppo/greedy_confidence"], 1 + 1e-9);
    step = point["step"];
    last_agent = point["ppo/agent"];
    best = std::max(best, point["ppo/rollout_reward_best"]);
    entropy = std::max(entropy, point["ppo/entropy"]);
  }
  EXPECT_GT(entropy, 0.1) << "0 is of rollouts that the policy did not draw";
  EXPECT_LE(best, out.best);
  EXPECT_LE(step, static_cast<double>(out.evaluations));
}

TEST(PpoSearcherTest, LearnsWhereRandomSamplingDoesNot) {
  const Problem problem = test::WideProblem(true);
  const StrategySpace space(problem);
  const Outcome out = SearchWith(space, LastSharding(space), 1500);
  double random_best = 0;
  Rng rng(1);
  const auto reward = LastSharding(space);
  for (int i = 0; i < 1500; ++i)
    random_best = std::max(random_best, reward(space.Sample(rng)).metrics.throughput_per_device);
  EXPECT_EQ(out.evaluations, 1500);
  EXPECT_GT(out.best, random_best);
}

TEST(PpoSearcherTest, TheSameSeedAsksForTheSameStrategies) {
  const Problem problem = test::WideProblem(true);
  const StrategySpace space(problem);
  const Outcome one = SearchWith(space, LastSharding(space), 300, {}, 5);
  EXPECT_EQ(one.asked, SearchWith(space, LastSharding(space), 300, {}, 5).asked);
  EXPECT_NE(one.asked, SearchWith(space, LastSharding(space), 300, {}, 6).asked);
  EXPECT_EQ(std::set<Strategy>(one.asked.begin(), one.asked.end()).size(), 300u) << "nothing is asked for twice";
}

TEST(PpoSearcherTest, ConfidentAgentsEndEarlyAndTheRestIsShared) {
  // A few variables, each wanting its first value: agents are sure of them long before their share is spent.
  ProblemOptions options;
  options.fixed = {{"pipeline_parallel_size", "1"},
                   {"tensor_parallel_size", "4"},
                   {"context_parallel_size", "1"},
                   {"data_parallel_size", "1"},
                   {"batch_size", "8"},
                   {"residual_layout", "replicated"},
                   {"dense_ffn_group", "tp"},
                   {"shardings.embedding", "none"}};
  const Problem problem(test::TinyModel(), test::TinyCluster(8), test::TinyWorkload(), options);
  const StrategySpace space(problem);
  PpoConfig config;
  config.num_agents = 3;
  config.learning_rate = 3e-3;
  config.ent_coef = config.ent_coef_final = 0;
  const auto function = [&](const Strategy& s) {
    double score = 0.1;
    for (int v = 0; v < kNumVariables; ++v) score += GetVariable(s, v) == space.Values(v).front() ? 0.1 : 0;
    return Feasible(score);
  };
  const std::int64_t budget = 1200;
  ASSERT_GT(space.Size().strategies, 2.0 * budget);
  const Outcome out = SearchWith(space, function, budget, config);
  ASSERT_GE(out.agents.size(), 2u);
  EXPECT_NE(out.agents[0].end, AgentEnd::kShareSpent);
  EXPECT_LT(out.agents[0].evaluations, out.agents[0].share);
  EXPECT_EQ(out.agents[0].inherited_best, -std::numeric_limits<double>::infinity());
  EXPECT_GT(out.agents[1].inherited_best, 1.0);
  std::int64_t left = budget;
  for (const AgentReport& agent : out.agents) {
    const std::int64_t agents_left = std::max<std::int64_t>(1, config.num_agents - agent.index);
    EXPECT_EQ(agent.share, (left + agents_left - 1) / agents_left);
    EXPECT_LE(agent.evaluations, agent.share + config.rollout_size - 1);
    left -= agent.evaluations;
  }
  EXPECT_EQ(out.evaluations, budget);
  EXPECT_EQ(out.ended, EndReason::kBudget);
}

TEST(PpoSearcherTest, StaleAgentsEndAfterFiveRolloutsWithoutANewStrategy) {
  const Problem problem = test::NarrowProblem();
  const StrategySpace space(problem);
  const std::size_t size = test::AllMembers(space).size();
  PpoConfig config;
  config.exit_probability = 1;  // Never confident.
  const Outcome out = SearchWith(space, Constant(Feasible(1)), 100000, config);
  EXPECT_EQ(out.evaluations, static_cast<std::int64_t>(size)) << "the whole space, and nothing twice";
  ASSERT_FALSE(out.agents.empty());
  EXPECT_LE(out.agents.size(), 40u);
  if (out.agents[0].evaluations < static_cast<std::int64_t>(size)) {
    EXPECT_EQ(out.agents[0].end, AgentEnd::kStale);
  }
}

TEST(PpoSearcherTest, AgentsOfWhichNothingIsToBeExpectedEnd) {
  const Problem problem = test::WideProblem(true);
  const StrategySpace space(problem);
  PpoConfig config;
  config.num_agents = 2;
  config.exit_patience = 0.25;
  const Outcome flat = SearchWith(space, Constant(Feasible(1)), 800, config);
  ASSERT_GE(flat.agents.size(), 2u);
  EXPECT_EQ(flat.agents[0].end, AgentEnd::kNoGain);
  EXPECT_LE(flat.agents[0].evaluations, 150) << "a quarter of 400, the first that was a gain, and a rollout";
  EXPECT_EQ(flat.agents[1].share, 800 - flat.agents[0].evaluations);
  config.exit_patience = 0;
  const Outcome patient = SearchWith(space, Constant(Feasible(1)), 800, config);
  EXPECT_NE(patient.agents[0].end, AgentEnd::kNoGain);
}

TEST(PpoSearcherTest, ASpaceOfOneIsAskedForOnce) {
  const Problem problem = test::SingleProblem();
  const StrategySpace space(problem);
  const Outcome out = SearchWith(space, Constant(Feasible(1)), 10);
  EXPECT_EQ(out.evaluations, 1);
}

TEST(PpoSearcherTest, NeverMoreThanTheBudget) {
  const Problem problem = test::WideProblem(true);
  const StrategySpace space(problem);
  for (const std::int64_t budget : {1, 5, 16, 17, 100}) {
    EXPECT_EQ(SearchWith(space, LastSharding(space), budget).evaluations, budget);
  }
}

TEST(PpoSearcherTest, StartStrategiesAreElitesAndInherited) {
  const Problem problem = test::WideProblem();
  const StrategySpace space(problem);
  Rng rng(1);
  const Strategy start = space.Sample(rng);
  const auto function = [&](const Strategy& s) { return Feasible(s == start ? 5.0 : 0.5); };
  const Outcome out = SearchWith(space, function, 100, {}, 1, {start});
  ASSERT_FALSE(out.agents.empty());
  EXPECT_EQ(out.agents[0].inherited_best, 5.0);
}

TEST(PpoSearcherTest, StopsWhenTold) {
  const Problem problem = test::WideProblem();
  const StrategySpace space(problem);
  std::atomic<bool> stop = false;
  std::int64_t calls = 0;
  const FunctionEvaluator evaluator([&](const Strategy&) {
    if (++calls == 20) stop = true;
    return Feasible(1);
  });
  EnvironmentOptions options;
  options.threads = 1;
  options.stop = &stop;
  SearchEnvironment environment(space, evaluator, options);
  PpoSearcher().Search(environment, 1);
  EXPECT_EQ(environment.ended(), EndReason::kInterrupted);
  EXPECT_LE(environment.Evaluations(), 32);
}

TEST(PpoSearcherTest, SettingsAreRead) {
  SearcherRegistry registry;
  RegisterAgents(registry);
  const auto searcher = registry.Make("ppo", {R"({"clip_range": 0.3})", "file.json", {"num_agents=7"}});
  EXPECT_NE(searcher->ConfigJson().find("\"clip_range\":0.3"), std::string::npos);
  EXPECT_NE(searcher->ConfigJson().find("\"num_agents\":7"), std::string::npos);
  EXPECT_THROW(registry.Make("ppo", {"", "", {"clip_rnge=0.3"}}), SpecError);
  EXPECT_THROW(registry.Make("ppo", {"", "", {"clip_range=-1"}}), SpecError);
  EXPECT_THROW(registry.Make("ppo", {"", "", {"num_heads=5"}}), SpecError) << "does not divide the width";
  EXPECT_THROW(registry.Make("ppo", {"", "", {"table_width=12"}}), SpecError);
}

TEST(StrategyActionSpaceTest, ReducesAndExpands) {
  const Problem problem = test::WideProblem(true);
  const StrategySpace space(problem);
  const StrategyActionSpace actions(space);
  Rng rng(1);
  for (int i = 0; i < 100; ++i) {
    const Choices choices = space.Encode(space.Sample(rng));
    const Choices action = actions.Reduce(choices);
    EXPECT_EQ(action.size(), actions.sub_actions().size());
    EXPECT_EQ(actions.Expand(action), choices);
    std::vector<std::uint8_t> mask;
    for (std::size_t a = 0; a < action.size(); ++a) {
      actions.AllowedChoices(std::span<const int>(action).first(a), mask);
      ASSERT_EQ(mask.size(), actions.sub_actions()[a].NumChoices());
      EXPECT_EQ(mask[static_cast<std::size_t>(action[a])], 1);
    }
  }
}

}  // namespace
}  // namespace shardscout::agents
