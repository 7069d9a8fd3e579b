#include "env/simulator/expert_routing.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "env/simulator/simulator_evaluator.h"
#include "shardscout/preset_paths.h"
#include "shardscout/strategy_space.h"

namespace shardscout::env {
namespace {

ExpertWork Routing(double tokens, double experts, double per_token) {
  return {.tokens = tokens, .experts = experts, .experts_per_token = per_token};
}

TEST(DrawExpertTokensTest, EveryTokenGoesToItsExperts) {
  for (const double skew : {0.0, 0.5, 1.0, 3.0, 10.0}) {
    for (const double tokens : {1.0, 7.0, 300.0, 20000.0}) {
      for (std::int64_t layer = 0; layer < 20; ++layer) {
        const std::vector<std::int64_t> counts = DrawExpertTokens(Routing(tokens, 16, 4), skew, layer);
        ASSERT_EQ(counts.size(), 16u);
        ASSERT_EQ(std::accumulate(counts.begin(), counts.end(), std::int64_t{0}), std::llround(4 * tokens));
        ASSERT_LE(*std::max_element(counts.begin(), counts.end()), std::llround(tokens)) << "no token twice";
        ASSERT_GE(*std::min_element(counts.begin(), counts.end()), 0);
        ASSERT_EQ(counts, DrawExpertTokens(Routing(tokens, 16, 4), skew, layer));
      }
    }
  }
}

/// Moments of the multinomial: mean pairs / experts, variance mean (1 - 1 / experts); with skew 1 and two experts, two
/// thirds and one third.
TEST(DrawExpertTokensTest, Moments) {
  for (const double tokens : {100.0, 4000.0}) {  // By gaps, and by the normal distribution.
    double sum = 0, sum2 = 0;
    const int layers = 2000;
    for (int layer = 0; layer < layers; ++layer) {
      const double count = static_cast<double>(DrawExpertTokens(Routing(tokens, 8, 1), 0, layer)[3]);
      sum += count / layers;
      sum2 += count * count / layers;
    }
    EXPECT_NEAR(sum, tokens / 8, 0.03 * tokens / 8);
    EXPECT_NEAR(sum2 - sum * sum, tokens / 8 * 7 / 8, 0.1 * tokens / 8);
  }
  double most = 0;
  for (int layer = 0; layer < 500; ++layer) {
    const std::vector<std::int64_t> counts = DrawExpertTokens(Routing(900, 2, 1), 1, layer);
    most += static_cast<double>(std::max(counts[0], counts[1])) / 500;
  }
  EXPECT_NEAR(most, 600, 6);
}

/// Four ranks of two experts: the third has the most tokens, of one expert.
TEST(FindBusiestRankTest, ByTokens) {
  const BusiestRank busiest = FindBusiestRank({3, 4, 5, 1, 0, 8, 2, 2}, 4);
  EXPECT_EQ(busiest.pairs, 8);
  EXPECT_EQ(busiest.distinct, 1);
}

TEST(WithRoutingTest, WorkFollowsTheDraw) {
  Task task;
  task.kind = TaskKind::kExpertMatmul;
  task.work = {.flop = 100, .read_bytes = 10, .weight_bytes = 60, .write_bytes = 20, .m = 5, .count = 2};
  task.work.routing = {.tokens = 10, .pairs = 10, .distinct = 2};
  const BusiestRank expected{.pairs = 10, .distinct = 2}, drawn{.pairs = 15, .distinct = 3};
  const Work work = WithRouting(task, expected, drawn).work;
  EXPECT_EQ(work.flop, 150);
  EXPECT_EQ(work.read_bytes, 15);
  EXPECT_EQ(work.write_bytes, 30);
  EXPECT_EQ(work.weight_bytes, 90);
  EXPECT_EQ(work.count, 3);
  EXPECT_EQ(work.m, 5);
  EXPECT_EQ(WithRouting(task, expected, expected).work, task.work);
  Task exchange;
  exchange.kind = TaskKind::kCollective;
  exchange.collective = Collective::kAllToAll;
  exchange.payload_bytes = 8;
  EXPECT_EQ(WithRouting(exchange, expected, drawn).payload_bytes, 12);
}

/// Even routing is about what the closed form expects, and more skew is never better.
TEST(SimulatorEvaluator, SkewedRoutingIsSlower) {
  WorkloadSpec workload = LoadWorkload("decode-chat");
  const auto tpot_s = [&](std::optional<double> skew) {
    workload.expert_skew = skew;
    const Problem problem(LoadModel("deepseek-v3"), LoadCluster("h100-sxm", 32), workload);
    Strategy s;
    s.tensor_parallel_size = 8;
    s.data_parallel_size = 4;
    s.expert_parallel_size = 32;
    s.batch_size = 128;
    s = StrategySpace(problem).Repair(s);
    EXPECT_EQ(s.expert_parallel_size, 32);
    return SimulatorEvaluator(problem).Evaluate(s).metrics.tpot_s;
  };
  const double expected_s = tpot_s(std::nullopt);
  double last_s = tpot_s(0);
  EXPECT_NEAR(last_s / expected_s, 1, 0.05);
  for (const double skew : {0.3, 0.6, 1.0}) {
    const double skewed_s = tpot_s(skew);
    EXPECT_GT(skewed_s, last_s);
    last_s = skewed_s;
  }
  EXPECT_GT(last_s, 1.1 * expected_s);
}

}  // namespace
}  // namespace shardscout::env
