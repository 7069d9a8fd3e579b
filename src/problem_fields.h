#pragma once

// The fields of a problem as a plan records it, for src/json/fields.h: effective values, so that a plan can be
// re-evaluated without the files that it came from.

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "shardscout/problem.h"
#include "src/json/fields.h"
#include "src/spec_fields.h"
#include "src/strategy_json.h"

namespace shardscout {

inline std::array<DType, kNumDTypes> EnumValues(DType) {
  return {DType::kFp32, DType::kBf16, DType::kFp16, DType::kFp8, DType::kInt8, DType::kInt4, DType::kMxfp4};
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
  const json::Field field = {.required = true};
  const json::Field size = {.min = 0, .max = kMaxCount, .required = true};
  const json::Field count = {.min = 1, .max = kMaxCount, .required = true};
  visit("kind", attention.kind, field);
  visit("num_heads", attention.num_heads, count);
  visit("num_kv_heads", attention.num_kv_heads, count);
  visit("head_dim", attention.head_dim, size);
  visit("q_lora_rank", attention.q_lora_rank, size);
  visit("kv_lora_rank", attention.kv_lora_rank, size);
  visit("qk_nope_head_dim", attention.qk_nope_head_dim, size);
  visit("qk_rope_head_dim", attention.qk_rope_head_dim, size);
  visit("v_head_dim", attention.v_head_dim, size);
  visit("sliding_window", attention.sliding_window, size);
  visit("qkv_bias", attention.qkv_bias, field);
  visit("output_bias", attention.output_bias, field);
  visit("qk_norm", attention.qk_norm, field);
  visit("index_heads", attention.index_heads, {.min = 0, .max = kMaxCount});
  visit("index_head_dim", attention.index_head_dim, {.min = 0, .max = kMaxCount});
  visit("index_topk", attention.index_topk, {.min = 0, .max = kMaxCount});
  visit("whole_qk_norm", attention.whole_qk_norm, {});
  visit("sinks", attention.sinks, {});
}

template <class V>
void VisitFields(V& visit, MoeSpec& moe) {
  const json::Field field = {.required = true};
  const json::Field size = {.min = 0, .max = kMaxCount, .required = true};
  visit("num_experts", moe.num_experts, size);
  visit("num_experts_per_token", moe.num_experts_per_token, size);
  visit("expert_ffn_size", moe.expert_ffn_size, size);
  visit("shared_ffn_size", moe.shared_ffn_size, size);
  visit("shared_expert_gate", moe.shared_expert_gate, field);
  visit("router_correction_bias", moe.router_correction_bias, field);
  visit("router_bias", moe.router_bias, {});
  visit("expert_bias", moe.expert_bias, {});
}

template <class V>
void VisitFields(V& visit, ModelSpec& model) {
  const json::Field field = {.required = true};
  const json::Field size = {.min = 0, .max = kMaxCount, .required = true};
  const json::Field count = {.min = 1, .max = kMaxCount, .required = true};
  visit("name", model.name, field);
  visit("num_layers", model.num_layers, count);
  visit("hidden_size", model.hidden_size, count);
  visit("vocab_size", model.vocab_size, count);
  visit("tie_word_embeddings", model.tie_word_embeddings, field);
  visit("attention", model.attention, field);
  visit("ffn_size", model.ffn_size, size);
  visit("ffn_bias", model.ffn_bias, field);
  visit("gated_ffn", model.gated_ffn, field);
  visit("moe", model.moe, field);
  visit("layers", model.layers, field);
  visit("weight_dtype", model.weight_dtype, field);
  visit("embedding_dtype", model.embedding_dtype, field);
  visit("activation_dtype", model.activation_dtype, field);
  visit("residual_dtype", model.residual_dtype, field);
  visit("kv_dtype", model.kv_dtype, field);
  visit("weight_quant_block", model.weight_quant_block, size);
  visit("scale_dtype", model.scale_dtype, field);
  visit("full_attention_layers", model.full_attention_layers, {.min = 0, .max = kMaxCount});
  visit("learned_positions", model.learned_positions, {.min = 0, .max = kMaxCount});
  visit("norms_per_layer", model.norms_per_layer, {.min = 2, .max = 4});
  visit("norm_bias", model.norm_bias, {});
  visit("weight_quant_grouped", model.weight_quant_grouped, {});
  visit("weight_zero_points", model.weight_zero_points, {});
  visit("attention_quantised", model.attention_quantised, {});
  visit("dense_ffn_quantised", model.dense_ffn_quantised, {});
  visit("shared_expert_quantised", model.shared_expert_quantised, {});
}

/// ProblemOptions as JSON holds them: what is fixed as "variable=value", in the order of the variables' names.
struct ProblemOptionsFile {
  std::vector<std::string> fixed;
  std::vector<Overlap> admitted_overlaps;
};

template <class V>
void VisitFields(V& visit, ProblemOptionsFile& options) {
  const json::Field field = {.required = true};
  visit("fixed", options.fixed, field);
  visit("admitted_overlaps", options.admitted_overlaps, field);
}

struct ProblemFile {
  ModelSpec model;
  ClusterSpec cluster;
  WorkloadSpec workload;
  ProblemOptionsFile options;
};

template <class V>
void VisitFields(V& visit, ProblemFile& problem) {
  const json::Field field = {.required = true};
  visit("model", problem.model, field);
  visit("cluster", problem.cluster, field);
  visit("workload", problem.workload, field);
  visit("options", problem.options, field);
}

inline ProblemFile MakeProblemFile(const Problem& problem) {
  ProblemFile file{problem.model(), problem.cluster(), problem.workload(), {}};
  for (const auto& [variable, value] : problem.options().fixed) file.options.fixed.push_back(variable + "=" + value);
  file.options.admitted_overlaps = problem.options().admitted_overlaps;
  return file;
}

}  // namespace shardscout
