#include "baselines/evolution.h"

#include <gtest/gtest.h>

#include <deque>
#include <set>
#include <vector>

#include "tests/test_evaluators.h"

namespace shardscout {
namespace {

using baselines::EvolutionConfig;
using test::FunctionEvaluator;

constexpr int kFirstLayerVariable = static_cast<int>(Variable::kNumMicrobatches) + 1;

double BestOf(const StrategySpace& space, Searcher& searcher, std::int64_t budget, std::uint64_t seed) {
  const FunctionEvaluator evaluator(test::Landscape(space));
  SearchEnvironment environment(space, evaluator, {.budget = budget, .threads = 1});
  searcher.Search(environment, seed);
  return environment.best()->reward;
}

TEST(EvolutionTest, ACrossHasSizesOfOneParentAndEachLayerVariableOfEither) {
  const Problem problem = test::WideProblem(true);
  const StrategySpace space(problem);
  Rng rng(3);
  std::vector<int> of_second(kNumVariables, 0);
  for (int i = 0; i < 400; ++i) {
    const Strategy a = space.Sample(rng), b = space.Sample(rng);
    const Strategy child = baselines::Cross(a, b, rng);
    for (int v = 0; v < kNumVariables; ++v) {
      const std::int64_t value = GetVariable(child, v), first = GetVariable(a, v), second = GetVariable(b, v);
      if (v < kFirstLayerVariable) {
        EXPECT_EQ(value, first) << VariableName(v);
      } else {
        EXPECT_TRUE(value == first || value == second) << VariableName(v);
      }
      if (first != second && value == second) ++of_second[static_cast<std::size_t>(v)];
    }
  }
  EXPECT_GT(of_second[static_cast<std::size_t>(Variable::kResidualLayout)], 50);
  EXPECT_GT(of_second[static_cast<std::size_t>(kFirstShardingVariable)], 50);
}

TEST(EvolutionTest, TheBestOfATournamentIsMutatedAndTheOldestDies) {
  const Problem problem = test::WideProblem();
  const StrategySpace space(problem);
  const auto landscape = test::Landscape(space);
  std::vector<Strategy> asked;
  const FunctionEvaluator evaluator([&](const Strategy& strategy) {
    asked.push_back(strategy);
    return landscape(strategy);
  });
  SearchEnvironment environment(space, evaluator, {.budget = 80, .threads = 1});
  EvolutionConfig config;
  config.population_size = 6;
  config.tournament_size = 3;
  config.crossover = 0;
  config.minibatch_size = 1;
  baselines::MakeEvolution(config)->Search(environment, 7);

  // The paper's algorithm, written once more.
  const auto reward = [&](const Strategy& s) {
    const Evaluation evaluation = landscape(s);
    return evaluation.Feasible() ? evaluation.metrics.throughput_per_device
                                 : -evaluation.excess.memory / (1 + evaluation.excess.memory);
  };
  Rng rng = Rng::Stream(7, "evolution");
  std::deque<Strategy> population;
  std::vector<Strategy> expected;
  std::set<Strategy> seen;
  const auto join = [&](const Strategy& s) {
    population.push_back(s);
    expected.push_back(s);
    seen.insert(s);
  };
  while (population.size() < 6) {
    const Strategy s = space.Sample(rng);
    if (!seen.contains(s)) join(s);
  }
  while (expected.size() < 80) {
    Strategy parent = population[rng.Below(6)];
    for (int i = 1; i < 3; ++i) {
      const Strategy other = population[rng.Below(6)];
      if (reward(other) > reward(parent) || (reward(other) == reward(parent) && other < parent)) parent = other;
    }
    rng.Uniform();  // No crossover.
    Strategy child = space.Neighbour(parent, rng);
    while (seen.contains(child)) child = space.Neighbour(child, rng);
    join(child);
    population.pop_front();
  }
  EXPECT_EQ(asked, expected);
}

TEST(EvolutionTest, AsksNothingTwiceInALargeSpace) {
  const Problem problem = test::WideProblem();
  const StrategySpace space(problem);
  const FunctionEvaluator evaluator(test::Landscape(space));
  std::int64_t batches = 0;
  EnvironmentOptions options;
  options.budget = 100 + 8 * 50;
  options.threads = 1;
  options.on_progress = [&](const Progress&) { ++batches; };
  SearchEnvironment environment(space, evaluator, options);
  EvolutionConfig config;
  config.population_size = 100;
  baselines::MakeEvolution(config)->Search(environment, 1);
  EXPECT_EQ(environment.Evaluations(), 500);
  EXPECT_EQ(batches, 51) << "the first generation, then 8 new children each";
}

TEST(EvolutionTest, StartStrategiesAreOfTheFirstGeneration) {
  const Problem problem = test::WideProblem();
  const StrategySpace space(problem);
  Rng rng(8);
  const Strategy start = space.Sample(rng);
  std::vector<Strategy> asked;
  // Only the start is feasible, so that it wins every tournament that it is drawn for.
  const FunctionEvaluator evaluator([&](const Strategy& strategy) {
    asked.push_back(strategy);
    return strategy == start ? test::Feasible(1) : test::OverMemory(1);
  });
  EnvironmentOptions options;
  options.budget = 5;
  options.threads = 1;
  options.start = {start};
  SearchEnvironment environment(space, evaluator, options);
  EvolutionConfig config;
  config.population_size = 1;
  config.minibatch_size = 4;
  config.crossover = 0;
  baselines::MakeEvolution(config)->Search(environment, 1);
  // A population of the start alone: the children are its neighbours, of which some differ in one variable.
  ASSERT_EQ(asked.size(), 5u);
  const auto differing = [&](const Strategy& other) {
    int count = 0;
    for (int v = 0; v < kNumVariables; ++v) count += GetVariable(start, v) != GetVariable(other, v) ? 1 : 0;
    return count;
  };
  int least = kNumVariables;
  for (std::size_t i = 1; i < asked.size(); ++i) least = std::min(least, differing(asked[i]));
  EXPECT_EQ(least, 1);
}

TEST(EvolutionTest, BeatsRandomSearchOnASlope) {
  const Problem problem = test::WideProblem(true);
  const StrategySpace space(problem);
  SearcherRegistry registry;
  RegisterBuiltinSearchers(registry);
  for (const std::uint64_t seed : {1u, 2u, 3u}) {
    EXPECT_GT(BestOf(space, *registry.Make("evolution"), 600, seed), BestOf(space, *registry.Make("random"), 600, seed))
        << seed;
  }
}

}  // namespace
}  // namespace shardscout
