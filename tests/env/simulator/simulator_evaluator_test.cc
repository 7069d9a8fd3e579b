#include "env/simulator/simulator_evaluator.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "shardscout/preset_paths.h"
#include "shardscout/strategy_space.h"
#include "tests/baselines/random_problems.h"

namespace shardscout::env {
namespace {

constexpr SimulatorOptions kReference = {.reference = true};

void ExpectEqualMetrics(const Metrics& simulated, const Metrics& analytical, const std::string& what) {
  const auto close = [](double a, double b) { return std::fabs(a - b) <= 1e-6 * std::fabs(b); };
  ASSERT_TRUE(close(simulated.ttft_s, analytical.ttft_s)) << what << simulated.ttft_s << " " << analytical.ttft_s;
  ASSERT_TRUE(close(simulated.tpot_s, analytical.tpot_s)) << what << simulated.tpot_s << " " << analytical.tpot_s;
  ASSERT_TRUE(close(simulated.throughput_per_device, analytical.throughput_per_device)) << what;
}

TEST(SimulatorEvaluator, AgreesWithTheAnalyticalModelInReferenceMode) {
  int strategies = 0;
  const std::vector<std::string> models = ListPresets("models"), clusters = ListPresets("clusters");
  for (std::size_t i = 0; i < 2 * models.size(); ++i) {
    Rng rng(i);
    const ModelSpec model = LoadModel(models[i % models.size()]);
    const ClusterSpec cluster = LoadCluster(clusters[i % clusters.size()], 64);
    if (cluster.device.PeakFlopPerS(model.activation_dtype) <= 0) continue;
    for (const WorkloadKind kind : {WorkloadKind::kPrefill, WorkloadKind::kDecode, WorkloadKind::kServe}) {
      WorkloadSpec workload = testing::SmallWorkload(kind, 64);
      workload.input_tokens = 1000;
      const Problem problem(model, cluster, workload);
      const StrategySpace space(problem);
      const AnalyticalEvaluator analytical(problem);
      const SimulatorEvaluator simulator(problem, kReference);
      for (int k = 0; k < 8; ++k) {
        const Strategy s = space.Sample(rng);
        const Evaluation simulated = simulator.Evaluate(s), expected = analytical.Evaluate(s);
        const std::string what = model.name + " on " + cluster.name + ": " + ToShortString(s) + " ";
        ExpectEqualMetrics(simulated.metrics, expected.metrics, what);
        EXPECT_EQ(simulated.memory, expected.memory);
        ++strategies;
      }
    }
  }
  EXPECT_GT(strategies, 1000);
}

/// Sends that a stage need not wait for only help.
TEST(SimulatorEvaluator, SendsBesideTheWorkAreNeverSlower) {
  int quicker = 0;
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    Rng rng(seed);
    const Problem problem = testing::RandomProblem(rng);
    const StrategySpace space(problem);
    const SimulatorEvaluator simulator(problem, {.contention = false}), reference(problem, kReference);
    for (int k = 0; k < 10; ++k) {
      const Strategy s = space.Sample(rng);
      const Metrics a = simulator.Evaluate(s).metrics, b = reference.Evaluate(s).metrics;
      const double rounding = 1 + 1e-9;
      ASSERT_LE(a.ttft_s, b.ttft_s * rounding) << ToShortString(s);
      ASSERT_LE(a.tpot_s, b.tpot_s * rounding) << ToShortString(s);
      if (s.pipeline_parallel_size == 1) {
        ASSERT_EQ(a.tpot_s, b.tpot_s);
      }
      quicker += a.tpot_s < b.tpot_s * (1 - 1e-9) || a.ttft_s < b.ttft_s * (1 - 1e-9);
    }
  }
  EXPECT_GT(quicker, 20);
}

/// Sharing links with sends only delays.
TEST(SimulatorEvaluator, ContentionOnlyDelays) {
  int pipelines = 0;
  for (std::uint64_t seed = 1; seed <= 80; ++seed) {
    Rng rng(seed);
    const Problem problem = testing::RandomProblem(rng);
    const StrategySpace space(problem);
    const SimulatorEvaluator shared(problem), alone(problem, {.contention = false});
    for (int k = 0; k < 10; ++k) {
      const Strategy s = space.Sample(rng);
      const Metrics a = shared.Evaluate(s).metrics, b = alone.Evaluate(s).metrics;
      const double rounding = 1 + 1e-6;  // Of every task to a picosecond.
      ASSERT_GE(a.ttft_s * rounding, b.ttft_s) << ToShortString(s);
      ASSERT_GE(a.tpot_s * rounding, b.tpot_s) << ToShortString(s);
      pipelines += s.num_microbatches > 1 ? 1 : 0;
    }
  }
  EXPECT_GT(pipelines, 100);
}

/// A pipeline whose tensor parallel groups span nodes: what it sends goes over the NICs of the all-reduces.
TEST(SimulatorEvaluator, SendsAndCollectivesShareTheNics) {
  ClusterSpec cluster = testing::SmallCluster(8, 2);
  cluster.tiers[1].bytes_per_s *= 0.02;
  ModelSpec model = testing::DenseModel(4);
  model.hidden_size *= 32;  // So that transfers are bound by bandwidth.
  model.ffn_size *= 32;
  const Problem problem(model, cluster, testing::SmallWorkload(WorkloadKind::kPrefill, 8));
  Strategy s;
  s.pipeline_parallel_size = 2;
  s.tensor_parallel_size = 4;
  s.batch_size = 8;
  s.num_microbatches = 4;
  for (const auto& [op, sharding] :
       {std::pair(Operator::kQkv, Sharding::kHeads), std::pair(Operator::kAttention, Sharding::kHeads),
        std::pair(Operator::kAttnOut, Sharding::kHeads), std::pair(Operator::kFfnUp, Sharding::kFfn),
        std::pair(Operator::kFfnDown, Sharding::kFfn)}) {
    s.SetSharding(op, sharding);
  }
  ASSERT_EQ(StrategySpace(problem).WhyNot(s), "");
  const double shared_s = SimulatorEvaluator(problem).Evaluate(s).metrics.ttft_s;
  const double alone_s = SimulatorEvaluator(problem, {.contention = false}).Evaluate(s).metrics.ttft_s;
  EXPECT_GT(shared_s, 1.001 * alone_s);
}

/// What is evaluated, with tasks in a row made one, takes as long as what is traced.
TEST(PassMaker, TheTraceTakesAsLongAsTheEvaluation) {
  int pipelines = 0, halved = 0;
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    Rng rng(seed);
    ProblemOptions problem_options;
    problem_options.admitted_overlaps = {Overlap::kNone, Overlap::kTwoBatch, Overlap::kChunked};
    const Problem problem(testing::RandomModel(rng), testing::RandomCluster(rng), testing::RandomWorkload(rng),
                          problem_options);
    const Phase phase = problem.workload().HasPhase(Phase::kDecode) ? Phase::kDecode : Phase::kPrefill;
    const StrategySpace space(problem);
    for (const SimulatorOptions options :
         {kReference, SimulatorOptions{.contention = false}, SimulatorOptions{.contention = true}}) {
      for (int k = 0; k < 4; ++k) {
        const Strategy s = space.Sample(rng);
        const PassMaker maker(problem, s, phase, options);
        const Pass traced = maker.Make(s.num_microbatches, 2, true);
        const auto traced_ps = static_cast<double>(Simulate(traced.graph).makespan);
        const auto evaluated_ps =
            static_cast<double>(Simulate(maker.Make(s.num_microbatches, 2, false).graph).makespan);
        ASSERT_NEAR(evaluated_ps, traced_ps, 1e-6 * traced_ps + traced.graph.num_tasks())
            << "seed " << seed << ": " << ToShortString(s);
        pipelines += s.num_microbatches > 1 ? 1 : 0;
        halved += maker.Halved() ? 1 : 0;
      }
    }
  }
  EXPECT_GT(pipelines, 50);
  EXPECT_GT(halved, 20);
}

Problem TwoBatchProblem() {
  ProblemOptions options;
  options.admitted_overlaps = {Overlap::kNone, Overlap::kTwoBatch};
  WorkloadSpec workload = testing::SmallWorkload(WorkloadKind::kDecode, 256);
  return Problem(LoadModel("qwen3-30b-a3b"), LoadCluster("h100-sxm", 8), workload, options);
}

/// A pass of two halves lies between its longer stream and all of it in a row.
TEST(SimulatorEvaluator, TwoHalvesTakeTurns) {
  const Problem problem = TwoBatchProblem();
  const StrategySpace space(problem);
  Rng rng(5);
  int halved = 0;
  for (int k = 0; k < 200; ++k) {
    Strategy s = space.Sample(rng);
    s.overlap = Overlap::kTwoBatch;
    const PassMaker maker(problem, s, Phase::kDecode, {});
    const Pass pass = maker.Make(1, 1, true);
    const Schedule schedule = Simulate(pass.graph);
    std::vector<Picoseconds> busy(static_cast<std::size_t>(pass.graph.num_streams()), 0);
    Picoseconds all = 0, most = 0;
    for (SimTaskId t = 0; t < pass.graph.num_tasks(); ++t) {
      all += pass.graph.DurationOf(t);
      most = std::max(most, busy[static_cast<std::size_t>(pass.graph.StreamOf(t))] += pass.graph.DurationOf(t));
    }
    ASSERT_GE(schedule.makespan, most);
    ASSERT_LE(schedule.makespan, all);
    if (!maker.Halved()) {
      EXPECT_EQ(schedule.makespan, all);
      continue;
    }
    ++halved;
    // What is made one in a row takes as long, but for rounding.
    const Pass folded = maker.Make(1, 1, false);
    EXPECT_LT(folded.graph.num_tasks(), pass.graph.num_tasks());
    EXPECT_NEAR(static_cast<double>(Simulate(folded.graph).makespan), static_cast<double>(schedule.makespan),
                static_cast<double>(pass.graph.num_tasks()));
  }
  EXPECT_GT(halved, 30);
}

/// What cannot be halved is not: one request, an odd number.
TEST(SimulatorEvaluator, OddBatchesAreNotHalved) {
  const Problem problem = TwoBatchProblem();
  Strategy s;
  s.tensor_parallel_size = 4;
  s.expert_parallel_size = 4;
  s.overlap = Overlap::kTwoBatch;
  s.expert_exchange = ExpertExchange::kGatherReduce;
  for (const auto& [batch, halved] :
       {std::pair(1, false), std::pair(3, false), std::pair(2, true), std::pair(64, true)}) {
    s.batch_size = batch;
    EXPECT_EQ(PassMaker(problem, s, Phase::kDecode, {}).Halved(), halved) << batch;
    EXPECT_FALSE(PassMaker(problem, s, Phase::kDecode, kReference).Halved());
  }
}

/// A product and the all-reduce of its result: chunk by chunk, the one on its stream while the other is on its own.
TEST(SimulatorEvaluator, ChunksRunBesideTheirCollective) {
  const Problem problem(LoadModel("llama-3.1-70b"), LoadCluster("h100-sxm", 8),
                        testing::SmallWorkload(WorkloadKind::kPrefill, 8));
  WorkloadSpec workload = problem.workload();
  workload.input_tokens = 8192;
  const Problem long_prompts(problem.model(), problem.cluster(), workload);
  Strategy s;
  s.tensor_parallel_size = 8;
  s.batch_size = 1;
  for (const auto& [op, sharding] :
       {std::pair(Operator::kQkv, Sharding::kHeads), std::pair(Operator::kAttention, Sharding::kHeads),
        std::pair(Operator::kAttnOut, Sharding::kHeads), std::pair(Operator::kFfnUp, Sharding::kFfn),
        std::pair(Operator::kFfnDown, Sharding::kFfn)}) {
    s.SetSharding(op, sharding);
  }
  const double whole_s = SimulatorEvaluator(long_prompts).Evaluate(s).metrics.ttft_s;
  s.overlap = Overlap::kChunked;
  EXPECT_LT(SimulatorEvaluator(long_prompts).Evaluate(s).metrics.ttft_s, 0.98 * whole_s);
  EXPECT_NEAR(SimulatorEvaluator(long_prompts, kReference).Evaluate(s).metrics.ttft_s, whole_s, 1e-6 * whole_s);

  const PassMaker maker(long_prompts, s, Phase::kPrefill, {});
  const Pass pass = maker.Make(1, 1, true);
  const Schedule schedule = Simulate(pass.graph);
  std::size_t t = 0;
  while (pass.tasks[t].task->op != Operator::kFfnDown) ++t;
  // Product, all-reduce, product, ...: each product begins when the one before it has ended, and so does its collective
  // when it has ended itself and the one before it has.
  const auto product = [&](std::size_t chunk) { return t + 2 * chunk; };
  for (std::size_t chunk = 0; chunk < kChunks; ++chunk) {
    ASSERT_EQ(pass.tasks[product(chunk)].task->kind, TaskKind::kMatmul);
    ASSERT_EQ(pass.tasks[product(chunk) + 1].task->collective, Collective::kAllReduce);
    EXPECT_GE(schedule.begin[product(chunk) + 1], schedule.end[product(chunk)]);
    if (chunk == 0) continue;
    EXPECT_EQ(schedule.begin[product(chunk)], schedule.end[product(chunk - 1)]);
    EXPECT_EQ(schedule.begin[product(chunk) + 1],
              std::max(schedule.end[product(chunk)], schedule.end[product(chunk - 1) + 1]));
  }
  EXPECT_NE(pass.tasks[product(kChunks)].task->op, Operator::kFfnDown) << "no more of them";
}

/// What gains nothing is not cut, so that no strategy is slower for it.
TEST(SimulatorEvaluator, ChunksNeverLose) {
  int quicker = 0;
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    Rng rng(seed);
    WorkloadSpec workload = testing::RandomWorkload(rng);
    workload.input_tokens = 2048;
    const Problem problem(testing::RandomModel(rng), testing::RandomCluster(rng), workload);
    const StrategySpace space(problem);
    const SimulatorEvaluator simulator(problem, {.contention = false});
    for (int k = 0; k < 10; ++k) {
      Strategy s = space.Sample(rng);
      const Metrics whole = simulator.Evaluate(s).metrics;
      s.overlap = Overlap::kChunked;
      const Metrics cut = simulator.Evaluate(s).metrics;
      const double rounding = 1 + 1e-6;
      ASSERT_LE(cut.ttft_s, whole.ttft_s * rounding) << ToShortString(s);
      ASSERT_LE(cut.tpot_s, whole.tpot_s * rounding) << ToShortString(s);
      quicker += cut.ttft_s < whole.ttft_s * (1 - 1e-6) || cut.tpot_s < whole.tpot_s * (1 - 1e-6) ? 1 : 0;
    }
  }
  EXPECT_GT(quicker, 5);
}

/// Every task of the program but views is in the trace once a layer, and on the stream that it belongs to.
TEST(PassMaker, TheTraceHasEveryTask) {
  const Problem problem(LoadModel("deepseek-v3"), LoadCluster("h100-sxm", 16),
                        testing::SmallWorkload(WorkloadKind::kDecode, 16));
  Strategy s;
  s.pipeline_parallel_size = 2;
  s.tensor_parallel_size = 8;
  s.batch_size = 16;
  s.num_microbatches = 2;
  const PassMaker maker(problem, s, Phase::kDecode, {});
  const Pass pass = maker.Make(2, 3, true);
  ASSERT_EQ(pass.tasks.size(), static_cast<std::size_t>(pass.graph.num_tasks()));
  std::size_t per_microbatch = 0;
  const Program program = Lower(problem, s);
  const PhaseProgram& phase = program.phases.front();
  for (const auto& [kind, times] :
       {std::pair(BlockKind::kEmbedding, 1), std::pair(BlockKind::kAttention, 61), std::pair(BlockKind::kDenseFfn, 3),
        std::pair(BlockKind::kMoe, 58), std::pair(BlockKind::kHead, 1), std::pair(BlockKind::kTransfer, 1)}) {
    const std::vector<Task>& tasks = phase.BlockOf(kind).tasks;
    const auto views =
        std::count_if(tasks.begin(), tasks.end(), [](const Task& t) { return t.kind == TaskKind::kSlice; });
    per_microbatch += (tasks.size() - static_cast<std::size_t>(views)) * static_cast<std::size_t>(times);
  }
  EXPECT_EQ(pass.tasks.size(), 2 * 3 * per_microbatch);
  for (SimTaskId t = 0; t < pass.graph.num_tasks(); ++t) {
    const PassTask& task = pass.tasks[static_cast<std::size_t>(t)];
    StageStream stream = StageStream::kKernels;
    if (task.task->kind == TaskKind::kCollective) stream = StageStream::kCollectives;
    if (task.block == BlockKind::kTransfer) stream = StageStream::kSends;
    EXPECT_EQ(pass.graph.StreamOf(t) / kStreamsOfAStage, task.stage);
    EXPECT_EQ(StreamKind(pass.graph.StreamOf(t)), stream);
  }
}

}  // namespace
}  // namespace shardscout::env
