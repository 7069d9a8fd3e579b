#pragma once

#include <optional>

#include "shardscout/problem.h"

/// Small hand-made problems for tests: every axis divides by 2, 4 and 8, and the brute force over them is quick.
namespace shardscout::testing {

inline ModelSpec DenseModel(std::int64_t layers = 4) {
  ModelSpec m;
  m.name = "tiny-dense";
  m.num_layers = layers;
  m.hidden_size = 96;
  m.vocab_size = 96;
  m.ffn_size = 192;
  m.attention = {.kind = AttentionKind::kGrouped, .num_heads = 8, .num_kv_heads = 4, .head_dim = 12};
  m.layers.assign(static_cast<std::size_t>(layers), LayerKind::kDense);
  return m;
}

inline ModelSpec MoeModel(std::int64_t layers = 4, std::int64_t dense_layers = 1, std::int64_t shared = 48) {
  ModelSpec m = DenseModel(layers);
  m.name = "tiny-moe";
  m.moe = {.num_experts = 8, .num_experts_per_token = 2, .expert_ffn_size = 48, .shared_ffn_size = shared};
  for (std::int64_t i = dense_layers; i < layers; ++i) m.layers[static_cast<std::size_t>(i)] = LayerKind::kMoe;
  if (dense_layers == 0) m.ffn_size = 0;
  return m;
}

inline ModelSpec MultiLatentModel(std::int64_t layers = 4) {
  ModelSpec m = MoeModel(layers);
  m.name = "tiny-mla";
  m.attention = {.kind = AttentionKind::kMultiLatent,
                 .num_heads = 8,
                 .num_kv_heads = 1,
                 .q_lora_rank = 24,
                 .kv_lora_rank = 32,
                 .qk_nope_head_dim = 8,
                 .qk_rope_head_dim = 4,
                 .v_head_dim = 8};
  return m;
}

/// Every other layer sees 32 positions only, as in gpt-oss.
inline ModelSpec MixedWindowModel(std::int64_t layers = 4) {
  ModelSpec m = MoeModel(layers, 0, 0);
  m.name = "tiny-windows";
  m.attention.sliding_window = 32;
  for (std::int64_t i = 1; i < layers; i += 2) m.full_attention_layers.push_back(i);
  return m;
}

/// MLA whose indexer lets a query see 24 positions, as in DeepSeek-V3.2.
inline ModelSpec IndexerModel(std::int64_t layers = 4) {
  ModelSpec m = MultiLatentModel(layers);
  m.name = "tiny-indexer";
  m.attention.index_heads = 4;
  m.attention.index_head_dim = 16;
  m.attention.index_topk = 24;
  return m;
}

/// Every other layer linear, with key heads that more than 4 ranks copy, and an output gate in the others, as in
/// Qwen3-Next.
inline ModelSpec LinearModel(std::int64_t layers = 4) {
  ModelSpec m = MoeModel(layers, 0, 48);
  m.name = "tiny-linear";
  m.attention.qk_norm = m.attention.output_gate = true;
  m.linear_attention = {
      .num_key_heads = 4, .num_value_heads = 8, .key_head_dim = 12, .value_head_dim = 16, .conv_width = 4};
  for (std::int64_t i = 0; i < layers; i += 2) m.linear_attention_layers.push_back(i);
  return m;
}

inline ClusterSpec SmallCluster(std::int64_t devices, std::int64_t per_node = 8) {
  ClusterSpec c;
  c.name = "tiny";
  c.num_devices = devices;
  c.devices_per_node = per_node;
  c.device.name = "h100";
  c.device.peak_flop_per_s[static_cast<std::size_t>(DType::kFp32)] = 67e12;
  c.device.peak_flop_per_s[static_cast<std::size_t>(DType::kBf16)] = 989e12;
  c.device.peak_flop_per_s[static_cast<std::size_t>(DType::kFp8)] = 1978e12;
  c.device.hbm_bytes = 80.0 * (1 << 30);
  c.device.hbm_bytes_per_s = 3.35e12;
  c.device.power_w = 700;
  c.device.price_usd_per_hour = 2;
  c.tiers = {{.name = "nvlink",
              .size = per_node,
              .bytes_per_s = 450e9,
              .latency_s = 1e-6,
              .achieved_fraction = 0.82,
              .in_network_reduction = true},
             {.name = "infiniband", .size = 0, .bytes_per_s = 50e9, .latency_s = 5e-6, .achieved_fraction = 0.96}};
  return c;
}

inline WorkloadSpec SmallWorkload(WorkloadKind kind, std::int64_t max_batch = 16) {
  WorkloadSpec w;
  w.name = "tiny";
  w.kind = kind;
  w.input_tokens = 96;
  w.output_tokens = 32;
  w.max_batch_size = max_batch;
  return w;
}

inline Problem SmallProblem(const ModelSpec& model, std::int64_t devices, WorkloadKind kind,
                            std::int64_t max_batch = 16, ProblemOptions options = {}) {
  return Problem(model, SmallCluster(devices), SmallWorkload(kind, max_batch), std::move(options));
}

}  // namespace shardscout::testing
