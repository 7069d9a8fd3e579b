#pragma once

// The fields of a problem as a plan records it, for src/json/fields.h: effective values, so that a plan can be
// re-evaluated without the files that it came from.

#include <array>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "shardscout/problem.h"
#include "src/json/fields.h"
#include "src/spec_fields.h"
#include "src/strategy_json.h"

namespace shardscout {

inline std::array<DType, kNumDTypes> EnumValues(DType) {
  return {DType::kFp32, DType::kBf16, DType::kFp16,  DType::kFp8,
          DType::kInt8, DType::kInt4, DType::kMxfp4, DType::kNvfp4};
}

inline std::array<LayerKind, 2> EnumValues(LayerKind) { return {LayerKind::kDense, LayerKind::kMoe}; }
inline std::string_view ToString(LayerKind kind) { return kind == LayerKind::kDense ? "dense" : "moe"; }

inline std::array<AttentionKind, 2> EnumValues(AttentionKind) {
  return {AttentionKind::kGrouped, AttentionKind::kMultiLatent};
}
inline std::string_view ToString(AttentionKind kind) {
  return kind == AttentionKind::kGrouped ? "grouped" : "multi_latent";
}

// Fields that are not required came after the first plans: their defaults are what those plans meant.

template <class V>
void VisitFields(V& visit, AttentionSpec& attention) {
  visit("kind", attention.kind, json::Needed("grouped (MHA, GQA, MQA) or multi_latent (MLA)."));
  visit("num_heads", attention.num_heads, NeededCount("Query heads."));
  visit("num_kv_heads", attention.num_kv_heads,
        NeededCount("Key and value heads, a divisor of num_heads; 1 for multi_latent."));
  visit("head_dim", attention.head_dim, NeededSize("Size of a head, elements; 0 for multi_latent."));
  visit("q_lora_rank", attention.q_lora_rank, NeededSize("MLA: rank of the query projection; 0: projected directly."));
  visit("kv_lora_rank", attention.kv_lora_rank, NeededSize("MLA: size of the latent, elements; 0 for grouped."));
  visit("qk_nope_head_dim", attention.qk_nope_head_dim,
        NeededSize("MLA: part of a query head without rotary embedding, elements."));
  visit("qk_rope_head_dim", attention.qk_rope_head_dim,
        NeededSize("MLA: part of a query head with rotary embedding, elements."));
  visit("v_head_dim", attention.v_head_dim, NeededSize("MLA: size of a value head, elements."));
  visit("sliding_window", attention.sliding_window,
        NeededSize("Positions that a query sees, itself included; 0: all."));
  visit("qkv_bias", attention.qkv_bias, json::Needed("Whether the query, key and value projections have biases."));
  visit("output_bias", attention.output_bias, json::Needed("Whether the output projection has a bias."));
  visit("qk_norm", attention.qk_norm, json::Needed("Whether query and key heads are normalised."));
  visit("index_heads", attention.index_heads,
        {.doc = "Heads of the sparse attention's indexer; 0: every position is attended.", .min = 0, .max = kMaxCount});
  visit("index_head_dim", attention.index_head_dim,
        {.doc = "Size of a head of the indexer, elements.", .min = 0, .max = kMaxCount});
  visit("index_topk", attention.index_topk,
        {.doc = "Positions that the indexer leaves a query to attend to.", .min = 0, .max = kMaxCount});
  visit("whole_qk_norm", attention.whole_qk_norm,
        {.doc = "Whether queries and keys are normalised over all heads together."});
  visit("sinks", attention.sinks, {.doc = "Whether each query head has a learned sink in its softmax."});
  visit("output_gate", attention.output_gate, {.doc = "Whether a projected gate scales what each query head gives."});
}

template <class V>
void VisitFields(V& visit, LinearAttentionSpec& linear) {
  visit("num_key_heads", linear.num_key_heads,
        NeededSize("Query and key heads, a divisor of num_value_heads; 0: none."));
  visit("num_value_heads", linear.num_value_heads, NeededSize("Value heads, each with a state."));
  visit("key_head_dim", linear.key_head_dim, NeededSize("Size of a query or key head, elements."));
  visit("value_head_dim", linear.value_head_dim, NeededSize("Size of a value head, elements."));
  visit("conv_width", linear.conv_width, NeededSize("Positions that the convolution sees, its own included."));
  visit("state_dtype", linear.state_dtype, json::Needed("Of the state."));
}

template <class V>
void VisitFields(V& visit, MoeSpec& moe) {
  visit("num_experts", moe.num_experts, NeededSize("Routed experts of a MoE layer; 0: the model has no such layer."));
  visit("num_experts_per_token", moe.num_experts_per_token, NeededSize("Routed experts that a token goes to."));
  visit("expert_ffn_size", moe.expert_ffn_size, NeededSize("Inner width of one routed expert, elements."));
  visit("shared_ffn_size", moe.shared_ffn_size,
        NeededSize("Inner width of the shared experts together, elements; 0 without them."));
  visit("shared_expert_gate", moe.shared_expert_gate, json::Needed("Whether a gate scales the shared expert."));
  visit("router_correction_bias", moe.router_correction_bias,
        json::Needed("Whether the router has one bias an expert."));
  visit("router_bias", moe.router_bias, {.doc = "Whether the router's projection has a bias."});
  visit("expert_bias", moe.expert_bias, {.doc = "Whether the matrices of the experts have biases."});
}

template <class V>
void VisitFields(V& visit, ModelSpec& model) {
  visit("name", model.name, json::Needed("As reports call it."));
  visit("num_layers", model.num_layers, NeededCount("Transformer layers."));
  visit("hidden_size", model.hidden_size, NeededCount("Width of the residual stream, elements."));
  visit("vocab_size", model.vocab_size, NeededCount("Tokens of the vocabulary."));
  visit("tie_word_embeddings", model.tie_word_embeddings,
        json::Needed("Whether embedding and output head are one matrix."));
  visit("attention", model.attention, json::Needed("The attention of every layer."));
  visit("ffn_size", model.ffn_size,
        NeededSize("Inner width of the FFN of a dense layer, elements; 0 without dense layers."));
  visit("ffn_bias", model.ffn_bias, json::Needed("Whether the matrices of the dense FFN have biases."));
  visit("gated_ffn", model.gated_ffn,
        json::Needed("Whether the FFN has a gate projection: three matrices and not two."));
  visit("moe", model.moe, json::Needed("The experts of every MoE layer."));
  visit("layers", model.layers, json::Needed("The kind of each layer, in order."));
  visit("weight_dtype", model.weight_dtype, json::Needed("Of the layers' projection matrices."));
  visit("embedding_dtype", model.embedding_dtype, json::Needed("Of embedding, output head, router gate and norms."));
  visit("activation_dtype", model.activation_dtype, json::Needed("Of the inputs of the layers' matrix products."));
  visit("residual_dtype", model.residual_dtype,
        json::Needed("Of the residual stream and other activations that are communicated."));
  visit("kv_dtype", model.kv_dtype, json::Needed("Of the KV cache."));
  visit("weight_quant_block", model.weight_quant_block,
        NeededSize("Side of the square blocks of the weight scales, elements; 0: no block scales."));
  visit("scale_dtype", model.scale_dtype, json::Needed("Of one block scale."));
  visit("full_attention_layers", model.full_attention_layers,
        {.doc = "Layers whose attention has no window where the others have one, rising.", .min = 0, .max = kMaxCount});
  visit("linear_attention", model.linear_attention,
        {.doc = "The attention of linear_attention_layers (Gated DeltaNet); all sizes 0 without such layers."});
  visit("linear_attention_layers", model.linear_attention_layers,
        {.doc = "Layers with linear_attention in place of attention, rising.", .min = 0, .max = kMaxCount});
  visit("learned_positions", model.learned_positions,
        {.doc = "Rows of a learned position embedding; 0 without one.", .min = 0, .max = kMaxCount});
  visit("norms_per_layer", model.norms_per_layer, {.doc = "Norms of the residual stream a layer.", .min = 2, .max = 4});
  visit("norm_bias", model.norm_bias, {.doc = "Whether norms have a bias beside their scale."});
  visit("weight_quant_grouped", model.weight_quant_grouped,
        {.doc = "Whether weight_quant_block is a group along the input instead of a square block."});
  visit("weight_zero_points", model.weight_zero_points, {.doc = "Whether each weight scale comes with a zero point."});
  visit("attention_quantised", model.attention_quantised, {.doc = "Whether weight_dtype holds for attention."});
  visit("dense_ffn_quantised", model.dense_ffn_quantised, {.doc = "Whether weight_dtype holds for the dense FFN."});
  visit("shared_expert_quantised", model.shared_expert_quantised,
        {.doc = "Whether weight_dtype holds for the shared experts."});
}

inline std::span<const Framework> EnumValues(Framework) { return AllFrameworks(); }

/// ProblemOptions as JSON holds them: what is fixed as "variable=value", in the order of the variables' names.
struct ProblemOptionsFile {
  std::vector<std::string> fixed;
  std::vector<Overlap> admitted_overlaps;
  std::optional<Framework> framework;
};

template <class V>
void VisitFields(V& visit, ProblemOptionsFile& options) {
  visit("fixed", options.fixed, json::Needed("Decision variables that are held, each as variable=value."));
  visit("admitted_overlaps", options.admitted_overlaps,
        json::Needed("Overlaps of compute and communication among which is chosen."));
  visit("framework", options.framework,
        {.doc = "The framework that has to run the strategies exactly as they are; unset: any strategy."});
}

struct ProblemFile {
  ModelSpec model;
  ClusterSpec cluster;
  WorkloadSpec workload;
  ProblemOptionsFile options;
};

template <class V>
void VisitFields(V& visit, ProblemFile& problem) {
  visit("model", problem.model, json::Needed("The structure of the model, as read from its configuration."));
  visit("cluster", problem.cluster, json::Needed("The cluster, as in a cluster file."));
  visit("workload", problem.workload, json::Needed("The workload, as in a workload file."));
  visit("options", problem.options, json::Needed("What was asked beyond the three."));
}

inline ProblemFile MakeProblemFile(const Problem& problem) {
  ProblemFile file{problem.model(), problem.cluster(), problem.workload(), {}};
  for (const auto& [variable, value] : problem.options().fixed) file.options.fixed.push_back(variable + "=" + value);
  file.options.admitted_overlaps = problem.options().admitted_overlaps;
  file.options.framework = problem.options().framework;
  return file;
}

}  // namespace shardscout
