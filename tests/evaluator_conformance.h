#pragma once

// What every evaluator must keep: the suite runs over each name of a registry. A test program lists its own registry:
//
//   INSTANTIATE_TEST_SUITE_P(Builtin, EvaluatorConformanceTest,
//                            ValuesIn(AllEvaluators(RegisterBuiltinEvaluators)), EvaluatorName);

#include <gtest/gtest.h>
#include <omp.h>

#include <cctype>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "shardscout/evaluator.h"
#include "shardscout/strategy_space.h"
#include "tests/tiny_problems.h"

namespace shardscout::test {

struct EvaluatorCase {
  std::string name;
  std::function<std::unique_ptr<Evaluator>(const Problem&)> make;
};

inline std::vector<EvaluatorCase> AllEvaluators(void (*register_all)(EvaluatorRegistry&)) {
  const auto registry = std::make_shared<EvaluatorRegistry>();  // Shared with the cases' factories.
  register_all(*registry);
  std::vector<EvaluatorCase> cases;
  for (const auto& [name, description] : registry->List()) {
    cases.push_back(
        {name, [registry, evaluator = name](const Problem& problem) { return registry->Make(evaluator, problem); }});
  }
  return cases;
}

inline std::string EvaluatorName(const ::testing::TestParamInfo<EvaluatorCase>& info) {
  std::string name = info.param.name;
  for (char& c : name) c = std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
  return name;
}

class EvaluatorConformanceTest : public ::testing::TestWithParam<EvaluatorCase> {
 protected:
  static constexpr WorkloadKind kKinds[] = {WorkloadKind::kPrefill, WorkloadKind::kDecode, WorkloadKind::kServe};

  static std::vector<Problem> Problems() {
    std::vector<Problem> problems;
    for (const WorkloadKind kind : kKinds) {
      for (const ModelSpec& model : {testing::DenseModel(), testing::MoeModel(), testing::MultiLatentModel()}) {
        problems.push_back(testing::SmallProblem(model, 16, kind, 48));
      }
    }
    return problems;
  }

  static std::vector<Strategy> Samples(const Problem& problem, int count, std::uint64_t seed) {
    const StrategySpace space(problem);
    Rng rng(seed);
    std::vector<Strategy> strategies;
    for (int i = 0; i < count; ++i) strategies.push_back(space.Sample(rng));
    return strategies;
  }

  static double Time(const Evaluation& e) { return e.metrics.ttft_s + e.metrics.tpot_s; }
};

TEST_P(EvaluatorConformanceTest, SaysItsName) {
  const Problem problem = testing::SmallProblem(testing::DenseModel(), 8, WorkloadKind::kDecode);
  EXPECT_EQ(GetParam().make(problem)->Name(), GetParam().name);
}

/// Whatever it saw before, on another thread or in another order.
TEST_P(EvaluatorConformanceTest, IsPureAndThreadSafe) {
  for (const Problem& problem : Problems()) {
    const std::vector<Strategy> strategies = Samples(problem, 60, 21);
    std::vector<Evaluation> fresh;
    for (const Strategy& s : strategies) fresh.push_back(GetParam().make(problem)->Evaluate(s));
    const std::unique_ptr<Evaluator> shared = GetParam().make(problem);
    std::vector<Evaluation> backwards(strategies.size());
#pragma omp parallel for num_threads(2)
    for (std::size_t i = 0; i < strategies.size(); ++i) {
      const std::size_t j = strategies.size() - 1 - i;
      backwards[j] = shared->Evaluate(strategies[j]);
    }
    EXPECT_EQ(backwards, fresh);
  }
}

TEST_P(EvaluatorConformanceTest, EveryNumberIsFiniteAndOfItsSign) {
  for (const Problem& problem : Problems()) {
    const std::unique_ptr<Evaluator> evaluator = GetParam().make(problem);
    for (const Strategy& s : Samples(problem, 200, 22)) {
      const Evaluation e = evaluator->Evaluate(s);
      for (const double x : {e.metrics.ttft_s, e.metrics.tpot_s, e.metrics.cost_usd_per_million_tokens,
                             e.metrics.energy_j_per_token, e.memory.weight_bytes, e.memory.kv_cache_bytes,
                             e.memory.activation_bytes, e.memory.communication_bytes, e.memory.reserved_bytes}) {
        ASSERT_TRUE(std::isfinite(x) && x >= 0) << ToShortString(s);
      }
      ASSERT_TRUE(std::isfinite(e.metrics.throughput_tokens_per_s) && e.metrics.throughput_tokens_per_s > 0);
      EXPECT_NEAR(e.metrics.throughput_per_device * static_cast<double>(problem.cluster().num_devices),
                  e.metrics.throughput_tokens_per_s, 1e-9 * e.metrics.throughput_tokens_per_s);
      EXPECT_EQ(e.metrics.idle_devices, problem.cluster().num_devices - e.metrics.replicas * s.InstanceSize());
      EXPECT_EQ(e.metrics.concurrency, s.batch_size * s.data_parallel_size * e.metrics.replicas);
      for (const double x : {e.excess.memory, e.excess.ttft, e.excess.tpot}) {
        ASSERT_TRUE(std::isfinite(x) && x >= -1) << ToShortString(s);
      }
    }
  }
}

TEST_P(EvaluatorConformanceTest, EveryInfeasibilityHasAReason) {
  WorkloadSpec scarce = testing::SmallWorkload(WorkloadKind::kDecode);
  scarce.memory_fraction = 1e-6;
  const Problem problem(testing::MoeModel(), testing::SmallCluster(16), scarce);
  const std::unique_ptr<Evaluator> evaluator = GetParam().make(problem);
  for (const Strategy& s : Samples(problem, 50, 23)) {
    const Evaluation e = evaluator->Evaluate(s);
    EXPECT_FALSE(e.Feasible());
    EXPECT_GT(e.memory.TotalBytes(), e.memory.limit_bytes);
    EXPECT_NE(DescribeViolations(e, problem.workload()), "");
  }
}

TEST_P(EvaluatorConformanceTest, TheBreakdownHoldsAllOfTheTime) {
  for (const Problem& problem : Problems()) {
    const std::unique_ptr<Evaluator> evaluator = GetParam().make(problem);
    for (const Strategy& s : Samples(problem, 20, 24)) {
      const Breakdown breakdown = evaluator->Explain(s);
      double rows = 0, stages = 0;
      for (const BreakdownRow& row : breakdown.rows) rows += row.time_s;
      for (const StageTime& stage : breakdown.stages) stages += stage.time_s;
      EXPECT_GT(stages, 0);
      EXPECT_NEAR(rows, stages, 1e-9 * stages) << ToShortString(s);
    }
  }
}

TEST_P(EvaluatorConformanceTest, BetterHardwareIsNeverSlowerAndMoreMemoryNeverLessFeasible) {
  const ClusterSpec base = testing::SmallCluster(16);
  std::vector<ClusterSpec> better(6, base);
  better[0].tiers[0].bytes_per_s *= 2;
  better[1].tiers[1].bytes_per_s *= 2;
  better[2].tiers[1].latency_s /= 2;
  better[3].device.hbm_bytes_per_s *= 2;
  for (double& peak : better[4].device.peak_flop_per_s) peak *= 2;
  better[5].device.hbm_bytes *= 2;
  for (const WorkloadKind kind : kKinds) {
    const Problem slow(testing::MoeModel(), base, testing::SmallWorkload(kind));
    const std::vector<Strategy> strategies = Samples(slow, 300, 25);
    const std::unique_ptr<Evaluator> on_base = GetParam().make(slow);
    for (const ClusterSpec& cluster : better) {
      const Problem fast(testing::MoeModel(), cluster, testing::SmallWorkload(kind));
      const std::unique_ptr<Evaluator> on_better = GetParam().make(fast);
      for (const Strategy& s : strategies) {
        const Evaluation a = on_base->Evaluate(s), b = on_better->Evaluate(s);
        EXPECT_LE(Time(b), Time(a) * (1 + 1e-12)) << ToShortString(s);
        EXPECT_LE(b.excess.memory, a.excess.memory) << ToShortString(s);
      }
    }
  }
}

}  // namespace shardscout::test
