// A stage's ranks do the same, so that a pass simulates one of them. Here all of them run, each with streams and ports
// of its own; a collective waits for every member of its group.

#include <gtest/gtest.h>

#include <vector>

#include "env/simulator/pass_simulation.h"
#include "shardscout/strategy_space.h"
#include "tests/baselines/random_problems.h"

namespace shardscout::env {
namespace {

/// Ranks of the group of `rank` within its stage.
std::vector<std::int64_t> MembersOf(const Group& group, std::int64_t rank) {
  const std::int64_t first = rank - rank / group.stride % group.size * group.stride;
  std::vector<std::int64_t> members;
  for (std::int64_t i = 0; i < group.size; ++i) members.push_back(first + i * group.stride);
  return members;
}

SimulationGraph Unfold(const Pass& pass, std::int64_t ranks) {
  SimulationGraph graph;
  for (std::int64_t i = 0; i < ranks * pass.graph.num_streams(); ++i) graph.AddStream();
  for (std::int64_t i = 0; i < ranks * pass.graph.num_links(); ++i) graph.AddLink();
  const auto of_rank = [&](std::int32_t id, std::int64_t rank) { return static_cast<std::int32_t>(ranks * id + rank); };
  for (SimTaskId t = 0; t < pass.graph.num_tasks(); ++t) {
    const Task* task = pass.tasks[static_cast<std::size_t>(t)].task;
    const bool in_group =
        task != nullptr && task->kind == TaskKind::kCollective && task->collective != Collective::kSendRecv;
    for (std::int64_t rank = 0; rank < ranks; ++rank) {
      std::vector<SimTaskId> after;
      for (const std::int64_t member : in_group ? MembersOf(task->group, rank) : std::vector{rank}) {
        for (const SimTaskId before : pass.graph.AfterOf(t)) after.push_back(of_rank(before, member));
      }
      std::vector<LinkLoad> loads;
      for (const LinkLoad& load : pass.graph.LoadsOf(t)) loads.push_back({of_rank(load.link, rank), load.share});
      EXPECT_EQ(graph.AddTask(of_rank(pass.graph.StreamOf(t), rank), pass.graph.DurationOf(t), after, loads),
                of_rank(t, rank));
    }
  }
  return graph;
}

TEST(Folding, OneRankOfAStageStandsForAll) {
  int with_links = 0, halved = 0, grouped = 0;
  for (std::uint64_t seed = 1; seed <= 120; ++seed) {
    Rng rng(seed);
    ProblemOptions options;
    options.admitted_overlaps = {Overlap::kNone, Overlap::kTwoBatch, Overlap::kChunked};
    const Problem problem(testing::RandomModel(rng), testing::RandomCluster(rng), testing::RandomWorkload(rng),
                          options);
    const Strategy s = StrategySpace(problem).Sample(rng);
    for (const Phase phase : {Phase::kPrefill, Phase::kDecode}) {
      if (!problem.workload().HasPhase(phase)) continue;
      const PassMaker maker(problem, s, phase, {});
      const Pass pass = maker.Make(s.num_microbatches, phase == Phase::kDecode ? 2 : 1, true);
      const std::int64_t ranks = s.StageSize();
      const Schedule folded = Simulate(pass.graph), whole = Simulate(Unfold(pass, ranks));
      ASSERT_EQ(whole.makespan, folded.makespan) << ToShortString(s);
      for (SimTaskId t = 0; t < pass.graph.num_tasks(); ++t) {
        for (std::int64_t rank = 0; rank < ranks; ++rank) {
          const auto i = static_cast<std::size_t>(ranks * t + rank);
          ASSERT_EQ(whole.begin[i], folded.begin[static_cast<std::size_t>(t)]);
          ASSERT_EQ(whole.end[i], folded.end[static_cast<std::size_t>(t)]);
        }
        with_links += pass.graph.LoadsOf(t).empty() ? 0 : 1;
      }
      halved += maker.Halved() ? 1 : 0;
      grouped += ranks > 1 ? 1 : 0;
    }
  }
  EXPECT_GT(with_links, 100);
  EXPECT_GT(halved, 5);
  EXPECT_GT(grouped, 50);
}

}  // namespace
}  // namespace shardscout::env
