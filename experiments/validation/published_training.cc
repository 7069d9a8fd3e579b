#include "experiments/validation/published_training.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "env/analytical/training_cost.h"
#include "experiments/validation/published_setup.h"
#include "shardscout/preset_paths.h"
#include "shardscout/problem.h"

namespace shardscout::validation {
namespace {

constexpr double kGib = 1024.0 * 1024 * 1024;

bool Has(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

/// The whole number after the first of `names` that `text` has: of "MBS 6, ..." and "MBS " 6.
std::optional<std::int64_t> NumberAfter(const std::string& text, std::initializer_list<const char*> names) {
  for (const std::string name : names) {
    const std::size_t at = text.find(name);
    if (at == std::string::npos || at + name.size() >= text.size()) continue;
    const char* digits = text.c_str() + at + name.size();
    if (std::isdigit(static_cast<unsigned char>(*digits)) != 0) return std::strtoll(digits, nullptr, 10);
  }
  return std::nullopt;
}

struct GptSize {
  const char* name;
  std::int64_t hidden, heads, layers;
};
constexpr std::int64_t kMptVocabulary = 50368;
/// llm-foundry, scripts/train/yamls/pretrain; the records' numbers of parameters are these models'.
constexpr std::array<GptSize, 9> kMpt = {{{"MPT 125m", 768, 12, 12},
                                          {"MPT 350m", 1024, 16, 24},
                                          {"MPT 760m", 1536, 12, 24},
                                          {"MPT 1b", 2048, 16, 24},
                                          {"MPT 3b", 2560, 20, 32},
                                          {"MPT 7b", 4096, 32, 32},
                                          {"MPT 13b", 5120, 40, 40},
                                          {"MPT 30b", 7168, 56, 48},
                                          {"MPT 70b", 8192, 64, 80}}};

/// Of BLOOM's sweep where a table gives layers and no heads: "all NHEADS=64 (above too)" (chronicles-prequel.md).
constexpr std::int64_t kBloomHeads = 64;

std::optional<ModelSpec> SpelledOut(const PublishedRecord& record) {
  const std::int64_t positions = record.input_tokens.value_or(1);
  const std::string& model = record.model;
  long long hidden = 0, layers = 0, heads = 0, vocabulary = 0;
  if (const std::size_t at = model.find("(hidden "); at != std::string::npos) {
    const int found =
        std::sscanf(model.c_str() + at, "(hidden %lld, layers %lld, heads %lld", &hidden, &layers, &heads);
    if (found < 2) return std::nullopt;
    if (found == 2) heads = kBloomHeads;
    return Gpt(hidden, heads, layers, positions, 250880);
  }
  if (std::sscanf(record.notes.c_str(), "heads %lld, hidden %lld, layers %lld, vocab %lld", &heads, &hidden, &layers,
                  &vocabulary) == 4) {
    return Gpt(hidden, heads, layers, positions, vocabulary);
  }
  if (model == "GPT 1.3B" && record.framework.starts_with("Megatron-DeepSpeed")) {
    return Gpt(2048, 16, 24, positions, 50304);  // bigscience, train/tr3-1B3-baseline/tr3m-1B3-emb-norm-pile.slurm
  }
  for (const GptSize& size : kMpt) {
    if (model == size.name) return Gpt(size.hidden, size.heads, size.layers, positions, kMptVocabulary);
  }
  if (model == "InternLM-7B") {
    return ParseModelConfig(
        R"({"architectures": ["LlamaForCausalLM"], "num_hidden_layers": 32, "hidden_size": 4096,
            "num_attention_heads": 32, "intermediate_size": 11008, "vocab_size": 103168, "hidden_act": "silu",
            "attention_bias": true, "tie_word_embeddings": false, "torch_dtype": "bfloat16"})",
        model, {}, nullptr);
  }
  return std::nullopt;
}

/// "LLAMA3_70B" and "Llama3-70B (SFT)" are llama-3.1-70b, "DeepSeekV3 (w/o MTP)" is deepseek-v3.
std::optional<ModelSpec> PresetModel(const PublishedRecord& record) {
  std::string name = record.model.substr(0, record.model.find(" ("));
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return c == '_' || c == ' ' ? '-' : static_cast<char>(std::tolower(c)); });
  constexpr std::array<std::pair<const char*, const char*>, 3> kSpellings = {
      {{"llama3-", "llama-3.1-"}, {"llama-3-", "llama-3.1-"}, {"deepseekv3", "deepseek-v3"}}};
  for (const auto& [written, preset] : kSpellings) {
    if (name.starts_with(written)) name = preset + name.substr(std::string(written).size());
  }
  const auto preset = PublishedModelPreset(name);
  if (!preset) return std::nullopt;
  return LoadModel(*preset);
}

/// What strategies or costs do not have.
std::string WhyUnlike(const PublishedRecord& record) {
  const std::string& mapping = record.other_parallelism;
  if (Has(record.model, "LoRA") || Has(record.group, "|LoRA|")) return "adapters alone are trained";
  if (Has(record.model, "(w/ MTP)")) return "multi-token prediction";
  if (Has(mapping, "CPU offload alpha") && !Has(mapping, "alpha 0.000")) return "activations in the host's memory";
  if (Has(record.notes, "recompute:") || Has(record.notes, "recompute layernorm")) {
    return "some operators of a layer are computed again";
  }
  if (const auto group = NumberAfter(mapping, {"ZeRO-1 group size "}); group && group != record.data_parallel) {
    return "states shared by some of the data parallel ranks";
  }
  if (Has(record.dtype, "NVFP4") || Has(record.dtype, "rowwise")) return "number format " + record.dtype;
  return "";
}

/// Seconds of the record's step over so many tokens; 0, with `why_not`: not a figure of time.
double StepSeconds(const PublishedRecord& record, const TrainingPoint& point, std::string& why_not) {
  const auto sequences = static_cast<double>(point.workload.training->global_batch_size);
  const double tokens = sequences * static_cast<double>(point.workload.input_tokens);
  const auto gpus = static_cast<double>(*record.n_gpus);
  if (record.metric == "step_time_s") return record.value;
  if (record.metric == "tokens_per_s_per_gpu") return tokens / (record.value * gpus);
  if (record.metric == "tokens_per_s_total") return tokens / record.value;
  if (record.metric == "sequences_per_s_total") return sequences / record.value;
  const bool bridge = record.framework.starts_with("Megatron-Bridge");
  if (record.metric == "tflops_per_gpu" && (bridge || record.framework.starts_with("Megatron-Core r0.8"))) {
    // num_floating_point_operations of Megatron-Core: all positions until 0.8, later half of them (the mask).
    const Problem problem(point.model, point.cluster, point.workload);
    const AttentionSpec& a = point.model.attention;
    const double attention = 6.0 * static_cast<double>(point.model.num_layers * point.workload.input_tokens *
                                                       a.num_heads * (a.QkHeadDim() + a.VHeadDim()));
    const double flop = env::ModelFlopPerToken(problem) - (bridge ? attention / 2 : 0);
    return tokens * flop / (record.value * 1e12 * gpus);
  }
  why_not = "a figure of " + record.metric;
  return 0;
}

/// Of a step whose layers are all computed again (a forward pass more): more than half again or less than two thirds of
/// the FLOP/s that the record states beside its time, whatever the formula. (Three of BLOOM's are headed "GBS=512" and
/// listed with 2,048.)
bool ContradictsItself(const PublishedRecord& record, const TrainingPoint& point) {
  if (!record.tflops_per_gpu || point.recomputation != Recomputation::kFull) return false;
  const Problem problem(point.model, point.cluster, point.workload);
  const auto tokens = static_cast<double>(point.workload.training->global_batch_size * point.workload.input_tokens);
  const double flop = 4.0 / 3 * env::ModelFlopPerToken(problem) * tokens;
  const double ratio = flop / (point.step_s * static_cast<double>(*record.n_gpus) * *record.tflops_per_gpu * 1e12);
  return ratio > 1.5 || ratio < 2.0 / 3;
}

/// Racks of 72 are used 64 at a time where the devices then fill them.
void SpreadOverRacks(ClusterSpec& cluster) {
  NetworkTier& rack = cluster.tiers.front();
  if (rack.size <= cluster.devices_per_node || cluster.num_devices <= rack.size) return;
  const std::int64_t racks = (cluster.num_devices + rack.size - 1) / rack.size;
  if (cluster.num_devices % racks == 0) rack.size = cluster.num_devices / racks;
}

/// What NCCL 2.10 sustained of a link's 100 Gb/s on Jean Zay (bigscience, experiments/bandwidth): 40.5 Gb/s between
/// nodes of A100s (all_reduce_bench-a100-n4.txt), 55 between nodes of V100s (README.md), by one of a node's four links.
constexpr double kA100OmniPathFraction = 0.405, kV100OmniPathFraction = 0.55;

/// How the framework trains, where the record says nothing else.
void SetFramework(const PublishedRecord& record, TrainingPoint& point) {
  TrainingSpec& training = *point.workload.training;
  const std::string& mapping = record.other_parallelism;
  if (record.framework.starts_with("Megatron-DeepSpeed")) {
    training.overlap_tensor = false;
    const bool v100 = record.hardware.starts_with("V100");
    if (v100) point.cluster.devices_per_node = point.cluster.tiers.front().size = 4;
    SetNodeBandwidth(point.cluster, 50e9);
    point.cluster.tiers.back().achieved_fraction = v100 ? kV100OmniPathFraction : kA100OmniPathFraction;
    training.fp32_gradients = record.dtype != "FP16";
    training.keep_16_bit_gradients = training.fp32_gradients;
    training.exchange_bucket_elements = 500'000'000;
    training.keep_stage_outputs = true;
    constexpr std::int64_t kBlockingGpus = 160;
    training.blocking_launches = record.n_gpus.value_or(0) >= kBlockingGpus;
    point.zero_stage = point.data_parallel > 1 && !Has(record.framework, "ZeRO-0") ? 1 : 0;
    point.recomputation = Has(mapping, "checkpointing off") ? Recomputation::kNone : Recomputation::kFull;
    return;
  }
  training.fused_attention = true;
  training.dropout = false;
  training.overlap_gradients = training.overlap_parameters = true;
  point.sequence_parallel = point.tensor_parallel > 1;
  const bool sharded = Has(mapping, "FSDP") && !Has(mapping, "FSDP=/");
  point.zero_stage = point.data_parallel == 1 ? 0 : sharded ? 3 : 1;
  if (record.framework.starts_with("llm-foundry")) training.fp32_gradients = false;
  if (record.framework == "InternEvo") {
    training.fp32_gradients = false;
    training.parameter_exchange = ParameterExchange::kBroadcast;
    SetNodeBandwidth(point.cluster, 50e9);
  }
  if (Has(mapping, "activation checkpointing True") || Has(mapping, "ckpt TRUE")) {
    point.recomputation = Recomputation::kFull;
  }
  if (Has(mapping, "activation checkpointing False") || Has(mapping, "ckpt FALSE") ||
      Has(record.notes, "no activation checkpointing")) {
    point.recomputation = Recomputation::kNone;
  }
}

std::optional<std::string> ClusterPreset(const std::string& hardware) {
  if (hardware == "A100-SXM4 40GB") return "a100-40-sxm";
  if (hardware == "V100-SXM2 32GB" || hardware == "V100-SXM2 16GB") return "v100-32-sxm";
  return PublishedClusterPreset(hardware);
}

}  // namespace

std::optional<TrainingPoint> TrainingPointOf(const PublishedRecord& record, std::string& why_not) {
  const auto refuse = [&](std::string reason) {
    why_not = std::move(reason);
    return std::nullopt;
  };
  why_not = WhyUnlike(record);
  if (!why_not.empty()) return std::nullopt;
  auto model = SpelledOut(record);
  if (!model) model = PresetModel(record);
  const std::string name = record.model.substr(0, record.model.find(" ("));
  if (!model) return refuse(Has(name, "BLOOM") ? "sizes of the model not stated" : "no preset of the model " + name);
  const auto cluster = ClusterPreset(record.hardware);
  if (!cluster) return refuse("no preset of the hardware \"" + record.hardware + "\"");
  if (!record.n_gpus || !record.tensor_parallel || !record.pipeline_parallel || !record.data_parallel) {
    return refuse("number of GPUs or mapping not stated");
  }
  const auto micro_batch = record.micro_batch
                               ? record.micro_batch
                               : NumberAfter(record.notes, {"MBS=", "MBS ", "micro_bsz ", "micro batch "});
  if (!micro_batch) return refuse("micro-batch not stated");
  char* end = nullptr;
  const std::int64_t batch = std::strtoll(record.load.c_str(), &end, 10);
  if (batch < 1 || *end != '\0' || !record.input_tokens) return refuse("global batch or sequence length not stated");

  TrainingPoint point;
  point.set = record.framework.substr(0, record.framework.find_first_of(" ,/("));
  // Groups of BLOOM's sweep mix models of different heads.
  if (record.group_kind == "ranking_same_gpus") {
    point.group = record.group + ", " + std::to_string(model->attention.num_heads) + " heads";
  }
  point.model = std::move(*model);
  point.cluster = LoadCluster(*cluster, *record.n_gpus);
  if (record.hardware == "V100-SXM2 16GB") point.cluster.device.hbm_bytes /= 2;
  SpreadOverRacks(point.cluster);
  point.workload = TrainingWorkload(*record.input_tokens, batch);
  point.tensor_parallel = *record.tensor_parallel;
  point.pipeline_parallel = *record.pipeline_parallel;
  point.context_parallel = record.context_parallel.value_or(1);
  point.data_parallel = *record.data_parallel;
  point.expert_parallel = record.expert_parallel.value_or(1);
  point.virtual_pipeline_parallel =
      NumberAfter(record.other_parallelism, {"VP=", "VPP=", "interleave ", "chunks l="}).value_or(1);
  point.micro_batch = *micro_batch;
  if (record.dtype.starts_with("FP8") || record.dtype.starts_with("MXFP8") || record.dtype == "amp_fp8") {
    point.workload.training->precision = TrainingPrecision::kFp8;
  }
  SetFramework(record, point);
  const auto noted_gib = NumberAfter(record.notes, {"memory/notes "});
  point.memory_bytes = record.memory_gib.value_or(static_cast<double>(noted_gib.value_or(0))) * kGib;
  point.out_of_memory = record.metric == "out_of_memory";
  if (point.out_of_memory) return point;
  point.step_s = StepSeconds(record, point, why_not);
  if (point.step_s == 0) return std::nullopt;
  if (ContradictsItself(record, point)) return refuse("its time and its FLOP/s are of different batches");
  return point;
}

PublishedSteps PublishedStepsOf(std::span<const PublishedRecord> records) {
  PublishedSteps steps;
  for (const PublishedRecord& record : records) {
    if (!IsTraining(record)) continue;
    std::string why_not;
    if (auto point = TrainingPointOf(record, why_not)) {
      steps.points.push_back(std::move(*point));
    } else {
      ++steps.why_not[why_not];
    }
  }
  return steps;
}

}  // namespace shardscout::validation
