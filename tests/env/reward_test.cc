#include "shardscout/reward.h"

#include <gtest/gtest.h>

#include <limits>
#include <stdexcept>

#include "tests/test_evaluators.h"

namespace shardscout {
namespace {

constexpr Objective kThroughput = Objective::kThroughputPerDevice;
constexpr WorkloadKind kDecode = WorkloadKind::kDecode;

Evaluation WithMetrics() {
  Evaluation evaluation = test::Feasible(300);
  evaluation.metrics.ttft_s = 0.5;
  evaluation.metrics.tpot_s = 0.02;
  evaluation.metrics.cost_usd_per_million_tokens = 4;
  evaluation.metrics.energy_j_per_token = 0.25;
  return evaluation;
}

double WithExcess(double memory, double ttft, double tpot) {
  Evaluation evaluation = test::Feasible(300);
  evaluation.excess = {memory, ttft, tpot};
  return Reward(evaluation, kThroughput, kDecode, 200);
}

TEST(RewardTest, FeasibleIsTheObjectiveOverTheNormaliser) {
  EXPECT_DOUBLE_EQ(Reward(WithMetrics(), kThroughput, kDecode, 200), 1.5);
}

TEST(RewardTest, InvertedWhereSmallerIsBetter) {
  EXPECT_DOUBLE_EQ(Reward(WithMetrics(), Objective::kLatency, kDecode, 0.03), 1.5);
  EXPECT_DOUBLE_EQ(Reward(WithMetrics(), Objective::kLatency, WorkloadKind::kServe, 0.03), 1.5);
  EXPECT_DOUBLE_EQ(Reward(WithMetrics(), Objective::kLatency, WorkloadKind::kPrefill, 1), 2);
  EXPECT_DOUBLE_EQ(Reward(WithMetrics(), Objective::kCostPerMillionTokens, kDecode, 1), 0.25);
  EXPECT_DOUBLE_EQ(Reward(WithMetrics(), Objective::kEnergyPerToken, kDecode, 1), 4);
}

TEST(RewardTest, ObjectivesHaveTheirSense) {
  EXPECT_TRUE(ObjectiveOf(WithMetrics(), kThroughput, kDecode).larger_is_better);
  for (const Objective objective :
       {Objective::kLatency, Objective::kCostPerMillionTokens, Objective::kEnergyPerToken}) {
    EXPECT_FALSE(ObjectiveOf(WithMetrics(), objective, kDecode).larger_is_better);
  }
}

TEST(RewardTest, InfeasibleIsTheMeanOverTheViolatedLimits) {
  EXPECT_DOUBLE_EQ(WithExcess(0.5, -0.1, -0.1), -1.0 / 3);      // 0.5 / 1.5
  EXPECT_DOUBLE_EQ(WithExcess(1, -0.1, 3), -(0.5 + 0.75) / 2);  // The kept limit does not count.
  EXPECT_DOUBLE_EQ(WithExcess(1, 1, 3), -(0.5 + 0.5 + 0.75) / 3);
  EXPECT_DOUBLE_EQ(WithExcess(0, 0, 0), 1.5);  // Just kept.
}

TEST(RewardTest, InfeasibleIsASlopeBelowEveryFeasibleOne) {
  double last = 0;
  for (const double excess : {1e-300, 1e-9, 0.1, 1.0, 100.0, 1e17, std::numeric_limits<double>::max()}) {
    const double reward = WithExcess(-1, excess, -1);
    EXPECT_LT(reward, last);
    EXPECT_GE(reward, -1);
    if (reward == -1) break;  // The end of what a double can tell apart.
    last = reward;
  }
  EXPECT_GT(Reward(test::Feasible(1e-30), kThroughput, kDecode, 1e30), 0);
}

TEST(RewardTest, NonsenseIsABug) {
  EXPECT_THROW(Reward(WithMetrics(), kThroughput, kDecode, 0), std::logic_error);
  EXPECT_THROW(Reward(test::Feasible(0), kThroughput, kDecode, 1), std::logic_error);
}

}  // namespace
}  // namespace shardscout
