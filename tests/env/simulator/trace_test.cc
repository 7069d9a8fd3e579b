// The rules of Chrome's trace format: complete events nest on each track, flows have both ends, names are known.

#include "shardscout/trace.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "shardscout/strategy_space.h"
#include "tests/baselines/random_problems.h"

namespace shardscout {
namespace {

using nlohmann::json;

struct Track {
  std::vector<std::pair<double, double>> spans;  ///< Begin and end, microseconds.
};

void CheckTrace(const json& trace, const Problem& problem, const Strategy& s) {
  constexpr double kRounding = 1e-6;
  std::map<std::pair<int, int>, Track> tracks;
  std::map<std::int64_t, std::vector<json>> flows;
  std::set<int> named;
  std::map<std::string, int> counters;
  for (const json& event : trace.at("traceEvents")) {
    const std::string kind = event.at("ph");
    const int process = event.at("pid");
    if (kind == "M") {
      if (event.at("name") == "process_name") named.insert(process);
      continue;
    }
    ASSERT_TRUE(named.contains(process)) << event;
    const double begin = event.at("ts");
    ASSERT_GE(begin, 0);
    if (kind == "C") {
      for (const auto& [name, value] : event.at("args").items()) ASSERT_GE(value.get<std::int64_t>(), 0) << name;
      ++counters[event.at("name")];
      continue;
    }
    if (kind == "X") {
      tracks[{process, event.at("tid")}].spans.emplace_back(begin, begin + event.at("dur").get<double>());
    } else {
      ASSERT_TRUE(kind == "s" || kind == "f") << event;
      flows[event.at("id")].push_back(event);
    }
  }
  std::size_t phases = 0;
  for (const Phase phase : {Phase::kPrefill, Phase::kDecode})
    if (problem.workload().HasPhase(phase)) ++phases;
  if (problem.workload().requests) {
    EXPECT_GE(counters.at("requests"), 2) << "when they begin and when they end";
    EXPECT_EQ(counters.at("KV cache"), counters.at("requests"));
  }
  const std::size_t others = problem.workload().requests ? 1 : 0;
  EXPECT_EQ(named.size() - others, phases * static_cast<std::size_t>(s.pipeline_parallel_size));
  for (auto& [place, track] : tracks) {
    std::sort(track.spans.begin(), track.spans.end());
    for (std::size_t i = 1; i < track.spans.size(); ++i) {
      ASSERT_GE(track.spans[i].first, track.spans[i - 1].second - kRounding) << "two tasks at once";
    }
  }
  for (const auto& [id, ends] : flows) {
    ASSERT_EQ(ends.size(), 2u);
    const json& begin = ends[0].at("ph") == "s" ? ends[0] : ends[1];
    const json& end = ends[0].at("ph") == "s" ? ends[1] : ends[0];
    ASSERT_EQ(begin.at("ph"), "s");
    ASSERT_EQ(end.at("ph"), "f");
    EXPECT_EQ(begin.at("name"), end.at("name"));
    EXPECT_LE(begin.at("ts").get<double>(), end.at("ts").get<double>());
    // Each lies in a complete event of its track.
    for (const json& half : {begin, end}) {
      const Track& track = tracks.at({half.at("pid"), half.at("tid")});
      const double at = half.at("ts");
      EXPECT_TRUE(std::any_of(track.spans.begin(), track.spans.end(), [&](const auto& span) {
        return span.first <= at + kRounding && at <= span.second + kRounding;
      }));
    }
  }
  if (s.pipeline_parallel_size > 1) {
    EXPECT_GT(flows.size(), 0u);
  }
}

TEST(SimulatedTrace, KeepsTheRules) {
  int pipelines = 0;
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    Rng rng(seed);
    ProblemOptions options;
    options.admitted_overlaps = {Overlap::kNone, Overlap::kTwoBatch, Overlap::kChunked};
    WorkloadSpec workload = testing::RandomWorkload(rng);
    if (workload.kind == WorkloadKind::kServe) workload.requests.emplace().num_requests = 50;
    const Problem problem(testing::RandomModel(rng), testing::RandomCluster(rng), workload, options);
    const StrategySpace space(problem);
    for (int i = 0; i < 4; ++i) {
      const Strategy s = space.Sample(rng);
      pipelines += s.pipeline_parallel_size > 1 ? 1 : 0;
      CheckTrace(json::parse(SimulatedTrace(problem, s)), problem, s);
    }
  }
  EXPECT_GT(pipelines, 20);
}

}  // namespace
}  // namespace shardscout
