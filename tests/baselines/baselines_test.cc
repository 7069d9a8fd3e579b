#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "baselines/annealing.h"
#include "baselines/random_search.h"
#include "baselines/random_walk.h"
#include "baselines/start.h"
#include "shardscout/megatron_rule.h"
#include "shardscout/random.h"
#include "shardscout/searcher.h"
#include "tests/test_evaluators.h"

namespace shardscout {
namespace {

using test::FunctionEvaluator;

std::unique_ptr<Searcher> Make(const std::string& name, const std::vector<std::string>& assignments = {}) {
  SearcherRegistry registry;
  RegisterBuiltinSearchers(registry);
  SearcherSettings settings;
  settings.assignments = assignments;
  return registry.Make(name, settings);
}

/// Keeps the order in which strategies are asked for (one thread).
struct Recorder {
  FunctionEvaluator::Function function;
  std::vector<Strategy> asked;
  FunctionEvaluator::Function Recorded() {
    return [this](const Strategy& strategy) {
      asked.push_back(strategy);
      return function(strategy);
    };
  }
};

double BestOf(const StrategySpace& space, const FunctionEvaluator::Function& function, const std::string& name,
              std::int64_t budget, std::uint64_t seed) {
  const FunctionEvaluator evaluator(function);
  SearchEnvironment environment(space, evaluator, {.budget = budget});
  Make(name)->Search(environment, seed);
  return environment.best()->reward;
}

TEST(BaselinesTest, SearchersFindTheOptimumOfASmallSpaceAndExhaustIt) {
  const Problem problem = test::NarrowProblem();
  const StrategySpace space(problem);
  const auto landscape = test::Landscape(space);
  double optimum = -1;
  Strategy best;
  for (const Strategy& member : test::AllMembers(space)) {
    const Evaluation evaluation = landscape(member);
    if (!evaluation.Feasible() || evaluation.metrics.throughput_per_device <= optimum) continue;
    optimum = evaluation.metrics.throughput_per_device;
    best = member;
  }
  for (const std::string name : {"random", "random-walk", "annealing", "evolution", "local-search"}) {
    const FunctionEvaluator evaluator(landscape);
    SearchEnvironment environment(space, evaluator, {.budget = 1000});
    EXPECT_EQ(StatusOf(environment, Make(name)->Search(environment, 1)), SearchStatus::kSpaceExhausted) << name;
    EXPECT_EQ(environment.best()->strategy, best) << name;
    EXPECT_EQ(environment.best()->reward, optimum) << name;
  }
}

TEST(BaselinesTest, AnExhaustedInfeasibleSpaceIsProved) {
  const Problem problem = test::NarrowProblem();
  const StrategySpace space(problem);
  for (const std::string name : {"random", "random-walk", "annealing", "evolution", "local-search"}) {
    const FunctionEvaluator evaluator(test::Constant(test::OverMemory(1)));
    SearchEnvironment environment(space, evaluator, {.budget = 1000});
    EXPECT_EQ(StatusOf(environment, Make(name)->Search(environment, 1)), SearchStatus::kProvenInfeasible) << name;
  }
}

TEST(BaselinesTest, SeedsMatter) {
  const Problem problem = test::WideProblem();
  const StrategySpace space(problem);
  for (const std::string name : {"random", "random-walk", "annealing", "evolution", "local-search"}) {
    std::set<Strategy> firsts;
    for (const std::uint64_t seed : {1u, 2u, 3u}) {
      Recorder recorder{test::Landscape(space), {}};
      const FunctionEvaluator evaluator(recorder.Recorded());
      SearchEnvironment environment(space, evaluator, {.budget = 5, .threads = 1});
      Make(name)->Search(environment, seed);
      firsts.insert(recorder.asked.front());
    }
    EXPECT_GE(firsts.size(), 2u) << name;
  }
}

TEST(RandomSearchTest, SpendsTheWholeBudgetAndFollowsThePrior) {
  const Problem problem = test::WideProblem();
  const StrategySpace space(problem);
  Recorder recorder{test::Landscape(space), {}};
  const FunctionEvaluator evaluator(recorder.Recorded());
  SearchEnvironment environment(space, evaluator, {.budget = 500, .threads = 1});
  EXPECT_EQ(StatusOf(environment, Make("random")->Search(environment, 1)), SearchStatus::kBudgetExhausted);
  EXPECT_EQ(std::set<Strategy>(recorder.asked.begin(), recorder.asked.end()).size(), 500u);
  // The very samples of the space, in their order.
  Rng rng = Rng::Stream(1, "random");
  EXPECT_EQ(recorder.asked[0], space.Sample(rng));
  EXPECT_EQ(recorder.asked[1], space.Sample(rng));
}

TEST(RandomWalkTest, EveryStepIsANeighbourOfTheLastAndRestartsAreSamples) {
  const Problem problem = test::WideProblem();
  const StrategySpace space(problem);
  Recorder recorder{test::Landscape(space), {}};
  const FunctionEvaluator evaluator(recorder.Recorded());
  SearchEnvironment environment(space, evaluator, {.budget = 60, .threads = 1});
  Make("random-walk", {"restart_interval=7", "minibatch_size=4"})->Search(environment, 5);
  // The same walk, walked here.
  Rng rng = Rng::Stream(5, "random-walk");
  std::vector<Strategy> walk = {space.Sample(rng)};
  std::set<Strategy> seen(walk.begin(), walk.end());
  std::vector<Strategy> fresh = walk;
  while (fresh.size() < 60) {
    walk.push_back(walk.size() % 7 == 0 ? space.Sample(rng) : space.Neighbour(walk.back(), rng));
    if (seen.insert(walk.back()).second) fresh.push_back(walk.back());
  }
  EXPECT_EQ(recorder.asked, fresh);
}

TEST(StartTest, LocalSearchesBeginAtTheBestStart) {
  const Problem problem = test::WideProblem();
  const StrategySpace space(problem);
  Rng rng(8);
  const std::vector<Strategy> start = {space.Sample(rng), space.Sample(rng), space.Sample(rng)};
  const FunctionEvaluator evaluator(
      test::Table({{start[0], test::Feasible(1)}, {start[1], test::Feasible(3)}}, test::OverMemory(1)));
  EnvironmentOptions options;
  options.budget = 10;
  options.start = start;
  const SearchEnvironment environment(space, evaluator, options);
  EXPECT_EQ(baselines::FirstState(environment, rng), start[1]);
}

TEST(AnnealingTest, MetropolisByHand) {
  EXPECT_DOUBLE_EQ(baselines::AcceptanceProbability(1.0, 0.9, 0.1), std::exp(-1.0));
  EXPECT_DOUBLE_EQ(baselines::AcceptanceProbability(0.5, -0.5, 0.5), std::exp(-2.0));
  EXPECT_EQ(baselines::AcceptanceProbability(0.9, 0.9, 0.1), 1);
  EXPECT_EQ(baselines::AcceptanceProbability(0.9, 2.0, 1e-9), 1);
}

TEST(AnnealingTest, TemperatureFallsGeometrically) {
  const baselines::AnnealingConfig config = {.initial_temperature = 0.1, .final_temperature = 0.001};
  EXPECT_DOUBLE_EQ(baselines::TemperatureAt(config, 0), 0.1);
  EXPECT_NEAR(baselines::TemperatureAt(config, 0.5), 0.01, 1e-15);
  EXPECT_NEAR(baselines::TemperatureAt(config, 1), 0.001, 1e-15);
}

TEST(AnnealingTest, BeatsRandomSearchOnASlope) {
  const Problem problem = test::WideProblem(true);
  const StrategySpace space(problem);
  for (const std::uint64_t seed : {1u, 2u, 3u}) {
    EXPECT_GT(BestOf(space, test::Landscape(space), "annealing", 600, seed),
              BestOf(space, test::Landscape(space), "random", 600, seed));
  }
}

TEST(AnnealingTest, ClimbsOutOfTheInfeasibleRegion) {
  // Feasible is one strategy's neighbourhood in the batch size alone; the slope of the violation leads there.
  const Problem problem = test::WideProblem();
  const StrategySpace space(problem);
  const auto slope = [](const Strategy& strategy) {
    const auto devices = static_cast<double>(strategy.InstanceSize());
    const auto batch = static_cast<double>(strategy.batch_size);
    const double excess = batch / devices - 0.13;
    return excess > 0 ? test::OverMemory(excess) : test::Feasible(1);
  };
  const FunctionEvaluator evaluator(slope);
  SearchEnvironment environment(space, evaluator, {.budget = 400});
  Make("annealing")->Search(environment, 1);
  EXPECT_GT(environment.best()->reward, 0);
}

TEST(AnnealingTest, RestartsWhenStuck) {
  // A needle: nothing ever gets better, so that each chain is given up after `patience` steps, and with restarts from
  // fresh samples only, consecutive evaluations are far apart now and then. Without restarts all is near the start.
  const Problem problem = test::WideProblem();
  const StrategySpace space(problem);
  const auto restarts = [&](const std::vector<std::string>& assignments) {
    Recorder recorder{test::Constant(test::Feasible(1)), {}};
    const FunctionEvaluator evaluator(recorder.Recorded());
    SearchEnvironment environment(space, evaluator, {.budget = 100, .threads = 1});
    Make("annealing", assignments)->Search(environment, 1);
    Rng rng = Rng::Stream(1, "annealing");
    // The first state, then `patience` draws of (neighbour, acceptance), then a fresh sample.
    Strategy state = space.Sample(rng);
    EXPECT_EQ(recorder.asked[0], state);
    for (int step = 0; step < 3; ++step) {
      state = space.Neighbour(state, rng);
      rng.Uniform();
    }
    rng.Uniform();  // From best, or afresh.
    const Strategy fresh = space.Sample(rng);
    return std::find(recorder.asked.begin(), recorder.asked.end(), fresh) != recorder.asked.end();
  };
  EXPECT_TRUE(restarts({"patience=3", "restart_from_best=0"}));
  EXPECT_FALSE(restarts({"patience=1000", "restart_from_best=0"}));
}

TEST(MegatronTest, AnswersWhatTheRuleAnswers) {
  for (const bool moe : {false, true}) {
    const Problem problem = test::WideProblem(moe);
    const StrategySpace space(problem);
    // Memory: devices of an instance against the batch; small batches are the fastest, which must not matter.
    const auto function = [](const Strategy& strategy) {
      const auto batch = static_cast<double>(strategy.batch_size);
      const double excess = (4 + batch) / (3 * static_cast<double>(strategy.InstanceSize())) - 1;
      return excess > 0 ? test::OverMemory(excess) : test::Feasible(1 / batch);
    };
    const MegatronAnswer answer = MegatronRule(space, function);
    ASSERT_TRUE(answer.feasible);
    const FunctionEvaluator evaluator(function);
    SearchEnvironment environment(space, evaluator,
                                  {.budget = 1000, .normaliser = answer.evaluation.metrics.throughput_per_device});
    EXPECT_EQ(StatusOf(environment, Make("megatron")->Search(environment, 1)), SearchStatus::kFinished);
    EXPECT_EQ(environment.best()->strategy, answer.strategy);
    EXPECT_DOUBLE_EQ(environment.best()->reward, 1);
    EXPECT_EQ(environment.FeasibleEvaluations(), 1);
  }
}

TEST(MegatronTunedTest, AsksForItsStrategiesInOrder) {
  const Problem problem = test::WideProblem(true);
  const StrategySpace space(problem);
  std::vector<Strategy> all;
  ForEachMegatronStrategy(space, [&](const Strategy& strategy) {
    all.push_back(strategy);
    return true;
  });
  ASSERT_GT(all.size(), 30u);
  for (const std::int64_t budget : {std::int64_t{1}, std::int64_t{17}, static_cast<std::int64_t>(all.size()) + 5}) {
    Recorder recorder{test::Landscape(space), {}};
    const FunctionEvaluator evaluator(recorder.Recorded());
    SearchEnvironment environment(space, evaluator, {.budget = budget, .threads = 1});
    const SearchStatus status = StatusOf(environment, Make("megatron-tuned")->Search(environment, 1));
    const auto asked = std::min(static_cast<std::size_t>(budget), all.size());
    EXPECT_EQ(recorder.asked, std::vector<Strategy>(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(asked)));
    if (asked == all.size()) {
      EXPECT_EQ(status, SearchStatus::kFinished);
    }
  }
}

}  // namespace
}  // namespace shardscout
