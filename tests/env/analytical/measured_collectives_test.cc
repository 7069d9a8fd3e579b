// The collectives of the presets against measurements that they were not fitted to.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "shardscout/collective_time.h"
#include "shardscout/preset_paths.h"

namespace shardscout {
namespace {

constexpr double kMebibyte = 1048576;

class MeasuredCollectives : public ::testing::Test {
 protected:
  void SetUp() override {
    const char* data = std::getenv("SHARDSCOUT_DATA");
    if (data == nullptr) GTEST_SKIP() << "SHARDSCOUT_DATA names no folder of measurements";
    folder_ = std::string(data) + "/data/collectives/";
  }

  /// The lines of a file, in cells.
  std::vector<std::vector<std::string>> Rows(const std::string& name, char separator) const {
    std::ifstream file(folder_ + name);
    EXPECT_TRUE(file) << folder_ << name;
    std::vector<std::vector<std::string>> rows;
    for (std::string line; std::getline(file, line);) {
      std::stringstream cells(line);
      rows.emplace_back();
      for (std::string cell; std::getline(cells, cell, separator);) {
        if (!cell.empty()) rows.back().push_back(cell);
      }
    }
    return rows;
  }

  void Add(const std::string& what, double predicted_s, double measured_s) {
    errors_[what].push_back(std::fabs(predicted_s / measured_s - 1));
  }

  /// Prints each group's median, and holds it below `most`.
  void Check(double most) {
    for (auto& [what, errors] : errors_) {
      std::sort(errors.begin(), errors.end());
      const double median = errors[errors.size() / 2];
      std::cout << what << ": median error " << 100 * median << " % of " << errors.size() << "\n";
      EXPECT_LE(median, most) << what;
    }
  }

  std::string folder_;
  std::map<std::string, std::vector<double>> errors_;
};

std::vector<GroupSpan> Spans(const ClusterSpec& cluster, std::int64_t size, std::int64_t stride) {
  return SpansOf(cluster, {.size = size, .stride = stride}, size * stride, 1);
}

/// NCCL as the cluster would use it, without an engine's kernels.
ClusterSpec NcclOnly(const std::string& name, std::int64_t devices) {
  ClusterSpec cluster = LoadCluster(name, devices);
  cluster.tiers.front().engine_all_reduce.reset();
  return cluster;
}

/// meta-pytorch/autoparallel's tables of H100s, 1 MiB and more. Rows of group 0 are of one rank a node, and what NCCL
/// itself estimates (docs/calibration.md); those of group 1 lie within a node, by NCCL's estimate too, so that they are
/// held against its constants; their all-reduce is the ring's, as without NVLink SHARP (nccl-tests measured 1.25 times
/// its rate).
TEST_F(MeasuredCollectives, TablesOfSeveralNodesOfH100) {
  const std::map<std::string, Collective> collectives = {{"all_gather_into_tensor", Collective::kAllGather},
                                                         {"reduce_scatter_tensor", Collective::kReduceScatter},
                                                         {"all_reduce", Collective::kAllReduce}};
  for (const char* name : {"colls8_8.table", "colls16_8.table", "colls32_8.table"}) {
    const auto rows = Rows(name, ' ');
    for (std::size_t i = 2; i < rows.size(); ++i) {
      const auto kind = collectives.find(rows[i].at(2));
      if (kind == collectives.end()) continue;
      const bool within_node = rows[i][0] == "1";
      const std::int64_t ranks = std::stoll(rows[i][1]);
      ClusterSpec cluster = NcclOnly("h100-sxm", ranks * 8);
      cluster.tiers.front().nccl.reset();
      cluster.tiers.front().in_network_reduction = false;
      const std::vector<GroupSpan> spans = Spans(cluster, ranks, within_node ? 1 : 8);
      for (std::size_t column = 3; column < rows[i].size(); ++column) {
        double bytes = kMebibyte * std::exp2(static_cast<double>(column) - 3);
        if (kind->second == Collective::kAllGather) bytes *= static_cast<double>(ranks);  // Sizes are a rank's.
        const std::string where = within_node ? "one node, " : std::to_string(ranks) + " nodes of one rank, ";
        Add(where + kind->first, CollectiveTime(cluster, kind->second, bytes, spans),
            std::stod(rows[i][column]) * 1e-3);
      }
    }
  }
  ASSERT_GE(errors_.size(), 8u);
  Check(0.10);
}

/// An engine's own all-reduce with its buffers' sizes, from the table that the curves are fitted to: a limit that is
/// not the table's shows as a jump to NCCL's time.
TEST_F(MeasuredCollectives, EnginesOwnAllReduce) {
  const auto rows = Rows("custom_allreduce.csv", ',');
  const auto column = [&](const char* name) {
    return static_cast<std::size_t>(std::find(rows[0].begin(), rows[0].end(), name) - rows[0].begin());
  };
  const std::size_t system = column("system"), kernel = column("kernel_source"), gpus = column("num_gpus"),
                    size = column("message_bytes"), latency = column("latency_ms");
  for (const char* name : {"h100-sxm", "h200-sxm"}) {
    const ClusterSpec cluster = LoadCluster(name, 8);
    for (const std::vector<std::string>& row : rows) {
      if (row.at(system) != cluster.device.measured_as || row.at(kernel) != "vLLM_custom_graph") continue;
      const double bytes = std::stod(row.at(size));
      const std::string range = bytes < 8 * kMebibyte    ? " GPUs, below 8 MiB"
                                : bytes < 64 * kMebibyte ? " GPUs, 8 to 64 MiB"
                                                         : " GPUs, above";
      Add(name + (", " + row.at(gpus)) + range,
          CollectiveTime(cluster, Collective::kAllReduce, bytes, Spans(cluster, std::stoll(row.at(gpus)), 1)),
          std::stod(row.at(latency)) * 1e-3);
    }
  }
  ASSERT_EQ(errors_.size(), 18u);
  Check(0.15);
}

/// vTrain's all-reduce of A100s, 1 MiB to 1 GiB; the preset's curve is fitted to another table.
TEST_F(MeasuredCollectives, AllReduceOfA100) {
  const ClusterSpec cluster = NcclOnly("a100-80-sxm", 8);
  for (std::int64_t ranks = 2; ranks <= 8; ++ranks) {
    const auto rows = Rows("vtrain/a100_AR_GPU" + std::to_string(ranks) + "_1M_1024M_LUT", ',');
    for (std::size_t i = 1; i < rows.size(); ++i) {
      const double bytes = std::stod(rows[i].at(0));
      Add("A100, all_reduce", CollectiveTime(cluster, Collective::kAllReduce, bytes, Spans(cluster, ranks, 1)),
          std::stod(rows[i].at(3)) * 1e-9);
    }
  }
  ASSERT_EQ(errors_.size(), 1u);
  EXPECT_GT(errors_.begin()->second.size(), 50u);
  Check(0.10);
}

/// APEX+'s nccl-tests of H100 and H200, 1 MiB and more; the presets' curves are fitted to another table.
TEST_F(MeasuredCollectives, OneNodeOfH100AndH200) {
  const std::map<std::string, Collective> collectives = {{"all_gather", Collective::kAllGather},
                                                         {"reduce_scatter", Collective::kReduceScatter},
                                                         {"all_reduce", Collective::kAllReduce},
                                                         {"alltoall", Collective::kAllToAll}};
  const std::map<std::string, std::string> systems = {{"H100-SXM-80GB", "h100-sxm"}, {"H200-SXM-141GB", "h200-sxm"}};
  for (const auto& [system, preset] : systems) {
    const ClusterSpec cluster = NcclOnly(preset, 8);
    for (const auto& [name, kind] : collectives) {
      const auto rows = Rows("apex_" + system + "_" + name + ".csv", ',');
      for (std::size_t i = 1; i < rows.size(); ++i) {
        const double bytes = std::stod(rows[i].at(4)) * 1024;
        if (bytes < kMebibyte) continue;
        const std::vector<GroupSpan> spans = Spans(cluster, std::stoll(rows[i].at(2)), 1);
        Add(preset + ", " + name, CollectiveTime(cluster, kind, bytes, spans), std::stod(rows[i].at(5)) * 1e-6);
      }
    }
  }
  ASSERT_EQ(errors_.size(), 8u);
  Check(0.10);
}

}  // namespace
}  // namespace shardscout
