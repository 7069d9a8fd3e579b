#include "src/export/astra_sim.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

namespace shardscout::exporters {
namespace {

constexpr double kGib = 1073741824.0;

ClusterSpec TwoTiers() {
  ClusterSpec cluster;
  cluster.num_devices = 64;
  cluster.devices_per_node = 8;
  cluster.tiers = {{.name = "nvlink", .size = 8, .bytes_per_s = 400 * kGib, .latency_s = 1.2e-6},
                   {.name = "infiniband", .bytes_per_s = 50 * kGib, .latency_s = 5e-6}};
  return cluster;
}

TEST(AstraNetwork, SwitchesOfTwoTiers) {
  ClusterSpec cluster = TwoTiers();
  EXPECT_EQ(NetworkYaml(DescribeNetwork(cluster, 16)),
            "topology: [ Switch, Switch ]\n"
            "npus_count: [ 8, 2 ]\n"
            "bandwidth: [ 400.0, 50.0 ]  # GB/s of 2^30 bytes, a link and direction\n"
            "latency: [ 600.0, 2500.0 ]  # ns, a link\n");
  EXPECT_EQ(DescribeNetwork(cluster, 4).dimensions, (std::vector<AstraDimension>{{"Switch", 4, 400, 600}}));
  // What wires sustain, four NICs for eight devices, and a spine of half the width.
  cluster.tiers[0].achieved_fraction = 0.75;
  cluster.tiers[1].rails = 4;
  cluster.tiers[1].oversubscription = 2;
  EXPECT_EQ(DescribeNetwork(cluster, 64).dimensions,
            (std::vector<AstraDimension>{{"Switch", 8, 300, 600}, {"Switch", 8, 12.5, 2500}}));
}

TEST(AstraNetwork, LinksOfAMesh) {
  ClusterSpec cluster = TwoTiers();
  cluster.tiers[0].kind = TierKind::kFullyConnected;
  cluster.tiers[0].bytes_per_s = 7 * 40 * kGib;
  EXPECT_EQ(DescribeNetwork(cluster, 8).dimensions, (std::vector<AstraDimension>{{"FullyConnected", 8, 40, 1200}}));
  // Half of the devices have the same links to each other.
  EXPECT_EQ(DescribeNetwork(cluster, 4).dimensions, (std::vector<AstraDimension>{{"FullyConnected", 4, 40, 1200}}));
}

TEST(AstraNetwork, RingsAndTori) {
  ClusterSpec cluster = TwoTiers();
  cluster.tiers[0].kind = TierKind::kRing;
  EXPECT_EQ(DescribeNetwork(cluster, 8).dimensions, (std::vector<AstraDimension>{{"Ring", 8, 200, 1200}}));
  EXPECT_NE(DescribeNetwork(cluster, 4).why_not.find("no closed ring"), std::string::npos);

  cluster.tiers = {
      {.name = "ici", .size = 4096, .kind = TierKind::kTorus3d, .bytes_per_s = 600 * kGib, .latency_s = 1e-6},
      {.name = "dcn", .bytes_per_s = 10 * kGib}};
  const AstraDimension side = {"Ring", 4, 100, 1000};
  EXPECT_EQ(DescribeNetwork(cluster, 64).dimensions, (std::vector<AstraDimension>{side, side, side}));
  cluster.num_devices = 27;
  EXPECT_NE(DescribeNetwork(cluster, 27).why_not.find("not closed"), std::string::npos);
  cluster.num_devices = 65;
  EXPECT_NE(DescribeNetwork(cluster, 65).why_not.find("no torus of equal sides"), std::string::npos);
  cluster.num_devices = 64;
  cluster.tiers[0].kind = TierKind::kTorus2d;
  const AstraDimension flat = {"Ring", 8, 150, 1000};
  EXPECT_EQ(DescribeNetwork(cluster, 64).dimensions, (std::vector<AstraDimension>{flat, flat}));
}

TEST(AstraNetwork, SaysWhyNot) {
  EXPECT_NE(DescribeNetwork(TwoTiers(), 12).why_not.find("12 ranks do not fill"), std::string::npos);
  EXPECT_NE(DescribeNetwork(TwoTiers(), 1).why_not.find("one rank"), std::string::npos);
  for (const std::int64_t ranks : {1, 12}) EXPECT_TRUE(DescribeNetwork(TwoTiers(), ranks).dimensions.empty());
}

TEST(AstraSystem, OneImplementationADimension) {
  DeviceSpec device;
  device.hbm_bytes_per_s = 3.35e12;
  device.peak_flop_per_s[static_cast<std::size_t>(DType::kBf16)] = 989e12;
  const AstraNetwork network = {{{"FullyConnected", 8, 40, 1200}, {"Switch", 2, 50, 2500}}, ""};
  const auto json = nlohmann::json::parse(SystemJson(network, device, DType::kBf16));
  for (const char* collective : {"all-reduce", "all-gather", "reduce-scatter"}) {
    EXPECT_EQ(json[std::string(collective) + "-implementation"], (std::vector<std::string>{"direct", "ring"}));
  }
  EXPECT_EQ(json["all-to-all-implementation"], (std::vector<std::string>{"direct", "direct"}));
  EXPECT_EQ(json["local-mem-bw"], 3350);
  EXPECT_EQ(json["peak-perf"], 989);
  EXPECT_EQ(json["roofline-enabled"], 1);
  EXPECT_EQ(json["preferred-dataset-splits"], 1);
}

}  // namespace
}  // namespace shardscout::exporters
