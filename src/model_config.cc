// Hugging Face's config.json, family by family, as transformers' modelling files read it: which layers are MoE, which
// projections have biases. A key whose default in the configuration class is one model's size is required here.

#include <algorithm>
#include <array>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "shardscout/error.h"
#include "shardscout/model_spec.h"
#include "shardscout/preset_paths.h"
#include "src/choices.h"
#include "src/config_reader.h"
#include "src/json/json_text.h"
#include "src/model_counts.h"

namespace shardscout {
namespace {

using internal::ConfigReader;

constexpr std::int64_t kMaxLayers = 100'000;
/// Counts up to here are exact as doubles.
constexpr std::int64_t kMaxParameters = std::int64_t{1} << 53;

// ---- Parts that families share ----

/// Keys that change neither shapes nor bytes.
void IgnoreIrrelevantKeys(ConfigReader& config) {
  config.Ignore({"model_type",
                 "max_position_embeddings",
                 "hidden_act",
                 "rms_norm_eps",
                 "rope_scaling",
                 "rope_theta",
                 "rope_parameters",
                 "rope_interleave",
                 "bos_token_id",
                 "eos_token_id",
                 "pad_token_id",
                 "initializer_range",
                 "use_cache",
                 "attention_dropout",
                 "hidden_dropout",
                 "pretraining_tp",
                 "transformers_version",
                 "auto_map",
                 "attn_implementation",
                 "output_attentions",
                 "output_hidden_states",
                 "return_dict"});
}

void IgnoreIrrelevantMoeKeys(ConfigReader& config) {
  config.Ignore({"norm_topk_prob", "output_router_logits", "router_aux_loss_coef", "router_jitter_noise",
                 "aux_loss_alpha", "seq_aux", "routed_scaling_factor", "scoring_func", "n_group", "topk_group",
                 "ep_size"});
}

/// Missing keys as for Llama: as many KV heads as heads, heads that make up the hidden size.
AttentionSpec ReadGroupedAttention(ConfigReader& config, std::int64_t hidden_size) {
  AttentionSpec attention;
  attention.num_heads = config.Count("num_attention_heads");
  attention.num_kv_heads = config.FindCount("num_key_value_heads").value_or(attention.num_heads);
  if (attention.num_heads % attention.num_kv_heads != 0) {
    config.Refuse("num_key_value_heads",
                  "expected a divisor of num_attention_heads " + std::to_string(attention.num_heads));
  }
  const auto head_dim = config.FindCount("head_dim");
  if (!head_dim && hidden_size % attention.num_heads != 0) {
    config.Refuse("num_attention_heads",
                  "expected a divisor of hidden_size " + std::to_string(hidden_size) + " where head_dim isn't given");
  }
  attention.head_dim = head_dim.value_or(hidden_size / attention.num_heads);
  return attention;
}

/// Qwen's window covers only some layers, which one AttentionSpec can't say; layer_types is how newer files say the
/// same.
void RefuseMixedWindows(ConfigReader& config) {
  config.RefuseUnlessOff("use_sliding_window", "windows on some layers only are not supported");
  config.Ignore({"sliding_window", "max_window_layers"});
  for (const std::string& type : config.Texts("layer_types")) {
    if (type != "full_attention") config.Refuse("layer_types", "only full_attention is supported");
  }
}

void MakeDense(ConfigReader& config, ModelSpec& model) {
  model.ffn_size = config.Count("intermediate_size");
  model.layers.assign(static_cast<std::size_t>(model.num_layers), LayerKind::kDense);
}

void CheckExpertsPerToken(const ConfigReader& config, const MoeSpec& moe) {
  if (moe.num_experts_per_token > moe.num_experts) {
    config.Refuse("num_experts_per_tok", "expected at most the " + std::to_string(moe.num_experts) + " experts");
  }
}

// ---- Families ----

void ReadLlama(ConfigReader& config, ModelSpec& model) {
  model.attention = ReadGroupedAttention(config, model.hidden_size);
  model.attention.qkv_bias = model.attention.output_bias = config.Flag("attention_bias", false);
  MakeDense(config, model);
  model.ffn_bias = config.Flag("mlp_bias", false);
}

void ReadMixtral(ConfigReader& config, ModelSpec& model) {
  config.Require({"num_key_value_heads"});
  model.attention = ReadGroupedAttention(config, model.hidden_size);
  model.attention.sliding_window = config.FindCount("sliding_window").value_or(0);
  model.moe.num_experts = config.Count("num_local_experts");
  model.moe.num_experts_per_token = config.Count("num_experts_per_tok");
  CheckExpertsPerToken(config, model.moe);
  model.moe.expert_ffn_size = config.Count("intermediate_size");
  model.layers.assign(static_cast<std::size_t>(model.num_layers), LayerKind::kMoe);
  IgnoreIrrelevantMoeKeys(config);
}

void ReadQwen2(ConfigReader& config, ModelSpec& model) {
  config.Require({"num_key_value_heads"});
  model.attention = ReadGroupedAttention(config, model.hidden_size);
  model.attention.qkv_bias = true;
  RefuseMixedWindows(config);
  MakeDense(config, model);
}

void ReadQwen3(ConfigReader& config, ModelSpec& model) {
  config.Require({"num_key_value_heads", "head_dim"});
  model.attention = ReadGroupedAttention(config, model.hidden_size);
  model.attention.qkv_bias = model.attention.output_bias = config.Flag("attention_bias", false);
  model.attention.qk_norm = true;
  RefuseMixedWindows(config);
  MakeDense(config, model);
}

/// Layer i is MoE unless it is in mlp_only_layers or i + 1 isn't a multiple of decoder_sparse_step.
void ReadQwenExperts(ConfigReader& config, ModelSpec& model) {
  const std::int64_t step = config.FindCount("decoder_sparse_step").value_or(1);
  const std::vector<std::int64_t> dense_layers = config.Integers("mlp_only_layers");
  for (const std::int64_t layer : dense_layers) {
    if (layer >= model.num_layers) {
      config.Refuse("mlp_only_layers", "expected layers below num_hidden_layers " + std::to_string(model.num_layers));
    }
  }
  model.layers.reserve(static_cast<std::size_t>(model.num_layers));
  for (std::int64_t i = 0; i < model.num_layers; ++i) {
    const bool dense = (i + 1) % step != 0;
    model.layers.push_back(dense ? LayerKind::kDense : LayerKind::kMoe);
  }
  for (const std::int64_t layer : dense_layers) model.layers[static_cast<std::size_t>(layer)] = LayerKind::kDense;

  const std::int64_t dense_size = config.Count("intermediate_size");
  MoeSpec moe;
  moe.num_experts = config.Count("num_experts");
  moe.num_experts_per_token = config.Count("num_experts_per_tok");
  CheckExpertsPerToken(config, moe);
  moe.expert_ffn_size = config.Count("moe_intermediate_size");
  if (model.NumLayers(LayerKind::kDense) > 0) model.ffn_size = dense_size;
  if (model.NumLayers(LayerKind::kMoe) > 0) model.moe = moe;
  IgnoreIrrelevantMoeKeys(config);
}

void ReadQwen2Moe(ConfigReader& config, ModelSpec& model) {
  config.Require({"num_key_value_heads"});
  model.attention = ReadGroupedAttention(config, model.hidden_size);
  model.attention.qkv_bias = config.Flag("qkv_bias", true);
  RefuseMixedWindows(config);
  ReadQwenExperts(config, model);
  const std::int64_t shared_size = config.Count("shared_expert_intermediate_size", 0);
  if (model.HasMoe() && shared_size > 0) {
    model.moe.shared_ffn_size = shared_size;
    model.moe.shared_expert_gate = true;
  }
}

void ReadQwen3Moe(ConfigReader& config, ModelSpec& model) {
  config.Require({"num_key_value_heads", "head_dim"});
  model.attention = ReadGroupedAttention(config, model.hidden_size);
  model.attention.qkv_bias = model.attention.output_bias = config.Flag("attention_bias", false);
  model.attention.qk_norm = true;
  if (!config.Flag("use_qk_norm", true)) config.Refuse("use_qk_norm", "this family always normalises q and k");
  config.RefuseUnlessOff("qkv_bias", "this family has no such bias; attention_bias is its key");
  config.RefuseUnlessOff("shared_expert_intermediate_size", "this family has no shared expert");
  RefuseMixedWindows(config);
  ReadQwenExperts(config, model);
}

void ReadDeepSeekV3(ConfigReader& config, ModelSpec& model) {
  AttentionSpec& attention = model.attention;
  attention.kind = AttentionKind::kMultiLatent;
  attention.num_heads = config.Count("num_attention_heads");
  attention.q_lora_rank = config.FindCount("q_lora_rank", 0).value_or(0);
  attention.kv_lora_rank = config.Count("kv_lora_rank");
  attention.qk_nope_head_dim = config.Count("qk_nope_head_dim");
  attention.qk_rope_head_dim = config.Count("qk_rope_head_dim");
  attention.v_head_dim = config.Count("v_head_dim");
  config.RefuseUnlessOff("attention_bias", "biases of multi-latent attention are not supported");
  // The latent is the only KV head; both keys below describe it before compression.
  config.Ignore({"num_key_value_heads", "head_dim", "qk_head_dim"});
  // Multi-token prediction is no part of the main model.
  config.Ignore({"num_nextn_predict_layers"});

  const std::int64_t first_moe = config.Count("first_k_dense_replace", 0);
  const std::int64_t frequency = config.FindCount("moe_layer_freq").value_or(1);
  for (std::int64_t i = 0; i < model.num_layers; ++i) {
    model.layers.push_back(i >= first_moe && i % frequency == 0 ? LayerKind::kMoe : LayerKind::kDense);
  }
  const std::int64_t dense_size = config.Count("intermediate_size");
  MoeSpec moe;
  moe.num_experts = config.Count("n_routed_experts");
  moe.num_experts_per_token = config.Count("num_experts_per_tok");
  CheckExpertsPerToken(config, moe);
  moe.expert_ffn_size = config.Count("moe_intermediate_size");
  moe.shared_ffn_size = config.Count("n_shared_experts", 0, 1024) * moe.expert_ffn_size;
  if (config.FindText("topk_method").value_or("noaux_tc") != "noaux_tc") {
    config.Refuse("topk_method", "expected noaux_tc, the only choice of experts that is supported");
  }
  moe.router_correction_bias = true;
  if (model.NumLayers(LayerKind::kDense) > 0) model.ffn_size = dense_size;
  if (model.NumLayers(LayerKind::kMoe) > 0) model.moe = moe;
  IgnoreIrrelevantMoeKeys(config);
}

struct Family {
  std::string_view architecture;
  void (*read)(ConfigReader& config, ModelSpec& model);
};

constexpr std::array<Family, 7> kFamilies = {{{"LlamaForCausalLM", ReadLlama},
                                              {"MixtralForCausalLM", ReadMixtral},
                                              {"Qwen2ForCausalLM", ReadQwen2},
                                              {"Qwen3ForCausalLM", ReadQwen3},
                                              {"Qwen2MoeForCausalLM", ReadQwen2Moe},
                                              {"Qwen3MoeForCausalLM", ReadQwen3Moe},
                                              {"DeepseekV3ForCausalLM", ReadDeepSeekV3}}};

const Family& FindFamily(ConfigReader& config, std::string_view place) {
  const std::vector<std::string> architectures = config.Texts("architectures");
  if (architectures.size() != 1) {
    throw SpecError(config.PlaceOf("architectures"),
                    "found " + std::to_string(architectures.size()) + " architectures, expected one");
  }
  std::vector<std::string> known;
  for (const Family& family : kFamilies) {
    if (family.architecture == architectures[0]) return family;
    known.emplace_back(family.architecture);
  }
  throw SpecError(json::Place(place, "/architectures/0"),
                  "found \"" + architectures[0] + "\", expected one of " + internal::JoinNames(known, ", "));
}

// ---- Data types ----

void ReadDTypes(ConfigReader& config, ModelSpec& model, std::vector<std::string>* warnings) {
  const std::string_view key = config.FindText("dtype") ? "dtype" : "torch_dtype";
  config.Ignore({"torch_dtype"});
  const auto text = config.FindText(key);
  if (!text && warnings != nullptr) warnings->push_back(config.PlaceOf("torch_dtype") + ": missing, bf16 assumed");
  const DType dtype = text ? ParseDType(*text, config.PlaceOf(key)) : DType::kBf16;
  model.weight_dtype = model.embedding_dtype = model.activation_dtype = model.residual_dtype = model.kv_dtype = dtype;
}

/// Whether FP8 recipes leave a module unquantised as a rule: ModelSpec::embedding_dtype is its type.
bool IsLeftUnquantized(std::string_view module) {
  static constexpr std::array<std::string_view, 4> kEndings = {"lm_head", "embed_tokens", "norm", "gate"};
  return std::any_of(kEndings.begin(), kEndings.end(), [&](std::string_view end) { return module.ends_with(end); });
}

/// FP8 as DeepSeek and Qwen publish it: the layers' projections, with activations quantised on the way in.
void ReadQuantization(ConfigReader& config, ModelSpec& model, std::vector<std::string>* warnings) {
  const nlohmann::json* object = config.FindObject("quantization_config");
  if (object == nullptr) return;
  ConfigReader quantization(*object, config.PlaceOf("quantization_config"));
  if (quantization.Text("quant_method") != "fp8") {
    quantization.Refuse("quant_method", "expected fp8; for others give the unquantised config.json and --weight-dtype");
  }
  if (const auto scheme = quantization.FindText("activation_scheme");
      scheme && *scheme != "dynamic" && *scheme != "static") {
    quantization.Refuse("activation_scheme", "expected dynamic or static");
  }
  const std::vector<std::int64_t> block = quantization.Integers("weight_block_size");
  const bool square = block.empty() || (block.size() == 2 && block[0] == block[1] && block[0] > 0);
  if (!square) quantization.Refuse("weight_block_size", "expected two equal sizes, or null for one scale a tensor");
  for (const std::string_view key : {"modules_to_not_convert", "ignored_layers"}) {
    for (const std::string& module : quantization.Texts(key)) {
      if (!IsLeftUnquantized(module)) {
        quantization.Refuse(key, "\"" + module + "\" is a projection; all of them are taken as quantised");
      }
    }
  }
  quantization.Ignore({"fmt", "scale_fmt"});
  quantization.Finish(warnings);
  model.weight_dtype = model.activation_dtype = DType::kFp8;
  model.weight_quant_block = block.empty() ? 0 : block[0];
}

/// Weights of 16 bits or more leave nothing of the file's quantisation: its block scales and activation type go too.
void ApplyOverrides(const ModelOverrides& overrides, ModelSpec& model) {
  if (!overrides.weight_dtype.empty()) {
    model.weight_dtype = ParseDType(overrides.weight_dtype, "--weight-dtype");
    if (BitsPerElement(model.weight_dtype) >= 16) {
      model.weight_quant_block = 0;
      model.activation_dtype = model.residual_dtype;
    }
  }
  if (!overrides.activation_dtype.empty()) {
    model.activation_dtype = ParseDType(overrides.activation_dtype, "--activation-dtype");
  }
  if (!overrides.kv_dtype.empty()) model.kv_dtype = ParseDType(overrides.kv_dtype, "--kv-dtype");
  if (overrides.weight_quant_block >= 0) {
    if (overrides.weight_quant_block > 0 && BitsPerElement(model.weight_dtype) >= 16) {
      throw SpecError("--weight-quant-block", "found " + std::to_string(overrides.weight_quant_block) +
                                                  ", expected 0: " + std::string(ToString(model.weight_dtype)) +
                                                  " weights have no scales");
    }
    if (overrides.weight_quant_block > ConfigReader::kMaxSize) {
      throw SpecError("--weight-quant-block", "found " + std::to_string(overrides.weight_quant_block) +
                                                  ", expected at most " + std::to_string(ConfigReader::kMaxSize));
    }
    model.weight_quant_block = overrides.weight_quant_block;
  }
}

/// The file's name without extension, or its folder's where it is the usual config.json.
std::string NameFromPlace(std::string_view place) {
  const std::filesystem::path path(place);
  if (path.filename() != "config.json") return path.stem().string();
  const std::string folder = std::filesystem::absolute(path).parent_path().filename().string();
  return folder.empty() ? "config" : folder;
}

}  // namespace

ModelSpec ParseModelConfig(std::string_view text, std::string_view place, const ModelOverrides& overrides,
                           std::vector<std::string>* warnings) {
  const nlohmann::json document = json::ParseText(text, place);
  ConfigReader config(document, json::Place(place, ""));
  const Family& family = FindFamily(config, place);

  ModelSpec model;
  model.name = NameFromPlace(place);
  model.num_layers = config.Count("num_hidden_layers", 1, kMaxLayers);
  model.hidden_size = config.Count("hidden_size");
  model.vocab_size = config.Count("vocab_size");
  model.tie_word_embeddings = config.Flag("tie_word_embeddings", false);
  family.read(config, model);
  ReadDTypes(config, model, warnings);
  ReadQuantization(config, model, warnings);
  IgnoreIrrelevantKeys(config);
  config.Finish(warnings);
  ApplyOverrides(overrides, model);

  const auto count = internal::TryCountParameters(model);
  if (!count || count->total > kMaxParameters) {
    throw SpecError(json::Place(place, ""), "the sizes give more than 2^53 parameters");
  }
  return model;
}

ModelSpec LoadModel(const std::string& name_or_path, const ModelOverrides& overrides,
                    std::vector<std::string>* warnings) {
  const std::string path = ResolvePreset("models", name_or_path, "--model");
  return ParseModelConfig(ReadTextFile(path), path, overrides, warnings);
}

}  // namespace shardscout
