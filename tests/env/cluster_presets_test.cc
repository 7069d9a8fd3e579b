// Properties that every cluster preset has, whatever its network.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>

#include "env/analytical/nccl_model.h"
#include "shardscout/collective_time.h"
#include "shardscout/preset_paths.h"
#include "shardscout/run_search.h"

namespace shardscout {
namespace {

constexpr Collective kAll[] = {Collective::kAllReduce, Collective::kAllGather, Collective::kReduceScatter,
                               Collective::kAllToAll, Collective::kSendRecv};
constexpr double kTolerance = 1 + 1e-12;

/// Groups of a cluster: contiguous and strided ones that tile it.
std::vector<std::vector<GroupSpan>> Groups(const ClusterSpec& cluster) {
  std::vector<std::vector<GroupSpan>> groups;
  for (std::int64_t size = 2; size <= cluster.num_devices; size *= 2) {
    for (std::int64_t stride = 1; stride * size <= cluster.num_devices; stride *= 4) {
      groups.push_back(
          SpansOf(cluster, {.size = size, .stride = stride}, size * stride, cluster.num_devices / (size * stride)));
    }
  }
  return groups;
}

class ClusterPreset : public ::testing::TestWithParam<std::string> {
 protected:
  ClusterPreset() : cluster_(LoadCluster(GetParam())) {}
  ClusterSpec cluster_;
};

TEST_P(ClusterPreset, NamesItsSourcesAndPricesItsDevices) {
  EXPECT_EQ(cluster_.name, GetParam());
  EXPECT_GT(cluster_.device.power_w, 0);
  EXPECT_GT(cluster_.device.price_usd_per_hour, 0);
  const auto file = nlohmann::json::parse(ReadTextFile(ResolvePreset("clusters", GetParam(), "test")));
  EXPECT_THAT(file["device"].value("_source", ""), ::testing::HasSubstr("memory"));
  EXPECT_NE(cluster_.device.curves.source, "");
  for (const auto& tier : file["tiers"]) EXPECT_NE(tier.value("_source", ""), "") << tier["name"];
}

TEST(ClusterPresetCurves, RelativesOfMeasuredDevicesHaveTheirs) {
  const auto file = [](const char* name) {
    auto curves = nlohmann::json::parse(ReadTextFile(ResolvePreset("clusters", name, "test")))["device"]["curves"];
    curves.erase("source");
    return curves;
  };
  EXPECT_GT(file("a100-80-sxm").size(), 10u);
  EXPECT_EQ(file("a100-40-sxm"), file("a100-80-sxm"));
  EXPECT_EQ(LoadCluster("h100-superpod").device, LoadCluster("h100-sxm").device);
  ASSERT_TRUE(file("b200-sxm").contains("gemm_nvfp4"));
  for (const char* relative : {"gb200-nvl72", "b300-sxm", "gb300-nvl72"}) {
    EXPECT_EQ(file(relative), file("b200-sxm")) << relative;
  }
  for (const auto& [measured, relative] :
       {std::pair("a100-80-sxm", "a100-40-sxm"), std::pair("b200-sxm", "b300-sxm"),
        std::pair("gb200-nvl72", "gb300-nvl72"), std::pair("h100-sxm", "h100-superpod")}) {
    const NetworkTier of_measured = LoadCluster(measured).tiers[0], of_relative = LoadCluster(relative).tiers[0];
    ASSERT_TRUE(of_measured.nccl && of_measured.engine_all_reduce) << measured;
    EXPECT_EQ(of_relative.nccl, of_measured.nccl) << relative;
    EXPECT_EQ(of_relative.engine_all_reduce, of_measured.engine_all_reduce) << relative;
  }
}

/// Where nothing was measured, an H100's curves: what a unit does goes with its part of the peak.
TEST(ClusterPresetCurves, OthersAreScaledAndSaySo) {
  const DeviceSpec h100 = LoadCluster("h100-sxm").device, mi300x = LoadCluster("mi300x").device;
  EXPECT_THAT(h100.curves.source, ::testing::HasSubstr("fitted to the tables of h100_sxm"));
  EXPECT_EQ(mi300x.curves.source, "scaled from H100-SXM5-80GB");
  const double unit = (1307e12 / 304) / (989e12 / 132);
  EXPECT_EQ(mi300x.curves.gemm_bf16.peak_fraction, h100.curves.gemm_bf16.peak_fraction);
  EXPECT_EQ(mi300x.curves.gemm_bf16.launch_s, h100.curves.gemm_bf16.launch_s);
  EXPECT_DOUBLE_EQ(mi300x.curves.gemm_bf16.feed_bytes_per_s, unit * h100.curves.gemm_bf16.feed_bytes_per_s);
  EXPECT_DOUBLE_EQ(mi300x.curves.mla_decode_bf16.step_s, h100.curves.mla_decode_bf16.step_s / unit);
  // A file may say some curves, and some numbers of a curve.
  auto file = nlohmann::json::parse(ReadTextFile(ResolvePreset("clusters", "mi300x", "test")));
  file["device"]["curves"]["gemm_bf16"]["peak_fraction"] = 0.5;
  const DeviceSpec own = ParseCluster(file.dump(), "own", std::nullopt).device;
  DeviceCurves expected = mi300x.curves;
  expected.gemm_bf16.peak_fraction = 0.5;
  EXPECT_EQ(own.curves, expected);
}

TEST_P(ClusterPreset, TiersSlowDownOutwardsAndReachAnyNumberOfDevices) {
  EXPECT_EQ(cluster_.tiers.back().size, 0);
  for (std::size_t i = 1; i < cluster_.tiers.size(); ++i) {
    EXPECT_LE(cluster_.tiers[i].bytes_per_s, cluster_.tiers[i - 1].bytes_per_s);
    EXPECT_GE(cluster_.tiers[i].latency_s, cluster_.tiers[i - 1].latency_s);
  }
  EXPECT_EQ(LoadCluster(GetParam(), 1).num_devices, 1);
  EXPECT_EQ(LoadCluster(GetParam(), 24576).num_devices, 24576);
}

TEST_P(ClusterPreset, MoreBandwidthAndLessLatencyAreNeverSlower) {
  for (const std::int64_t devices : {std::int64_t{8}, std::int64_t{64}, std::int64_t{512}}) {
    cluster_.num_devices = devices;
    for (const auto& spans : Groups(cluster_)) {
      for (const Collective collective : kAll) {
        double before = 0;
        for (const double bytes : {256.0, 4e4, 3e6, 2e8, 1e10}) {
          const double time = CollectiveTime(cluster_, collective, bytes, spans);
          ASSERT_TRUE(std::isfinite(time) && time > 0);
          ASSERT_GE(time * kTolerance, before);
          before = time;
          for (std::size_t t = 0; t < cluster_.tiers.size(); ++t) {
            ClusterSpec changed = cluster_;
            changed.tiers[t].bytes_per_s *= 1.4;
            ASSERT_LE(CollectiveTime(changed, collective, bytes, spans), time * kTolerance);
            changed = cluster_;
            changed.tiers[t].latency_s *= 0.6;
            ASSERT_LE(CollectiveTime(changed, collective, bytes, spans), time * kTolerance);
            changed = cluster_;
            changed.tiers[t].oversubscription *= 2;
            ASSERT_GE(CollectiveTime(changed, collective, bytes, spans) * kTolerance, time);
          }
        }
      }
    }
  }
}

TEST_P(ClusterPreset, ASearchAnswersAndFasterDevicesAreNeverSlower) {
  SearcherRegistry searchers;
  EvaluatorRegistry evaluators;
  RegisterBuiltinSearchers(searchers);
  RegisterBuiltinEvaluators(evaluators);
  cluster_.num_devices = std::max<std::int64_t>(cluster_.num_devices, 16);
  WorkloadSpec workload = LoadWorkload("decode-chat");
  workload.tpot_target_s.reset();
  const ModelSpec model = LoadModel("qwen3-30b-a3b");
  const Problem problem(model, cluster_, workload);
  SearchRequest request;
  request.searcher = "annealing";
  request.budget = 150;
  request.start = StartFrom::kMegatron;
  const SearchReport report = RunSearch(problem, request, searchers, evaluators);
  ASSERT_TRUE(report.plan) << "a mixture of experts of 61 GB fits 16 devices";
  EXPECT_GE(report.best->reward, 1) << "the Megatron rule came first";

  const Strategy strategy = report.best->strategy;
  const auto throughput = [&](const ClusterSpec& cluster) {
    const Problem other(model, cluster, workload);
    return EvaluateStrategy(other, strategy, "analytical", evaluators).evaluation.metrics.throughput_per_device;
  };
  const double base = throughput(cluster_);
  EXPECT_GT(base, 0);
  ClusterSpec memory = cluster_;
  memory.device.hbm_bytes_per_s *= 1.5;
  EXPECT_GE(throughput(memory) * kTolerance, base);
  ClusterSpec compute = cluster_;
  for (double& peak : compute.device.peak_flop_per_s) peak *= 1.5;
  EXPECT_GE(throughput(compute) * kTolerance, base);
  for (std::size_t t = 0; t < cluster_.tiers.size(); ++t) {
    ClusterSpec network = cluster_;
    network.tiers[t].bytes_per_s *= 1.5;
    EXPECT_GE(throughput(network) * kTolerance, base) << cluster_.tiers[t].name;
  }
}

INSTANTIATE_TEST_SUITE_P(All, ClusterPreset, ::testing::ValuesIn(ListPresets("clusters")), [](const auto& test) {
  std::string name = test.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

// ---- What single presets are about ----

double Time(const ClusterSpec& cluster, Collective collective, double bytes, std::int64_t size,
            std::int64_t stride = 1) {
  return CollectiveTime(
      cluster, collective, bytes,
      SpansOf(cluster, {.size = size, .stride = stride}, size * stride, cluster.num_devices / (size * stride)));
}

internal::GroupShape Shape(const ClusterSpec& cluster, std::int64_t size) {
  return internal::ShapeOf(cluster, SpansOf(cluster, {.size = size, .stride = 1}, size, 1).front());
}

TEST(FullMeshTest, AGroupUsesOnlyTheLinksAmongItsMembers) {
  const ClusterSpec mi300x = LoadCluster("mi300x");
  const double link = 48e9;
  for (const std::int64_t size : {2, 4, 8}) {
    EXPECT_NEAR(Shape(mi300x, size).tiers[0].bandwidth, link * static_cast<double>(size - 1), 1) << size;
  }
  EXPECT_NEAR(Time(mi300x, Collective::kSendRecv, 4.8e9, 2), 0.1, 1e-3);
  // Four devices of a mesh of eight keep three links each, whatever the cluster's size.
  EXPECT_NEAR(Shape(LoadCluster("mi300x", 4), 4).tiers[0].bandwidth, 3 * link, 1);
}

TEST(TorusTest, ASliceIsATorusOfItsOwn) {
  const double chip = 540e9;  // six links of 90 GB/s
  const ClusterSpec cube = LoadCluster("tpu-v5p", 64);
  EXPECT_NEAR(Shape(cube, 64).tiers[0].bandwidth, chip, 1);
  EXPECT_EQ(Shape(cube, 64).tiers[0].steps, 9);
  EXPECT_NEAR(Shape(cube, 16).tiers[0].bandwidth, chip * 2 / 3, 1) << "a plane";
  EXPECT_NEAR(Shape(cube, 4).tiers[0].bandwidth, chip / 3, 1) << "a line that closes";
  EXPECT_NEAR(Shape(cube, 2).tiers[0].bandwidth, chip / 6, 1) << "one link";
  // In a slice of 512 a line of eight closes, one of four does not.
  const ClusterSpec slice = LoadCluster("tpu-v5p", 512);
  EXPECT_NEAR(Shape(slice, 8).tiers[0].bandwidth, chip / 3, 1);
  EXPECT_NEAR(Shape(slice, 4).tiers[0].bandwidth, chip / 6, 1);
  // Eight chips are a mesh of 2 x 2 x 2: three of the six links lead somewhere.
  EXPECT_NEAR(Shape(LoadCluster("tpu-v5p", 8), 8).tiers[0].bandwidth, chip / 2, 1);
  // Two pods talk over the data-centre network.
  const ClusterSpec pods = LoadCluster("tpu-v5p", 2 * 8960);
  EXPECT_GT(Time(pods, Collective::kAllGather, 1e9, 2, 8960), 10 * Time(pods, Collective::kAllGather, 1e9, 2));
}

TEST(PairsTest, NvlinkBridgesMakeTwoFasterThanFour) {
  const ClusterSpec pairs = LoadCluster("h100-pcie-nvlink");
  const ClusterSpec tree = LoadCluster("l40s-pcie");
  // Four: a ring leaves each pair by the PCIe links of both devices.
  EXPECT_LT(2.5 * Time(pairs, Collective::kAllReduce, 1e9, 2), Time(pairs, Collective::kAllReduce, 1e9, 4));
  // Two devices of different pairs have only PCIe.
  EXPECT_LT(5 * Time(pairs, Collective::kAllReduce, 1e9, 2), Time(pairs, Collective::kAllReduce, 1e9, 2, 2));
  EXPECT_LT(Time(tree, Collective::kAllReduce, 1e9, 4), 2 * Time(tree, Collective::kAllReduce, 1e9, 2));
}

TEST(OversubscriptionTest, BindsOnlyWhatCrossesTheTier) {
  ClusterSpec superpod = LoadCluster("h100-superpod", 512);
  const auto times = [&] {
    return std::pair{Time(superpod, Collective::kAllGather, 8e9, 256),
                     Time(superpod, Collective::kAllGather, 8e9, 512)};
  };
  const auto [inside, across] = times();
  superpod.tiers[2].oversubscription = 4;
  EXPECT_EQ(times().first, inside);
  EXPECT_EQ(times().second, across) << "a ring crosses the spine once a rail";
  const double exchange = Time(superpod, Collective::kAllToAll, 8e9, 512);
  superpod.tiers[2].oversubscription = 1;
  EXPECT_GT(exchange, 1.9 * Time(superpod, Collective::kAllToAll, 8e9, 512));
  // Without slack a superpod is a flat network of nodes.
  EXPECT_NEAR(across / Time(LoadCluster("h100-sxm", 512), Collective::kAllGather, 8e9, 512), 1, 0.02);
}

}  // namespace
}  // namespace shardscout
