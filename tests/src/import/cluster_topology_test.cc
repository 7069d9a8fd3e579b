#include "shardscout/cluster_topology.h"

#include <gtest/gtest.h>

#include <string>

#include "shardscout/error.h"

namespace shardscout {
namespace {

/// Four PCIe devices, two of NVLink's bridges, not between neighbours; as the program prints it, with what it tells
/// terminals.
constexpr const char* kBridges =
    "\t\x1b[4mGPU0\tGPU1\tGPU2\tGPU3\tNIC0\tCPU Affinity\tNUMA Affinity\tGPU NUMA ID\x1b[0m\n"
    "GPU0\t X \tSYS\tNV12\tSYS\tSYS\t0-31\t0\t\tN/A\n"
    "GPU1\tSYS\t X \tSYS\tNV12\tSYS\t32-63\t1\t\tN/A\n"
    "GPU2\tNV12\tSYS\t X \tSYS\tPXB\t0-31\t0\t\tN/A\n"
    "GPU3\tSYS\tNV12\tSYS\t X \tSYS\t32-63\t1\t\tN/A\n"
    "NIC0\tSYS\tSYS\tPXB\tSYS\t X \n\n"
    "Legend:\n\n  X    = Self\n  SYS  = Connection traversing PCIe\n";

std::string ErrorOf(const std::string& text) {
  try {
    ReadClusterTopology(text, "file");
  } catch (const SpecError& error) {
    return error.what();
  }
  return "";
}

TEST(ClusterTopology, BridgedPairsComeSideBySide) {
  const ClusterTopology topology = ReadClusterTopology(kBridges, "topo.txt");
  EXPECT_EQ(topology.devices_per_node, 4);
  EXPECT_EQ(topology.inner, (std::vector<TopologyLevel>{{"nvlink-12", 2, 12}, {"pcie", 4, 0}}));
  EXPECT_EQ(topology.device_order, (std::vector<std::int64_t>{0, 2, 1, 3}));
  ASSERT_EQ(topology.notes.size(), 1u);
  const ClusterSpec cluster = ClusterOf(topology, LoadCluster("h100-pcie-nvlink"));
  ASSERT_EQ(cluster.tiers.size(), 2u);
  EXPECT_EQ(cluster.num_devices, 4);
  EXPECT_EQ(cluster.tiers[0].bytes_per_s, 300e9);
  EXPECT_EQ(cluster.tiers[1].size, 4);
  EXPECT_EQ(cluster.tiers[1].bytes_per_s, 64e9);
  // What is written is a cluster file.
  EXPECT_EQ(ParseCluster(ToJson(cluster), "written", std::nullopt), cluster);
  // Two such machines: the network is that of the preset.
  const ClusterSpec two = ClusterOf(topology, LoadCluster("h100-pcie-nvlink"), 2);
  EXPECT_EQ(two.num_devices, 8);
  EXPECT_EQ(two.tiers.size(), 3u);
  EXPECT_EQ(two.tiers.back().size, 0);
}

TEST(ClusterTopology, AnNvswitchNodeIsThePresetsOwnTier) {
  std::string text = "      ";
  for (int i = 0; i < 8; ++i) text += " GPU" + std::to_string(i);
  for (int i = 0; i < 8; ++i) {
    text += "\nGPU" + std::to_string(i);
    for (int j = 0; j < 8; ++j) text += i == j ? " X" : " NV18";
  }
  const ClusterTopology topology = ReadClusterTopology(text, "topo.txt");
  EXPECT_EQ(topology.inner, (std::vector<TopologyLevel>{{"nvlink-18", 8, 18}}));
  const ClusterSpec h100 = LoadCluster("h100-sxm");
  EXPECT_EQ(ClusterOf(topology, h100).tiers.front(), h100.tiers.front());
}

TEST(ClusterTopology, SocketsAndBridges) {
  const ClusterTopology topology = ReadClusterTopology(
      "GPU0 GPU1 GPU2 GPU3\nGPU0 X PIX NODE NODE\nGPU1 PIX X NODE NODE\nGPU2 NODE NODE X PIX\nGPU3 NODE NODE PIX X\n",
      "topo.txt");
  EXPECT_EQ(topology.inner, (std::vector<TopologyLevel>{{"pcie-bridge", 2, 0}, {"pcie-cpu", 4, 0}}));
}

TEST(ClusterTopology, SlurmsLeavesBecomeATier) {
  const ClusterTopology topology = ReadClusterTopology(
      "# two leaves\nSwitchName=leaf1 Nodes=node[01-16]\nSwitchName=leaf2 Nodes=node[17-30],login[1-2]\n"
      "SwitchName=spine Switches=leaf[1-2]\n",
      "topology.conf");
  EXPECT_EQ(topology.num_nodes, 32);
  EXPECT_EQ(topology.nodes_per_switch, (std::vector<std::int64_t>{16}));
  const ClusterSpec cluster = ClusterOf(topology, LoadCluster("h100-sxm"));
  EXPECT_EQ(cluster.num_devices, 256);
  ASSERT_EQ(cluster.tiers.size(), 3u);
  EXPECT_EQ(cluster.tiers[1].size, 128);
  EXPECT_EQ(cluster.tiers[2].size, 0);
  EXPECT_EQ(ParseCluster(ToJson(cluster), "written", std::nullopt), cluster);
}

/// Two sockets; devices 0 and 2 linked to one another, 1 and 3 too; two NICs of 200 Gb/s.
constexpr const char* kNccl = R"(<?xml version="1.0"?>
<!-- a machine -->
<system version="1">
  <cpu numaid="0" arch="x86_64">
    <pci busid="0000:01:00.0" class="0x060400">
      <pci busid="0000:02:00.0"><gpu dev="0" sm="80"><nvlink target="0000:82:00.0" count="12" tclass="0x030200"/></gpu></pci>
      <pci busid="0000:03:00.0"><gpu dev="1" sm="80"><nvlink target="0000:83:00.0" count="12" tclass="0x030200"/></gpu></pci>
      <pci busid="0000:04:00.0"><nic><net name="mlx5_0" dev="0" speed="200000" port="1"/></nic></pci>
    </pci>
  </cpu>
  <cpu numaid="1" arch="x86_64">
    <pci busid="0000:81:00.0" class="0x060400">
      <pci busid="0000:82:00.0"><gpu dev="2" sm="80"><nvlink target="0000:02:00.0" count="12" tclass="0x030200"/></gpu></pci>
      <pci busid="0000:83:00.0"><gpu dev="3" sm="80"><nvlink target="0000:03:00.0" count="12" tclass="0x030200"/></gpu></pci>
      <pci busid="0000:84:00.0"><nic><net name="mlx5_1" dev="1" speed="200000" port="1"/></nic></pci>
    </pci>
  </cpu>
</system>
)";

TEST(ClusterTopology, NcclsOwnFile) {
  const ClusterTopology topology = ReadClusterTopology(kNccl, "topo.xml");
  EXPECT_EQ(topology.source, "NCCL topology");
  EXPECT_EQ(topology.inner, (std::vector<TopologyLevel>{{"nvlink-12", 2, 12}, {"pcie", 4, 0}}));
  EXPECT_EQ(topology.device_order, (std::vector<std::int64_t>{0, 2, 1, 3}));
  EXPECT_EQ(topology.nics, 2);
  const ClusterSpec cluster = ClusterOf(topology, LoadCluster("a100-80-pcie"), 2);
  EXPECT_EQ(cluster.tiers.back().bytes_per_s, 25e9);
  EXPECT_EQ(cluster.tiers.back().rails, 2);
  EXPECT_EQ(ParseCluster(ToJson(cluster), "written", std::nullopt), cluster);
}

TEST(ClusterTopology, SwitchesJoinAllThatHaveLinksToThem) {
  std::string text = "<system version=\"1\"><cpu numaid=\"0\">";
  for (int i = 0; i < 4; ++i) {
    const std::string bus = "0000:0" + std::to_string(i) + ":00.0";
    text +=
        "<pci busid=\"" + bus + "\"><gpu dev=\"" + std::to_string(i) +
        "\"><nvlink target=\"0000:f0:00.0\" count=\"10\"/><nvlink target=\"0000:f1:00.0\" count=\"8\"/></gpu></pci>";
  }
  const ClusterTopology topology = ReadClusterTopology(text + "</cpu></system>", "topo.xml");
  EXPECT_EQ(topology.inner, (std::vector<TopologyLevel>{{"nvlink-18", 4, 18}}));
}

TEST(ClusterTopology, WhatIsNoTopologyIsRefusedWithItsPlace) {
  EXPECT_NE(ErrorOf("").find("nvidia-smi topo -m"), std::string::npos);
  EXPECT_NE(ErrorOf("GPU0 GPU1\nGPU0 X NVX\nGPU1 NV1 X\n").find("line 2: found \"NVX\""), std::string::npos)
      << ErrorOf("GPU0 GPU1\nGPU0 X NVX\nGPU1 NV1 X\n");
  EXPECT_NE(ErrorOf("GPU0 GPU1\nGPU0 X NV1\n").find("1 rows"), std::string::npos);
  EXPECT_NE(ErrorOf("GPU0 GPU1 GPU2\nGPU0 X NV1 NV1\nGPU1 NV1 X SYS\nGPU2 NV1 SYS X\n").find("no tiers"),
            std::string::npos);
  EXPECT_NE(ErrorOf("SwitchName=a Nodes=node[1-\n").find("["), std::string::npos);
  EXPECT_NE(ErrorOf("<system><cpu>\n<gpu dev=\"x\"/></cpu></system>").find("line 2"), std::string::npos);
  EXPECT_NE(ErrorOf("<system><cpu></system>").find("closes nothing"), std::string::npos);
  EXPECT_NE(ErrorOf("<system><cpu/>").find("not closed"), std::string::npos);
  EXPECT_NE(ErrorOf("<system><gpu dev=\"1/></system>").find("attribute"), std::string::npos);
  EXPECT_NE(ErrorOf("<system></system>").find("no <gpu>"), std::string::npos);
  EXPECT_NE(ErrorOf("SwitchName=a Switches=b\n").find("Nodes="), std::string::npos);
}

}  // namespace
}  // namespace shardscout
