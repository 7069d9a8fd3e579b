// What each family means by the keys of its config.json, as transformers' modelling files read them: which layers are
// MoE, which see a window only, which projections have biases. A key whose default in the configuration class is one
// model's size is required here.

#include "src/model_families.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace shardscout::internal {
namespace {

// ---- Parts that families share ----

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

/// `windowed` says of each layer whether attention.sliding_window holds there.
void SetWindows(ModelSpec& model, std::int64_t window, const std::vector<bool>& windowed) {
  const auto num_windowed = std::count(windowed.begin(), windowed.end(), true);
  if (num_windowed == 0) return;
  model.attention.sliding_window = window;
  if (num_windowed == model.num_layers) return;
  for (std::int64_t i = 0; i < model.num_layers; ++i) {
    if (!windowed[static_cast<std::size_t>(i)]) model.full_attention_layers.push_back(i);
  }
}

/// Newer files list the attention of every layer, as full_attention or `windowed_type`, which has `window_key`.
void ReadLayerTypes(ConfigReader& config, ModelSpec& model, std::string_view windowed_type,
                    std::string_view window_key) {
  const std::vector<std::string> types = config.Texts("layer_types");
  if (std::cmp_not_equal(types.size(), model.num_layers)) {
    config.Refuse("layer_types", "expected one entry a layer, " + std::to_string(model.num_layers));
  }
  std::vector<bool> windowed;
  for (const std::string& type : types) {
    if (type != "full_attention" && type != windowed_type) {
      config.Refuse("layer_types",
                    "\"" + type + "\" isn't supported; expected full_attention or " + std::string(windowed_type));
    }
    windowed.push_back(type == windowed_type);
  }
  const bool any = std::find(windowed.begin(), windowed.end(), true) != windowed.end();
  SetWindows(model, any ? config.Count(window_key) : 0, windowed);
}

/// Qwen's window: where use_sliding_window is on, in the layers from max_window_layers on, or as layer_types says.
void ReadQwenWindows(ConfigReader& config, ModelSpec& model) {
  const bool on = config.Flag("use_sliding_window", false);
  config.Ignore({"sliding_window", "max_window_layers"});
  if (config.Has("layer_types")) {
    ReadLayerTypes(config, model, "sliding_attention", "sliding_window");
  } else if (on) {
    const std::int64_t first = config.Count("max_window_layers", 0);
    std::vector<bool> windowed;
    for (std::int64_t i = 0; i < model.num_layers; ++i) windowed.push_back(i >= first);
    SetWindows(model, config.Count("sliding_window"), windowed);
  }
}

void MakeDense(ConfigReader& config, ModelSpec& model) {
  model.ffn_size = config.Count("intermediate_size");
  model.layers.assign(static_cast<std::size_t>(model.num_layers), LayerKind::kDense);
}

/// Keeps only the sizes that some layer has.
void SetFfnSizes(ModelSpec& model, std::int64_t dense_size, const MoeSpec& moe) {
  if (model.NumLayers(LayerKind::kDense) > 0) model.ffn_size = dense_size;
  if (model.NumLayers(LayerKind::kMoe) > 0) model.moe = moe;
}

void MakeAllMoe(ModelSpec& model) { model.layers.assign(static_cast<std::size_t>(model.num_layers), LayerKind::kMoe); }

MoeSpec ReadExperts(ConfigReader& config, std::string_view experts_key, std::string_view size_key) {
  MoeSpec moe;
  moe.num_experts = config.Count(experts_key);
  moe.num_experts_per_token = config.Count("num_experts_per_tok");
  if (moe.num_experts_per_token > moe.num_experts) {
    config.Refuse("num_experts_per_tok", "expected at most the " + std::to_string(moe.num_experts) + " experts");
  }
  moe.expert_ffn_size = config.Count(size_key);
  return moe;
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
  model.moe = ReadExperts(config, "num_local_experts", "intermediate_size");
  MakeAllMoe(model);
  IgnoreIrrelevantMoeKeys(config);
}

void ReadQwen2(ConfigReader& config, ModelSpec& model) {
  config.Require({"num_key_value_heads"});
  model.attention = ReadGroupedAttention(config, model.hidden_size);
  model.attention.qkv_bias = true;
  ReadQwenWindows(config, model);
  MakeDense(config, model);
}

void ReadQwen3(ConfigReader& config, ModelSpec& model) {
  config.Require({"num_key_value_heads", "head_dim"});
  model.attention = ReadGroupedAttention(config, model.hidden_size);
  model.attention.qkv_bias = model.attention.output_bias = config.Flag("attention_bias", false);
  model.attention.qk_norm = true;
  ReadQwenWindows(config, model);
  MakeDense(config, model);
}

/// Layer i is MoE unless it is in mlp_only_layers or i + 1 isn't a multiple of decoder_sparse_step. intermediate_size
/// is needed for dense layers only.
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

  const bool has_dense = model.NumLayers(LayerKind::kDense) > 0;
  const auto dense_size = has_dense ? config.Count("intermediate_size") : config.FindCount("intermediate_size");
  const MoeSpec moe = ReadExperts(config, "num_experts", "moe_intermediate_size");
  SetFfnSizes(model, dense_size.value_or(0), moe);
  IgnoreIrrelevantMoeKeys(config);
}

/// A shared expert with its own gate.
void ReadQwenSharedExpert(ConfigReader& config, ModelSpec& model) {
  const std::int64_t shared_size = config.Count("shared_expert_intermediate_size", 0);
  if (!model.HasMoe() || shared_size == 0) return;
  model.moe.shared_ffn_size = shared_size;
  model.moe.shared_expert_gate = true;
}

void ReadQwen2Moe(ConfigReader& config, ModelSpec& model) {
  config.Require({"num_key_value_heads"});
  model.attention = ReadGroupedAttention(config, model.hidden_size);
  model.attention.qkv_bias = config.Flag("qkv_bias", true);
  config.RefuseUnlessOff("use_sliding_window", "windows of this family are read from layer_types only");
  ReadQwenWindows(config, model);
  ReadQwenExperts(config, model);
  ReadQwenSharedExpert(config, model);
}

void ReadQwen3Moe(ConfigReader& config, ModelSpec& model) {
  config.Require({"num_key_value_heads", "head_dim"});
  model.attention = ReadGroupedAttention(config, model.hidden_size);
  model.attention.qkv_bias = model.attention.output_bias = config.Flag("attention_bias", false);
  model.attention.qk_norm = true;
  if (!config.Flag("use_qk_norm", true)) config.Refuse("use_qk_norm", "this family always normalises q and k");
  config.RefuseUnlessOff("qkv_bias", "this family has no such bias; attention_bias is its key");
  config.RefuseUnlessOff("shared_expert_intermediate_size", "this family has no shared expert");
  config.RefuseUnlessOff("use_sliding_window", "windows of this family are read from layer_types only");
  ReadQwenWindows(config, model);
  ReadQwenExperts(config, model);
}

/// Of every full_attention_interval layers, 4 by default, the last sees all positions and the others are linear.
void ReadLinearLayers(ConfigReader& config, ModelSpec& model) {
  const std::int64_t interval = config.FindCount("full_attention_interval").value_or(4);
  std::vector<std::string> types = config.Texts("layer_types");
  if (types.empty()) {
    for (std::int64_t i = 0; i < model.num_layers; ++i) {
      types.emplace_back((i + 1) % interval == 0 ? "full_attention" : "linear_attention");
    }
  }
  if (std::cmp_not_equal(types.size(), model.num_layers)) {
    config.Refuse("layer_types", "expected one entry a layer, " + std::to_string(model.num_layers));
  }
  for (std::size_t i = 0; i < types.size(); ++i) {
    if (types[i] == "full_attention") continue;
    if (types[i] != "linear_attention") {
      config.Refuse("layer_types", "\"" + types[i] + "\" isn't supported; expected full_attention or linear_attention");
    }
    model.linear_attention_layers.push_back(static_cast<std::int64_t>(i));
  }
  if (std::cmp_equal(model.linear_attention_layers.size(), model.num_layers)) {
    config.Refuse(config.Has("layer_types") ? "layer_types" : "num_hidden_layers",
                  "expected a layer with full attention among those with linear attention");
  }
}

/// The attention of Qwen3-Next and Qwen3.5: Gated DeltaNet layers, and between them grouped attention with a gate on
/// its output.
void ReadQwenHybridAttention(ConfigReader& config, ModelSpec& model) {
  config.Require({"num_key_value_heads", "head_dim"});
  model.attention = ReadGroupedAttention(config, model.hidden_size);
  model.attention.qkv_bias = model.attention.output_bias = config.Flag("attention_bias", false);
  model.attention.qk_norm = true;
  model.attention.output_gate = config.Flag("attn_output_gate", true);
  config.RefuseUnlessOff("use_sliding_window", "windows are not supported in this family");
  ReadLinearLayers(config, model);
  LinearAttentionSpec linear{.num_key_heads = config.Count("linear_num_key_heads"),
                             .num_value_heads = config.Count("linear_num_value_heads"),
                             .key_head_dim = config.Count("linear_key_head_dim"),
                             .value_head_dim = config.Count("linear_value_head_dim"),
                             .conv_width = config.Count("linear_conv_kernel_dim")};
  if (linear.num_value_heads % linear.num_key_heads != 0) {
    config.Refuse("linear_num_value_heads",
                  "expected a multiple of linear_num_key_heads " + std::to_string(linear.num_key_heads));
  }
  if (const auto dtype = config.FindText("mamba_ssm_dtype")) {
    linear.state_dtype = ParseDType(*dtype, config.PlaceOf("mamba_ssm_dtype"));
  }
  if (model.HasLinearAttention()) model.linear_attention = linear;
  // Multi-token prediction is no part of the main model.
  config.Ignore({"sliding_window", "max_window_layers", "partial_rotary_factor", "output_gate_type",
                 "mtp_num_hidden_layers", "mtp_use_dedicated_embeddings"});
}

void ReadQwen3Next(ConfigReader& config, ModelSpec& model) {
  ReadQwenHybridAttention(config, model);
  ReadQwenExperts(config, model);
  ReadQwenSharedExpert(config, model);
}

void ReadQwen35(ConfigReader& config, ModelSpec& model) {
  ReadQwenHybridAttention(config, model);
  MakeDense(config, model);
  config.Ignore({"mlp_only_layers"});
}

/// DeepSeek's keys for where experts are and what they are, which GLM-4.5 uses too.
void ReadDeepSeekExperts(ConfigReader& config, ModelSpec& model) {
  const std::int64_t first_moe = config.Count("first_k_dense_replace", 0);
  const std::int64_t frequency = config.FindCount("moe_layer_freq").value_or(1);
  for (std::int64_t i = 0; i < model.num_layers; ++i) {
    model.layers.push_back(i >= first_moe && i % frequency == 0 ? LayerKind::kMoe : LayerKind::kDense);
  }
  const std::int64_t dense_size = config.Count("intermediate_size");
  MoeSpec moe = ReadExperts(config, "n_routed_experts", "moe_intermediate_size");
  moe.shared_ffn_size = config.Count("n_shared_experts", 0, 1024) * moe.expert_ffn_size;
  if (config.FindText("topk_method").value_or("noaux_tc") != "noaux_tc") {
    config.Refuse("topk_method", "expected noaux_tc, the only choice of experts that is supported");
  }
  moe.router_correction_bias = true;
  SetFfnSizes(model, dense_size, moe);
  IgnoreIrrelevantMoeKeys(config);
  // Multi-token prediction is no part of the main model.
  config.Ignore({"num_nextn_predict_layers"});
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
  ReadDeepSeekExperts(config, model);
}

/// DeepSeek-V3.2 and GLM-5: DeepSeek-V3 with an indexer.
void ReadDeepSeekSparse(ConfigReader& config, ModelSpec& model) {
  ReadDeepSeekV3(config, model);
  if (model.attention.q_lora_rank == 0) config.Refuse("q_lora_rank", "the indexer needs the query's latent");
  model.attention.index_heads = config.Count("index_n_heads");
  model.attention.index_head_dim = config.Count("index_head_dim");
  model.attention.index_topk = config.Count("index_topk");
  config.Ignore({"indexer_rope_interleave"});
}

void ReadGlm4Moe(ConfigReader& config, ModelSpec& model) {
  config.Require({"num_key_value_heads", "head_dim"});
  model.attention = ReadGroupedAttention(config, model.hidden_size);
  model.attention.qkv_bias = config.Flag("attention_bias", false);
  model.attention.qk_norm = config.Flag("use_qk_norm", false);
  ReadDeepSeekExperts(config, model);
  config.Ignore({"partial_rotary_factor"});
}

void ReadGptOss(ConfigReader& config, ModelSpec& model) {
  config.Require({"num_key_value_heads", "head_dim", "layer_types"});
  model.attention = ReadGroupedAttention(config, model.hidden_size);
  model.attention.qkv_bias = model.attention.output_bias = config.Flag("attention_bias", true);
  model.attention.sinks = true;
  ReadLayerTypes(config, model, "sliding_attention", "sliding_window");
  config.Ignore({"sliding_window"});
  model.moe = ReadExperts(config, "num_local_experts", "intermediate_size");
  model.moe.router_bias = model.moe.expert_bias = true;
  MakeAllMoe(model);
  config.Ignore({"initial_context_length", "swiglu_limit"});
  IgnoreIrrelevantMoeKeys(config);
}

/// Chunked attention in the layers with rotary positions, all positions in those without, every fourth by default.
void ReadLlama4Attention(ConfigReader& config, ModelSpec& model) {
  if (config.Has("layer_types")) {
    ReadLayerTypes(config, model, "chunked_attention", "attention_chunk_size");
    config.Ignore({"no_rope_layers", "no_rope_layer_interval", "attention_chunk_size"});
    return;
  }
  const auto chunk = config.FindCount("attention_chunk_size");
  const std::int64_t interval = config.FindCount("no_rope_layer_interval").value_or(4);
  const std::vector<std::int64_t> rope = config.Integers("no_rope_layers");  // 1: the layer has rotary positions
  if (!rope.empty() && std::cmp_not_equal(rope.size(), model.num_layers)) {
    config.Refuse("no_rope_layers", "expected one entry a layer, " + std::to_string(model.num_layers));
  }
  if (!chunk) return;
  std::vector<bool> chunked;
  for (std::int64_t i = 0; i < model.num_layers; ++i) {
    chunked.push_back(rope.empty() ? (i + 1) % interval != 0 : rope[static_cast<std::size_t>(i)] != 0);
  }
  SetWindows(model, *chunk, chunked);
}

void ReadLlama4(ConfigReader& config, ModelSpec& model) {
  config.Require({"num_key_value_heads", "head_dim"});
  model.attention = ReadGroupedAttention(config, model.hidden_size);
  model.attention.qkv_bias = model.attention.output_bias = config.Flag("attention_bias", false);
  ReadLlama4Attention(config, model);
  const std::int64_t step = config.Count("interleave_moe_layer_step");
  std::vector<std::int64_t> moe_layers = config.Integers("moe_layers");
  for (std::int64_t i = 0; i < model.num_layers; ++i) {
    const bool listed = std::find(moe_layers.begin(), moe_layers.end(), i) != moe_layers.end();
    const bool is_moe = moe_layers.empty() ? (i + 1) % step == 0 : listed;
    model.layers.push_back(is_moe ? LayerKind::kMoe : LayerKind::kDense);
  }
  MoeSpec moe = ReadExperts(config, "num_local_experts", "intermediate_size");
  moe.shared_ffn_size = moe.expert_ffn_size;
  SetFfnSizes(model, config.Count("intermediate_size_mlp"), moe);
  IgnoreIrrelevantMoeKeys(config);
  // Its norm of q and k has no weights and stays within a head.
  config.Ignore({"use_qk_norm", "attn_scale", "attn_temperature_tuning", "floor_scale", "for_llm_compressor",
                 "cache_implementation"});
}

void ReadMiniMaxM2(ConfigReader& config, ModelSpec& model) {
  config.Require({"num_key_value_heads", "head_dim"});
  model.attention = ReadGroupedAttention(config, model.hidden_size);
  if (config.Flag("use_qk_norm", false)) {
    const std::string type = config.FindText("qk_norm_type").value_or("per_layer");
    if (type != "per_layer") config.Refuse("qk_norm_type", "expected per_layer, one norm over all heads");
    model.attention.whole_qk_norm = true;
  }
  config.Ignore({"qk_norm_type"});
  for (const std::int64_t type : config.Integers("attn_type_list")) {
    if (type != 1) config.Refuse("attn_type_list", "expected 1, full attention, in every layer");
  }
  config.RefuseUnlessOff("sliding_window", "windows are not supported in this family");
  model.moe = ReadExperts(config, "num_local_experts", "intermediate_size");
  model.moe.router_correction_bias = config.Flag("use_routing_bias", false);
  config.RefuseUnlessOff("shared_intermediate_size", "a shared expert is not supported in this family");
  MakeAllMoe(model);
  // Multi-token prediction is no part of the main model.
  config.Ignore({"rotary_dim", "use_mtp", "num_mtp_modules", "mtp_transformer_layers"});
  IgnoreIrrelevantMoeKeys(config);
}

void ReadDbrx(ConfigReader& config, ModelSpec& model) {
  const auto nested = [&](std::string_view key) {
    config.Require({key});
    return ConfigReader(*config.FindObject(key), config.PlaceOf(key));
  };
  ConfigReader attention = nested("attn_config");
  model.attention.num_heads = config.Count("n_heads");
  model.attention.num_kv_heads = attention.Count("kv_n_heads");
  if (model.attention.num_heads % model.attention.num_kv_heads != 0) {
    attention.Refuse("kv_n_heads", "expected a divisor of n_heads " + std::to_string(model.attention.num_heads));
  }
  if (model.hidden_size % model.attention.num_heads != 0) {
    config.Refuse("n_heads", "expected a divisor of d_model " + std::to_string(model.hidden_size));
  }
  model.attention.head_dim = model.hidden_size / model.attention.num_heads;
  attention.Ignore({"clip_qkv", "rope_theta", "attn_pdrop", "model_type"});
  attention.Finish(nullptr);

  ConfigReader ffn = nested("ffn_config");
  model.moe = ReadExperts(ffn, "moe_num_experts", "ffn_hidden_size");
  ffn.Ignore({"moe_loss_weight", "moe_jitter_eps", "moe_normalize_expert_weights", "uniform_expert_assignment",
              "ffn_act_fn", "model_type"});
  ffn.Finish(nullptr);
  MakeAllMoe(model);
  config.Ignore({"max_seq_len", "emb_pdrop", "resid_pdrop", "router_aux_loss_coef", "output_router_logits"});
}

void ReadGrok1(ConfigReader& config, ModelSpec& model) {
  config.Require({"num_key_value_heads"});
  model.attention = ReadGroupedAttention(config, model.hidden_size);
  model.moe = ReadExperts(config, "num_local_experts", "intermediate_size");
  MakeAllMoe(model);
  model.norms_per_layer = config.FindCount("norms_per_layer").value_or(4);
  if (model.norms_per_layer != 2 && model.norms_per_layer != 4) config.Refuse("norms_per_layer", "expected 2 or 4");
  config.Ignore({"widening_factor", "embedding_multiplier_scale", "output_multiplier_scale", "attn_output_multiplier"});
  IgnoreIrrelevantMoeKeys(config);
}

void ReadGpt2(ConfigReader& config, ModelSpec& model) {
  model.tie_word_embeddings = config.Flag("tie_word_embeddings", true);
  model.attention = ReadGroupedAttention(config, model.hidden_size);
  model.attention.qkv_bias = model.attention.output_bias = true;
  model.ffn_size = config.FindCount("n_inner").value_or(4 * model.hidden_size);
  model.layers.assign(static_cast<std::size_t>(model.num_layers), LayerKind::kDense);
  model.gated_ffn = false;
  model.ffn_bias = model.norm_bias = true;
  model.learned_positions = config.Count("n_positions");
  config.Ignore({"n_ctx", "activation_function", "layer_norm_epsilon", "attn_pdrop", "embd_pdrop", "resid_pdrop",
                 "scale_attn_weights", "scale_attn_by_inverse_layer_idx", "reorder_and_upcast_attn", "summary_type",
                 "summary_use_proj", "summary_activation", "summary_proj_to_labels", "summary_first_dropout",
                 "task_specific_params"});
}

/// With or without use_parallel_residual (see ModelSpec).
void ReadGptNeoX(ConfigReader& config, ModelSpec& model) {
  model.attention = ReadGroupedAttention(config, model.hidden_size);
  model.attention.qkv_bias = model.attention.output_bias = config.Flag("attention_bias", true);
  MakeDense(config, model);
  model.gated_ffn = false;
  model.ffn_bias = model.norm_bias = true;
  config.Ignore({"rotary_pct", "rotary_emb_base", "use_parallel_residual", "layer_norm_eps", "classifier_dropout",
                 "partial_rotary_factor"});
}

constexpr std::array<Family, 22> kFamilies = {{{"LlamaForCausalLM", ReadLlama},
                                               {"MixtralForCausalLM", ReadMixtral},
                                               {"Qwen2ForCausalLM", ReadQwen2},
                                               {"Qwen3ForCausalLM", ReadQwen3},
                                               {"Qwen2MoeForCausalLM", ReadQwen2Moe},
                                               {"Qwen3MoeForCausalLM", ReadQwen3Moe},
                                               {"Qwen3NextForCausalLM", ReadQwen3Next},
                                               {"Qwen3_5ForCausalLM", ReadQwen35},
                                               {"Qwen3_5ForConditionalGeneration", ReadQwen35, "text_config"},
                                               {"Qwen3_5MoeForCausalLM", ReadQwen3Next},
                                               {"Qwen3_5MoeForConditionalGeneration", ReadQwen3Next, "text_config"},
                                               {"DeepseekV3ForCausalLM", ReadDeepSeekV3},
                                               {"DeepseekV32ForCausalLM", ReadDeepSeekSparse},
                                               {"GlmMoeDsaForCausalLM", ReadDeepSeekSparse},
                                               {"Glm4MoeForCausalLM", ReadGlm4Moe},
                                               {"GptOssForCausalLM", ReadGptOss, "", DType::kBf16},
                                               {"Llama4ForConditionalGeneration", ReadLlama4, "text_config"},
                                               {"MiniMaxM2ForCausalLM", ReadMiniMaxM2, "", DType::kBf16},
                                               {"DbrxForCausalLM", ReadDbrx},
                                               {"Grok1ForCausalLM", ReadGrok1},
                                               {"GPT2LMHeadModel", ReadGpt2},
                                               {"GPTNeoXForCausalLM", ReadGptNeoX}}};

}  // namespace

std::span<const Family> Families() { return kFamilies; }

}  // namespace shardscout::internal
