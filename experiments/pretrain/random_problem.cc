#include "experiments/pretrain/random_problem.h"

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <string>

#include "shardscout/error.h"
#include "shardscout/random.h"

namespace shardscout::pretrain {
namespace {

using nlohmann::json;

template <class T>
T OneOf(Rng& rng, std::initializer_list<T> items) {
  return items.begin()[rng.Below(items.size())];
}

bool Chance(Rng& rng, double probability) { return rng.Uniform() < probability; }

/// Uniform on a logarithmic axis.
double Between(Rng& rng, double low, double high) { return low * std::pow(high / low, rng.Uniform()); }

/// The same, in whole steps.
std::int64_t Steps(Rng& rng, double low, double high, std::int64_t step) {
  return std::max<std::int64_t>(1, std::llround(Between(rng, low, high) / static_cast<double>(step))) * step;
}

json DenseModel(Rng& rng) {
  json model;
  const std::int64_t head_dim = OneOf<std::int64_t>(rng, {64, 128, 128, 128});
  const std::int64_t heads = OneOf<std::int64_t>(rng, {16, 24, 28, 32, 40, 48, 56, 64, 72, 80, 96, 112, 128});
  std::int64_t kv_heads = OneOf<std::int64_t>(rng, {2, 4, 8, 8, 8, 16, heads});
  if (heads % kv_heads != 0) kv_heads = 8;
  const std::int64_t hidden = heads * head_dim;
  model = {{"architectures", {"LlamaForCausalLM"}},
           {"hidden_size", hidden},
           {"num_attention_heads", heads},
           {"num_key_value_heads", kv_heads},
           {"head_dim", head_dim},
           {"num_hidden_layers", Steps(rng, 20, 120, OneOf<std::int64_t>(rng, {1, 2, 4, 8}))},
           {"intermediate_size", Steps(rng, 2.2 * static_cast<double>(hidden), 4.2 * static_cast<double>(hidden), 256)},
           {"mlp_bias", false},
           {"attention_bias", Chance(rng, 0.2)}};
  return model;
}

json ExpertModel(Rng& rng) {
  json model;
  const bool shared = Chance(rng, 0.4);
  const std::int64_t heads = OneOf<std::int64_t>(rng, {16, 24, 32, 40, 48, 64, 64, 80, 96});
  const std::int64_t hidden = Steps(rng, 2048, 8192, 512);
  const std::int64_t experts = OneOf<std::int64_t>(rng, {8, 16, 32, 64, 64, 96, 128, 128, 160, 192, 256, 384, 512});
  const double fine = std::pow(static_cast<double>(experts) / 8, -0.45);
  model = {{"architectures", {shared ? "Glm4MoeForCausalLM" : "Qwen3MoeForCausalLM"}},
           {"hidden_size", hidden},
           {"num_attention_heads", heads},
           {"num_key_value_heads", OneOf<std::int64_t>(rng, {2, 4, 8, 8})},
           {"head_dim", OneOf<std::int64_t>(rng, {64, 128, 128})},
           {"num_hidden_layers", Steps(rng, 20, 96, OneOf<std::int64_t>(rng, {1, 2, 4}))},
           {"num_experts_per_tok", std::min<std::int64_t>(experts / 2, OneOf<std::int64_t>(rng, {2, 4, 6, 8, 8, 10}))},
           {"moe_intermediate_size",
            Steps(rng, 1.2 * fine * static_cast<double>(hidden), 3.5 * fine * static_cast<double>(hidden), 128)},
           {"intermediate_size", Steps(rng, 2.0 * static_cast<double>(hidden), 4.0 * static_cast<double>(hidden), 256)},
           {"attention_bias", false}};
  if (shared) {
    model["n_routed_experts"] = experts;
    model["first_k_dense_replace"] = OneOf<std::int64_t>(rng, {0, 1, 1, 3});
    model["n_shared_experts"] = OneOf<std::int64_t>(rng, {1, 1, 2});
    model["use_qk_norm"] = false;
  } else {
    model["num_experts"] = experts;
    model["decoder_sparse_step"] = 1;
    model["mlp_only_layers"] = json::array();
  }
  return model;
}

json LatentModel(Rng& rng) {
  const std::int64_t hidden = Steps(rng, 2048, 8192, 512);
  const std::int64_t experts = OneOf<std::int64_t>(rng, {64, 128, 160, 192, 256, 256, 320, 384});
  return {{"architectures", {"DeepseekV3ForCausalLM"}},
          {"hidden_size", hidden},
          {"num_hidden_layers", Steps(rng, 24, 72, 1)},
          {"num_attention_heads", OneOf<std::int64_t>(rng, {16, 32, 64, 96, 128, 128})},
          {"num_key_value_heads", 1},
          {"q_lora_rank", OneOf<std::int64_t>(rng, {768, 1536, 2048})},
          {"kv_lora_rank", OneOf<std::int64_t>(rng, {256, 512, 512})},
          {"qk_nope_head_dim", 128},
          {"qk_rope_head_dim", 64},
          {"v_head_dim", 128},
          {"attention_bias", false},
          {"intermediate_size", Steps(rng, 2.0 * static_cast<double>(hidden), 3.5 * static_cast<double>(hidden), 256)},
          {"first_k_dense_replace", OneOf<std::int64_t>(rng, {0, 1, 1, 3})},
          {"moe_layer_freq", 1},
          {"n_routed_experts", experts},
          {"num_experts_per_tok", OneOf<std::int64_t>(rng, {4, 6, 8, 8})},
          {"moe_intermediate_size", Steps(rng, 640, 2816, 128)},
          {"n_shared_experts", OneOf<std::int64_t>(rng, {1, 1, 2})}};
}

/// Experts in some layers only, with a shared one, and attention within chunks.
json InterleavedModel(Rng& rng) {
  json model = DenseModel(rng);
  model["architectures"] = {"Llama4ForCausalLM"};
  model.erase("mlp_bias");
  model["use_qk_norm"] = true;
  model["attention_chunk_size"] = 8192;
  model["intermediate_size_mlp"] = model["intermediate_size"];
  const double hidden = model["hidden_size"].get<double>();
  model["intermediate_size"] = Steps(rng, hidden, 2.5 * hidden, 256);
  model["interleave_moe_layer_step"] = OneOf<std::int64_t>(rng, {1, 2});
  model["num_hidden_layers"] = Steps(rng, 20, 96, 2);
  model["num_local_experts"] = OneOf<std::int64_t>(rng, {8, 16, 32, 64, 128});
  model["num_experts_per_tok"] = OneOf<std::int64_t>(rng, {1, 1, 2});
  return model;
}

/// Every second layer's attention has a window; experts in FP4.
json WindowedModel(Rng& rng) {
  const std::int64_t hidden = Steps(rng, 2048, 6144, 512), layers = Steps(rng, 16, 64, 2);
  json kinds = json::array();
  for (std::int64_t i = 0; i < layers; ++i) kinds.push_back(i % 2 == 0 ? "sliding_attention" : "full_attention");
  return {
      {"architectures", {"GptOssForCausalLM"}},
      {"hidden_size", hidden},
      {"num_hidden_layers", layers},
      {"num_attention_heads", OneOf<std::int64_t>(rng, {32, 48, 64, 96})},
      {"num_key_value_heads", OneOf<std::int64_t>(rng, {4, 8, 8})},
      {"head_dim", OneOf<std::int64_t>(rng, {64, 128})},
      {"attention_bias", true},
      {"sliding_window", OneOf<std::int64_t>(rng, {128, 512, 1024})},
      {"layer_types", kinds},
      {"intermediate_size", hidden},
      {"num_local_experts", OneOf<std::int64_t>(rng, {16, 32, 64, 128, 256})},
      {"num_experts_per_tok", OneOf<std::int64_t>(rng, {2, 4, 4, 8})},
      {"quantization_config", {{"quant_method", "mxfp4"}, {"modules_to_not_convert", {"model.layers.*.self_attn"}}}}};
}

/// Attention in every fourth layer only, a state of fixed size in the others.
json LinearModel(Rng& rng) {
  const std::int64_t experts = OneOf<std::int64_t>(rng, {64, 128, 256, 512, 512});
  return {{"architectures", {"Qwen3NextForCausalLM"}},
          {"hidden_size", Steps(rng, 2048, 6144, 512)},
          {"num_hidden_layers", Steps(rng, 24, 80, 4)},
          {"num_attention_heads", OneOf<std::int64_t>(rng, {16, 24, 32, 48, 64})},
          {"num_key_value_heads", OneOf<std::int64_t>(rng, {2, 4, 8})},
          {"head_dim", OneOf<std::int64_t>(rng, {128, 256})},
          {"full_attention_interval", 4},
          {"linear_num_key_heads", 16},
          {"linear_num_value_heads", OneOf<std::int64_t>(rng, {32, 64})},
          {"linear_key_head_dim", 128},
          {"linear_value_head_dim", 128},
          {"linear_conv_kernel_dim", 4},
          {"intermediate_size", Steps(rng, 4096, 12288, 256)},
          {"decoder_sparse_step", 1},
          {"mlp_only_layers", json::array()},
          {"num_experts", experts},
          {"num_experts_per_tok", OneOf<std::int64_t>(rng, {6, 8, 10})},
          {"moe_intermediate_size", Steps(rng, 384, 1536, 128)},
          {"shared_expert_intermediate_size", Steps(rng, 384, 1536, 128)}};
}

/// Without a gate, as many key as query heads.
json UngatedModel(Rng& rng) {
  json model = DenseModel(rng);
  model.erase("mlp_bias");
  model.erase("num_key_value_heads");
  model.erase("head_dim");
  model["architectures"] = {"GPTNeoXForCausalLM"};
  model["intermediate_size"] = 4 * model["hidden_size"].get<std::int64_t>();
  model["attention_bias"] = true;
  return model;
}

json SparseModel(Rng& rng) {
  json model = LatentModel(rng);
  model["architectures"] = {"DeepseekV32ForCausalLM"};
  model["index_n_heads"] = OneOf<std::int64_t>(rng, {32, 64});
  model["index_head_dim"] = 128;
  model["index_topk"] = OneOf<std::int64_t>(rng, {1024, 2048});
  return model;
}

/// latent: whether it is one with latent attention.
json RandomConfig(Rng& rng, bool rare, bool* latent) {
  const double kind = rng.Uniform();
  *latent = kind >= 0.7;
  if (!rare) return kind < 0.35 ? DenseModel(rng) : kind < 0.7 ? ExpertModel(rng) : LatentModel(rng);
  if (kind < 0.1) return DenseModel(rng);
  if (kind < 0.25) return UngatedModel(rng);
  if (kind < 0.35) return ExpertModel(rng);
  if (kind < 0.45) return InterleavedModel(rng);
  if (kind < 0.55) return WindowedModel(rng);
  if (kind < 0.7) return LinearModel(rng);
  return kind < 0.8 ? LatentModel(rng) : SparseModel(rng);
}

ModelSpec RandomModel(Rng& rng, bool rare) {
  bool latent = false;
  json model = RandomConfig(rng, rare, &latent);
  model["vocab_size"] = Steps(rng, 32000, 260000, 128);
  model["tie_word_embeddings"] = Chance(rng, 0.15);
  model["torch_dtype"] = "bfloat16";
  ModelOverrides overrides;
  if (Chance(rng, latent ? 0.7 : 0.25)) {
    overrides.weight_dtype = "fp8";
    overrides.activation_dtype = "fp8";
    if (Chance(rng, 0.7)) overrides.weight_quant_block = 128;
  } else if (Chance(rng, 0.1)) {
    overrides.weight_dtype = "int4";
    overrides.weight_quant_block = 128;
  }
  if (Chance(rng, 0.15)) overrides.kv_dtype = "fp8";
  return ParseModelConfig(model.dump(), "a random model", overrides, nullptr);
}

json RandomDevice(Rng& rng) {
  const double peak = Between(rng, 1.2e14, 3e15);
  // Faster devices have more memory and bandwidth, by and large.
  const double rank = std::log(peak / 1.2e14) / std::log(25.0);
  const double memory = 32e9 * std::pow(8.0, std::clamp(rank + 0.3 * (rng.Uniform() - 0.4), 0.0, 1.1));
  const double bandwidth = 0.8e12 * std::pow(10.0, std::clamp(rank + 0.3 * (rng.Uniform() - 0.4), 0.0, 1.05));
  json peaks = {{"bf16", peak}, {"fp16", peak}, {"fp32", peak / 15}};
  if (Chance(rng, 0.75)) peaks["fp8"] = 2 * peak;
  if (Chance(rng, 0.8)) peaks["int8"] = 2 * peak;
  return {{"name", "random"},
          {"peak_flop_per_s", peaks},
          {"hbm_bytes", std::round(memory)},
          {"hbm_bytes_per_s", std::round(bandwidth)},
          {"l2_cache_bytes", std::round(Between(rng, 30e6, 260e6))},
          {"num_compute_units", std::llround(Between(rng, 60, 300))},
          {"reserved_bytes", 3.5e9},
          {"power_w", std::round(Between(rng, 250, 1400))},
          {"price_usd_per_hour", Between(rng, 0.8, 9)}};
}

/// A torus over all devices, or one network without a tier below it: devices in nodes of one, or of any size.
json SingleNetwork(Rng& rng, bool torus) {
  return {{"name", "network"},
          {"size", 0},
          {"kind", torus ? "torus_3d" : "switch"},
          {"bytes_per_s", torus ? Between(rng, 1.5e11, 1.2e12) : Between(rng, 1.2e10, 9e11)},
          {"latency_s", Between(rng, 5e-7, 5e-6)},
          {"achieved_fraction", 0.75 + 0.2 * rng.Uniform()}};
}

ClusterSpec RareCluster(Rng& rng) {
  const bool torus = Chance(rng, 0.5);
  const std::int64_t node = torus ? 4 : OneOf<std::int64_t>(rng, {1, 1, 1, 2, 4, 8});
  const std::int64_t nodes = std::int64_t{1} << rng.Below(torus || node > 2 ? 7 : 8);
  const json cluster = {{"name", "random"},
                        {"device", RandomDevice(rng)},
                        {"tiers", json::array({SingleNetwork(rng, torus)})},
                        {"devices_per_node", node},
                        {"num_devices", node * (Chance(rng, 0.85) ? nodes : Steps(rng, 1, 96, 1))}};
  return ParseCluster(cluster.dump(), "a random cluster", std::nullopt);
}

ClusterSpec RandomCluster(Rng& rng) {
  const std::int64_t node = OneOf<std::int64_t>(rng, {4, 4, 8, 8, 8, 8, 16});
  std::int64_t inner = Chance(rng, 0.7) ? node : node * OneOf<std::int64_t>(rng, {2, 4, 6, 8, 9, 16, 18, 32});
  const std::int64_t nodes = std::max<std::int64_t>(1, Steps(rng, 1, 32, 1));
  const std::int64_t devices =
      Chance(rng, 0.75) ? node * (std::int64_t{1} << std::llround(std::log2(nodes))) : node * nodes;
  const bool torus = Chance(rng, 0.12), pcie = !torus && Chance(rng, 0.12);
  json inner_tier = {{"name", "inner"},
                     {"size", inner},
                     {"kind", torus  ? "torus_3d"
                              : pcie ? "switch"
                                     : OneOf(rng, {"switch", "switch", "fully_connected"})},
                     {"bytes_per_s", pcie ? Between(rng, 2.5e10, 6.4e10) : Between(rng, 1.5e11, 1.8e12)},
                     {"latency_s", Between(rng, 4e-7, 2e-6)},
                     {"achieved_fraction", 0.7 + 0.2 * rng.Uniform()}};
  if (inner_tier["kind"] == "switch" && !pcie && Chance(rng, 0.5)) inner_tier["in_network_reduction"] = true;
  json outer_tier = {{"name", "outer"},
                     {"size", 0},
                     {"kind", "switch"},
                     {"bytes_per_s", Between(rng, 6e9, 1.3e11)},
                     {"latency_s", Between(rng, 1.5e-6, 1e-5)},
                     {"achieved_fraction", 0.85 + 0.12 * rng.Uniform()}};
  if (Chance(rng, 0.3)) outer_tier["oversubscription"] = OneOf(rng, {1.5, 2.0, 4.0});
  const json cluster = {{"name", "random"},
                        {"device", RandomDevice(rng)},
                        {"tiers", json::array({inner_tier, outer_tier})},
                        {"devices_per_node", node},
                        {"num_devices", devices}};
  return ParseCluster(cluster.dump(), "a random cluster", std::nullopt);
}

WorkloadSpec RandomWorkload(Rng& rng) {
  WorkloadSpec workload;
  workload.name = "random";
  workload.kind = OneOf(rng, {WorkloadKind::kPrefill, WorkloadKind::kDecode, WorkloadKind::kServe});
  workload.input_tokens = Chance(rng, 0.35) ? 4096 : Steps(rng, 256, 32768, 128);
  workload.output_tokens = Chance(rng, 0.35) ? 1024 : Steps(rng, 128, 4096, 64);
  const bool prefill = workload.HasPhase(Phase::kPrefill), decode = workload.HasPhase(Phase::kDecode);
  if (prefill && Chance(rng, 0.8)) workload.ttft_target_s = Chance(rng, 0.4) ? 2.0 : Between(rng, 0.3, 10);
  if (decode && Chance(rng, 0.85)) workload.tpot_target_s = Chance(rng, 0.4) ? 0.05 : Between(rng, 0.01, 0.2);
  workload.objective =
      OneOf(rng, {Objective::kThroughputPerDevice, Objective::kThroughputPerDevice, Objective::kThroughputPerDevice,
                  Objective::kThroughputPerDevice, Objective::kThroughputPerDevice, Objective::kCostPerMillionTokens,
                  Objective::kEnergyPerToken, Objective::kLatency});
  if (Chance(rng, 0.12)) workload.concurrency = Steps(rng, 16, 4096, 8);
  if (Chance(rng, 0.3)) workload.memory_fraction = 0.7 + 0.25 * rng.Uniform();
  return workload;
}

}  // namespace

Problem RandomProblem(std::uint64_t seed) {
  const bool rare = seed >= kFirstRareSeed;
  for (std::uint64_t attempt = 0;; ++attempt) {
    Rng rng = Rng::Stream(seed, "problem." + std::to_string(attempt));
    try {
      ModelSpec model = RandomModel(rng, rare);
      ClusterSpec cluster = rare && Chance(rng, 0.55) ? RareCluster(rng) : RandomCluster(rng);
      WorkloadSpec workload = RandomWorkload(rng);
      if (rare && Chance(rng, 0.2)) workload.objective = Objective::kLatency;
      return {std::move(model), std::move(cluster), std::move(workload)};
    } catch (const SpecError&) {  // Sizes that do not go together.
    }
  }
}

}  // namespace shardscout::pretrain
