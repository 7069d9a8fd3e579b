#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "shardscout/dtype.h"

namespace shardscout {

/// kGrouped covers MHA (kv heads = heads), GQA and MQA (one kv head). kMultiLatent is DeepSeek's MLA.
enum class AttentionKind : std::uint8_t { kGrouped, kMultiLatent };

enum class LayerKind : std::uint8_t { kDense, kMoe };

/// Invariants: num_heads >= 1. Grouped: num_heads % num_kv_heads == 0 and the *_lora_rank, qk_* and v_head_dim fields
/// are 0. Multi-latent: num_kv_heads == 1 (the latent and its rope key are one KV head) and head_dim == 0.
struct AttentionSpec {
  AttentionKind kind = AttentionKind::kGrouped;
  std::int64_t num_heads = 1;
  std::int64_t num_kv_heads = 1;
  std::int64_t head_dim = 0;          ///< Grouped: size of a query, key and value head.
  std::int64_t q_lora_rank = 0;       ///< MLA: 0 means that q is projected directly from the hidden state.
  std::int64_t kv_lora_rank = 0;      ///< MLA: size of the latent.
  std::int64_t qk_nope_head_dim = 0;  ///< MLA
  std::int64_t qk_rope_head_dim = 0;  ///< MLA
  std::int64_t v_head_dim = 0;        ///< MLA
  std::int64_t sliding_window = 0;    ///< Positions that a query sees, itself included; 0 means all.
  bool qkv_bias = false;
  bool output_bias = false;
  bool qk_norm = false;  ///< A norm over each query and key head (Qwen3).

  /// Size of a query (and key) head as used in the scores: head_dim, or qk_nope_head_dim + qk_rope_head_dim.
  std::int64_t QkHeadDim() const;
  /// Size of a value head: head_dim, or v_head_dim.
  std::int64_t VHeadDim() const;
  bool operator==(const AttentionSpec&) const = default;
};

/// num_experts == 0 means that the model has no MoE layer, and then every field is 0.
struct MoeSpec {
  std::int64_t num_experts = 0;
  std::int64_t num_experts_per_token = 0;
  std::int64_t expert_ffn_size = 0;     ///< Inner width of one routed expert.
  std::int64_t shared_ffn_size = 0;     ///< Inner width of the shared experts together; 0 without them.
  bool shared_expert_gate = false;      ///< One extra hidden-sized gate for the shared expert (Qwen2-MoE).
  bool router_correction_bias = false;  ///< One bias an expert, used for the choice only (DeepSeek-V3).
  bool operator==(const MoeSpec&) const = default;
};

/// The structure of a decoder-only transformer: everything needed to count parameters, FLOPs, bytes and KV cache
/// exactly. Invariants: layers.size() == num_layers; moe.num_experts > 0 iff some layer is kMoe; ffn_size > 0 iff some
/// layer is kDense.
struct ModelSpec {
  std::string name;
  std::int64_t num_layers = 0;
  std::int64_t hidden_size = 0;
  std::int64_t vocab_size = 0;
  bool tie_word_embeddings = false;
  AttentionSpec attention;
  std::int64_t ffn_size = 0;  ///< Inner width of a dense layer's FFN.
  bool ffn_bias = false;      ///< A bias on each matrix of the dense FFN (Llama's mlp_bias).
  bool gated_ffn = true;      ///< Up and gate projections and a down projection (3 matrices) instead of 2.
  MoeSpec moe;
  std::vector<LayerKind> layers;

  DType weight_dtype = DType::kBf16;  ///< Of the layers' projection matrices.
  DType embedding_dtype =
      DType::kBf16;  ///< Of embedding, lm_head, router gate and norms (left unquantised by FP8 recipes).
  DType activation_dtype =
      DType::kBf16;  ///< Of the inputs of the layers' matrix products, and of what a MoE dispatch carries.
  DType residual_dtype = DType::kBf16;  ///< Of the residual stream and of every other activation that is communicated.
  DType kv_dtype = DType::kBf16;        ///< Of the KV cache.
  std::int64_t weight_quant_block = 0;  ///< Side of the square blocks of the weight scales; 0: no block scales.
  DType scale_dtype = DType::kFp32;     ///< Of one block scale.

  std::int64_t NumLayers(LayerKind kind) const;
  bool HasMoe() const { return moe.num_experts > 0; }
  bool HasDense() const { return ffn_size > 0; }
  bool HasSharedExpert() const { return moe.shared_ffn_size > 0; }
  bool operator==(const ModelSpec&) const = default;
};

/// Parameter counts of the main model (no multi-token-prediction layers), biases and norms included.
struct ParameterCount {
  std::int64_t total = 0;
  std::int64_t active =
      0;  ///< Used for one token: embedding and lm_head whole, routed experts times experts_per_token.
  bool operator==(const ParameterCount&) const = default;
};

/// Formulas: facts of Hugging Face's modelling files, per layer, h hidden, H heads, d head size:
///   grouped  h*H*d + 2*h*kv*d + H*d*h;
///   MLA      h*ql + ql + ql*H*(nope+rope) + h*(kl+rope) + kl + kl*H*(nope+v) + H*v*h (ql = 0: h*H*(nope+rope) for q);
///   FFN      3*h*ffn gated, else 2*h*ffn; MoE E*3*h*expert_ffn + 3*h*shared + h*E (+E, +h); two norms of h.
ParameterCount CountParameters(const ModelSpec& model);

/// Elements that one token adds to the KV cache, over all layers: 2*kv*d a layer, MLA kv_lora_rank + rope.
std::int64_t KvElementsPerToken(const ModelSpec& model);

/// What a configuration may override (the command line's --weight-dtype and so on); unset fields keep the file's
/// values.
struct ModelOverrides {
  std::string weight_dtype{};
  std::string activation_dtype{};
  std::string kv_dtype{};
  std::int64_t weight_quant_block = -1;
};

/// Reads a Hugging Face config.json as it is. `place` names the file in errors. Keys are used, known to be irrelevant,
/// or reported in `warnings`; an architecture, attention or MoE feature that is not understood is a SpecError that
/// names the key. Families: Llama, Mixtral, Qwen2, Qwen3, Qwen2-MoE, Qwen3-MoE, DeepSeek-V3/R1, Kimi-K2.
ModelSpec ParseModelConfig(std::string_view json, std::string_view place, const ModelOverrides& overrides,
                           std::vector<std::string>* warnings);

/// `name_or_path`: a file, or the name of a preset under configs/models (with or without .json). See preset_paths.h for
/// the search order.
ModelSpec LoadModel(const std::string& name_or_path, const ModelOverrides& overrides = {},
                    std::vector<std::string>* warnings = nullptr);

}  // namespace shardscout
