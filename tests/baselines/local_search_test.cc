#include "baselines/local_search.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <set>
#include <string>
#include <vector>

#include "strategies/local_moves.h"
#include "strategies/sharding_templates.h"
#include "tests/test_evaluators.h"

namespace shardscout {
namespace {

using test::FunctionEvaluator;

constexpr int kNumDegrees = static_cast<int>(Variable::kExpertTensorParallelSize) + 1;

double RewardOf(const Evaluation& evaluation) {
  return Reward(evaluation, Objective::kThroughputPerDevice, WorkloadKind::kDecode, 1);
}

Strategy Sizes(std::int64_t tp, std::int64_t dp, std::int64_t ep, std::int64_t batch) {
  Strategy s;
  s.tensor_parallel_size = tp;
  s.data_parallel_size = dp;
  s.expert_parallel_size = ep;
  s.batch_size = batch;
  return s;
}

TEST(LocalSearchTest, TemplatesHoldWhereTheyAreValid) {
  for (const bool moe : {false, true}) {
    const Problem problem = test::WideProblem(moe);
    const StrategySpace space(problem);
    const Strategy sizes = moe ? Sizes(4, 2, 8, 8) : Sizes(4, 2, 1, 8);
    std::set<Strategy> distinct;
    for (const Strategy& layers : ShardingTemplates()) {
      const Strategy member = WithLayers(space, sizes, layers);
      EXPECT_TRUE(space.Contains(member));
      EXPECT_EQ(member.tensor_parallel_size, 4);
      EXPECT_EQ(member.residual_layout, layers.residual_layout);
      for (const Operator op : {Operator::kQkv, Operator::kAttention, Operator::kAttnOut, Operator::kLmHead}) {
        EXPECT_EQ(member.ShardingOf(op), layers.ShardingOf(op)) << ToShortString(member);
      }
      distinct.insert(member);
    }
    EXPECT_GE(distinct.size(), moe ? 5u : 6u);
  }
}

TEST(LocalSearchTest, EveryAllowedValueOfAVariableIsTried) {
  const Problem problem = test::WideProblem(true);
  const StrategySpace space(problem);
  const Strategy from = WithLayers(space, Sizes(4, 2, 8, 8), ShardingTemplates()[1]);
  for (int v = 0; v < space.NumVariables(); ++v) {
    Choices prefix = space.Encode(from);
    prefix.resize(static_cast<std::size_t>(v));
    std::vector<std::uint8_t> mask;
    space.AllowedChoices(prefix, mask);
    std::set<std::int64_t> wanted, found;
    for (std::size_t i = 0; i < mask.size(); ++i) {
      const std::int64_t value = space.Values(v)[i];
      if (mask[i] != 0 && value != GetVariable(from, v)) wanted.insert(value);
    }
    for (const Strategy& move : Moves(space, from, v)) {
      EXPECT_TRUE(space.Contains(move));
      EXPECT_NE(move, from);
      found.insert(GetVariable(move, v));
    }
    EXPECT_EQ(found, wanted) << VariableName(v);
  }
}

TEST(LocalSearchTest, ManyValuesOfASizeAreTriedByRatio) {
  ModelSpec model = test::TinyModel();
  model.attention.num_heads = 64;
  model.attention.num_kv_heads = 64;
  WorkloadSpec workload = test::TinyWorkload();
  workload.concurrency = 4096;  // A batch for every number of replicas.
  const Problem problem(model, test::TinyCluster(256), workload);
  const StrategySpace space(problem);
  Strategy from = space.Repair(Sizes(4, 1, 1, 1));
  constexpr int kDp = static_cast<int>(Variable::kDataParallelSize);
  from.data_parallel_size = 16;
  from = space.Repair(from);
  ASSERT_EQ(from.data_parallel_size, 16);
  std::set<std::int64_t> found;
  for (const Strategy& move : Moves(space, from, kDp)) found.insert(move.data_parallel_size);
  EXPECT_LE(found.size(), 10u);
  for (const std::int64_t dp : {2, 4, 8, 15, 17, 24, 32, 64}) EXPECT_TRUE(found.contains(dp)) << dp;
}

TEST(LocalSearchTest, PairsOfSizesMoveTogether) {
  const Problem problem = test::WideProblem(true);
  const StrategySpace space(problem);
  const Strategy from = WithLayers(space, Sizes(2, 2, 4, 8), ShardingTemplates()[1]);
  std::set<Strategy> reached;
  for (int group = space.NumVariables(); group < NumMoveGroups(space) - 1; ++group) {
    for (const Strategy& move : Moves(space, from, group)) {
      EXPECT_TRUE(space.Contains(move));
      reached.insert(move);
    }
  }
  const auto has = [&](std::int64_t tp, std::int64_t dp, std::int64_t ep, std::int64_t batch) {
    return reached.contains(WithLayers(space, Sizes(tp, dp, ep, batch), from));
  };
  EXPECT_TRUE(has(2, 4, 4, 4)) << "batch 8 on dp 2 to batch 4 on dp 4";
  EXPECT_TRUE(has(2, 4, 8, 8)) << "dp 2 and ep 4 to dp 4 and ep 8";
  EXPECT_TRUE(has(4, 1, 4, 8)) << "dp to tp";
  EXPECT_TRUE(has(2, 1, 2, 8)) << "dp and ep down";
}

TEST(LocalSearchTest, ScreensTemplatesOnRoundDegreesFirst) {
  const Problem problem = test::WideProblem(true);
  const StrategySpace space(problem);
  std::vector<Strategy> asked;
  const FunctionEvaluator evaluator([&](const Strategy& strategy) {
    asked.push_back(strategy);
    return test::OverMemory(1);
  });
  SearchEnvironment environment(space, evaluator, {.budget = 400, .threads = 1});
  baselines::LocalSearchConfig config;
  config.screen_share = 0.5;
  config.num_templates = 2;
  baselines::MakeLocalSearch(config)->Search(environment, 1);
  ASSERT_EQ(asked.size(), 400u);
  const std::vector<Strategy> templates = ShardingTemplates();
  // Half the budget; less where templates meet or points are repeated.
  std::set<std::int64_t> tps;
  for (std::size_t i = 0; i < 80; ++i) {
    const Strategy& s = asked[i];
    EXPECT_TRUE(WithLayers(space, s, templates[0]) == s || WithLayers(space, s, templates[1]) == s);
    for (int v = 0; v < kNumDegrees; ++v) {
      EXPECT_TRUE(std::has_single_bit(static_cast<std::uint64_t>(GetVariable(s, v)))) << ToShortString(s);
    }
    tps.insert(s.tensor_parallel_size);
  }
  EXPECT_EQ(tps, (std::set<std::int64_t>{1, 2, 4, 8}));
}

TEST(LocalSearchTest, WhatItFindsNoMoveImproves) {
  const Problem problem = test::WideProblem(true);
  const StrategySpace space(problem);
  const auto landscape = test::Landscape(space);
  const FunctionEvaluator evaluator(landscape);
  SearchEnvironment environment(space, evaluator, {.budget = 1500, .threads = 1});
  SearcherRegistry registry;
  RegisterBuiltinSearchers(registry);
  registry.Make("local-search")->Search(environment, 1);
  const Scored best = *environment.best();
  for (int group = 0; group < NumMoveGroups(space); ++group) {
    for (const Strategy& move : Moves(space, best.strategy, group)) {
      EXPECT_LE(RewardOf(landscape(move)), best.reward) << ToShortString(move);
    }
  }
}

TEST(LocalSearchTest, DescendsFromTheStartToItsOptimum) {
  // Four variables of the start are wrong and pay only in this order, after the right tp: one time round the groups
  // mends few of them, and descents from elsewhere have nothing to go by.
  const Problem problem = test::WideProblem();
  const StrategySpace space(problem);
  Strategy peak = WithLayers(space, Sizes(4, 2, 1, 6), ShardingTemplates()[3]);
  const Operator in_order[] = {Operator::kEmbedding, Operator::kLmHead, Operator::kAttnOut, Operator::kQkv};
  for (const Operator op : in_order) peak.SetSharding(op, Sharding::kHidden);
  ASSERT_TRUE(space.Contains(peak)) << space.WhyNot(peak);
  Strategy start = peak;
  for (const Operator op : in_order) start.SetSharding(op, Sharding::kNone);
  ASSERT_TRUE(space.Contains(start)) << space.WhyNot(start);
  const FunctionEvaluator evaluator([&](const Strategy& s) {
    if (s.tensor_parallel_size != 4 || s.data_parallel_size != 2) return test::Feasible(1);
    double reward = 2;
    for (const Operator op : in_order) {
      if (s.ShardingOf(op) != peak.ShardingOf(op)) break;
      ++reward;
    }
    return test::Feasible(reward);
  });
  EnvironmentOptions options;
  options.budget = 100;
  options.threads = 1;
  options.start = {start};
  SearchEnvironment environment(space, evaluator, options);
  baselines::LocalSearchConfig config;
  config.screen_share = 0;
  config.num_templates = 1;
  config.num_starts = 1;
  config.num_kicks = 0;
  baselines::MakeLocalSearch(config)->Search(environment, 1);
  EXPECT_EQ(environment.best()->reward, 6);
}

TEST(LocalSearchTest, EstimatesChooseWhichMovesArePaidFor) {
  const Problem problem = test::WideProblem(true);
  const StrategySpace space(problem);
  const auto landscape = test::Landscape(space);
  const FunctionEvaluator evaluator(landscape);
  const FunctionEvaluator opposite([&](const Strategy& s) { return test::Feasible(1 / (1 + RewardOf(landscape(s)))); });
  SearcherRegistry registry;
  RegisterBuiltinSearchers(registry);
  for (const std::uint64_t seed : {1u, 2u, 3u}) {
    const auto best = [&](const Evaluator* estimator) {
      EnvironmentOptions options;
      options.budget = 60;
      options.threads = 1;
      options.estimator = estimator;
      SearchEnvironment environment(space, evaluator, options);
      registry.Make("local-search")->Search(environment, seed);
      return environment.best()->reward;
    };
    const double right = best(&evaluator);
    EXPECT_GT(right, best(nullptr)) << seed;
    EXPECT_GT(right, best(&opposite)) << seed;
  }
}

TEST(LocalSearchTest, BeatsRandomSearchOnASlope) {
  const Problem problem = test::WideProblem(true);
  const StrategySpace space(problem);
  SearcherRegistry registry;
  RegisterBuiltinSearchers(registry);
  for (const std::uint64_t seed : {1u, 2u, 3u}) {
    const auto best = [&](const std::string& name) {
      const FunctionEvaluator evaluator(test::Landscape(space));
      SearchEnvironment environment(space, evaluator, {.budget = 600, .threads = 1});
      registry.Make(name)->Search(environment, seed);
      return environment.best()->reward;
    };
    EXPECT_GT(best("local-search"), best("random")) << seed;
  }
}

}  // namespace
}  // namespace shardscout
