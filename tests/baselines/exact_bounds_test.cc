// The lines and bounds that the exact solver's tree is cut by lie below the prices that the evaluator makes.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
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
    ClusterSpec cluster = LoadCluster(name);
    if (cluster.tiers[0].engine_all_reduce && rng.Below(2) == 0) cluster.tiers[0].engine_all_reduce->host_s = 2e-5;
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
  const std::int64_t linear = NumLinearLayers(model, all);
  env::SpanCache spans(problem, s);
  const auto seconds = [&](BlockKind kind, std::int64_t layers) {
    if (layers == 0) return 0.0;
    const Block block = LowerBlock(problem, s, phase, kind);
    const Block* const none = nullptr;
    const env::BlockCost cost = phase == Phase::kPrefill ? env::PriceBlock(problem.cluster(), &block, none, spans)
                                                         : env::PriceBlock(problem.cluster(), none, &block, spans);
    return static_cast<double>(layers) * cost.time_s[static_cast<std::size_t>(phase)];
  };
  return {.moe_s = seconds(BlockKind::kMoe, all.num_moe),
          .rest_s = seconds(BlockKind::kAttention, all.num_layers - windows - linear) +
                    seconds(BlockKind::kWindowAttention, windows) + seconds(BlockKind::kLinearAttention, linear) +
                    seconds(BlockKind::kDenseFfn, all.num_dense)};
}

/// Shares of the prices that the bounds reach, at most.
struct Closeness {
  double rest = 0;
  double moe = 0;
  int checked = 0;
};

/// Holds the bounds against the prices of sampled strategies.
void CheckBounds(const Problem& problem, const StrategySpace& space, int samples, Rng& rng, Closeness& closeness) {
  const MenuMaker maker(space);
  const auto moe_layers = static_cast<double>(SplitLayers(problem.model(), 1).front().num_moe);
  for (int i = 0; i < samples; ++i) {
    const Strategy s = space.Sample(rng);
    for (Phase phase : {Phase::kPrefill, Phase::kDecode}) {
      if (!problem.workload().HasPhase(phase)) continue;
      SCOPED_TRACE(ToShortString(s));
      const double rows = CellRows(problem, s, phase);
      const LayerTime time = TimeOf(problem, s, phase);
      const WorkBound coarse(maker, s.tensor_parallel_size);
      const WorkBound fine(maker, s.tensor_parallel_size, s.context_parallel_size);
      EXPECT_LE(coarse.SecondsWithoutMoe(phase, rows), time.rest_s * kRounding);
      EXPECT_LE(fine.SecondsWithoutMoe(phase, rows), time.rest_s * kRounding);
      EXPECT_LE(coarse.LayerSeconds(phase, rows), (time.rest_s + time.moe_s) * kRounding);
      closeness.rest = std::max(closeness.rest, fine.SecondsWithoutMoe(phase, rows) / time.rest_s);
      if (moe_layers > 0) {
        const MoeBound moe(maker, s.tensor_parallel_size, phase,
                           {{s.expert_parallel_size, s.expert_tensor_parallel_size}});
        const double least_s = moe_layers * (moe.ExpertSeconds(0, rows) + moe.RestSeconds(0, rows));
        EXPECT_LE(least_s, time.moe_s * kRounding);
        closeness.moe = std::max(closeness.moe, least_s / time.moe_s);
      }
      ++closeness.checked;
    }
  }
}

TEST(WorkBoundTest, NoStrategyIsQuicker) {
  Closeness closeness;
  for (std::uint64_t seed = 1; seed <= 150; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Rng rng(seed);
    const Problem problem = testing::RandomProblem(rng);
    std::optional<StrategySpace> space;
    try {
      space.emplace(problem);
    } catch (const SpecError&) {
      continue;  // The random batch leaves nothing.
    }
    CheckBounds(problem, *space, 20, rng, closeness);
  }
  EXPECT_GT(closeness.checked, 1500);
  // Else the bounds bound nothing.
  EXPECT_GT(closeness.rest, 0.7);
  EXPECT_GT(closeness.moe, 0.7);
}

/// Real models where compute is most of the time: passes of `serve` over tp requests, and a fullest expert rank that
/// has more than the mean the fewer rows there are.
TEST(WorkBoundTest, NoStrategyIsQuickerWhereComputeRules) {
  struct Row {
    const char* model;
    std::int64_t devices;
    const char* workload;
    std::int64_t input_tokens;
    std::int64_t batch;
    std::map<std::string, std::string> fixed;
  };
  const Row rows[] = {
      {"llama-3.1-8b", 3, "serve-chat", 32768, 12, {{"tensor_parallel_size", "3"}}},
      {"qwen2.5-72b", 3, "serve-chat", 12288, 12, {{"tensor_parallel_size", "3"}}},
      {"mixtral-8x22b", 8, "prefill-chat", 256, 64, {{"expert_parallel_size", "8"}, {"tensor_parallel_size", "1"}}},
      {"dbrx", 8, "prefill-chat", 1024, 64, {{"expert_parallel_size", "8"}, {"tensor_parallel_size", "1"}}}};
  for (const Row& row : rows) {
    SCOPED_TRACE(row.model);
    WorkloadSpec workload = LoadWorkload(row.workload);
    workload.input_tokens = row.input_tokens;
    workload.batch_size = row.batch;
    ProblemOptions options;
    options.fixed = row.fixed;
    const Problem problem(LoadModel(row.model), LoadCluster("h100-sxm", row.devices), workload, options);
    const StrategySpace space(problem);
    Closeness closeness;
    Rng rng(1);
    CheckBounds(problem, space, 200, rng, closeness);
    EXPECT_GT(closeness.rest, 0.8);
  }
}

}  // namespace
}  // namespace shardscout::baselines::exact
