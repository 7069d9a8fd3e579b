#include "shardscout/fingerprint.h"

#include <gtest/gtest.h>

#include <set>

#include "env/task_rows.h"
#include "shardscout/program.h"
#include "shardscout/strategy_space.h"
#include "tests/strategies/spread_sampler.h"
#include "tests/strategies/tiny_models.h"

namespace shardscout {
namespace {

constexpr int kProcesses = 4;

Problem TinyProblem() {
  WorkloadSpec workload = interpret::TinyWorkload(WorkloadKind::kDecode);
  workload.batch_size = 24;
  return {interpret::TinyModels()[6], interpret::TinyCluster(kProcesses), workload};
}

/// A run on a machine that keeps to a law: so long a call of an operator, so long a call and a byte of a collective.
LiveReport Simulated(const Problem& problem, const Strategy& strategy) {
  constexpr double kCall = 5e-6, kFlop = 1e-9, kCollective = 2e-5, kByte = 3e-9;
  LiveReport report;
  report.strategy = strategy;
  report.num_processes = kProcesses;
  const Program program = Lower(problem, strategy);
  const PhaseProgram& phase = program.phases.front();
  double step = 0;
  for (const Block& block : phase.blocks) {
    for (std::size_t t = 0; t < block.tasks.size(); ++t) {
      const Task& task = block.tasks[t];
      const auto n = static_cast<double>(task.group.size);
      const bool collective = task.kind == TaskKind::kCollective;
      const bool product = task.kind == TaskKind::kMatmul;
      const double wire = task.collective == Collective::kAllReduce ? 2 * (n - 1) / n : (n - 1) / n;
      const double call =
          collective ? kCollective + kByte * wire * task.payload_bytes : kCall + (product ? kFlop * task.work.flop : 0);
      LiveRow row;
      row.phase = phase.phase;
      row.op = task.op;
      row.what = env::TaskName(program.strategy, block, t);
      row.collective = collective;
      row.calls = env::CallsOf(problem.model(), program, block.kind, t);
      const double seconds = static_cast<double>(row.calls) * call;
      const auto same = std::find_if(report.rows.begin(), report.rows.end(), [&](const LiveRow& other) {
        return other.op == row.op && other.what == row.what;
      });
      row.measured = {seconds, seconds, 0};
      if (same == report.rows.end()) {
        report.rows.push_back(row);
      } else {
        same->measured.median_s += seconds;
      }
      step += seconds;
    }
  }
  report.phases.push_back({phase.phase, 0, {1.5 * step, 1.5 * step, 0}});
  return report;
}

TEST(FingerprintTest, PredictsAMachineThatKeepsToItsLaw) {
  const Problem problem = TinyProblem();
  std::vector<Strategy> strategies;
  for (const Strategy& strategy : FingerprintStrategies(problem, 5, 60, kProcesses, 1)) {
    // One stage and one micro-batch: what overlaps in a pipeline is not the law's.
    if (strategy.pipeline_parallel_size == 1 && strategy.expert_parallel_size == 1) strategies.push_back(strategy);
  }
  ASSERT_GE(strategies.size(), 10u);
  std::vector<LiveReport> fitted;
  for (std::size_t i = 0; i < 5; ++i) fitted.push_back(Simulated(problem, strategies[i]));
  const Fingerprint fingerprint = FitFingerprint(problem, fitted, kProcesses);
  for (std::size_t i = 5; i < strategies.size(); ++i) {
    const double measured = Simulated(problem, strategies[i]).phases.front().measured.median_s;
    EXPECT_NEAR(PredictStep(problem, strategies[i], fingerprint, kProcesses), measured, 0.1 * measured)
        << ToShortString(strategies[i]);
  }
}

TEST(FingerprintTest, StrategiesAreDifferentMembersThatFit) {
  const Problem problem = TinyProblem();
  const StrategySpace space(problem);
  const std::vector<Strategy> strategies = FingerprintStrategies(problem, 5, 25, 2, 1);
  EXPECT_EQ(strategies.size(), 25u);
  EXPECT_EQ(std::set<Strategy>(strategies.begin(), strategies.end()).size(), 25u);
  for (const Strategy& strategy : strategies) {
    EXPECT_LE(strategy.InstanceSize(), 2);
    EXPECT_EQ(space.WhyNot(strategy), "");
  }
  EXPECT_EQ(FingerprintStrategies(problem, 5, 25, 2, 1), strategies) << "the same seed";
}

TEST(FingerprintTest, TimingIsMedianLeastAndQuartiles) {
  const Timing timing = TimingOf({5, 1, 2, 4, 3});
  EXPECT_EQ(timing.median_s, 3);
  EXPECT_EQ(timing.least_s, 1);
  EXPECT_DOUBLE_EQ(timing.spread, 2.0 / 3);
}

}  // namespace
}  // namespace shardscout
