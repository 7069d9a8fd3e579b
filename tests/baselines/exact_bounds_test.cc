// The lines and bounds that the exact solver's tree is cut by lie below the prices that the evaluator makes.

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <string>

#include "baselines/exact/moe_bound.h"
#include "baselines/exact/work_bound.h"
#include "shardscout/collective_time.h"
#include "shardscout/error.h"
#include "shardscout/preset_paths.h"
#include "tests/baselines/random_problems.h"

namespace shardscout::baselines::exact {
namespace {

constexpr double kRounding = 1 + 1e-9;

TEST(TaskLineTest, NoCollectiveIsQuickerThanItsLine) {
  Rng rng(1);
  int checked = 0;
  for (const std::string& name : ListPresets("clusters")) {
    const ClusterSpec cluster = LoadCluster(name);
    for (int i = 0; i < 3000; ++i) {
      const auto size = static_cast<std::int64_t>(2 + rng.Below(64));
      const auto stride = static_cast<std::int64_t>(1 + rng.Below(16));
      if (size * stride > cluster.num_devices) continue;
      env::SpanCache spans(cluster, cluster.num_devices);
      Task task{.kind = TaskKind::kCollective, .group = {size, stride}};
      task.payload_bytes = 1;
      for (Collective kind :
           {Collective::kAllReduce, Collective::kAllGather, Collective::kReduceScatter, Collective::kAllToAll}) {
        task.collective = kind;
        const TaskLine line = LineOfCollective(cluster, task, 1, spans);
        EXPECT_GT(line.memory_s_per_row, 0);
        const double bytes = std::pow(10.0, 11 * rng.Uniform());
        const double time_s = CollectiveTime(cluster, kind, bytes, spans.Of(task.group));
        ASSERT_LE(line.Seconds(bytes), time_s * kRounding)
            << name << " " << ToString(kind) << " of " << bytes << " bytes over " << size << " by " << stride;
        ++checked;
      }
    }
  }
  EXPECT_GT(checked, 5000);
}

/// The requests for which lines are made: no member has a sharding that these do not have.
TEST(MenuTest, TheSplittingRequestsAdmitWhatAnyRequestsDo) {
  int checked = 0;
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    Rng rng(seed);
    WorkloadSpec workload = testing::RandomWorkload(rng);
    workload.max_batch_size = 1 + static_cast<std::int64_t>(rng.Below(12));
    workload.batch_size.reset();
    workload.concurrency.reset();
    const Problem problem(testing::RandomModel(rng), testing::RandomCluster(rng), workload);
    const StrategySpace space(problem);
    const MenuMaker maker(space);
    for (int i = 0; i < 30; ++i) {
      const Strategy s = space.Sample(rng);
      Strategy reference = s;
      reference.batch_size = maker.SplittingRequests(s.tensor_parallel_size, s.context_parallel_size);
      reference.num_microbatches = 1;
      for (Operator op : {Operator::kQkv, Operator::kAttention, Operator::kAttnOut, Operator::kRouter}) {
        if (s.ShardingOf(op) == Sharding::kNone) continue;
        ASSERT_TRUE(maker.rules().Admits(reference, op, s.ShardingOf(op)))
            << "seed " << seed << ": " << ToString(op) << " of " << ToShortString(s);
        ++checked;
      }
      ASSERT_TRUE(maker.rules().Residual(reference, s.residual_layout));
    }
  }
  EXPECT_GT(checked, 3000);
}

/// Seconds of all layers of a strategy by the evaluator's prices: the MoE blocks apart.
struct LayerTime {
  double moe_s = 0;
  double rest_s = 0;
};
LayerTime TimeOf(const Problem& problem, const Strategy& s, Phase phase) {
  const ModelSpec& model = problem.model();
  const Stage all = SplitLayers(model, 1).front();
  const std::int64_t windows = NumWindowLayers(model, all);
  env::SpanCache spans(problem.cluster(), s);
  const auto seconds = [&](BlockKind kind, std::int64_t layers) {
    if (layers == 0) return 0.0;
    const Block block = LowerBlock(problem, s, phase, kind);
    const Block* const none = nullptr;
    const env::BlockCost cost = phase == Phase::kPrefill ? env::PriceBlock(problem.cluster(), &block, none, spans)
                                                         : env::PriceBlock(problem.cluster(), none, &block, spans);
    return static_cast<double>(layers) * cost.time_s[static_cast<std::size_t>(phase)];
  };
  return {.moe_s = seconds(BlockKind::kMoe, all.num_moe),
          .rest_s = seconds(BlockKind::kAttention, all.num_layers - windows) +
                    seconds(BlockKind::kWindowAttention, windows) + seconds(BlockKind::kDenseFfn, all.num_dense)};
}

TEST(WorkBoundTest, NoStrategyIsQuicker) {
  int checked = 0;
  double closest = 0;
  double closest_moe = 0;
  for (std::uint64_t seed = 1; seed <= 150; ++seed) {
    Rng rng(seed);
    const Problem problem = testing::RandomProblem(rng);
    std::optional<StrategySpace> space;
    try {
      space.emplace(problem);
    } catch (const SpecError&) {
      continue;  // The random batch leaves nothing.
    }
    const MenuMaker maker(*space);
    const auto moe_layers = static_cast<double>(SplitLayers(problem.model(), 1).front().num_moe);
    for (int i = 0; i < 20; ++i) {
      const Strategy s = space->Sample(rng);
      const std::int64_t requests = s.batch_size / s.num_microbatches;
      for (Phase phase : {Phase::kPrefill, Phase::kDecode}) {
        if (!problem.workload().HasPhase(phase)) continue;
        SCOPED_TRACE("seed " + std::to_string(seed) + ", " + ToShortString(s));
        const std::int64_t tp = s.tensor_parallel_size;
        const auto cp = static_cast<double>(s.context_parallel_size);
        const double rows = phase == Phase::kPrefill
                                ? static_cast<double>(PrefillRequests(problem, s) * PaddedInputTokens(problem, s)) / cp
                                : static_cast<double>(requests) / cp;
        const LayerTime time = TimeOf(problem, s, phase);
        const WorkBound coarse(maker, tp);
        const WorkBound fine(maker, tp, s.context_parallel_size);
        EXPECT_LE(coarse.SecondsWithoutMoe(phase, rows), time.rest_s * kRounding);
        EXPECT_LE(fine.SecondsWithoutMoe(phase, rows), time.rest_s * kRounding);
        EXPECT_LE(coarse.LayerSeconds(phase, rows), (time.rest_s + time.moe_s) * kRounding);
        closest = std::max(closest, fine.SecondsWithoutMoe(phase, rows) / time.rest_s);
        if (moe_layers > 0) {
          const MoeBound moe(maker, tp, phase, {{s.expert_parallel_size, s.expert_tensor_parallel_size}});
          const double least_s = moe_layers * (moe.ExpertSeconds(0, rows) + moe.RestSeconds(0, rows));
          EXPECT_LE(least_s, time.moe_s * kRounding);
          closest_moe = std::max(closest_moe, least_s / time.moe_s);
        }
        ++checked;
      }
    }
  }
  EXPECT_GT(checked, 1500);
  // Else the bounds bound nothing.
  EXPECT_GT(closest, 0.7);
  EXPECT_GT(closest_moe, 0.7);
}

}  // namespace
}  // namespace shardscout::baselines::exact
