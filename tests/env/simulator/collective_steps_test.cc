#include "env/simulator/collective_steps.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <sstream>
#include <string>
#include <vector>

namespace shardscout::env {
namespace {

Picoseconds Time(const StepNetwork& network, Collective collective, double bytes) {
  return Simulate(CollectiveSteps(network, collective, bytes)).makespan;
}

StepNetwork Ring(std::int64_t ranks) {
  return {.dimensions = {{.ranks = ranks, .latency_s = 1e-6, .bytes_per_s = 1e9}}};
}

TEST(CollectiveSteps, WorkedExample) { EXPECT_EQ(Time(Ring(2), Collective::kAllReduce, 2000), 4'000'000); }

TEST(CollectiveSteps, OnOneRing) {
  // Three messages of 1,000 bytes, 2 us each.
  EXPECT_EQ(Time(Ring(4), Collective::kReduceScatter, 4000), 6'000'000);
  EXPECT_EQ(Time(Ring(4), Collective::kAllGather, 1000), 6'000'000);
  EXPECT_EQ(Time(Ring(4), Collective::kAllReduce, 4000), 12'000'000);
  EXPECT_EQ(Time(Ring(4), Collective::kAllToAll, 4000), 6 * 2'000'000);
  EXPECT_EQ(Time(Ring(1), Collective::kAllReduce, 4000), 0);
  StepNetwork adding = Ring(4);
  adding.memory_bytes_per_s = 3e9;  // A microsecond for 1,000 bytes.
  EXPECT_EQ(Time(adding, Collective::kAllReduce, 4000), 15'000'000);
  StepNetwork forwarding = Ring(4);
  forwarding.dimensions[0].passes = 2;
  EXPECT_EQ(Time(forwarding, Collective::kAllGather, 1000), 9'000'000);
}

/// 2 x 2: a message of half of the buffer inside, two of a quarter outside, one of half inside.
TEST(CollectiveSteps, DimensionByDimension) {
  StepNetwork network = Ring(2);
  network.dimensions.push_back({.ranks = 2, .latency_s = 5e-6, .bytes_per_s = 0.5e9});
  EXPECT_EQ(Time(network, Collective::kAllReduce, 4000), 3'000'000 + 2 * 7'000'000 + 3'000'000);
  EXPECT_EQ(Time(network, Collective::kAllGather, 1000), 7'000'000 + 3'000'000);
}

TEST(CollectiveSteps, EveryRankSendsAsMuch) {
  const SimulationGraph graph = CollectiveSteps(Ring(4), Collective::kAllReduce, 4000);
  std::map<StreamId, int> messages;
  for (SimTaskId t = 0; t < graph.num_tasks(); ++t) ++messages[graph.StreamOf(t)];
  ASSERT_EQ(messages.size(), 4u);
  for (const auto& [stream, count] : messages) EXPECT_EQ(count, 6);
}

// ---- ASTRA-sim's runs ----

/// "key: [ 8, 2 ]" of a network file.
std::vector<std::string> List(const std::string& text, const std::string& key) {
  std::string line = text.substr(text.find(key + ":"));
  line = line.substr(line.find('[') + 1, line.find(']') - line.find('[') - 1);
  std::replace(line.begin(), line.end(), ',', ' ');
  std::istringstream words(line);
  return {std::istream_iterator<std::string>(words), {}};
}

StepNetwork ReadNetwork(const std::string& path, bool aware) {
  std::ifstream file(path);
  EXPECT_TRUE(file) << path;
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  StepNetwork network;
  network.memory_bytes_per_s = 3350e9;  // local-mem-bw of the system's file.
  const std::vector<std::string> kinds = List(text, "topology"), ranks = List(text, "npus_count"),
                                 gib_per_s = List(text, "bandwidth"), hop_ns = List(text, "latency");
  for (std::size_t d = 0; d < kinds.size(); ++d) {
    const double hops = kinds[d] == "Switch" ? 2 : 1;
    network.dimensions.push_back({.ranks = std::stoll(ranks[d]),
                                  .latency_s = hops * std::stod(hop_ns[d]) * 1e-9,
                                  .bytes_per_s = std::stod(gib_per_s[d]) * 1073741824,
                                  .passes = aware ? hops : 1});
  }
  return network;
}

/// All runs of the ring algorithms in one chunk, whose links are never shared.
TEST(CollectiveSteps, ReproducesAstraSim) {
  const char* data = std::getenv("SHARDSCOUT_DATA");
  if (data == nullptr) GTEST_SKIP() << "SHARDSCOUT_DATA names no folder of reference runs";
  const std::string folder = std::string(data) + "/data/reference_runs/astra_sim/";
  const std::map<std::string, Collective> collectives = {{"all_reduce", Collective::kAllReduce},
                                                         {"all_gather", Collective::kAllGather},
                                                         {"reduce_scatter", Collective::kReduceScatter},
                                                         {"all_to_all", Collective::kAllToAll}};
  std::ifstream results(folder + "results.csv");
  ASSERT_TRUE(results);
  int runs = 0;
  double worst = 0;
  std::string line;
  std::getline(results, line);
  while (std::getline(results, line)) {
    std::replace(line.begin(), line.end(), ',', ' ');
    std::istringstream words(line);
    std::string network, system, collective, mode;
    double bytes = 0, time_ns = 0;
    words >> network >> system >> collective >> bytes >> mode >> time_ns;
    if (system != "plain_ring") continue;
    const StepNetwork steps = ReadNetwork(folder + "configs/net_" + network + ".yml", mode == "Aware");
    const double error = 1e9 * ToSeconds(Time(steps, collectives.at(collective), bytes)) / time_ns - 1;
    EXPECT_LT(std::fabs(error), 0.01) << line;
    worst = std::max(worst, std::fabs(error));
    ++runs;
  }
  EXPECT_EQ(runs, 308);
  std::cout << runs << " runs, worst error " << 100 * worst << " %\n";
}

}  // namespace
}  // namespace shardscout::env
