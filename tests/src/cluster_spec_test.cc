#include "shardscout/cluster_spec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "shardscout/preset_paths.h"
#include "src/spec_fields.h"
#include "tests/src/spec_error_at.h"

namespace shardscout {
namespace {

using nlohmann::ordered_json;
using ::testing::HasSubstr;

ClusterSpec Parse(const ordered_json& cluster, std::optional<std::int64_t> num_devices = std::nullopt) {
  return ParseCluster(cluster.dump(), "c.json", num_devices);
}

ordered_json H100() { return json::WriteJson(LoadCluster("h100-sxm")); }

std::string ErrorAt(const std::string& pointer, const ordered_json& cluster) {
  const std::string place = "c.json#" + pointer;
  const std::string what = SpecErrorAt(place, [&] { Parse(cluster); });
  return what.substr(std::min(what.size(), place.size() + 2));
}

ordered_json With(ordered_json cluster, const std::string& pointer, const ordered_json& value) {
  cluster[ordered_json::json_pointer(pointer)] = value;
  return cluster;
}

TEST(ClusterPresetTest, EveryPresetReadsBack) {
  EXPECT_THAT(
      ListPresets("clusters"),
      ::testing::IsSupersetOf({"a100-40-sxm",    "a100-80-pcie", "a100-80-sxm",  "b200-sxm",  "b300-sxm",
                               "cloudmatrix384", "gb200-nvl72",  "gb300-nvl72",  "gh200",     "h100-pcie-nvlink",
                               "h100-superpod",  "h100-sxm",     "h200-sxm",     "l40s-pcie", "mi300x",
                               "mi355x",         "rtx-pro-6000", "tpu-ironwood", "tpu-v5p",   "v100-32-sxm"}));
  for (const std::string& name : ListPresets("clusters")) {
    const ClusterSpec cluster = LoadCluster(name);
    EXPECT_EQ(Parse(json::WriteJson(cluster)), cluster) << name;
  }
}

TEST(ClusterPresetTest, OnlyNvlinkSwitchesOfHopperAndLaterAdd) {
  for (const std::string& name : ListPresets("clusters")) {
    const ClusterSpec cluster = LoadCluster(name);
    for (const NetworkTier& tier : cluster.tiers) {
      EXPECT_EQ(tier.in_network_reduction,
                tier.name == "nvlink" && !name.starts_with("a100") && !name.starts_with("v100"))
          << name << tier.name;
    }
  }
}

TEST(ClusterPresetTest, H100Figures) {
  const ClusterSpec cluster = LoadCluster("h100-sxm");
  EXPECT_EQ(cluster.device.PeakFlopPerS(DType::kBf16), 989e12);
  EXPECT_EQ(cluster.device.PeakFlopPerS(DType::kFp8), 1978e12);
  EXPECT_EQ(cluster.device.hbm_bytes, 80.0 * (1 << 30));
  EXPECT_EQ(cluster.device.hbm_bytes_per_s, 3.35e12);
  EXPECT_EQ(cluster.device.num_compute_units, 132);
  EXPECT_EQ(cluster.tiers[0].size, 8);
  EXPECT_NEAR(cluster.tiers[0].bytes_per_s * cluster.tiers[0].achieved_fraction, 370.8e9, 0.01e9);
  EXPECT_NEAR(cluster.tiers[1].bytes_per_s * cluster.tiers[1].achieved_fraction, 48e9, 0.01e9);
  EXPECT_EQ(cluster.num_devices, 8);
}

TEST(ClusterPresetTest, DevicesCanBeOverridden) {
  EXPECT_EQ(LoadCluster("h100-sxm", 64).num_devices, 64);
  EXPECT_EQ(LoadCluster("gb200-nvl72", 1024).num_devices, 1024);
  EXPECT_EQ(LoadCluster("h100-sxm", 4).num_devices, 4);
  for (const std::int64_t bad : {std::int64_t{0}, std::int64_t{-8}, std::int64_t{1} << 40}) {
    EXPECT_THAT(SpecErrorAt("--devices", [&] { LoadCluster("h100-sxm", bad); }),
                HasSubstr("found " + std::to_string(bad) + ", expected an integer in [1, 1048576]"));
  }
}

TEST(DeviceSpecTest, PeakFallsBackToWiderTypes) {
  DeviceSpec device;
  const auto set = [&](DType dtype, double peak) { device.peak_flop_per_s[static_cast<std::size_t>(dtype)] = peak; };
  set(DType::kFp32, 1);
  for (const DType dtype : {DType::kFp32, DType::kBf16, DType::kFp16, DType::kFp8, DType::kInt8, DType::kInt4}) {
    EXPECT_EQ(device.PeakFlopPerS(dtype), 1) << ToString(dtype);
  }
  set(DType::kFp16, 2);
  EXPECT_EQ(device.PeakFlopPerS(DType::kBf16), 2);
  EXPECT_EQ(device.PeakFlopPerS(DType::kInt4), 2);
  set(DType::kBf16, 3);
  EXPECT_EQ(device.PeakFlopPerS(DType::kFp8), 3);
  EXPECT_EQ(device.PeakFlopPerS(DType::kFp16), 2);
  set(DType::kFp8, 4);
  EXPECT_EQ(device.PeakFlopPerS(DType::kInt4), 4);
  EXPECT_EQ(device.PeakFlopPerS(DType::kMxfp4), 4);
  EXPECT_EQ(device.PeakFlopPerS(DType::kInt8), 3);
  set(DType::kMxfp4, 5);
  EXPECT_EQ(device.PeakFlopPerS(DType::kMxfp4), 5);
  EXPECT_EQ(device.PeakFlopPerS(DType::kNvfp4), 5) << "the same units";
  EXPECT_EQ(device.PeakFlopPerS(DType::kInt4), 4);
  set(DType::kFp32, 0);
  EXPECT_EQ(device.PeakFlopPerS(DType::kFp32), 0);
}

/// A device that was not measured has the measured one's curves, scaled: of the slowest and of the quickest that a file
/// may describe, what is written reads back. (Found by fuzzing.)
TEST(ParseClusterTest, ScaledCurvesReadBack) {
  ordered_json cluster = json::WriteJson(LoadCluster("tpu-ironwood"));
  cluster["device"].erase("curves");
  for (const double flop_per_s : {1e5, 1e21}) {
    for (const double bytes_per_s : {1e5, 1e18}) {
      cluster["device"]["peak_flop_per_s"] = {{"bf16", flop_per_s}};
      cluster["device"]["hbm_bytes_per_s"] = bytes_per_s;
      const ClusterSpec read = Parse(cluster);
      EXPECT_NE(read.device.curves.source.find("scaled"), std::string::npos);
      EXPECT_EQ(Parse(json::WriteJson(read)), read);
    }
  }
}

TEST(ParseClusterTest, RefusesUnknownAndMissingKeys) {
  EXPECT_THAT(ErrorAt("/device/hbm_bites", With(H100(), "/device/hbm_bites", 1)),
              HasSubstr("unknown key, expected one of name, measured_as, peak_flop_per_s, hbm_bytes, "));
  EXPECT_THAT(ErrorAt("/device/hbm_bites", With(H100(), "/device/hbm_bites", 1)), HasSubstr("mean \"hbm_bytes\"?"));
  EXPECT_THAT(ErrorAt("/device/peak_flop_per_s/bfloat16", With(H100(), "/device/peak_flop_per_s/bfloat16", 1)),
              HasSubstr("expected one of fp32, bf16, fp16, fp8, int8, int4, mxfp4, nvfp4"));
  ordered_json cluster = H100();
  cluster["tiers"][1].erase("latency_s");
  EXPECT_EQ(ErrorAt("/tiers/1", cluster), "missing key \"latency_s\"");
  EXPECT_EQ(ErrorAt("/tiers/0/kind", With(H100(), "/tiers/0/kind", "torus")),
            "found \"torus\", expected one of switch, fully_connected, ring, torus_2d, torus_3d");
}

TEST(ParseClusterTest, RefusesFiguresOutOfRange) {
  EXPECT_EQ(ErrorAt("/device/hbm_bytes", With(H100(), "/device/hbm_bytes", 0)),
            "found 0, expected a number in [1, 1e+18]");
  EXPECT_EQ(ErrorAt("/tiers/0/achieved_fraction", With(H100(), "/tiers/0/achieved_fraction", 1.5)),
            "found 1.5, expected a number in [1e-06, 1]");
  EXPECT_EQ(ErrorAt("/num_devices", With(H100(), "/num_devices", 8.5)),
            "found 8.5, expected an integer in [1, 1048576]");
  // What divides by the least that is taken stays a number (found by fuzzing: times were infinite).
  EXPECT_EQ(ErrorAt("/tiers/0/achieved_fraction", With(H100(), "/tiers/0/achieved_fraction", 5e-324)),
            "found 5e-324, expected a number in [1e-06, 1]");
  EXPECT_EQ(ErrorAt("/tiers/0/bytes_per_s", With(H100(), "/tiers/0/bytes_per_s", 1e-300)),
            "found 1e-300, expected a number in [1, 1e+18]");
  EXPECT_EQ(ErrorAt("/device/peak_flop_per_s/bf16", With(H100(), "/device/peak_flop_per_s/bf16", 1e-300)),
            "found 1e-300, expected 0 for no such units, or 1 and more");
  ordered_json cluster = H100();
  cluster["device"]["peak_flop_per_s"] = {{"fp8", 1e15}};
  EXPECT_THAT(ErrorAt("/device/peak_flop_per_s", cluster), HasSubstr("no peak for bf16, fp16 or fp32"));
}

TEST(ParseClusterTest, TiersNest) {
  EXPECT_EQ(ErrorAt("/tiers", With(H100(), "/tiers", ordered_json::array())), "found [], expected one or more tiers");
  EXPECT_EQ(ErrorAt("/tiers/1/size", With(H100(), "/tiers/1/size", 12)),
            "found 12, expected a multiple of the 8 of the tier inside it");
  EXPECT_EQ(ErrorAt("/tiers/1/size", With(H100(), "/tiers/1/size", 8)),
            "found 8, expected more than the 8 of the tier inside it, or 0 for all");
  EXPECT_EQ(ErrorAt("/tiers/0/size", With(H100(), "/tiers/0/size", 0)),
            "found 0, expected more than the 1 of the tier inside it");
  const ordered_json two_nodes = With(H100(), "/tiers/1/size", 16);
  EXPECT_EQ(Parse(two_nodes, 16).num_devices, 16);
  EXPECT_THAT(SpecErrorAt("c.json#/tiers/1/size", [&] { Parse(two_nodes, 17); }),
              HasSubstr("expected 0, or at least the 17 devices of the cluster"));
}

TEST(ParseClusterTest, MeasuredCollectivesAreTheInnermostTiers) {
  const ordered_json curve = H100()["tiers"][0]["nccl"];
  EXPECT_EQ(ErrorAt("/tiers/1/nccl", With(H100(), "/tiers/1/nccl", curve)),
            "found a curve, expected curves of the innermost tier only");
  ordered_json cluster = H100();
  cluster["tiers"][0].erase("nccl");
  EXPECT_EQ(ErrorAt("/tiers/0/engine_all_reduce", cluster), "found a curve, expected nccl beside it");
}

TEST(LoadClusterTest, NamesTheNearestPreset) {
  EXPECT_THAT(SpecErrorAt("--cluster", [] { LoadCluster("h100_sxm"); }),
              HasSubstr("\"h100_sxm\" is neither a file nor a preset in "));
  EXPECT_THAT(SpecErrorAt("--cluster", [] { LoadCluster("h100_sxm"); }), HasSubstr("did you mean \"h100-sxm\"?"));
}

}  // namespace
}  // namespace shardscout
