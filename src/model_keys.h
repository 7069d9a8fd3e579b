#pragma once

// The keys of Hugging Face's config.json that decide a model's structure, for its schema. src/model_config.cc reads
// them, family by family; a test holds that no preset has a key that is neither here nor known to be irrelevant.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "src/json/fields.h"
#include "src/spec_fields.h"

namespace shardscout {

/// Only what the visitor needs: null counts as absent for every key, and so each is an optional.
struct ModelConfigKeys {};
struct QuantizationConfigKeys {};

/// The keys that make up a transformer, at the top or under text_config.
template <class V>
void VisitModelStructure(V& visit) {
  std::optional<std::int64_t> count;
  std::optional<bool> flag;
  std::optional<std::string> text;
  std::optional<std::vector<std::int64_t>> integers;
  std::optional<std::vector<std::string>> texts;
  const auto at_least = [](double min, std::string_view doc) {
    return json::Field{.doc = doc, .min = min, .max = kMaxCount};
  };
  const auto field = [](std::string_view doc) { return json::Field{.doc = doc}; };

  visit("num_hidden_layers", count, {.doc = "Transformer layers.", .min = 1, .max = 100000});
  visit("hidden_size", count, at_least(1, "Width of the residual stream, elements."));
  visit("vocab_size", count, at_least(1, "Tokens of the vocabulary."));
  visit("tie_word_embeddings", flag, field("Whether embedding and output head are one matrix."));

  visit("num_attention_heads", count, at_least(1, "Query heads."));
  visit("num_key_value_heads", count, at_least(1, "Key and value heads, a divisor of num_attention_heads."));
  visit("head_dim", count, at_least(1, "Size of a head, elements; absent: hidden_size / num_attention_heads."));
  visit("attention_bias", flag, field("Whether the projections of attention have biases."));
  visit("qkv_bias", flag, field("Whether the query, key and value projections have biases (Qwen2-MoE)."));
  visit("use_qk_norm", flag, field("Whether query and key heads are normalised."));
  visit("use_sliding_window", flag,
        field("Whether attention is windowed; refused where windows cover only some layers."));
  visit("sliding_window", count, at_least(0, "Positions that a query sees, itself included."));
  visit("layer_types", texts, field("The kind of each layer's attention, such as full_attention."));

  visit("q_lora_rank", count, at_least(0, "MLA: rank of the query projection; absent: projected directly."));
  visit("kv_lora_rank", count, at_least(1, "MLA: size of the latent, elements."));
  visit("qk_nope_head_dim", count, at_least(1, "MLA: part of a query head without rotary embedding, elements."));
  visit("qk_rope_head_dim", count, at_least(1, "MLA: part of a query head with rotary embedding, elements."));
  visit("v_head_dim", count, at_least(1, "MLA: size of a value head, elements."));

  visit("intermediate_size", count, at_least(1, "Inner width of the FFN, elements; Mixtral: of one expert."));
  visit("mlp_bias", flag, field("Whether the matrices of the dense FFN have biases."));

  visit("num_local_experts", count, at_least(1, "Routed experts of a MoE layer (Mixtral's name)."));
  visit("num_experts", count, at_least(1, "Routed experts of a MoE layer (Qwen's name)."));
  visit("n_routed_experts", count, at_least(1, "Routed experts of a MoE layer (DeepSeek's name)."));
  visit("num_experts_per_tok", count, at_least(1, "Routed experts that a token goes to."));
  visit("moe_intermediate_size", count, at_least(1, "Inner width of one routed expert, elements."));
  visit("n_shared_experts", count, {.doc = "Shared experts, each as wide as a routed one.", .min = 0, .max = 1024});
  visit("shared_expert_intermediate_size", count, at_least(0, "Inner width of the shared expert, elements; 0: none."));
  visit("decoder_sparse_step", count, at_least(1, "Every so many layers one is MoE (Qwen)."));
  visit("mlp_only_layers", integers, at_least(0, "Layers that are dense, counted from 0 (Qwen)."));
  visit("first_k_dense_replace", count, at_least(0, "Layers at the start that are dense (DeepSeek)."));
  visit("moe_layer_freq", count, at_least(1, "Every so many layers one is MoE (DeepSeek)."));
  visit("topk_method", text, field("How experts are chosen; noaux_tc is supported (DeepSeek)."));

  visit("torch_dtype", text, field("Type of weights and activations, such as bfloat16; absent: bfloat16."));
  visit("dtype", text, field("The same under its newer name."));
}

template <class V>
void VisitFields(V& visit, QuantizationConfigKeys&) {
  std::optional<std::vector<std::int64_t>> integers;
  std::optional<std::vector<std::string>> texts;
  std::optional<std::string> text;
  std::string method;
  visit("quant_method", method, {.doc = "How weights are quantised; fp8 is supported.", .required = true});
  visit("activation_scheme", text, {.doc = "How activations are quantised: dynamic or static."});
  visit("weight_block_size", integers,
        {.doc = "Rows and columns of the blocks of the weight scales, equal; absent: one scale a tensor.",
         .min = 0,
         .max = kMaxCount});
  visit("modules_to_not_convert", texts, {.doc = "Modules that are left unquantised."});
  visit("ignored_layers", texts, {.doc = "The same under another name."});
}

template <class V>
void VisitFields(V& visit, ModelConfigKeys&) {
  std::vector<std::string> architectures;
  std::optional<QuantizationConfigKeys> quantization;
  visit("architectures", architectures,
        {.doc = "One name, the family: LlamaForCausalLM, Qwen3MoeForCausalLM, DeepseekV3ForCausalLM, ...",
         .required = true});
  VisitModelStructure(visit);
  visit("quantization_config", quantization, {.doc = "How the weights are quantised; absent: not."});
}

}  // namespace shardscout
