#include "shardscout/pareto.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>

#include "shardscout/run_search.h"
#include "tests/tiny_problems.h"

namespace shardscout {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

EvaluatorRegistry Evaluators() {
  EvaluatorRegistry evaluators;
  RegisterBuiltinEvaluators(evaluators);
  return evaluators;
}

Evaluation Of(double rate, double tpot_s) {
  Evaluation evaluation;
  evaluation.metrics.throughput_per_device = rate;
  evaluation.metrics.tpot_s = tpot_s;
  return evaluation;
}

/// The example of the header.
TEST(ParetoTest, KeepsWhatNothingDominates) {
  const WorkloadSpec workload = testing::SmallWorkload(WorkloadKind::kDecode);
  EXPECT_TRUE(Dominates(Of(200, 0.02), Of(150, 0.025), workload));
  EXPECT_TRUE(Dominates(Of(200, 0.02), Of(200, 0.03), workload));
  EXPECT_FALSE(Dominates(Of(200, 0.02), Of(200, 0.02), workload)) << "equal";
  EXPECT_FALSE(Dominates(Of(200, 0.02), Of(100, 0.01), workload));
  std::vector<ParetoPoint> points;
  for (const auto& [rate, tpot_s] : {std::pair(200.0, 0.03), {150.0, 0.025}, {100.0, 0.01}, {200.0, 0.02}}) {
    points.push_back({Strategy{}, Of(rate, tpot_s)});
  }
  points.push_back(points.back());
  KeepNonDominated(points, workload);
  ASSERT_EQ(points.size(), 2U);
  EXPECT_EQ(points[0].evaluation, Of(100, 0.01));
  EXPECT_EQ(points[1].evaluation, Of(200, 0.02));
}

/// The target of the front's own latency cuts nothing off and is told of each point; all other limits hold.
TEST(ParetoTest, TheLatencysOwnTargetIsOnlyNoted) {
  WorkloadSpec workload = LoadWorkload("serve-chat");
  workload.ttft_target_s.reset();
  workload.tpot_target_s.reset();
  const auto front_of = [](const WorkloadSpec& with) {
    return FindParetoFront(Problem(LoadModel("qwen3-8b"), LoadCluster("h100-sxm", 8), with), {}, Evaluators());
  };
  const ParetoFront free = front_of(workload);
  ASSERT_GE(free.points.size(), 6U);
  EXPECT_TRUE(free.proved);
  EXPECT_TRUE(
      std::all_of(free.points.begin(), free.points.end(), [](const auto& p) { return p.evaluation.Feasible(); }));

  const std::size_t middle = free.points.size() / 2;
  workload.tpot_target_s = free.points[middle].evaluation.metrics.tpot_s;
  const ParetoFront targeted = front_of(workload);
  ASSERT_EQ(targeted.points.size(), free.points.size());
  for (std::size_t i = 0; i < free.points.size(); ++i) {
    EXPECT_EQ(targeted.points[i].strategy, free.points[i].strategy);
    EXPECT_EQ(targeted.points[i].evaluation.Feasible(), i <= middle);
  }

  workload.ttft_target_s = free.points.back().evaluation.metrics.ttft_s * 0.9;
  for (const ParetoPoint& point : front_of(workload).points) EXPECT_LE(point.evaluation.excess.ttft, 0);
}

/// It chooses batches where the workload lets it, and none where it does not.
TEST(ParetoTest, TheBatchIsChosenWhereItIsOpen) {
  WorkloadSpec workload = LoadWorkload("decode-chat");
  const auto batches = [&] {
    std::vector<std::int64_t> found;
    const Problem problem(LoadModel("llama-3.1-8b"), LoadCluster("h100-sxm", 8), workload);
    for (const ParetoPoint& point : FindParetoFront(problem, {}, Evaluators()).points) {
      found.push_back(point.strategy.batch_size);
    }
    std::sort(found.begin(), found.end());
    found.erase(std::unique(found.begin(), found.end()), found.end());
    return found;
  };
  EXPECT_GE(batches().size(), 6U);
  workload.batch_size = 16;
  EXPECT_EQ(batches(), std::vector<std::int64_t>{16});
}

/// By another evaluator: its own figures, nothing dominated, and no claim that it is all.
TEST(ParetoTest, AnotherEvaluatorScoresTheAnalyticalFrontAnew) {
  const Problem problem = testing::SmallProblem(testing::MoeModel(), 8, WorkloadKind::kDecode);
  const EvaluatorRegistry evaluators = Evaluators();
  const ParetoFront front = FindParetoFront(problem, {.evaluator = "simulator"}, evaluators);
  ASSERT_FALSE(front.points.empty());
  EXPECT_FALSE(front.proved);
  const auto simulator = evaluators.Make("simulator", problem);
  for (std::size_t i = 0; i < front.points.size(); ++i) {
    EXPECT_EQ(front.points[i].evaluation, simulator->Evaluate(front.points[i].strategy));
    for (const ParetoPoint& other : front.points) {
      EXPECT_FALSE(Dominates(other.evaluation, front.points[i].evaluation, problem.workload()));
    }
  }
}

TEST(ParetoTest, CsvAndJsonHoldTheSameNumbers) {
  const Problem problem = testing::SmallProblem(testing::DenseModel(), 4, WorkloadKind::kPrefill);
  const ParetoFront front = FindParetoFront(problem, {}, Evaluators());
  ASSERT_FALSE(front.points.empty());
  const auto json = nlohmann::json::parse(ParetoJson(problem, front));
  EXPECT_EQ(json.at("latency"), "ttft_s");
  EXPECT_EQ(json.at("proved"), true);
  ASSERT_EQ(json.at("points").size(), front.points.size());
  std::istringstream csv(ParetoCsv(problem, front));
  std::string line;
  std::getline(csv, line);
  EXPECT_THAT(line, StartsWith("latency_s,throughput_per_device,"));
  EXPECT_THAT(line, HasSubstr(",shardings.qkv,"));
  for (std::size_t i = 0; i < front.points.size(); ++i) {
    ASSERT_TRUE(std::getline(csv, line));
    EXPECT_EQ(std::stod(line), front.points[i].evaluation.metrics.ttft_s);
    EXPECT_EQ(json.at("points")[i].at("evaluation").at("metrics").at("ttft_s"),
              front.points[i].evaluation.metrics.ttft_s);
    EXPECT_EQ(ParseStrategy(json.at("points")[i].at("strategy").dump(), "json"), front.points[i].strategy);
  }
  EXPECT_FALSE(std::getline(csv, line));
}

}  // namespace
}  // namespace shardscout
