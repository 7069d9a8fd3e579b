#include "src/model_quantization.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <set>

#include "shardscout/error.h"

namespace shardscout::internal {
namespace {

// ---- Modules that a recipe leaves alone ----

/// Parts of a model that are quantised as a whole or not at all.
enum class Part { kAttention, kDenseFfn, kSharedExpert };
constexpr std::size_t kNumParts = 3;

bool Contains(std::string_view text, std::string_view word) { return text.find(word) != std::string_view::npos; }

/// Modules that ModelSpec::embedding_dtype holds for, or that are no part of the main language model.
bool IsLeftUnquantised(std::string_view module) {
  static constexpr std::array<std::string_view, 14> kEndings = {
      "lm_head",      "embed_tokens", "norm",      "gate",       "router",    "e_score_correction_bias",
      "weights_proj", "conv1d",       "embed_out", "in_proj_ba", "in_proj_a", "in_proj_b",
      "A_log",        "dt_bias"};
  while (module.ends_with("*") || module.ends_with(".") || module.ends_with("$")) module.remove_suffix(1);
  return Contains(module, "vision") || Contains(module, "visual") || Contains(module, "multi_modal") ||
         Contains(module, "mtp") ||
         std::any_of(kEndings.begin(), kEndings.end(), [&](std::string_view end) { return module.ends_with(end); });
}

/// What a recipe's list of excepted modules leaves unquantised: names ("model.layers.0.self_attn"), globs
/// ("model.layers.*.self_attn") and regular expressions ("re:.*self_attn.*").
class Exceptions {
 public:
  Exceptions(const ConfigReader& config, std::string_view key) : config_(config), key_(key) {}

  void Add(std::string_view module) {
    if (IsLeftUnquantised(module)) return;
    static constexpr std::array<std::pair<std::string_view, Part>, 7> kWords = {
        {{"self_attn", Part::kAttention},
         {"linear_attn", Part::kAttention},
         {"attention", Part::kAttention},
         {"shared_experts", Part::kSharedExpert},
         {"shared_expert", Part::kSharedExpert},
         {"feed_forward", Part::kDenseFfn},
         {"mlp", Part::kDenseFfn}}};
    for (const auto& [word, part] : kWords) {
      const std::size_t at = module.find(word);
      if (at == std::string_view::npos) continue;
      if (!IsWhole(module.substr(at + word.size()))) break;
      Record(module.substr(0, at), part);
      return;
    }
    config_.Refuse(key_,
                   "\"" + std::string(module) +
                       "\" is a part of what is taken as quantised as a whole; expected lm_head, embeddings, norms, "
                       "gates, or all of attention's, the dense FFN's or the shared expert's projections");
  }

  /// Whether the whole part is excepted, where `layers` are those that have it. A part in some layers only is refused.
  bool Covers(Part part, const std::set<std::int64_t>& layers) const {
    const auto index = static_cast<std::size_t>(part);
    if (everywhere_[index]) return true;
    const std::set<std::int64_t>& excepted = layers_[index];
    if (excepted.empty()) return false;
    if (std::includes(excepted.begin(), excepted.end(), layers.begin(), layers.end())) return true;
    config_.Refuse(key_, "a part of the model is quantised in some layers only; expected all or none");
  }

 private:
  /// Whether what follows a module's name in a pattern means all of it: nothing, or wildcards, or a choice of its
  /// projections that has up and down.
  static bool IsWhole(std::string_view rest) {
    return rest.find_first_not_of(".*$\\") == std::string_view::npos ||
           (Contains(rest, "up") && Contains(rest, "down"));
  }

  void Record(std::string_view before, Part part) {
    const auto index = static_cast<std::size_t>(part);
    static constexpr std::string_view kLayers = "layers.";
    const std::size_t at = before.find(kLayers);
    std::string_view digits = at == std::string_view::npos ? "" : before.substr(at + kLayers.size());
    digits = digits.substr(0, digits.find_first_not_of("0123456789"));
    if (digits.empty() || digits.size() > 6) {
      everywhere_[index] = true;
    } else {
      layers_[index].insert(std::stoll(std::string(digits)));
    }
  }

  const ConfigReader& config_;
  std::string_view key_;
  std::array<bool, kNumParts> everywhere_{};
  std::array<std::set<std::int64_t>, kNumParts> layers_;
};

void ReadExceptions(ConfigReader& config, std::string_view key, ModelSpec& model) {
  Exceptions exceptions(config, key);
  for (const std::string& module : config.Texts(key)) exceptions.Add(module);
  std::set<std::int64_t> all, dense, moe;
  for (std::int64_t i = 0; i < model.num_layers; ++i) {
    all.insert(i);
    (model.layers[static_cast<std::size_t>(i)] == LayerKind::kDense ? dense : moe).insert(i);
  }
  if (exceptions.Covers(Part::kAttention, all)) model.attention_quantised = false;
  if (model.HasDense() && exceptions.Covers(Part::kDenseFfn, dense)) model.dense_ffn_quantised = false;
  if (model.HasSharedExpert() && exceptions.Covers(Part::kSharedExpert, moe)) model.shared_expert_quantised = false;
}

// ---- Methods ----

DType IntegerOf(const ConfigReader& config, std::string_view key, std::int64_t bits) {
  if (bits != 4 && bits != 8) config.Refuse(key, "expected 4 or 8 bits");
  return bits == 4 ? DType::kInt4 : DType::kInt8;
}

void SetGroups(ModelSpec& model, std::int64_t size, DType scale) {
  model.weight_quant_block = size;
  model.weight_quant_grouped = size > 0;
  model.scale_dtype = size > 0 ? scale : ModelSpec().scale_dtype;
}

void ReadSquareBlocks(ConfigReader& config, std::string_view key, ModelSpec& model) {
  const std::vector<std::int64_t> block = config.Integers(key);
  const bool square = block.empty() || (block.size() == 2 && block[0] == block[1] && block[0] > 0);
  if (!square) config.Refuse(key, "expected two equal sizes, or null for one scale a tensor");
  model.weight_quant_block = block.empty() ? 0 : block[0];
}

void ReadFp8(ConfigReader& config, ModelSpec& model) {
  if (const auto scheme = config.FindText("activation_scheme"); scheme && *scheme != "dynamic" && *scheme != "static") {
    config.Refuse("activation_scheme", "expected dynamic or static");
  }
  model.weight_dtype = model.activation_dtype = DType::kFp8;
  ReadSquareBlocks(config, "weight_block_size", model);
  ReadExceptions(config, "modules_to_not_convert", model);
  ReadExceptions(config, "ignored_layers", model);
  config.Ignore({"fmt", "scale_fmt"});
}

void ReadMxfp4(ConfigReader& config, ModelSpec& model) {
  if (!model.HasMoe()) config.Refuse("quant_method", "MXFP4 covers routed experts, and the model has none");
  ReadExceptions(config, "modules_to_not_convert", model);
  model.weight_dtype = DType::kMxfp4;
  SetGroups(model, 32, DType::kFp8);
  model.attention_quantised = false;
  if (model.HasDense()) model.dense_ffn_quantised = false;
  if (model.HasSharedExpert()) model.shared_expert_quantised = false;
}

/// One tensor's scheme of compressed-tensors.
DType ReadScheme(ConfigReader& scheme) {
  const std::int64_t bits = scheme.Count("num_bits");
  const std::string type = scheme.FindText("type").value_or("int");
  if (type == "float") {
    if (bits != 8) scheme.Refuse("num_bits", "expected 8 bits for floats");
    return DType::kFp8;
  }
  if (type != "int") scheme.Refuse("type", "expected int or float");
  return IntegerOf(scheme, "num_bits", bits);
}

/// NVIDIA's Model Optimizer. Its config_groups repeat what quant_algo says.
void ReadModelOpt(ConfigReader& config, ModelSpec& model, std::vector<std::string>* warnings) {
  const std::string algorithm = config.Text("quant_algo");
  if (algorithm == "NVFP4") {
    model.weight_dtype = model.activation_dtype = DType::kNvfp4;
    SetGroups(model, config.FindCount("group_size").value_or(16), DType::kFp8);
  } else if (algorithm == "FP8") {
    model.weight_dtype = model.activation_dtype = DType::kFp8;
  } else {
    config.Refuse("quant_algo", "expected NVFP4 or FP8");
  }
  if (config.Has("kv_cache_scheme")) {
    ConfigReader cache(*config.FindObject("kv_cache_scheme"), config.PlaceOf("kv_cache_scheme"));
    model.kv_dtype = ReadScheme(cache);
    cache.Ignore({"dynamic"});
    cache.Finish(warnings);
  }
  ReadExceptions(config, "ignore", model);
  ReadExceptions(config, "exclude_modules", model);
  config.Ignore({"config_groups", "producer", "kv_cache_quant_algo"});
}

/// AWQ and GPTQ: integers in groups of input features, -1 for one group over all of them.
void ReadIntegerGroups(ConfigReader& config, ModelSpec& model) {
  model.weight_dtype = IntegerOf(config, "bits", config.Count("bits"));
  const std::int64_t group = config.Count("group_size", -1);
  if (group == 0) config.Refuse("group_size", "expected -1 or a positive size");
  SetGroups(model, std::max<std::int64_t>(group, 0), DType::kFp16);
  const bool awq = config.Text("quant_method") == "awq";
  const bool zero_points = awq ? config.Flag("zero_point", true) : !config.Flag("sym", true);
  model.weight_zero_points = group > 0 && zero_points;
  config.RefuseUnlessOff("lm_head", "a quantised lm_head is not supported");
  config.RefuseUnlessOff("dynamic", "bits that differ between modules are not supported");
  ReadExceptions(config, "modules_to_not_convert", model);
  config.Ignore({"version",
                 "desc_act",
                 "act_order",
                 "damp_percent",
                 "damp_auto_increment",
                 "true_sequential",
                 "static_groups",
                 "checkpoint_format",
                 "quantizer",
                 "meta",
                 "model_name_or_path",
                 "model_file_base_name",
                 "dataset",
                 "backend",
                 "tokenizer",
                 "use_exllama",
                 "exllama_config",
                 "max_input_length",
                 "model_seqlen",
                 "pad_token_id",
                 "batch_size",
                 "block_name_to_quantize",
                 "module_name_preceding_first_block",
                 "cache_block_outputs",
                 "use_cuda_fp16",
                 "do_fuse",
                 "fuse_max_seq_len",
                 "modules_to_fuse",
                 "is_marlin_format"});
}

void IgnoreSchemeKeys(ConfigReader& scheme) {
  scheme.Ignore({"actorder", "dynamic", "observer", "observer_kwargs", "scale_dtype", "zp_dtype"});
}

void ReadCompressedWeights(ConfigReader& weights, ModelSpec& model) {
  model.weight_dtype = ReadScheme(weights);
  const std::string strategy = weights.FindText("strategy").value_or("tensor");
  const auto group = weights.FindCount("group_size", -1);
  if (strategy == "group") {
    if (!group || *group < 1) weights.Refuse("group_size", "expected the size of a group");
    SetGroups(model, *group, DType::kBf16);
  } else if (strategy == "block") {
    ReadSquareBlocks(weights, "block_structure", model);
    if (model.weight_quant_block == 0) weights.Refuse("block_structure", "expected two equal sizes");
  } else if (strategy != "tensor" && strategy != "channel") {
    weights.Refuse("strategy", "expected tensor, channel, group or block");
  }
  model.weight_zero_points = strategy == "group" && !weights.Flag("symmetric", true);
  weights.Ignore({"block_structure", "symmetric"});
  IgnoreSchemeKeys(weights);
}

void ReadCompressedTensors(ConfigReader& config, ModelSpec& model, std::vector<std::string>* warnings) {
  config.Require({"config_groups"});
  const nlohmann::json& groups = *config.FindObject("config_groups");
  if (!groups.is_object() || groups.size() != 1) {
    config.Refuse("config_groups", "expected one group: schemes that differ between modules are not supported");
  }
  const std::string place = ConfigReader(groups, config.PlaceOf("config_groups")).PlaceOf(groups.begin().key());
  ConfigReader group(groups.begin().value(), place);
  for (const std::string& target : group.Texts("targets")) {
    if (target != "Linear") group.Refuse("targets", "expected [\"Linear\"], all projections that \"ignore\" leaves");
  }
  group.Require({"weights"});
  ConfigReader weights(*group.FindObject("weights"), group.PlaceOf("weights"));
  ReadCompressedWeights(weights, model);
  weights.Finish(warnings);
  if (group.Has("input_activations")) {
    ConfigReader input(*group.FindObject("input_activations"), group.PlaceOf("input_activations"));
    model.activation_dtype = ReadScheme(input);
    input.Ignore({"strategy", "group_size", "block_structure", "symmetric"});
    IgnoreSchemeKeys(input);
    input.Finish(warnings);
  }
  group.RefuseUnlessOff("output_activations", "quantised outputs are not supported");
  group.Ignore({"input_activations", "format"});
  group.Finish(warnings);
  config.RefuseUnlessOff("kv_cache_scheme",
                         "a quantised KV cache is not read from here; remove it and give --kv-dtype");
  if (config.Has("sparsity_config")) {
    ConfigReader sparsity(*config.FindObject("sparsity_config"), config.PlaceOf("sparsity_config"));
    if (sparsity.FindText("format").value_or("dense") != "dense") sparsity.Refuse("format", "expected dense weights");
  }
  config.RefuseUnlessOff("transform_config", "transforms of weights are not supported");
  ReadExceptions(config, "ignore", model);
  config.Ignore({"sparsity_config", "format", "quantization_status", "global_compression_ratio", "version"});
}

}  // namespace

void ReadQuantization(ConfigReader& config, ModelSpec& model, std::vector<std::string>* warnings) {
  const nlohmann::json* object = config.FindObject("quantization_config");
  if (object == nullptr) return;
  ConfigReader quantization(*object, config.PlaceOf("quantization_config"));
  const std::string method = quantization.Text("quant_method");
  if (method == "fp8") {
    ReadFp8(quantization, model);
  } else if (method == "mxfp4") {
    ReadMxfp4(quantization, model);
  } else if (method == "modelopt") {
    ReadModelOpt(quantization, model, warnings);
  } else if (method == "awq" || method == "gptq") {
    ReadIntegerGroups(quantization, model);
  } else if (method == "compressed-tensors") {
    ReadCompressedTensors(quantization, model, warnings);
  } else {
    quantization.Refuse(
        "quant_method",
        "expected fp8, mxfp4, modelopt, awq, gptq or compressed-tensors; for others give the unquantised "
        "config.json and --weight-dtype");
  }
  quantization.Finish(warnings);
}

}  // namespace shardscout::internal
