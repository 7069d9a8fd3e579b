#include "experiments/validation/training_point.h"

#include <cmath>

#include "env/calibration/table_columns.h"
#include "shardscout/error.h"
#include "shardscout/preset_paths.h"

namespace shardscout::validation {

ModelSpec Gpt(std::int64_t hidden, std::int64_t heads, std::int64_t layers, std::int64_t positions,
              std::int64_t vocabulary) {
  const auto number = [](std::int64_t n) { return std::to_string(n); };
  return ParseModelConfig(R"({"architectures": ["GPT2LMHeadModel"], "n_layer": )" + number(layers) + R"(, "n_embd": )" +
                              number(hidden) + R"(, "n_head": )" + number(heads) + R"(, "n_positions": )" +
                              number(positions) + R"(, "vocab_size": )" + number(vocabulary) +
                              R"(, "tie_word_embeddings": true, "torch_dtype": "bfloat16"})",
                          "GPT of " + number(layers) + " layers", {}, nullptr);
}

WorkloadSpec TrainingWorkload(std::int64_t sequence, std::int64_t global_batch) {
  WorkloadSpec workload;
  workload.name = "train";
  workload.kind = WorkloadKind::kTrain;
  workload.input_tokens = sequence;
  workload.output_tokens = 1;
  // What CUDA offers of it: 79.25 GiB of an A100's 80, 39.59 of 40 ("total capacity" in PyTorch's messages).
  workload.memory_fraction = 0.99;
  workload.training = {.global_batch_size = global_batch,
                       .fused_attention = false,
                       .dropout = true,
                       .overlap_gradients = false,
                       .overlap_parameters = false};
  return workload;
}

void SetNodeBandwidth(ClusterSpec& cluster, double bytes_per_s) {
  NetworkTier& network = cluster.tiers.back();
  network.rails = cluster.devices_per_node;
  network.bytes_per_s = bytes_per_s / static_cast<double>(cluster.devices_per_node);
}

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
    point.workload = TrainingWorkload(size(sequence), size(batch));
    point.cluster = LoadCluster("a100-80-sxm", size(gpus));
    point.workload.training->overlap_tensor = selene;
    // facts/simulators_and_collectives.md, section 2.
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

}  // namespace shardscout::validation
