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
struct TextConfigKeys {};
struct AttentionConfigKeys {};
struct FfnConfigKeys {};
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
  for (const char* name : {"n_layer", "n_layers", "num_layers"}) {
    visit(name, count, {.doc = "The same under another name.", .min = 1, .max = 100000});
  }
  visit("hidden_size", count, at_least(1, "Width of the residual stream, elements."));
  for (const char* name : {"n_embd", "d_model"}) visit(name, count, at_least(1, "The same under another name."));
  visit("vocab_size", count, at_least(1, "Tokens of the vocabulary."));
  visit("tie_word_embeddings", flag, field("Whether embedding and output head are one matrix."));
  visit("n_positions", count, at_least(1, "Positions that have a learned embedding (GPT-2)."));
  visit("norms_per_layer", count, at_least(1, "Norms of one layer (Grok-1)."));

  visit("num_attention_heads", count, at_least(1, "Query heads."));
  for (const char* name : {"n_head", "n_heads"}) visit(name, count, at_least(1, "The same under another name."));
  visit("num_key_value_heads", count, at_least(1, "Key and value heads, a divisor of num_attention_heads."));
  for (const char* name : {"num_kv_heads", "n_head_kv", "kv_n_heads", "multi_query_group_num"}) {
    visit(name, count, at_least(1, "The same under another name."));
  }
  visit("head_dim", count, at_least(1, "Size of a head, elements; absent: hidden_size / num_attention_heads."));
  visit("attention_bias", flag, field("Whether the projections of attention have biases."));
  visit("qkv_bias", flag, field("Whether the query, key and value projections have biases (Qwen2-MoE)."));
  visit("use_qk_norm", flag, field("Whether query and key heads are normalised."));
  visit("use_sliding_window", flag,
        field("Whether attention is windowed; refused where windows cover only some layers."));
  visit("sliding_window", count, at_least(0, "Positions that a query sees, itself included."));
  visit("qk_norm_type", text, field("Over what they are normalised, such as per_layer (MiniMax)."));
  visit("max_window_layers", count, at_least(0, "Layers at the start that are not windowed (Qwen)."));
  visit("attention_chunk_size", count, at_least(1, "Positions of a chunk of local attention (Llama 4)."));
  visit("no_rope_layer_interval", count, at_least(1, "Every so many layers one sees all positions (Llama 4)."));
  visit("no_rope_layers", integers, at_least(0, "One entry a layer, 0 where it sees all positions (Llama 4)."));
  visit("attn_type_list", integers, at_least(0, "One entry a layer, 1 for full attention (MiniMax)."));
  visit("attn_output_gate", flag, field("Whether a gate scales what each head of full attention gives (Qwen3-Next)."));
  visit("full_attention_interval", count,
        at_least(1, "Every so many layers one has full attention, the others a linear one (Qwen3-Next)."));
  visit("linear_num_key_heads", count, at_least(1, "Linear attention: key heads."));
  visit("linear_num_value_heads", count, at_least(1, "Linear attention: value heads, a multiple of the key heads."));
  visit("linear_key_head_dim", count, at_least(1, "Linear attention: size of a query or key head, elements."));
  visit("linear_value_head_dim", count, at_least(1, "Linear attention: size of a value head, elements."));
  visit("linear_conv_kernel_dim", count, at_least(1, "Linear attention: positions that the convolution sees."));
  visit("mamba_ssm_dtype", text, field("Linear attention: type of the state; absent: float32."));
  visit("layer_types", texts, field("The kind of each layer's attention, such as full_attention."));

  visit("q_lora_rank", count, at_least(0, "MLA: rank of the query projection; absent: projected directly."));
  visit("kv_lora_rank", count, at_least(1, "MLA: size of the latent, elements."));
  visit("qk_nope_head_dim", count, at_least(1, "MLA: part of a query head without rotary embedding, elements."));
  visit("qk_rope_head_dim", count, at_least(1, "MLA: part of a query head with rotary embedding, elements."));
  visit("v_head_dim", count, at_least(1, "MLA: size of a value head, elements."));

  visit("index_n_heads", count, at_least(1, "Heads of the sparse indexer (DeepSeek-V3.2)."));
  visit("index_head_dim", count, at_least(1, "Size of a head of the sparse indexer, elements."));
  visit("index_topk", count, at_least(1, "Positions that the sparse indexer leaves to attention."));

  visit("intermediate_size", count, at_least(1, "Inner width of the FFN, elements; Mixtral: of one expert."));
  for (const char* name : {"n_inner", "ffn_hidden_size"})
    visit(name, count, at_least(1, "The same under another name."));
  visit("intermediate_size_mlp", count, at_least(1, "Inner width of the FFN of a dense layer, elements (Llama 4)."));
  visit("mlp_bias", flag, field("Whether the matrices of the dense FFN have biases."));

  visit("num_local_experts", count, at_least(1, "Routed experts of a MoE layer (Mixtral's name)."));
  visit("num_experts", count, at_least(1, "Routed experts of a MoE layer (Qwen's name)."));
  visit("n_routed_experts", count, at_least(1, "Routed experts of a MoE layer (DeepSeek's name)."));
  visit("moe_num_experts", count, at_least(1, "Routed experts of a MoE layer (DBRX's name)."));
  visit("num_experts_per_tok", count, at_least(1, "Routed experts that a token goes to."));
  for (const char* name : {"experts_per_token", "moe_top_k"}) {
    visit(name, count, at_least(1, "The same under another name."));
  }
  visit("moe_intermediate_size", count, at_least(1, "Inner width of one routed expert, elements."));
  visit("n_shared_experts", count, {.doc = "Shared experts, each as wide as a routed one.", .min = 0, .max = 1024});
  visit("shared_expert_intermediate_size", count, at_least(0, "Inner width of the shared expert, elements; 0: none."));
  visit("shared_intermediate_size", count, at_least(0, "Inner width of the shared expert, elements (MiniMax)."));
  visit("use_routing_bias", flag, field("Whether the router has one bias an expert (MiniMax)."));
  visit("interleave_moe_layer_step", count, at_least(1, "Every so many layers one is MoE (Llama 4)."));
  visit("moe_layers", integers, at_least(0, "Layers that are MoE, counted from 0 (Llama 4)."));
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
  std::optional<std::int64_t> count;
  std::optional<bool> flag;
  visit("bits", count, {.doc = "Bits of a weight (GPTQ, AWQ).", .min = 1, .max = 64});
  visit("group_size", count, {.doc = "Weights that share a scale; -1: a whole row.", .min = -1, .max = kMaxCount});
  visit("sym", flag, {.doc = "Whether there are no zero points (GPTQ)."});
  visit("zero_point", flag, {.doc = "Whether there are zero points (AWQ)."});
}

template <class V>
void VisitFields(V& visit, TextConfigKeys&) {
  VisitModelStructure(visit);
}

template <class V>
void VisitFields(V& visit, AttentionConfigKeys&) {
  std::optional<std::int64_t> count;
  visit("kv_n_heads", count, {.doc = "Key and value heads (DBRX).", .min = 1, .max = kMaxCount});
}

template <class V>
void VisitFields(V& visit, FfnConfigKeys&) {
  std::optional<std::int64_t> count;
  visit("ffn_hidden_size", count, {.doc = "Inner width of one expert, elements (DBRX).", .min = 1, .max = kMaxCount});
  visit("moe_num_experts", count, {.doc = "Routed experts of a MoE layer (DBRX).", .min = 1, .max = kMaxCount});
  visit("moe_top_k", count, {.doc = "Routed experts that a token goes to (DBRX).", .min = 1, .max = kMaxCount});
}

template <class V>
void VisitFields(V& visit, ModelConfigKeys&) {
  std::vector<std::string> architectures;
  std::optional<TextConfigKeys> text_config;
  std::optional<AttentionConfigKeys> attention_config;
  std::optional<FfnConfigKeys> ffn_config;
  std::optional<QuantizationConfigKeys> quantization;
  visit("architectures", architectures,
        {.doc = "One name, the family: LlamaForCausalLM, Qwen3MoeForCausalLM, DeepseekV3ForCausalLM, ...",
         .required = true});
  VisitModelStructure(visit);
  visit("text_config", text_config,
        {.doc = "The same keys, of the language model of a model that also sees (Llama 4, Qwen3.5)."});
  visit("attn_config", attention_config, {.doc = "Keys of attention that DBRX keeps apart."});
  visit("ffn_config", ffn_config, {.doc = "Keys of the experts that DBRX keeps apart."});
  visit("quantization_config", quantization, {.doc = "How the weights are quantised; absent: not."});
}

}  // namespace shardscout
