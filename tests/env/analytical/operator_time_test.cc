#include "env/analytical/operator_time.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "shardscout/collective_time.h"
#include "tests/env/analytical/test_clusters.h"

namespace shardscout {
namespace {

DeviceSpec H100() { return testing::H100Cluster(8).device; }

Task Matmul(double m, double n, double k, double count = 1, TaskKind kind = TaskKind::kMatmul) {
  Task task;
  task.kind = kind;
  task.work.m = m;
  task.work.n = n;
  task.work.k = k;
  task.work.count = count;
  task.work.flop = 2 * m * n * k * count;
  task.work.read_bytes = 2 * m * k * count;
  task.work.weight_bytes = 2 * n * k * count;
  task.work.write_bytes = 2 * m * n * count;
  task.work.dtype = DType::kBf16;
  return task;
}

Task Stream(double bytes) {
  Task task;
  task.kind = TaskKind::kNorm;
  task.work.read_bytes = task.work.write_bytes = bytes / 2;
  return task;
}

Task Attention(double flop, double bytes) {
  Task task;
  task.kind = TaskKind::kAttention;
  task.work.flop = flop;
  task.work.read_bytes = bytes;
  return task;
}

std::vector<Task> Tasks() {
  std::vector<Task> tasks = {Stream(1), Stream(1e4), Stream(1e9), Attention(1e6, 1e9), Attention(1e13, 1e6)};
  for (double m : {1.0, 5.5, 16.0, 100.0, 128.0, 129.0, 512.0, 5000.0}) {
    for (double n : {32.0, 1024.0, 7168.0}) {
      for (double k : {128.0, 576.0, 4096.0, 51200.0}) {
        tasks.push_back(Matmul(m, n, k));
        tasks.push_back(Matmul(m, n, k, 16));
        tasks.push_back(Matmul(m, n, k, 7.3, TaskKind::kExpertMatmul));
      }
    }
  }
  return tasks;
}

TEST(OperatorTimeTest, WorkedExampleOfTheHeader) {
  const DeviceSpec device = H100();
  const double rate = 0.8 * 989e12 / 132;
  const double waves = 128.0 / 132 + 0.3 * (1 - 128.0 / 132);
  const double compute = waves * 2 * 128 * 128 * 4096 / rate;
  EXPECT_NEAR(compute, 21.9e-6, 0.05e-6);
  EXPECT_DOUBLE_EQ(internal::MatmulComputeTime(device, 989e12, 512, 4096, 4096, 1, false), compute);
  EXPECT_DOUBLE_EQ(OperatorTime(device, Matmul(512, 4096, 4096)), compute + device.kernel_launch_s);
}

TEST(OperatorTimeTest, ViewsAndCollectivesCostNothing) {
  Task view;
  view.kind = TaskKind::kSlice;
  view.work.kernels = 0;
  EXPECT_EQ(OperatorTime(H100(), view), 0);
  Task collective;
  collective.kind = TaskKind::kCollective;
  collective.work.kernels = 0;
  EXPECT_EQ(OperatorTime(H100(), collective), 0);
}

TEST(OperatorTimeTest, MemoryBoundKernels) {
  const DeviceSpec device = H100();
  EXPECT_DOUBLE_EQ(OperatorTime(device, Stream(1e9)), 2e-6 + 1e9 / (0.8 * 3.35e12) + 1.5e-6);
  Task two = Stream(1e9);
  two.work.kernels = 2;
  EXPECT_DOUBLE_EQ(OperatorTime(device, two), 2 * 2e-6 + 1e9 / (0.8 * 3.35e12) + 2 * 1.5e-6);
  Task fused = Stream(1e9);
  fused.work.kernels = 0;
  EXPECT_DOUBLE_EQ(OperatorTime(device, fused), 1e9 / (0.8 * 3.35e12));
  EXPECT_DOUBLE_EQ(OperatorTime(device, Attention(1e13, 1e6)), 1e13 / (0.6 * 989e12) + 1.5e-6);
}

TEST(OperatorTimeTest, NeverBeatsTheRoofline) {
  const DeviceSpec device = H100();
  for (const Task& task : Tasks()) {
    const double bytes = task.work.read_bytes + task.work.weight_bytes + task.work.write_bytes;
    const double roofline = std::max(task.work.flop / 989e12, bytes / 3.35e12);
    EXPECT_GE(OperatorTime(device, task), roofline);
    EXPECT_TRUE(std::isfinite(OperatorTime(device, task)));
  }
}

TEST(OperatorTimeTest, ABetterDeviceIsNeverSlower) {
  const std::vector<std::function<void(DeviceSpec&)>> improve = {
      [](DeviceSpec& d) { d.hbm_bytes_per_s *= 1.1; },
      [](DeviceSpec& d) { d.efficiency.hbm_peak_fraction *= 1.1; },
      [](DeviceSpec& d) { d.efficiency.gemm_peak_fraction *= 1.1; },
      [](DeviceSpec& d) { d.efficiency.attention_peak_fraction *= 1.1; },
      [](DeviceSpec& d) { d.efficiency.hbm_latency_s *= 0.5; },
      [](DeviceSpec& d) { d.kernel_launch_s *= 0.5; },
      [](DeviceSpec& d) {
        for (double& peak : d.peak_flop_per_s) peak *= 1.1;
      },
  };
  const DeviceSpec device = H100();
  for (const Task& task : Tasks()) {
    const double time = OperatorTime(device, task);
    for (const auto& change : improve) {
      DeviceSpec better = device;
      change(better);
      EXPECT_LE(OperatorTime(better, task), time);
    }
    // More units of the same rate.
    double before = time;
    for (std::int64_t units = 133; units < 600; units += 1 + units / 20) {
      DeviceSpec larger = device;
      larger.efficiency.num_compute_units = units;
      for (double& peak : larger.peak_flop_per_s) peak *= static_cast<double>(units) / 132;
      const double now = OperatorTime(larger, task);
      ASSERT_LE(now, before * (1 + 1e-12)) << units << " units, m " << task.work.m << ", k " << task.work.k;
      before = now;
    }
  }
}

TEST(OperatorTimeTest, MoreWorkIsNeverFaster) {
  const DeviceSpec device = H100();
  for (TaskKind kind : {TaskKind::kMatmul, TaskKind::kExpertMatmul}) {
    for (double fixed : {64.0, 1000.0, 8192.0}) {
      double before_m = 0, before_n = 0, before_k = 0, before_count = 0;
      for (double x = 1; x < 20000; x = std::max(x + 0.5, x * 1.01)) {
        const double m = OperatorTime(device, Matmul(x, fixed, fixed, 1, kind));
        const double n = OperatorTime(device, Matmul(fixed, x, fixed, 1, kind));
        const double k = OperatorTime(device, Matmul(fixed, fixed, x, 1, kind));
        const double count = OperatorTime(device, Matmul(fixed, fixed, fixed, x, kind));
        const double tolerance = 1 + 1e-12;
        ASSERT_GE(m * tolerance, before_m) << x;
        ASSERT_GE(n * tolerance, before_n) << x;
        ASSERT_GE(k * tolerance, before_k) << x;
        ASSERT_GE(count * tolerance, before_count) << x;
        before_m = m, before_n = n, before_k = k, before_count = count;
      }
    }
  }
  EXPECT_LT(OperatorTime(device, Stream(1e6)), OperatorTime(device, Stream(1.01e6)));
}

TEST(OperatorTimeTest, FewRowsAndManyExpertsAreBoundByTheirWeights) {
  const DeviceSpec device = H100();
  // 16 experts of 7168 x 4096, 3 rows each: the time of reading 0.94 GB.
  const Task experts = Matmul(3, 4096, 7168, 16, TaskKind::kExpertMatmul);
  EXPECT_NEAR(OperatorTime(device, experts), experts.work.weight_bytes / (0.8 * 3.35e12), 10e-6);
  // Many rows: of the tiles, half a tile an expert is lost.
  EXPECT_GT(internal::MatmulComputeTime(device, 989e12, 1000, 4096, 7168, 16, true),
            internal::MatmulComputeTime(device, 989e12, 16000, 4096, 7168, 1, false));
}

// ---- measurements ----

TEST(OperatorTimeTest, MeasuredMatrixProductsOnH100) {
  const char* data = std::getenv("SHARDSCOUT_DATA");
  if (data == nullptr) GTEST_SKIP() << "SHARDSCOUT_DATA names no folder of measurements";
  const std::string path = std::string(data) + "/data/operators/gemm_h100_sxm.csv.gz";
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> pipe(popen(("gzip -dc '" + path + "' 2>&1").c_str(), "r"),
                                                             pclose);
  char line[256];
  if (pipe == nullptr || std::fgets(line, sizeof line, pipe.get()) == nullptr ||
      std::string(line).rfind("gemm_dtype,m,n,k,latency_ms", 0) != 0) {
    GTEST_SKIP() << "cannot read " << path;
  }
  const DeviceSpec device = H100();
  std::map<std::string, std::vector<double>> errors;
  while (std::fgets(line, sizeof line, pipe.get()) != nullptr) {
    double m, n, k, latency_ms;
    if (std::sscanf(line, "bfloat16,%lf,%lf,%lf,%lf", &m, &n, &k, &latency_ms) != 4) continue;
    const double error = std::fabs(OperatorTime(device, Matmul(m, n, k)) / (latency_ms * 1e-3) - 1);
    errors[n * k > 16e6 ? "n k > 16e6" : n * k > 1e6 ? "n k > 1e6" : "n k <= 1e6"].push_back(error);
  }
  ASSERT_EQ(errors.size(), 3u);
  for (auto& [what, values] : errors) {
    std::sort(values.begin(), values.end());
    const double median = values[values.size() / 2];
    std::cout << what << ": median error " << 100 * median << " % of " << values.size() << " products\n";
    EXPECT_LT(median, what == "n k > 16e6" ? 0.10 : 0.35);
  }
}

}  // namespace
}  // namespace shardscout
