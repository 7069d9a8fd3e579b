#include "experiments/validation/published_setup.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <map>
#include <utility>

#include "experiments/validation/serving_prediction.h"

namespace shardscout::validation {
namespace {

bool Has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

bool IsTensorRtLlm(const PublishedRecord& record) { return record.framework.starts_with("TensorRT-LLM"); }

bool Speculates(const PublishedRecord& record) {
  return Has(record.other_parallelism, "MTP") || Has(record.notes, "MTP") || Has(record.notes, "--speculative");
}

/// What no strategy here does, or what a source does not let one know.
std::string WhyUnlike(const PublishedRecord& record) {
  const std::string& mapping = record.other_parallelism;
  if (Speculates(record)) return "speculative decoding";
  if (Has(mapping, "ZeRO-3")) return "weights gathered layer by layer (ZeRO-3)";
  if (Has(mapping, "AFD")) return "attention and FFN on different devices";
  if (Has(mapping, "disaggregated")) return "two pools, sizes not stated in full";
  if (Has(record.interconnect, "no IB") || Has(record.interconnect, "inter-node network not stated")) {
    return "network between nodes without a stated bandwidth";
  }
  return "";
}

ModelSpec WithNvfp4(ModelSpec model) {
  model.weight_dtype = model.activation_dtype = DType::kMxfp4;
  model.weight_quant_block = 16;
  model.weight_quant_grouped = true;
  model.weight_zero_points = false;
  model.scale_dtype = DType::kFp8;
  model.kv_dtype = DType::kFp8;
  model.attention_quantised = model.attention.kind == AttentionKind::kGrouped;
  return model;
}

/// Whether dp are ranks that share experts (attention data parallelism) rather than replicas.
bool SharesExperts(const PublishedRecord& record, const ModelSpec& model) {
  if (!model.HasMoe()) return false;
  const bool beyond_tp = record.expert_parallel.value_or(1) > record.tensor_parallel.value_or(1);
  return beyond_tp || Has(record.other_parallelism, "DP attention");
}

}  // namespace

std::optional<std::string> PublishedModelPreset(const std::string& model) {
  std::string name = model;
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return c == ' ' ? '-' : static_cast<char>(std::tolower(c)); });
  if (name == "deepseek-v3/r1") name = "deepseek-v3";
  name = name.substr(name.rfind('/') + 1);
  constexpr std::array<std::pair<const char*, const char*>, 7> kSpellings = {
      {{"llama-v3.1", "llama-3.1"},
       {"llama-3.3-70b", "llama-3.1-70b"},
       {"llama2-", "llama-2-"},
       {"llama-7b", "llama-2-7b"},
       {"megatron-turing-nlg-530b", "mt-nlg-530b"},
       {"mistral-large-instruct-2407", "mistral-large-2407"},
       {"glm-4.6", "glm-4.5"}}};
  for (const auto& [written, preset] : kSpellings) {
    if (name.starts_with(written)) name = preset + name.substr(std::string(written).size());
  }
  auto preset = ModelPresetOf(name);
  // "GLM-5.2" is not "GLM-5", nor "GPT-20B" "GPT-2".
  if (preset && name.size() > preset->size() && name[preset->size()] != '-') return std::nullopt;
  return preset;
}

std::optional<std::string> PublishedClusterPreset(const std::string& hardware) {
  constexpr std::array<std::pair<const char*, const char*>, 12> kPresets = {{{"A100-SXM4 80GB", "a100-80-sxm"},
                                                                             {"A100-PCIe 80GB", "a100-80-pcie"},
                                                                             {"H100-SXM 80GB", "h100-sxm"},
                                                                             {"H200-SXM 141GB", "h200-sxm"},
                                                                             {"GH200 480GB (96GB HBM3)", "gh200"},
                                                                             {"B200-SXM", "b200-sxm"},
                                                                             {"B300-SXM", "b300-sxm"},
                                                                             {"GB200", "gb200-nvl72"},
                                                                             {"GB300", "gb300-nvl72"},
                                                                             {"L40S 48GB", "l40s-pcie"},
                                                                             {"RTX PRO 6000 Blackwell", "rtx-pro-6000"},
                                                                             {"MI300X", "mi300x"}}};
  for (const auto& [written, preset] : kPresets) {
    if (hardware == written) return preset;
  }
  return std::nullopt;
}

std::optional<ModelSpec> ModelInFormat(const std::string& preset, const PublishedRecord& record) {
  const std::string& dtype = record.dtype;
  ModelSpec native = LoadModel(preset);
  const bool native_mxfp4 = native.weight_dtype == DType::kMxfp4;
  const bool as_preset = dtype == "MXFP4" || native_mxfp4 || dtype == "not stated (checkpoint default)";
  if (as_preset) return native;
  if (dtype.starts_with("FP8")) {
    const bool makers_own = record.model.ends_with("-FP8");
    const bool fp8_cache = (IsTensorRtLlm(record) && !makers_own) || Has(record.framework, "ROCm");
    if (native.weight_dtype == DType::kFp8) {
      if (fp8_cache) native.kv_dtype = DType::kFp8;
      return native;
    }
    const bool blocks = makers_own && record.model.starts_with("Qwen");
    return LoadModel(preset, {.weight_dtype = "fp8",
                              .activation_dtype = "fp8",
                              .kv_dtype = fp8_cache ? "fp8" : "",
                              .weight_quant_block = blocks ? 128 : 0});
  }
  if (dtype == "FP4" || dtype == "NVFP4") return WithNvfp4(std::move(native));
  if (dtype == "INT8") return LoadModel(preset, {.weight_dtype = "int8", .weight_quant_block = 0});
  if (dtype.starts_with("BF16") || dtype.starts_with("FP16") || dtype.starts_with("not stated (file name")) {
    const std::string format = dtype == "FP16" ? "fp16" : "bf16";
    return LoadModel(preset,
                     {.weight_dtype = format, .activation_dtype = format, .kv_dtype = format, .weight_quant_block = 0});
  }
  return std::nullopt;
}

std::optional<PoolLayout> LayoutOf(const PublishedRecord& record, const ModelSpec& model,
                                   std::vector<std::string>& unstated, std::string& why_not) {
  if (!record.n_gpus || !record.tensor_parallel || !record.pipeline_parallel) {
    why_not = "number of GPUs, TP or PP not stated";
    return std::nullopt;
  }
  PoolLayout layout;
  layout.tensor_parallel = *record.tensor_parallel;
  layout.pipeline_parallel = *record.pipeline_parallel;
  std::int64_t ranks = SharesExperts(record, model) ? record.data_parallel.value_or(1) : 1;
  if (model.HasMoe() && !record.expert_parallel && layout.tensor_parallel > 1) {
    // TensorRT-LLM 1.0's tables: "enable_attention_dp: true", "--ep $ep_size".
    unstated.emplace_back("expert parallelism");
    ranks = std::exchange(layout.tensor_parallel, 1);
  } else if (layout.tensor_parallel * ranks * layout.pipeline_parallel > *record.n_gpus) {
    // SGLang: dp_size ranks inside the TP group.
    if (layout.tensor_parallel % ranks != 0) {
      why_not = "TP " + std::to_string(layout.tensor_parallel) + " does not split into " + std::to_string(ranks) +
                " data-parallel ranks";
      return std::nullopt;
    }
    layout.tensor_parallel /= ranks;
  }
  layout.attention_data_parallel = ranks;
  if (model.HasMoe()) {
    const std::int64_t stage = layout.tensor_parallel * ranks;
    layout.moe_expert_parallel = record.expert_parallel.value_or(stage);
    if (stage % layout.moe_expert_parallel != 0) {
      why_not = "EP " + std::to_string(layout.moe_expert_parallel) + " does not divide the stage's " +
                std::to_string(stage) + " GPUs";
      return std::nullopt;
    }
    layout.moe_tensor_parallel = stage / layout.moe_expert_parallel;
  }
  if (*record.n_gpus % layout.DevicesOfAWorker() != 0) {
    why_not =
        "a mapping of " + std::to_string(layout.DevicesOfAWorker()) + " GPUs on " + std::to_string(*record.n_gpus);
    return std::nullopt;
  }
  return layout;
}

std::optional<PublishedSetup> SetupOf(const PublishedRecord& record, std::string& why_not) {
  const auto model_preset = PublishedModelPreset(record.model);
  const auto cluster_preset = PublishedClusterPreset(record.hardware);
  why_not = !model_preset     ? "no preset of the model " + record.model
            : !cluster_preset ? "no preset of the hardware \"" + record.hardware + "\""
                              : WhyUnlike(record);
  if (!why_not.empty()) return std::nullopt;
  const auto model = ModelInFormat(*model_preset, record);
  if (!model) {
    why_not = "number format \"" + record.dtype + "\"";
    return std::nullopt;
  }
  PublishedSetup setup;
  setup.model = *model;
  const auto load = LoadOf(record, why_not);
  if (!load) return std::nullopt;
  setup.load = *load;
  if (!load->stated) setup.unstated.emplace_back("number of requests");
  const auto layout = LayoutOf(record, setup.model, setup.unstated, why_not);
  if (!layout) return std::nullopt;
  setup.layout = *layout;
  const bool per_token = record.metric == "ms_per_token_over_batch";
  if (!record.output_tokens || (!record.input_tokens && !per_token)) {
    why_not = "lengths not stated";
    return std::nullopt;
  }
  if (!record.input_tokens) setup.unstated.emplace_back("input length");  // "A few tokens" beside the output's.
  setup.input_tokens = record.input_tokens.value_or(1);
  setup.output_tokens = *record.output_tokens;
  if (Has(record.group, "ShareGPT") || Has(record.notes, "trace means") || Has(record.notes, "random lengths")) {
    setup.unstated.emplace_back("spread of the lengths");
  }
  if (Has(record.dtype, "not stated") || Has(record.dtype, "not printed")) setup.unstated.emplace_back("dtype");
  if (Has(record.interconnect, "not stated") && *record.n_gpus > 1) setup.unstated.emplace_back("interconnect");
  if (Has(record.other_parallelism, "assumed")) setup.unstated.emplace_back("TP");
  setup.cluster = LoadCluster(*cluster_preset, *record.n_gpus);
  if (ReducesByNccl(record.framework)) {
    for (NetworkTier& tier : setup.cluster.tiers) tier.engine_all_reduce.reset();
  }
  return setup;
}

}  // namespace shardscout::validation
