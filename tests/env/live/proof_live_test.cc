// Random strategies run by real processes, each collective a real one, against the unsharded model.

#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "env/live/worker_pool.h"
#include "env/task_rows.h"
#include "shardscout/plan.h"
#include "shardscout/program.h"
#include "tests/strategies/spread_sampler.h"
#include "tests/strategies/tiny_models.h"

namespace shardscout::live {
namespace {

constexpr double kTolerance = 1e-4;  // Of max |difference| / max |reference|, in fp32.

/// More or others by hand: SHARDSCOUT_LIVE_ROUNDS=10 SHARDSCOUT_LIVE_SEED=5.
std::int64_t FromEnvironment(const char* name, std::int64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::atoll(text);
}

/// The models of the interpreter that live runs know, their bytes as they are handed over: all fp32.
std::vector<ModelSpec> Models() {
  std::vector<ModelSpec> models;
  for (ModelSpec& model : interpret::TinyModels()) {
    if (model.HasLinearAttention()) continue;
    model.weight_dtype = model.embedding_dtype = model.activation_dtype = model.residual_dtype = model.kv_dtype =
        DType::kFp32;
    models.push_back(std::move(model));
  }
  return models;
}

/// How many kinds of collectives were counted, and whether each handed over what the program says.
std::int64_t ExpectPayloads(const Program& program, const LiveMeasurement& measurement, const std::string& name) {
  std::int64_t checked = 0;
  for (const TaskMeasurement& measured : measurement.tasks) {
    for (const PhaseProgram& phase : program.phases) {
      if (phase.phase != measured.phase) continue;
      const Block& block = phase.BlockOf(measured.block);
      const Task& task = block.tasks[static_cast<std::size_t>(measured.task)];
      if (task.kind != TaskKind::kCollective || env::HasRoutedBytes(block, task)) continue;
      EXPECT_NEAR(measured.payload_bytes, task.payload_bytes, 1e-6 * task.payload_bytes)
          << name << ": " << ToString(block.kind) << " task " << measured.task << " " << ToString(task.collective);
      ++checked;
    }
  }
  return checked;
}

class ProofTest : public ::testing::TestWithParam<int> {};

TEST_P(ProofTest, RandomStrategiesGiveTheUnshardedModel) {
  const int processes = GetParam();
  PoolOptions options;
  options.worker = FindWorker();
  options.num_processes = processes;
  WorkerPool pool(options);
  const auto seed = static_cast<std::uint64_t>(FromEnvironment("SHARDSCOUT_LIVE_SEED", 30));
  const std::int64_t rounds = FromEnvironment("SHARDSCOUT_LIVE_ROUNDS", 2);
  Rng rng = Rng::Stream(seed, "live");
  interpret::SpreadSampler sampler;
  std::int64_t proved = 0, rows = 0, payloads = 0, in_stages = 0;
  double worst = 0;
  for (const ModelSpec& model : Models()) {
    for (const WorkloadKind kind : {WorkloadKind::kPrefill, WorkloadKind::kDecode, WorkloadKind::kServe}) {
      const Problem problem(model, interpret::TinyCluster(processes), interpret::TinyWorkload(kind));
      const StrategySpace space(problem);
      std::set<Strategy> strategies;
      for (int attempt = 0; attempt < 40 && std::ssize(strategies) < rounds; ++attempt) {
        const Strategy strategy = sampler.Sample(space, rng);
        if (strategy.InstanceSize() == 1 || interpret::Tokens(problem, strategy) > 72) continue;
        if (strategies.insert(strategy).second) sampler.Count();
      }
      LiveRequest request{.problem_json = ToJson(problem),
                          .strategies = {strategies.begin(), strategies.end()},
                          .prove = true,
                          .warmup = 0,
                          .repeats = 1,
                          .seed = 7};
      const std::vector<LiveMeasurement> measurements = pool.Run(request);
      ASSERT_EQ(measurements.size(), strategies.size());
      for (std::size_t i = 0; i < measurements.size(); ++i) {
        const Strategy& strategy = request.strategies[i];
        const std::string name = model.name + " " + std::string(ToString(kind)) + " " + ToShortString(strategy);
        EXPECT_LE(measurements[i].max_error, kTolerance) << name;
        EXPECT_GT(measurements[i].logits_rows, 0) << name;
        payloads += ExpectPayloads(Lower(problem, strategy), measurements[i], name);
        worst = std::max(worst, measurements[i].max_error);
        rows += measurements[i].logits_rows;
        in_stages += strategy.pipeline_parallel_size > 1 ? 1 : 0;
        ++proved;
      }
    }
  }
  std::cout << "seed " << seed << ", " << processes << " processes: " << proved << " strategies (" << in_stages
            << " of several stages), " << rows << " rows of logits, " << payloads
            << " kinds of payloads; largest error " << worst << "\n";
  EXPECT_GE(proved, rounds * 25);
  EXPECT_GT(payloads, proved);
  EXPECT_GT(in_stages, 0);
}

INSTANTIATE_TEST_SUITE_P(Live, ProofTest, ::testing::Values(2, 3, 4, 6, 8));

}  // namespace
}  // namespace shardscout::live
