#include "shardscout/strategy_difference.h"

#include <gtest/gtest.h>

#include <vector>

#include "shardscout/random.h"
#include "tests/test_evaluators.h"

namespace shardscout {
namespace {

constexpr int kTp = static_cast<int>(Variable::kTensorParallelSize);
constexpr int kDp = static_cast<int>(Variable::kDataParallelSize);
constexpr int kEp = static_cast<int>(Variable::kExpertParallelSize);
constexpr int kBatch = static_cast<int>(Variable::kBatchSize);
constexpr int kQkv = kFirstShardingVariable + static_cast<int>(Operator::kQkv);

Strategy Example() {
  Strategy s;
  s.tensor_parallel_size = 2;
  s.data_parallel_size = 4;
  s.expert_parallel_size = 8;
  s.batch_size = 8;
  s.residual_layout = Layout::kTokenSharded;
  s.SetSharding(Operator::kQkv, Sharding::kHeads);
  s.SetSharding(Operator::kAttention, Sharding::kHeads);
  s.SetSharding(Operator::kAttnOut, Sharding::kHeads);
  return s;
}

int NumDiffering(const Strategy& a, const Strategy& b) {
  int count = 0;
  for (int v = 0; v < kNumVariables; ++v) count += GetVariable(a, v) != GetVariable(b, v) ? 1 : 0;
  return count;
}

TEST(WithVariable, ChangesNothingElseWhereItNeedNot) {
  const Problem problem = test::WideProblem(true);
  const StrategySpace space(problem);
  const Strategy from = space.Repair(Example());
  ASSERT_EQ(from, Example());
  const Strategy changed = WithVariable(space, from, kQkv, static_cast<std::int64_t>(Sharding::kToken));
  EXPECT_EQ(changed.ShardingOf(Operator::kQkv), Sharding::kToken);
  EXPECT_EQ(NumDiffering(changed, from), 1);
}

TEST(WithVariable, MovesWhatHasToMove) {
  const Problem problem = test::WideProblem(true);
  const StrategySpace space(problem);
  Strategy expected = Example();
  expected.data_parallel_size = 2;
  expected.expert_parallel_size = 4;
  EXPECT_EQ(WithVariable(space, Example(), kDp, 2), expected);
  // A variable that comes later in the order gets its value all the same: earlier ones give way.
  Strategy small = Example();
  small.data_parallel_size = 1;
  small.expert_parallel_size = 2;
  small = space.Repair(small);
  const Strategy wider = WithVariable(space, small, kEp, 8);
  EXPECT_EQ(wider.expert_parallel_size, 8);
  EXPECT_EQ(wider.StageSize() % 8, 0);
  EXPECT_EQ(wider.tensor_parallel_size, 2);
}

TEST(WithVariable, AlwaysHoldsTheValueOfAnotherMember) {
  for (const bool moe : {false, true}) {
    const Problem problem = test::WideProblem(moe);
    const StrategySpace space(problem);
    Rng rng(4);
    for (int i = 0; i < 30; ++i) {
      const Strategy a = space.Sample(rng), b = space.Sample(rng);
      for (int v = 0; v < kNumVariables; ++v) {
        const Strategy changed = WithVariable(space, a, v, GetVariable(b, v));
        EXPECT_EQ(GetVariable(changed, v), GetVariable(b, v)) << VariableName(v);
        EXPECT_TRUE(space.Contains(changed));
        if (GetVariable(a, v) == GetVariable(b, v)) {
          EXPECT_EQ(changed, a);
        }
      }
    }
  }
}

/// 100 tokens/s/device a rank of tp; 20 % more with qkv token, 3 % more a request, over memory at dp 1.
Evaluation Formula(const Strategy& s) {
  double value = 100.0 * static_cast<double>(s.tensor_parallel_size);
  if (s.ShardingOf(Operator::kQkv) == Sharding::kToken) value *= 1.2;
  value *= 1 + 0.03 * static_cast<double>(s.batch_size);
  Evaluation evaluation = test::Feasible(value);
  if (s.data_parallel_size == 1) evaluation.excess.memory = 0.5;
  return evaluation;
}

TEST(CompareStrategies, EachDifferenceByHand) {
  const Problem problem = test::WideProblem(true);
  const StrategySpace space(problem);
  const Strategy ours = Example();
  Strategy theirs = ours;
  theirs.data_parallel_size = 2;
  theirs.expert_parallel_size = 4;
  theirs.batch_size = 4;
  theirs.SetSharding(Operator::kQkv, Sharding::kToken);
  ASSERT_TRUE(space.Contains(theirs)) << space.WhyNot(theirs);
  std::int64_t calls = 0;
  const StrategyDifference difference = CompareStrategies(space, ours, theirs, [&](const Strategy& s) {
    ++calls;
    EXPECT_TRUE(space.Contains(s));
    return Formula(s);
  });
  EXPECT_EQ(difference.ours, Formula(ours));
  EXPECT_EQ(difference.theirs, Formula(theirs));
  EXPECT_DOUBLE_EQ(difference.earns, 1.24 / (1.2 * 1.12));
  ASSERT_EQ(difference.variables.size(), 4u);
  EXPECT_EQ(calls, 10);

  const VariableDifference& dp = difference.variables[0];
  EXPECT_EQ(dp.variable, kDp);
  EXPECT_EQ(dp.ours, 4);
  EXPECT_EQ(dp.theirs, 2);
  EXPECT_DOUBLE_EQ(dp.back.earns, 1);
  EXPECT_EQ(dp.back.also, (std::vector<MovedVariable>{{kEp, 8, 4}}));
  EXPECT_EQ(dp.forward.also, std::vector<MovedVariable>{});

  EXPECT_EQ(difference.variables[1].variable, kEp);
  const VariableDifference& batch = difference.variables[2];
  EXPECT_EQ(batch.variable, kBatch);
  EXPECT_DOUBLE_EQ(batch.back.earns, 1.24 / 1.12);
  EXPECT_DOUBLE_EQ(batch.forward.earns, 1.24 / 1.12);
  EXPECT_EQ(batch.back.evaluation, Formula(batch.back.strategy));
  const VariableDifference& qkv = difference.variables[3];
  EXPECT_EQ(qkv.variable, kQkv);
  EXPECT_EQ(qkv.ours, static_cast<std::int64_t>(Sharding::kHeads));
  EXPECT_DOUBLE_EQ(qkv.back.earns, 1 / 1.2) << "what is worse with our value earns less than 1";
  EXPECT_DOUBLE_EQ(qkv.forward.earns, 1 / 1.2);
}

TEST(CompareStrategies, SmallerIsBetterForLatency) {
  WorkloadSpec workload = test::TinyWorkload();
  workload.objective = Objective::kLatency;
  const Problem problem(test::TinyModel(true), test::TinyCluster(8), workload);
  const StrategySpace space(problem);
  Strategy theirs = Example();
  theirs.batch_size = 4;
  const StrategyDifference difference = CompareStrategies(space, Example(), theirs, [](const Strategy& s) {
    Evaluation evaluation = test::Feasible(1);
    evaluation.metrics.tpot_s = s.batch_size == 8 ? 0.02 : 0.05;
    return evaluation;
  });
  EXPECT_DOUBLE_EQ(difference.earns, 2.5);
  ASSERT_EQ(difference.variables.size(), 1u);
  EXPECT_DOUBLE_EQ(difference.variables[0].back.earns, 2.5);
  EXPECT_DOUBLE_EQ(difference.variables[0].forward.earns, 2.5);
}

TEST(CompareStrategies, EqualStrategiesDoNotDiffer) {
  const Problem problem = test::WideProblem(true);
  const StrategySpace space(problem);
  const StrategyDifference difference = CompareStrategies(space, Example(), Example(), Formula);
  EXPECT_EQ(difference.earns, 1);
  EXPECT_TRUE(difference.variables.empty());
}

TEST(ValueName, IsWhatAStrategysJsonSays) {
  EXPECT_EQ(ValueName(kTp, 12), "12");
  EXPECT_EQ(ValueName(static_cast<int>(Variable::kResidualLayout), 1), "token_sharded");
  EXPECT_EQ(ValueName(static_cast<int>(Variable::kDenseFfnGroup), 1), "stage");
  EXPECT_EQ(ValueName(static_cast<int>(Variable::kExpertExchange), 2), "gather_reduce");
  EXPECT_EQ(ValueName(static_cast<int>(Variable::kOverlap), 0), "none");
  EXPECT_EQ(ValueName(kQkv, static_cast<std::int64_t>(Sharding::kHidden)), "hidden");
}

}  // namespace
}  // namespace shardscout
