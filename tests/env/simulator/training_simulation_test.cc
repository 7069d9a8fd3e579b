#include "env/simulator/training_simulation.h"

#include <gtest/gtest.h>

#include <cmath>

#include "env/analytical/analytical_evaluator.h"
#include "env/simulator/simulator_evaluator.h"
#include "shardscout/strategy_space.h"

namespace shardscout::env {
namespace {

double Makespan(const std::vector<ChunkTimes>& times, const PipelineShape& shape) {
  return ToSeconds(Simulate(MakePipeline(times, shape).graph).makespan);
}

std::vector<ChunkTimes> Equal(std::int64_t stages, std::int64_t chunks, ChunkTimes times) {
  return std::vector<ChunkTimes>(static_cast<std::size_t>(stages * chunks), times);
}

/// (m + (pp - 1) / v) (f + b), all chunks of a stage together f and b.
TEST(TrainingSimulation, HasTheClosedFormsBubble) {
  for (const std::int64_t pp : {1, 2, 4, 8}) {
    for (const std::int64_t v : {1, 2, 3}) {
      if (pp == 1 && v > 1) continue;
      for (const std::int64_t m : {8, 16, 24}) {
        const auto chunks = static_cast<double>(v);
        const ChunkTimes times{.forward_s = 1 / chunks, .backward_s = 2 / chunks};
        const double expected = 3 * (static_cast<double>(m) + static_cast<double>(pp - 1) / chunks);
        EXPECT_NEAR(Makespan(Equal(pp, v, times), {.microbatches = m, .chunks = v}), expected, 1e-6 * expected)
            << "pp " << pp << ", v " << v << ", m " << m;
      }
    }
  }
}

/// ZB-H1 leaves (pp - 1) (f + b_inputs - w) of 1F1B's (pp - 1) (f + b) idle (arXiv 2401.10241, table 2).
TEST(TrainingSimulation, ZeroBubbleFillsWithGradientsByWeights) {
  for (const std::int64_t pp : {2, 4, 8}) {
    const ChunkTimes times{.forward_s = 1, .backward_s = 2, .weights_s = 1};
    const double found = Makespan(Equal(pp, 1, times), {.microbatches = 16, .schedule = PipelineSchedule::kZeroBubble});
    EXPECT_NEAR(found, 3 * 16 + static_cast<double>(pp - 1), 1e-9);
  }
}

/// Two stages, two micro-batches, sends of a second. Stage 0: forwards end at 1 and 2 and arrive at 2 and 3. Stage 1:
/// 2 to 3, backward to 5 (arrives 6), 5 to 6, backward to 8 (arrives 9). Stage 0: backwards 6 to 8 and 9 to 11.
TEST(TrainingSimulation, SendsDelay) {
  const ChunkTimes times{.forward_s = 1, .backward_s = 2, .send_s = 1};
  EXPECT_NEAR(Makespan(Equal(2, 1, times), {.microbatches = 2}), 11, 1e-9);
}

/// One stage of two layers: the last backward of 4 s gives half of the gradients after 2 s; exchanges of 3 s each go on
/// from 2 s on and end at 8 (of a step that begins with 1 s of forward: 9); not overlapped they begin at 5 and end at
/// 11. Then the update.
TEST(TrainingSimulation, GradientsAreExchangedBesideTheLastBackward) {
  const ChunkTimes times{.forward_s = 1, .backward_s = 4, .exchange_s = 6, .update_s = 0.5, .parts = 2};
  EXPECT_NEAR(Makespan({times}, {.microbatches = 1}), 9.5, 1e-9);
  EXPECT_NEAR(Makespan({times}, {.microbatches = 1, .exchanges_overlap = false}), 11.5, 1e-9);
}

TEST(TrainingSimulation, EvaluatorsAgreeWhereStagesAreEqual) {
  ModelSpec model = LoadModel("gpt3-175b");
  ClusterSpec cluster = LoadCluster("a100-80-sxm", 64);
  WorkloadSpec workload = LoadWorkload("train-2k");
  workload.training->global_batch_size = 64;
  workload.training->overlap_gradients = false;
  const Problem problem(model, cluster, workload);
  Strategy s;
  s.tensor_parallel_size = 8;
  s.data_parallel_size = 8;
  s.batch_size = 8;
  s.num_microbatches = 8;
  s.zero_stage = 1;
  s = StrategySpace(problem).Repair(s);
  ASSERT_EQ(s.zero_stage, 1);
  const Evaluation closed = AnalyticalEvaluator(problem).Evaluate(s);
  const Evaluation simulated = SimulatorEvaluator(problem, {.reference = true}).Evaluate(s);
  EXPECT_NEAR(simulated.metrics.step_time_s, closed.metrics.step_time_s, 1e-6 * closed.metrics.step_time_s);
  EXPECT_EQ(simulated.memory, closed.memory);
}

}  // namespace
}  // namespace shardscout::env
