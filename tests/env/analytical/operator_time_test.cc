#include "env/analytical/operator_time.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "env/calibration/measurement_table.h"
#include "shardscout/collective_time.h"
#include "tests/env/analytical/test_clusters.h"
#include "tests/tiny_problems.h"

namespace shardscout {
namespace {

DeviceSpec H100() { return testing::H100Cluster(8).device; }

Task Matmul(double m, double n, double k) {
  Task task;
  task.kind = TaskKind::kMatmul;
  task.work.m = m;
  task.work.n = n;
  task.work.k = k;
  task.work.flop = 2 * m * n * k;
  task.work.read_bytes = 2 * m * k;
  task.work.weight_bytes = 2 * n * k;
  task.work.write_bytes = 2 * m * n;
  return task;
}

Task Stream(TaskKind kind, double bytes, int kernels) {
  Task task;
  task.kind = kind;
  task.work.read_bytes = task.work.write_bytes = bytes / 2;
  task.work.kernels = kernels;
  return task;
}

/// What a model's layers do under one strategy: tasks by what they are.
std::map<std::string, Task> TasksOf(const ModelSpec& model, WorkloadKind workload) {
  const Problem problem(model, testing::SmallCluster(8), testing::SmallWorkload(workload));
  Strategy s;
  s.batch_size = 4;
  std::map<std::string, Task> tasks;
  for (const PhaseProgram& phase : Lower(problem, s).phases) {
    for (const Block& block : phase.blocks) {
      for (const Task& task : block.tasks) {
        std::string name(ToString(task.kind));
        if (task.kind == TaskKind::kActivation && task.ffn == FfnKind::kExpert) name = "expert_activation";
        tasks[name] = task;
      }
    }
  }
  return tasks;
}

TEST(OperatorTimeTest, ViewsAndCollectivesCostNothing) {
  EXPECT_EQ(OperatorTime(H100(), Stream(TaskKind::kSlice, 0, 0)), 0);
  EXPECT_EQ(OperatorTime(H100(), Stream(TaskKind::kCollective, 0, 0)), 0);
}

TEST(OperatorTimeTest, KernelsThatMoveBytes) {
  DeviceSpec device = H100();
  device.curves.norm = {.launch_s = 3e-6, .hbm_fraction = 0.5};
  const double moved_s = 1e9 / (0.5 * 3.35e12);
  EXPECT_DOUBLE_EQ(OperatorTime(device, Stream(TaskKind::kNorm, 1e9, 1)), 3e-6 + moved_s);
  EXPECT_DOUBLE_EQ(OperatorTime(device, Stream(TaskKind::kNorm, 1e9, 2)), 6e-6 + moved_s);
  EXPECT_DOUBLE_EQ(OperatorTime(device, Stream(TaskKind::kNorm, 1e9, 0)), moved_s) << "fused";
}

/// Each kind of task, by its types, is priced by its own curve and by no other: a curve's launch a second longer makes
/// just those tasks a second longer.
TEST(OperatorTimeTest, EachTaskHasItsCurve) {
  using Curves = DeviceCurves;
  const std::map<std::string, std::function<double&(Curves&)>> launches = {
      {"gemm_bf16", [](Curves& c) -> double& { return c.gemm_bf16.launch_s; }},
      {"gemm_fp8", [](Curves& c) -> double& { return c.gemm_fp8.launch_s; }},
      {"gemm_fp8_block", [](Curves& c) -> double& { return c.gemm_fp8_block.launch_s; }},
      {"gemm_nvfp4", [](Curves& c) -> double& { return c.gemm_nvfp4.launch_s; }},
      {"gemm_int8", [](Curves& c) -> double& { return c.gemm_int8.launch_s; }},
      {"gemm_int8_weights", [](Curves& c) -> double& { return c.gemm_int8_weights.launch_s; }},
      {"gemm_int4_weights", [](Curves& c) -> double& { return c.gemm_int4_weights.launch_s; }},
      {"prefill_bf16", [](Curves& c) -> double& { return c.prefill_bf16.launch_s; }},
      {"prefill_fp8_cache", [](Curves& c) -> double& { return c.prefill_fp8_cache.launch_s; }},
      {"mla_prefill_bf16", [](Curves& c) -> double& { return c.mla_prefill_bf16.launch_s; }},
      {"mla_prefill_fp8_cache", [](Curves& c) -> double& { return c.mla_prefill_fp8_cache.launch_s; }},
      {"head_decode_bf16", [](Curves& c) -> double& { return c.head_decode_bf16.launch_s; }},
      {"head_decode_fp8_cache", [](Curves& c) -> double& { return c.head_decode_fp8_cache.launch_s; }},
      {"group_decode", [](Curves& c) -> double& { return c.group_decode.launch_s; }},
      {"group_decode_fp8_cache", [](Curves& c) -> double& { return c.group_decode_fp8_cache.launch_s; }},
      {"mla_decode_bf16", [](Curves& c) -> double& { return c.mla_decode_bf16.launch_s; }},
      {"mla_decode_fp8_cache", [](Curves& c) -> double& { return c.mla_decode_fp8_cache.launch_s; }},
      {"experts_bf16", [](Curves& c) -> double& { return c.experts_bf16.launch_s; }},
      {"experts_fp8", [](Curves& c) -> double& { return c.experts_fp8.launch_s; }},
      {"experts_fp8_block", [](Curves& c) -> double& { return c.experts_fp8_block.launch_s; }},
      {"experts_nvfp4", [](Curves& c) -> double& { return c.experts_nvfp4.launch_s; }},
      {"experts_4bit_weights", [](Curves& c) -> double& { return c.experts_4bit_weights.launch_s; }},
      {"norm", [](Curves& c) -> double& { return c.norm.launch_s; }},
      {"rotary", [](Curves& c) -> double& { return c.rotary.launch_s; }},
      {"activation", [](Curves& c) -> double& { return c.activation.launch_s; }},
      {"embedding", [](Curves& c) -> double& { return c.embedding.launch_s; }},
  };
  DeviceSpec device = H100();
  const auto curve_of = [&](const Task& task) {
    const double as_is = OperatorTime(device, task);
    std::string found;
    for (const auto& [name, launch_s] : launches) {
      DeviceSpec slower = device;
      launch_s(slower.curves) += 1;
      if (OperatorTime(slower, task) == as_is) continue;
      EXPECT_NEAR(OperatorTime(slower, task), as_is + 1, 1e-9) << name;
      found += (found.empty() ? "" : " ") + name;
    }
    return found;
  };

  // By the types of a product.
  const auto product = [&](DType inputs, DType weights, bool block) {
    Task task = Matmul(256, 1024, 1024);
    task.work.dtype = inputs;
    task.work.weight_dtype = weights;
    task.work.block_scaled = block;
    return curve_of(task);
  };
  EXPECT_EQ(product(DType::kBf16, DType::kBf16, false), "gemm_bf16");
  EXPECT_EQ(product(DType::kFp8, DType::kFp8, false), "gemm_fp8");
  EXPECT_EQ(product(DType::kFp8, DType::kFp8, true), "gemm_fp8_block");
  EXPECT_EQ(product(DType::kBf16, DType::kInt8, false), "gemm_int8_weights");
  EXPECT_EQ(product(DType::kBf16, DType::kMxfp4, false), "gemm_int4_weights");
  device.peak_flop_per_s[static_cast<std::size_t>(DType::kInt8)] = 1979e12;
  EXPECT_EQ(product(DType::kInt8, DType::kInt8, false), "gemm_int8");
  EXPECT_EQ(product(DType::kMxfp4, DType::kMxfp4, true), "gemm_int4_weights") << "widened";
  EXPECT_EQ(product(DType::kNvfp4, DType::kNvfp4, true), "gemm_int4_weights") << "widened";
  device.peak_flop_per_s[static_cast<std::size_t>(DType::kMxfp4)] = 4500e12;
  EXPECT_EQ(product(DType::kMxfp4, DType::kMxfp4, true), "gemm_nvfp4");
  EXPECT_EQ(product(DType::kFp8, DType::kFp8, true), "gemm_fp8") << "units that scale blocks";
  EXPECT_EQ(product(DType::kNvfp4, DType::kNvfp4, true), "gemm_nvfp4") << "by the units of MXFP4";
  device.peak_flop_per_s[static_cast<std::size_t>(DType::kMxfp4)] = 0;

  // By the model.
  ModelSpec grouped = testing::DenseModel(1);
  std::map<std::string, Task> tasks = TasksOf(grouped, WorkloadKind::kPrefill);
  EXPECT_EQ(curve_of(tasks.at("attention")), "prefill_bf16");
  EXPECT_EQ(curve_of(tasks.at("norm")), "norm");
  EXPECT_EQ(curve_of(tasks.at("activation")), "activation");
  EXPECT_EQ(curve_of(tasks.at("embed")), "embedding");
  EXPECT_EQ(curve_of(tasks.at("rotary")), "") << "the attention's kernels rotate";
  tasks = TasksOf(grouped, WorkloadKind::kDecode);
  EXPECT_EQ(curve_of(tasks.at("attention")), "head_decode_bf16") << "few and short requests";
  tasks.at("attention").work.attention.queries = 256;
  EXPECT_EQ(curve_of(tasks.at("attention")), "group_decode");
  grouped.attention.qk_norm = true;
  EXPECT_EQ(curve_of(TasksOf(grouped, WorkloadKind::kPrefill).at("rotary")), "rotary");
  grouped.kv_dtype = DType::kFp8;
  EXPECT_EQ(curve_of(TasksOf(grouped, WorkloadKind::kPrefill).at("attention")), "prefill_fp8_cache");
  EXPECT_EQ(curve_of(TasksOf(grouped, WorkloadKind::kDecode).at("attention")), "group_decode_fp8_cache");
  grouped.attention.num_kv_heads = grouped.attention.num_heads;
  EXPECT_EQ(curve_of(TasksOf(grouped, WorkloadKind::kDecode).at("attention")), "head_decode_fp8_cache");

  ModelSpec latent = testing::MultiLatentModel(2);
  EXPECT_EQ(curve_of(TasksOf(latent, WorkloadKind::kPrefill).at("attention")), "mla_prefill_bf16");
  EXPECT_EQ(curve_of(TasksOf(latent, WorkloadKind::kDecode).at("attention")), "mla_decode_bf16");
  latent.kv_dtype = DType::kFp8;
  EXPECT_EQ(curve_of(TasksOf(latent, WorkloadKind::kPrefill).at("attention")), "mla_prefill_fp8_cache");
  EXPECT_EQ(curve_of(TasksOf(latent, WorkloadKind::kDecode).at("attention")), "mla_decode_fp8_cache");

  // Of the experts, the launch is the first product's; what lies between and after them is part of the same kernels.
  const auto experts = [&](DType inputs, DType weights, std::int64_t block, bool in_groups) {
    ModelSpec model = testing::MoeModel(1, 0, 0);
    model.activation_dtype = inputs;
    model.weight_dtype = weights;
    model.weight_quant_block = block;
    model.weight_quant_grouped = in_groups;
    std::map<std::string, Task> of_model = TasksOf(model, WorkloadKind::kDecode);
    EXPECT_EQ(curve_of(of_model.at("expert_activation")), "");
    EXPECT_EQ(curve_of(of_model.at("expert_matmul")), "") << "the second product";
    of_model.at("expert_matmul").weight = WeightKind::kExpertUp;
    return curve_of(of_model.at("expert_matmul"));
  };
  EXPECT_EQ(experts(DType::kBf16, DType::kBf16, 0, false), "experts_bf16");
  EXPECT_EQ(experts(DType::kFp8, DType::kFp8, 0, false), "experts_fp8");
  EXPECT_EQ(experts(DType::kFp8, DType::kFp8, 16, false), "experts_fp8_block");
  EXPECT_EQ(experts(DType::kBf16, DType::kInt4, 16, true), "experts_4bit_weights");
  device.peak_flop_per_s[static_cast<std::size_t>(DType::kMxfp4)] = 4500e12;
  EXPECT_EQ(experts(DType::kNvfp4, DType::kNvfp4, 16, true), "experts_nvfp4");
  device.peak_flop_per_s[static_cast<std::size_t>(DType::kMxfp4)] = 0;

  // Without units for it, fp8 is widened.
  device.peak_flop_per_s[static_cast<std::size_t>(DType::kFp8)] = 0;
  EXPECT_EQ(product(DType::kFp8, DType::kFp8, true), "gemm_int8_weights");
  EXPECT_EQ(experts(DType::kFp8, DType::kFp8, 16, false), "experts_bf16");
  EXPECT_EQ(curve_of(TasksOf(grouped, WorkloadKind::kPrefill).at("attention")), "prefill_bf16");
  EXPECT_EQ(curve_of(TasksOf(latent, WorkloadKind::kPrefill).at("attention")), "mla_prefill_bf16");
}

/// Scales of groups take one kernel wherever the blocks are added up; one scale of a tensor takes its maximum first.
TEST(OperatorTimeTest, BlocksAreQuantisedAlikeOnUnitsThatScaleThem) {
  for (const double mxfp4_flop_per_s : {0.0, 9000e12}) {
    DeviceSpec device = H100();
    device.peak_flop_per_s[static_cast<std::size_t>(DType::kMxfp4)] = mxfp4_flop_per_s;
    device.curves.gemm_fp8.quantise_elements_per_s = device.curves.gemm_fp8_block.quantise_elements_per_s = 1e9;
    Task task = Matmul(256, 1024, 1024);
    task.work.dtype = task.work.weight_dtype = DType::kFp8;
    task.work.block_scaled = task.work.quantises = true;
    const double as_is_s = OperatorTime(device, task);
    device.curves.gemm_fp8.quantise_s += 1;
    EXPECT_EQ(OperatorTime(device, task), as_is_s);
    device.curves.gemm_fp8_block.quantise_s += 1;
    EXPECT_NEAR(OperatorTime(device, task), as_is_s + 1, 1e-9);
    task.work.block_scaled = false;
    EXPECT_GT(OperatorTime(device, task), 1);
  }
}

/// Where tokens are sorted by expert is part of the experts' kernels: no task before them moves the tokens once more.
TEST(OperatorTimeTest, RoutingReadsScoresOnly) {
  const ModelSpec model = testing::MoeModel(1, 0, 0);
  const Task route = TasksOf(model, WorkloadKind::kDecode).at("route");
  const double requests = 4;
  EXPECT_EQ(route.work.Bytes(), requests * static_cast<double>(model.moe.num_experts) * 4);
}

/// Positions shared by the ranks (`sequence`): every rank has all queries, and so no fewer tiles than alone.
TEST(OperatorTimeTest, SharedPositionsAreNotFewerTiles) {
  const DeviceSpec device = H100();
  Task alone = TasksOf(testing::DenseModel(2), WorkloadKind::kPrefill).at("attention");
  AttentionWork& a = alone.work.attention;
  a.requests = 512;
  a.length = 128;
  a.queries = a.requests * a.length;
  Task shared = alone;
  shared.work.attention.share = 1.0 / 8;
  Task fewer = alone;
  fewer.work.attention.requests = 512 / 8;
  fewer.work.attention.queries = fewer.work.attention.requests * a.length;
  EXPECT_LE(OperatorTime(device, shared), OperatorTime(device, alone));
  EXPECT_GT(OperatorTime(device, shared), 2 * OperatorTime(device, fewer));
}

TEST(OperatorTimeTest, NeverBeatsTheRoofline) {
  const DeviceSpec device = H100();
  int checked = 0;
  for (const ModelSpec& model : {testing::DenseModel(2), testing::MoeModel(2, 1, 48), testing::MultiLatentModel(2),
                                 testing::MixedWindowModel(2), testing::IndexerModel(), testing::LinearModel(2)}) {
    for (const WorkloadKind workload : {WorkloadKind::kPrefill, WorkloadKind::kDecode}) {
      for (const auto& [name, task] : TasksOf(model, workload)) {
        const double time_s = OperatorTime(device, task);
        ASSERT_TRUE(std::isfinite(time_s)) << name;
        ASSERT_GE(time_s * (1 + 1e-12), std::max(task.work.flop / 989e12, task.work.Bytes() / 3.35e12)) << name;
        ++checked;
      }
    }
  }
  EXPECT_GT(checked, 60);
}

// ---- measurements ----

/// The preset's curves, through the task: what `calibrate` says of the fit holds in the evaluator.
TEST(OperatorTimeTest, MeasuredMatrixProducts) {
  const char* data = std::getenv("SHARDSCOUT_DATA");
  if (data == nullptr) GTEST_SKIP() << "SHARDSCOUT_DATA names no folder of measurements";
  for (const char* name : {"h100-sxm", "h200-sxm"}) {
    const DeviceSpec device = LoadCluster(name).device;
    const auto table =
        env::MeasurementTable::Read(std::string(data) + "/data/operators/gemm_" + device.measured_as + ".csv.gz");
    const std::size_t type = table.Column("gemm_dtype"), m = table.Column("m"), n = table.Column("n"),
                      k = table.Column("k"), latency_ms = table.Column("latency_ms");
    std::vector<double> errors;
    for (std::size_t row = 0; row < table.num_rows(); ++row) {
      if (table.Text(row, type) != "bfloat16") continue;
      const Task task = Matmul(table.Number(row, m, 1), table.Number(row, n, 1), table.Number(row, k, 1));
      errors.push_back(std::fabs(OperatorTime(device, task) / (table.Number(row, latency_ms, 0) * 1e-3) - 1));
    }
    std::sort(errors.begin(), errors.end());
    ASSERT_GT(errors.size(), 10000u);
    std::cout << name << ": median error " << 100 * errors[errors.size() / 2] << " %, 90th percentile "
              << 100 * errors[errors.size() * 9 / 10] << " %\n";
    EXPECT_LT(errors[errors.size() / 2], 0.06);
    EXPECT_LT(errors[errors.size() * 9 / 10], 0.20);
  }
}

}  // namespace
}  // namespace shardscout
