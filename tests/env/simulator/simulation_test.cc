// Schedules worked by hand, and what holds of every schedule.

#include "env/simulator/simulation.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "shardscout/random.h"

namespace shardscout::env {
namespace {

using Times = std::vector<Picoseconds>;

TEST(Simulation, AnEmptyGraphTakesNoTime) {
  SimulationGraph graph;
  EXPECT_EQ(Simulate(graph).makespan, 0);
  graph.AddStream();
  graph.AddLink();
  EXPECT_EQ(Simulate(graph).makespan, 0);
}

TEST(Simulation, AStreamRunsOneTaskAtATimeInOrder) {
  SimulationGraph graph;
  const StreamId s = graph.AddStream();
  graph.AddTask(s, 5);
  graph.AddTask(s, 0);
  graph.AddTask(s, 7);
  const Schedule schedule = Simulate(graph);
  EXPECT_EQ(schedule.begin, (Times{0, 5, 5}));
  EXPECT_EQ(schedule.end, (Times{5, 5, 12}));
  EXPECT_EQ(schedule.makespan, 12);
}

TEST(Simulation, TwoStreamsOverlap) {
  SimulationGraph graph;
  const StreamId compute = graph.AddStream(), communication = graph.AddStream();
  const SimTaskId a = graph.AddTask(compute, 10);
  const SimTaskId sent = graph.AddTask(communication, 8, {{a}});
  graph.AddTask(compute, 6);            // runs while a's result is sent
  graph.AddTask(compute, 1, {{sent}});  // waits for it
  const Schedule schedule = Simulate(graph);
  EXPECT_EQ(schedule.begin, (Times{0, 10, 10, 18}));
  EXPECT_EQ(schedule.makespan, 19);
}

/// A stream does not look past its first task that waits.
TEST(Simulation, AStreamWaitsForItsHead) {
  SimulationGraph graph;
  const StreamId s = graph.AddStream(), other = graph.AddStream();
  const SimTaskId slow = graph.AddTask(other, 100);
  graph.AddTask(s, 10, {{slow}});
  graph.AddTask(s, 10);
  EXPECT_EQ(Simulate(graph).begin, (Times{0, 100, 110}));
}

/// Two stages, three micro-batches: 4 + 6 + 2 * 6.
TEST(Simulation, APipelineFillsAndDrains) {
  SimulationGraph graph;
  const StreamId first = graph.AddStream(), second = graph.AddStream();
  for (int m = 0; m < 3; ++m) {
    const SimTaskId sent = graph.AddTask(first, 4);
    graph.AddTask(second, 6, {{sent}});
  }
  const Schedule schedule = Simulate(graph);
  EXPECT_EQ(schedule.begin, (Times{0, 4, 4, 10, 8, 16}));
  EXPECT_EQ(schedule.makespan, 22);
}

/// Begin and end of tasks, each on a stream of its own, all from the beginning.
Schedule Together(int links, const std::vector<Picoseconds>& durations,
                  const std::vector<std::vector<LinkLoad>>& loads) {
  SimulationGraph graph;
  for (int l = 0; l < links; ++l) graph.AddLink();
  for (std::size_t i = 0; i < durations.size(); ++i) graph.AddTask(graph.AddStream(), durations[i], {}, loads[i]);
  return Simulate(graph);
}

TEST(Simulation, ALinkIsShared) {
  const std::vector<LinkLoad> most = {{0, 0.8}};
  EXPECT_EQ(Together(1, {100, 100}, {most, most}).end, (Times{160, 160})) << "the header's example";
  EXPECT_EQ(Together(1, {100, 50}, {most, most}).end, (Times{130, 80}));
  EXPECT_EQ(Together(1, {100, 100}, {{{0, 0.5}}, {{0, 0.5}}}).end, (Times{100, 100})) << "there is room for both";
  EXPECT_EQ(Together(2, {100, 100}, {{{0, 1}}, {{1, 1}}}).end, (Times{100, 100})) << "links of their own";
  EXPECT_EQ(Together(1, {90, 90, 90}, {{{0, 1}}, {{0, 1}}, {{0, 1}}}).end, (Times{270, 270, 270}));
}

/// Task 1 needs both links. Link 0 is full at a third; task 2 then takes what is left of link 1.
TEST(Simulation, RatesAreMaxMinFair) {
  const Schedule schedule = Together(2, {100, 100, 100, 100}, {{{0, 1}}, {{0, 1}, {1, 0.9}}, {{1, 0.6}}, {{0, 1}}});
  // Rates 1/3, 1/3, min(1, (1 - 0.3) / 0.6) = 1, 1/3.
  EXPECT_EQ(schedule.end, (Times{300, 300, 100, 300}));
  // Link 1 full first: 1 / (0.9 + 0.8), for both of its tasks; task 0 may have the rest of link 0.
  const Schedule second = Together(2, {1000, 1700, 1700}, {{{0, 0.5}}, {{0, 0.5}, {1, 0.9}}, {{1, 0.8}}});
  EXPECT_EQ(second.end[0], 1000);
  EXPECT_EQ(second.end[1], 2890);
  EXPECT_EQ(second.end[2], 2890);
}

TEST(Simulation, ATransferThatBeginsLaterSlowsTheFirst) {
  SimulationGraph graph;
  const LinkId link = graph.AddLink();
  const StreamId a = graph.AddStream(), b = graph.AddStream();
  const std::vector<LinkLoad> whole = {{link, 1}};
  graph.AddTask(a, 100, {}, whole);
  const SimTaskId wait = graph.AddTask(b, 40);
  graph.AddTask(b, 30, {{wait}}, whole);
  // 40 done alone, then half speed: the second ends at 100, when 30 of the first are left.
  const Schedule schedule = Simulate(graph);
  EXPECT_EQ(schedule.end, (Times{130, 40, 100}));
}

TEST(Simulation, ATaskWithoutLengthOnALinkEndsAtOnce) {
  SimulationGraph graph;
  const LinkId link = graph.AddLink();
  const StreamId s = graph.AddStream();
  graph.AddTask(s, 0, {}, {{{link, 1}}});
  graph.AddTask(s, 5, {}, {{{link, 1}}});
  EXPECT_EQ(Simulate(graph).end, (Times{0, 5}));
}

TEST(Simulation, Rounding) {
  EXPECT_EQ(ToPicoseconds(1.5e-6), 1500000);
  EXPECT_EQ(ToPicoseconds(0), 0);
  EXPECT_EQ(ToPicoseconds(1e300), ToPicoseconds(4e6));
  // Time ends before the numbers do.
  SimulationGraph graph;
  const LinkId link = graph.AddLink();
  const StreamId a = graph.AddStream(), b = graph.AddStream();
  for (int i = 0; i < 4; ++i) graph.AddTask(a, ToPicoseconds(1e300));
  for (int i = 0; i < 4; ++i) graph.AddTask(b, ToPicoseconds(1e300), {}, {{{link, 1}}});
  EXPECT_EQ(Simulate(graph).makespan, 8'000'000'000'000'000'000);
  EXPECT_DOUBLE_EQ(ToSeconds(ToPicoseconds(0.0417)), 0.0417);
}

SimulationGraph RandomGraph(Rng& rng) {
  SimulationGraph graph;
  const auto streams = static_cast<StreamId>(1 + rng.Below(6));
  const auto links = static_cast<LinkId>(1 + rng.Below(3));
  for (StreamId s = 0; s < streams; ++s) graph.AddStream();
  for (LinkId l = 0; l < links; ++l) graph.AddLink();
  const auto tasks = static_cast<SimTaskId>(rng.Below(60));
  for (SimTaskId t = 0; t < tasks; ++t) {
    std::vector<SimTaskId> after;
    for (int i = 0; t > 0 && i < 2; ++i) {
      if (rng.Below(2) == 0) after.push_back(static_cast<SimTaskId>(rng.Below(static_cast<std::uint64_t>(t))));
    }
    std::vector<LinkLoad> loads;
    for (LinkId l = 0; l < links; ++l) {
      if (rng.Below(3) == 0) loads.push_back({l, 0.05 + 0.95 * rng.Uniform()});
    }
    graph.AddTask(static_cast<StreamId>(rng.Below(static_cast<std::uint64_t>(streams))),
                  static_cast<Picoseconds>(rng.Below(1000)), after, loads);
  }
  return graph;
}

/// No stream runs two tasks, none begins before what it depends on has ended, none is quicker than alone, and no link
/// carries more than it can.
TEST(Simulation, EveryScheduleIsPossible) {
  for (std::uint64_t seed = 1; seed <= 400; ++seed) {
    Rng rng(seed);
    const SimulationGraph graph = RandomGraph(rng);
    const Schedule schedule = Simulate(graph);
    ASSERT_EQ(Simulate(graph), schedule);
    std::vector<Picoseconds> free(static_cast<std::size_t>(graph.num_streams()), 0);
    std::vector<double> carried(static_cast<std::size_t>(graph.num_links()), 0);
    Picoseconds chain = 0;
    for (SimTaskId t = 0; t < graph.num_tasks(); ++t) {
      const auto i = static_cast<std::size_t>(t);
      ASSERT_GE(schedule.end[i] - schedule.begin[i], graph.DurationOf(t)) << "seed " << seed;
      Picoseconds earliest = free[static_cast<std::size_t>(graph.StreamOf(t))];
      for (const SimTaskId before : graph.AfterOf(t)) {
        earliest = std::max(earliest, schedule.end[static_cast<std::size_t>(before)]);
      }
      ASSERT_EQ(schedule.begin[i], earliest) << "seed " << seed << ": a task begins as soon as it can";
      free[static_cast<std::size_t>(graph.StreamOf(t))] = schedule.end[i];
      for (const LinkLoad& load : graph.LoadsOf(t)) {
        carried[static_cast<std::size_t>(load.link)] += load.share * static_cast<double>(graph.DurationOf(t));
      }
      if (graph.LoadsOf(t).empty()) {
        ASSERT_EQ(schedule.end[i], schedule.begin[i] + graph.DurationOf(t));
      }
      chain = std::max(chain, schedule.end[i]);
    }
    EXPECT_EQ(schedule.makespan, chain);
    for (const double work : carried) ASSERT_LE(work, static_cast<double>(schedule.makespan) + 1) << "seed " << seed;
  }
}

/// Links without end change nothing.
TEST(Simulation, SharingOnlyDelays) {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    Rng rng(seed);
    const SimulationGraph graph = RandomGraph(rng);
    SimulationGraph alone;
    for (StreamId s = 0; s < graph.num_streams(); ++s) alone.AddStream();
    for (SimTaskId t = 0; t < graph.num_tasks(); ++t) {
      alone.AddTask(graph.StreamOf(t), graph.DurationOf(t), graph.AfterOf(t));
    }
    const Schedule shared = Simulate(graph), free = Simulate(alone);
    for (std::size_t i = 0; i < shared.end.size(); ++i) ASSERT_GE(shared.end[i], free.end[i]) << "seed " << seed;
  }
}

}  // namespace
}  // namespace shardscout::env
