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

/// Invariants: num_heads >= 1. Grouped: num_heads % num_kv_heads == 0 and the *_lora_rank, qk_*, v_head_dim and index_*
/// fields are 0. Multi-latent: num_kv_heads == 1 (the latent and its rope key are one KV head) and head_dim == 0. The
/// index_* fields are all 0 or all positive. output_gate only if grouped and not whole_qk_norm.
///
/// The indexer (DeepSeek Sparse Attention, DeepSeek-V3.2 and GLM-5) scores every earlier position with index_heads
/// small heads (sum over heads of weight * relu(query * key)) and attention sees the index_topk best positions only.
/// Its matrices are [q_lora_rank, index_heads * index_head_dim], [hidden, index_head_dim] and [hidden, index_heads];
/// its key has a norm with scale and bias, and is cached beside the latent (IndexCacheBytesPerToken).
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
  std::int64_t sliding_window = 0;    ///< Positions that a query sees, itself included; 0 means all. In all layers but
                                      ///< ModelSpec::full_attention_layers.
  std::int64_t index_heads = 0;       ///< Indexer: its heads; 0 without an indexer.
  std::int64_t index_head_dim = 0;    ///< Indexer: size of its queries and its one key.
  std::int64_t index_topk = 0;        ///< Indexer: positions that a query sees.
  bool qkv_bias = false;
  bool output_bias = false;
  bool qk_norm = false;        ///< A norm over each query and key head (Qwen3).
  bool whole_qk_norm = false;  ///< One norm over all query heads and one over all key heads (MiniMax-M2).
  bool sinks = false;          ///< One learned logit a head that joins the softmax (gpt-oss).
  bool output_gate = false;    ///< Grouped: a gate as wide as the query heads is projected with them, and its sigmoid
                               ///< scales what the heads give (Qwen3-Next).

  bool HasIndexer() const { return index_heads > 0; }

  /// Size of a query (and key) head as used in the scores: head_dim, or qk_nope_head_dim + qk_rope_head_dim.
  std::int64_t QkHeadDim() const;
  /// Size of a value head: head_dim, or v_head_dim.
  std::int64_t VHeadDim() const;
  bool operator==(const AttentionSpec&) const = default;
};

/// Linear attention as a Gated DeltaNet layer has it (Yang, Kautz and Hatamizadeh, arXiv 2412.06464; Qwen3-Next,
/// Qwen3.5). num_value_heads == 0: no layer has it, and then all sizes are 0. Else all are positive and num_key_heads
/// divides num_value_heads.
///
/// A layer projects its input to [q | k | v | z] and to two gates a value head, [b | a]. A causal convolution over
/// conv_width positions and silu go over each channel of q, k and v. With q and k of a head at unit length, and of
/// value head h those of key head floor(h * num_key_heads / num_value_heads), each value head keeps a state S
/// [key_head_dim, value_head_dim]:
///
///   S <- g S,  S <- S + k^T beta (v - k S),  o = q S / sqrt(key_head_dim)
///   beta = sigmoid(b), g = exp(-exp(A_log) softplus(a + dt_bias))
///
/// and o, normed over the head with one scale for all heads and times silu(z), is projected to the hidden size.
///
/// Worked example: 1 key head and 2 value heads, heads of 3 and 4, conv_width 4: q and k have 3 columns each, v and z
/// 8; the convolution has 14 channels; a request's state is 2*3*4 numbers of state_dtype and the last 3 inputs of each
/// channel.
struct LinearAttentionSpec {
  std::int64_t num_key_heads = 0;
  std::int64_t num_value_heads = 0;
  std::int64_t key_head_dim = 0;
  std::int64_t value_head_dim = 0;
  std::int64_t conv_width = 0;       ///< Positions that the convolution sees, its own included.
  DType state_dtype = DType::kFp32;  ///< Of S. (The convolution's inputs are kept as ModelSpec::residual_dtype.)

  std::int64_t ValueWidth() const { return num_value_heads * value_head_dim; }
  /// Of q, k and v.
  std::int64_t ConvChannels() const { return 2 * num_key_heads * key_head_dim + ValueWidth(); }
  bool operator==(const LinearAttentionSpec&) const = default;
};

/// num_experts == 0 means that the model has no MoE layer, and then every field is 0.
struct MoeSpec {
  std::int64_t num_experts = 0;
  std::int64_t num_experts_per_token = 0;
  std::int64_t expert_ffn_size = 0;     ///< Inner width of one routed expert.
  std::int64_t shared_ffn_size = 0;     ///< Inner width of the shared experts together; 0 without them.
  bool shared_expert_gate = false;      ///< One extra hidden-sized gate for the shared expert (Qwen2-MoE).
  bool router_correction_bias = false;  ///< One bias an expert, used for the choice only (DeepSeek-V3).
  bool router_bias = false;             ///< One bias an expert in the scores (gpt-oss).
  bool expert_bias = false;             ///< A bias on each matrix of each routed expert (gpt-oss).
  bool operator==(const MoeSpec&) const = default;
};

/// The structure of a decoder-only transformer: everything needed to count parameters, FLOPs, bytes and KV cache
/// exactly. Invariants: layers.size() == num_layers; moe.num_experts > 0 iff some layer is kMoe; ffn_size > 0 iff some
/// layer is kDense; full_attention_layers rises, lies below num_layers, and is empty unless attention.sliding_window >
/// 0 and some layers are not in it; linear_attention_layers rises, lies below num_layers, is empty exactly where
/// linear_attention is unset, and then some layer is not in it and attention is grouped without a window. What costs
/// nothing that a model of time and memory sees is not here: position embeddings by rotation, multipliers, clipping,
/// the order of residual sums (GPT-NeoX's parallel residual has the same matrices, FLOPs and, as frameworks run it,
/// reductions).
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
  /// Layers that see all positions although attention.sliding_window is set (gpt-oss: every other one).
  std::vector<std::int64_t> full_attention_layers;
  LinearAttentionSpec linear_attention;
  /// Layers with linear_attention in place of attention (Qwen3-Next: three of four).
  std::vector<std::int64_t> linear_attention_layers;
  std::int64_t learned_positions = 0;  ///< Rows of a learned position embedding (GPT-2).
  std::int64_t norms_per_layer = 2;    ///< 4: each block's output is normed as well (Grok-1); stored and counted, its
                                       ///< time taken as fused with the addition to the residual stream.
  bool norm_bias = false;              ///< Norms of the residual stream have a bias beside their scale (LayerNorm).

  DType weight_dtype = DType::kBf16;     ///< Of the layers' projection matrices, where they are quantised.
  DType embedding_dtype = DType::kBf16;  ///< Of embedding, lm_head, router gate, norms and biases (left unquantised by
                                         ///< all recipes) and of the parts that the flags below except.
  DType activation_dtype =
      DType::kBf16;  ///< Of the inputs of the layers' matrix products, and of what a MoE dispatch carries.
  DType residual_dtype = DType::kBf16;  ///< Of the residual stream and of every other activation that is communicated.
  DType kv_dtype = DType::kBf16;        ///< Of the KV cache.
  std::int64_t weight_quant_block = 0;  ///< Side of the square blocks of the weight scales; 0: no block scales.
  bool weight_quant_grouped = false;  ///< The blocks are weight_quant_block input features of one output feature (INT4,
                                      ///< MXFP4), not squares. A split must leave whole blocks either way.
  bool weight_zero_points = false;    ///< A zero point of weight_dtype beside each scale (asymmetric INT4).
  DType scale_dtype = DType::kFp32;   ///< Of one block scale; fp8 stands for the 8-bit exponent of MX formats.
  bool attention_quantised = true;    ///< weight_dtype and activation_dtype hold for attention's projections too.
  bool dense_ffn_quantised = true;    ///< The same for the FFN of dense layers.
  bool shared_expert_quantised = true;  ///< The same for the shared expert. Routed experts are always quantised.

  std::int64_t NumLayers(LayerKind kind) const;
  /// weight_quant_block of a part, 0 where the part is not quantised.
  std::int64_t AttentionQuantBlock() const { return attention_quantised ? weight_quant_block : 0; }
  std::int64_t DenseFfnQuantBlock() const { return dense_ffn_quantised ? weight_quant_block : 0; }
  std::int64_t SharedExpertQuantBlock() const { return shared_expert_quantised ? weight_quant_block : 0; }
  bool HasLinearAttention() const { return !linear_attention_layers.empty(); }
  bool IsLinear(std::int64_t layer) const;
  /// Whether a request's positions may be split over ranks. An indexer chooses among all of them, and the state of
  /// linear attention runs through all of them in order.
  bool PositionsSplit() const { return !attention.HasIndexer() && !HasLinearAttention(); }
  /// Some layers have a window and some have none.
  bool HasMixedWindows() const { return !full_attention_layers.empty(); }
  /// Positions that a query of `layer` sees, itself included; 0 means all.
  std::int64_t WindowOf(std::int64_t layer) const;
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
///   grouped  h*H*d + 2*h*kv*d + H*d*h (+ h*H*d with an output gate);
///   linear   h*(2*K*dk + 2*V*dv) + h*2*V + (2*K*dk + V*dv)*conv_width + 2*V (A_log, dt_bias) + dv (norm) + V*dv*h, for
///            K key and V value heads (Qwen3NextGatedDeltaNet; Qwen3.5 has the same matrices cut otherwise);
///   MLA      h*ql + ql + ql*H*(nope+rope) + h*(kl+rope) + kl + kl*H*(nope+v) + H*v*h (ql = 0: h*H*(nope+rope) for q);
///   indexer  ql*Hi*di + h*di + h*Hi + 2*di;
///   FFN      3*h*ffn gated, else 2*h*ffn; MoE E*3*h*expert_ffn + 3*h*shared + h*E (+E, +h); two norms of h (or four;
///            LayerNorm twice that); biases, sinks and learned positions where the model has them.
ParameterCount CountParameters(const ModelSpec& model);

/// Elements that one token adds to the KV cache, over all layers: 2*kv*d a layer, MLA kv_lora_rank + rope. Layers with
/// a window count here too (they forget older tokens); linear layers and the indexer's keys do not.
std::int64_t KvElementsPerToken(const ModelSpec& model);

/// Bytes of what one linear layer keeps of a request, however long it is: S of each value head, and of each channel the
/// last conv_width - 1 inputs of the convolution (as vLLM's Mamba state of a Gated DeltaNet); 0 without such layers.
double LinearStateBytes(const ModelSpec& model);

/// Bytes that one token adds to the indexer's cache of one layer: a key of index_head_dim in FP8 with one fp32 scale,
/// as DeepSeek's kernels (and vLLM, SGLang) keep it whatever kv_dtype is; 0 without an indexer.
std::int64_t IndexCacheBytesPerToken(const ModelSpec& model);

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
/// names the key and what would be. Families (`architectures`): Llama, Llama4 (its text_config; the vision tower is not
/// counted), Mixtral, Qwen2, Qwen3, Qwen2Moe, Qwen3Moe, Qwen3Next, Qwen3_5 and Qwen3_5Moe (with a vision tower their
/// text_config), DeepseekV3 (also Kimi-K2), DeepseekV32, GlmMoeDsa (GLM-5), Glm4Moe, GptOss, MiniMaxM2, Dbrx, Grok1,
/// GPT2, GPTNeoX. Other spellings of a size (n_layer, d_model, num_kv_heads, moe_num_experts, ...) are taken for it;
/// two that disagree are an error. Layers of multi-token prediction are left out. Quantisations: fp8 (per tensor or
/// block), mxfp4, awq, gptq, compressed-tensors with one scheme for all that it covers. Llama 4's chunked attention is
/// taken as a sliding window of the chunk's size, an upper bound: on average a query of a full chunk sees half of it.
ModelSpec ParseModelConfig(std::string_view json, std::string_view place, const ModelOverrides& overrides,
                           std::vector<std::string>* warnings);

/// `name_or_path`: a file, or the name of a preset under configs/models (with or without .json). See preset_paths.h for
/// the search order.
ModelSpec LoadModel(const std::string& name_or_path, const ModelOverrides& overrides = {},
                    std::vector<std::string>* warnings = nullptr);

}  // namespace shardscout
