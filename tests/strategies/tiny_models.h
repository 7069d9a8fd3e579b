#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "shardscout/model_spec.h"

/// Models small enough to be interpreted.
namespace shardscout::interpret {

/// 12 or 8 heads, hidden 48: small, and still divisible by tp of 2, 3, 4, 6 and 8 and by stages of 16.
inline ModelSpec Grouped(const std::string& name, std::int64_t heads, std::int64_t kv_heads, std::int64_t layers) {
  ModelSpec m;
  m.name = name;
  m.num_layers = layers;
  m.hidden_size = 48;
  m.vocab_size = 48;
  m.attention.num_heads = heads;
  m.attention.num_kv_heads = kv_heads;
  m.attention.head_dim = 4;
  m.ffn_size = 48;
  m.layers.assign(static_cast<std::size_t>(layers), LayerKind::kDense);
  return m;
}

inline ModelSpec MultiLatent(const std::string& name, std::int64_t q_lora_rank, std::int64_t layers) {
  ModelSpec m = Grouped(name, 8, 1, layers);
  m.attention.kind = AttentionKind::kMultiLatent;
  m.attention.head_dim = 0;
  m.attention.q_lora_rank = q_lora_rank;
  m.attention.kv_lora_rank = 10;
  m.attention.qk_nope_head_dim = 6;
  m.attention.qk_rope_head_dim = 4;
  m.attention.v_head_dim = 5;
  return m;
}

inline ModelSpec WithMoe(ModelSpec m, std::int64_t experts, std::int64_t top_k, std::int64_t shared,
                         std::int64_t first_dense) {
  m.moe.num_experts = experts;
  m.moe.num_experts_per_token = top_k;
  m.moe.expert_ffn_size = 24;
  m.moe.shared_ffn_size = shared;
  for (std::size_t i = 0; i < m.layers.size(); ++i) {
    if (static_cast<std::int64_t>(i) >= first_dense) m.layers[i] = LayerKind::kMoe;
  }
  if (first_dense == 0) m.ffn_size = 0;
  return m;
}

/// Of every `interval` layers all but the last are linear, with `key_heads` and `value_heads` of 3 and 5.
inline ModelSpec WithLinear(ModelSpec m, std::int64_t key_heads, std::int64_t value_heads, std::int64_t interval) {
  m.attention.output_gate = m.attention.qk_norm = true;
  m.linear_attention = {.num_key_heads = key_heads,
                        .num_value_heads = value_heads,
                        .key_head_dim = 3,
                        .value_head_dim = 5,
                        .conv_width = 3};
  for (std::int64_t i = 0; i < m.num_layers; ++i) {
    if ((i + 1) % interval != 0) m.linear_attention_layers.push_back(i);
  }
  return m;
}

/// One of each kind of attention, FFN and mixture that the interpreter knows.
inline std::vector<ModelSpec> TinyModels() {
  std::vector<ModelSpec> models;
  models.push_back(Grouped("gqa2", 8, 2, 2));
  models.back().attention.qkv_bias = true;
  models.push_back(Grouped("gqa4-qknorm-tied", 8, 4, 3));
  models.back().attention.qk_norm = true;
  models.back().tie_word_embeddings = true;
  models.push_back(Grouped("mha-ungated-window", 12, 12, 2));
  models.back().gated_ffn = false;
  models.back().attention.sliding_window = 4;
  models.push_back(Grouped("mqa", 12, 1, 2));
  models.push_back(MultiLatent("mla", 12, 2));
  models.push_back(WithMoe(Grouped("gqa2-moe8", 8, 2, 2), 8, 2, 0, 0));
  models.back().attention.qk_norm = true;
  models.push_back(WithMoe(Grouped("gqa6-moe6-shared", 12, 6, 2), 6, 2, 48, 0));
  models.back().attention.qkv_bias = true;
  models.push_back(WithMoe(Grouped("gqa4-mixed4", 8, 4, 3), 4, 1, 24, 1));
  models.push_back(WithMoe(MultiLatent("mla-mixed12", 0, 2), 12, 3, 48, 1));
  models.back().moe.router_correction_bias = true;
  models.push_back(WithMoe(MultiLatent("mla-moe8-tied", 12, 2), 8, 2, 0, 0));
  models.back().tie_word_embeddings = true;
  models.push_back(WithMoe(Grouped("gqa2-wholenorm-mixed4", 8, 2, 2), 4, 2, 0, 1));
  models.back().attention.whole_qk_norm = true;
  models.push_back(Grouped("gqa4-mixed-windows", 8, 4, 3));
  models.back().attention.sliding_window = 4;
  models.back().full_attention_layers = {1};
  models.push_back(WithMoe(MultiLatent("mla-indexer-mixed8", 12, 2), 8, 2, 24, 1));
  models.back().attention.index_heads = 2;
  models.back().attention.index_head_dim = 6;
  models.back().attention.index_topk = 3;
  models.push_back(Grouped("gqa2-gated", 8, 2, 2));
  models.back().attention.output_gate = true;
  models.push_back(WithLinear(Grouped("linear4-gqa2", 8, 2, 3), 4, 8, 3));
  models.push_back(WithLinear(WithMoe(Grouped("linear2-moe8-shared", 12, 6, 2), 8, 2, 48, 0), 2, 12, 2));
  return models;
}

}  // namespace shardscout::interpret
