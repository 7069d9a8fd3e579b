#include "experiments/validation/training_point.h"

#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <sstream>

#include "env/calibration/table_columns.h"
#include "shardscout/error.h"
#include "shardscout/preset_paths.h"

namespace shardscout::validation {
namespace {

ModelSpec Gpt(std::int64_t hidden, std::int64_t heads, std::int64_t layers, std::int64_t positions,
              std::int64_t vocabulary = 51200) {
  const auto number = [](std::int64_t n) { return std::to_string(n); };
  return ParseModelConfig(R"({"architectures": ["GPT2LMHeadModel"], "n_layer": )" + number(layers) + R"(, "n_embd": )" +
                              number(hidden) + R"(, "n_head": )" + number(heads) + R"(, "n_positions": )" +
                              number(positions) + R"(, "vocab_size": )" + number(vocabulary) +
                              R"(, "tie_word_embeddings": true, "torch_dtype": "bfloat16"})",
                          "GPT of " + number(layers) + " layers", {}, nullptr);
}

WorkloadSpec Training(std::int64_t sequence, std::int64_t global_batch) {
  WorkloadSpec workload;
  workload.name = "train";
  workload.kind = WorkloadKind::kTrain;
  workload.input_tokens = sequence;
  workload.output_tokens = 1;
  workload.memory_fraction = 1;
  workload.training = {.global_batch_size = global_batch,
                       .fused_attention = false,
                       .dropout = true,
                       .overlap_gradients = false,
                       .overlap_parameters = false};
  return workload;
}

/// The bandwidth between nodes that vTrain's data says (facts/simulators_and_collectives.md, section 2).
void SetNodeBandwidth(ClusterSpec& cluster, double bytes_per_s) {
  cluster.tiers.back().bytes_per_s = bytes_per_s / static_cast<double>(cluster.devices_per_node);
}

}  // namespace

bool HoldsTrainingPoints(const std::string& path) {
  const std::string text = ReadTextFile(path).substr(0, 400);
  return text.find("iteration time (ms)") != std::string::npos || text.find("step_s") != std::string::npos;
}

std::vector<TrainingPoint> ReadTrainingPoints(const std::string& path) {
  const env::MeasurementTable table = env::MeasurementTable::Read(path);
  const bool selene = ReadTextFile(path).substr(0, 400).find("step_s") != std::string::npos;
  const auto column = [&](const char* ours, const char* theirs) { return table.Column(selene ? ours : theirs); };
  const std::size_t gpus = column("gpus", "# GPUs"), batch = column("global_batch", "global batch"),
                    micro = column("micro_batch", "micro batch"), hidden = column("hidden", "hidden size"),
                    heads = column("heads", "attention heads"), layers = column("layers", "# layers"),
                    sequence = column("sequence", "sequence length"), tp = column("tp", "tensor parallelism"),
                    dp = column("dp", "data parallelism"), pp = column("pp", "pipeline parallelism"),
                    time = column("step_s", "iteration time (ms)");
  const env::OptionalColumn vpp(table, "vpp"), sharded(table, "sequence_parallel"), again(table, "recomputation"),
      name(table, "model");
  std::vector<TrainingPoint> points;
  for (std::size_t row = 0; row < table.num_rows(); ++row) {
    const auto size = [&](std::size_t cell) {
      return static_cast<std::int64_t>(std::llround(table.Number(row, cell, 1)));
    };
    TrainingPoint point;
    point.model = Gpt(size(hidden), size(heads), size(layers), size(sequence));
    point.workload = Training(size(sequence), size(batch));
    point.cluster = LoadCluster("a100-80-sxm", size(gpus));
    point.workload.training->overlap_tensor = selene;
    if (!selene) SetNodeBandwidth(point.cluster, 100e9);
    point.tensor_parallel = size(tp);
    point.pipeline_parallel = size(pp);
    point.data_parallel = size(dp);
    point.micro_batch = size(micro);
    point.virtual_pipeline_parallel = std::llround(vpp.Number(row, 1, 1));
    point.sequence_parallel = sharded.Number(row, 0, 0) > 0;
    point.recomputation = again.Text(row, "full") == "selective" ? Recomputation::kSelective : Recomputation::kFull;
    point.step_s = table.Number(row, time) * (selene ? 1 : 1e-3);
    point.set = selene ? "selene" : point.cluster.num_devices > 8 ? "multi_node" : "single_node";
    point.group = point.set + " " + std::to_string(size(hidden)) + "x" + std::to_string(size(layers)) + " on " +
                  std::to_string(size(gpus)) + ", batch " + std::to_string(size(batch));
    if (selene) point.group = point.set + " " + name.Text(row, "");
    points.push_back(std::move(point));
  }
  return points;
}

std::vector<TrainingPoint> ReadPublishedSteps(const std::string& path) {
  std::istringstream lines(ReadTextFile(path));
  std::vector<TrainingPoint> points;
  for (std::string line; std::getline(lines, line);) {
    const nlohmann::json record = nlohmann::json::parse(line, nullptr, false);
    if (record.is_discarded() || record.value("phase", "") != "train") continue;
    const std::string metric = record.value("metric", ""), model = record.value("model", "");
    const bool out_of_memory = metric == "out_of_memory";
    if (metric != "step_time_s" && !out_of_memory) continue;
    long long hidden = 0, layers = 0, heads = 0;
    const std::size_t sizes = model.find("(hidden ");
    if (sizes == std::string::npos || record.value("hardware", "").find("A100-SXM4 80GB") == std::string::npos ||
        std::sscanf(model.c_str() + sizes, "(hidden %lld, layers %lld, heads %lld", &hidden, &layers, &heads) != 3 ||
        !record.contains("extra") || !record["extra"].contains("micro_batch")) {
      continue;
    }
    TrainingPoint& point = points.emplace_back();
    const std::int64_t sequence = record.value("isl", 2048);
    point.set = "published";
    point.group = record.value("group", "") + ", " + std::to_string(heads) + " heads";
    point.model = Gpt(hidden, heads, layers, sequence, 250880);
    point.cluster = LoadCluster("a100-80-sxm", record.value("n_gpus", 8));
    SetNodeBandwidth(point.cluster, 50e9);
    point.workload = Training(sequence, record.value("batch_or_concurrency", 1));
    point.workload.training->overlap_tensor = false;
    point.tensor_parallel = record.value("tp", 1);
    point.pipeline_parallel = record.value("pp", 1);
    point.data_parallel = record.value("dp", 1);
    point.micro_batch = record["extra"].value("micro_batch", 1);
    point.zero_stage = point.data_parallel > 1 ? 1 : 0;
    point.recomputation = Recomputation::kFull;
    point.out_of_memory = out_of_memory;
    if (!out_of_memory) point.step_s = record.value("value", 0.0);
  }
  return points;
}

}  // namespace shardscout::validation
