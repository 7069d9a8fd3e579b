#include "env/live/live_messages.h"

#include <gtest/gtest.h>

#include "env/analytical/analytical_evaluator.h"
#include "shardscout/plan.h"
#include "shardscout/strategy_space.h"
#include "tests/strategies/spread_sampler.h"
#include "tests/strategies/tiny_models.h"

namespace shardscout::live {
namespace {

Problem TinyProblem() {
  return {interpret::TinyModels().front(), interpret::TinyCluster(4), interpret::TinyWorkload(WorkloadKind::kDecode)};
}

TEST(LiveMessagesTest, RequestsAndAnswersReadBack) {
  const Problem problem = TinyProblem();
  LiveRequest request{.problem_json = ToJson(problem), .prove = false, .warmup = 3, .repeats = 4, .seed = 5};
  request.strategies = {StrategySpace(problem).Repair({})};
  const LiveRequest back = ParseLiveRequest(ToJson(request));
  EXPECT_EQ(ToJson(ParseProblem(back.problem_json, "")), request.problem_json);
  EXPECT_EQ(back.strategies, request.strategies);
  EXPECT_EQ(back.prove, false);
  EXPECT_EQ(back.warmup, 3);
  EXPECT_EQ(back.repeats, 4);
  EXPECT_EQ(back.seed, 5u);

  LiveMeasurement measurement{.max_error = 0.5, .logits_rows = 7};
  measurement.phases = {{Phase::kPrefill, {1.5, 2.5}}};
  measurement.tasks = {{Phase::kPrefill, BlockKind::kMoe, 3, 8, {0.25}, 64}};
  const std::vector<LiveMeasurement> answer = ParseLiveAnswer(ToJson(std::vector{measurement}));
  ASSERT_EQ(answer.size(), 1u);
  EXPECT_EQ(answer[0].max_error, 0.5);
  EXPECT_EQ(answer[0].logits_rows, 7);
  EXPECT_EQ(answer[0].phases.at(0).seconds, measurement.phases[0].seconds);
  EXPECT_EQ(answer[0].tasks.at(0).block, BlockKind::kMoe);
  EXPECT_EQ(answer[0].tasks.at(0).task, 3);
  EXPECT_EQ(answer[0].tasks.at(0).calls, 8);
  EXPECT_EQ(answer[0].tasks.at(0).payload_bytes, 64);
}

TEST(LiveMessagesTest, ANumberThatIsNoneCountsAsInfinitelyWrong) {
  LiveMeasurement measurement;
  measurement.max_error = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(ParseLiveAnswer(ToJson(std::vector{measurement})).front().max_error,
            std::numeric_limits<double>::infinity());
}

TEST(LiveMessagesTest, SharesOfABatchComeTogetherInItsOrder) {
  const Problem problem = TinyProblem();
  const StrategySpace space(problem);
  const env::AnalyticalEvaluator evaluator(problem);
  Rng rng(3);
  EvaluationRequest request{ToJson(problem), "analytical", {}};
  for (int i = 0; i < 7; ++i) request.strategies.push_back(space.Sample(rng));
  const std::string line = ToJson(request);
  EXPECT_TRUE(IsEvaluationRequest(line));
  EXPECT_FALSE(IsEvaluationRequest(ToJson(LiveRequest{.problem_json = ToJson(problem)})));
  EXPECT_EQ(ParseEvaluationRequest(line).strategies, request.strategies);

  std::vector<std::string> parts;
  for (std::size_t rank = 0; rank < 3; ++rank) {
    std::string part;
    for (std::size_t i = rank; i < request.strategies.size(); i += 3) {
      part += (part.empty() ? "" : ",") + ToJson(evaluator.Evaluate(request.strategies[i]));
    }
    parts.push_back("[" + part + "]");
  }
  const std::vector<Evaluation> joined = ParseEvaluations(JoinEvaluations(parts));
  ASSERT_EQ(joined.size(), request.strategies.size());
  for (std::size_t i = 0; i < joined.size(); ++i) {
    EXPECT_EQ(joined[i], evaluator.Evaluate(request.strategies[i])) << "bit for bit, strategy " << i;
  }
}

}  // namespace
}  // namespace shardscout::live
