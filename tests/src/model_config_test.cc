// Reading config.json: what each family means by its keys, and what is refused.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "shardscout/model_spec.h"
#include "tests/src/config_edits.h"
#include "tests/src/spec_error_at.h"

namespace shardscout {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr LayerKind kDense = LayerKind::kDense;
constexpr LayerKind kMoe = LayerKind::kMoe;

json DenseConfig(const std::string& architecture) {
  return {
      {"architectures", {architecture}}, {"num_hidden_layers", 4},   {"hidden_size", 64}, {"vocab_size", 100},
      {"num_attention_heads", 8},        {"num_key_value_heads", 2}, {"head_dim", 16},    {"intermediate_size", 128},
      {"torch_dtype", "bfloat16"}};
}

json QwenMoeConfig(const std::string& architecture) {
  json config = DenseConfig(architecture);
  config.update({{"num_experts", 16}, {"num_experts_per_tok", 4}, {"moe_intermediate_size", 32}});
  return config;
}

json DeepSeekConfig() {
  return {{"architectures", {"DeepseekV3ForCausalLM"}},
          {"num_hidden_layers", 4},
          {"hidden_size", 64},
          {"vocab_size", 100},
          {"num_attention_heads", 8},
          {"num_key_value_heads", 8},
          {"q_lora_rank", 24},
          {"kv_lora_rank", 32},
          {"qk_nope_head_dim", 16},
          {"qk_rope_head_dim", 8},
          {"v_head_dim", 12},
          {"intermediate_size", 128},
          {"first_k_dense_replace", 1},
          {"n_routed_experts", 16},
          {"n_shared_experts", 2},
          {"num_experts_per_tok", 4},
          {"moe_intermediate_size", 32},
          {"torch_dtype", "bfloat16"}};
}

json GptOssConfig() {
  json config = DenseConfig("GptOssForCausalLM");
  config.erase("torch_dtype");
  config.update({{"num_local_experts", 16},
                 {"num_experts_per_tok", 4},
                 {"experts_per_token", 4},
                 {"sliding_window", 128},
                 {"layer_types", {"sliding_attention", "full_attention", "sliding_attention", "full_attention"}}});
  return config;
}

json Llama4Config() {
  json text = DenseConfig("");
  text.erase("architectures");
  text.update({{"num_local_experts", 16},
               {"num_experts_per_tok", 1},
               {"interleave_moe_layer_step", 2},
               {"intermediate_size_mlp", 256},
               {"attention_chunk_size", 512}});
  return {{"architectures", {"Llama4ForConditionalGeneration"}}, {"text_config", text}, {"vision_config", {{"x", 1}}}};
}

json MiniMaxConfig() {
  json config = DenseConfig("MiniMaxM2ForCausalLM");
  config.update({{"num_local_experts", 16},
                 {"num_experts_per_tok", 4},
                 {"use_qk_norm", true},
                 {"qk_norm_type", "per_layer"},
                 {"use_routing_bias", true},
                 {"num_mtp_modules", 3}});
  return config;
}

json DbrxConfig() {
  return {{"architectures", {"DbrxForCausalLM"}},
          {"n_layers", 2},
          {"d_model", 64},
          {"vocab_size", 100},
          {"n_heads", 8},
          {"attn_config", {{"kv_n_heads", 2}, {"clip_qkv", 8}}},
          {"ffn_config", {{"ffn_hidden_size", 96}, {"moe_num_experts", 8}, {"moe_top_k", 2}}},
          {"torch_dtype", "bfloat16"}};
}

ModelSpec Parse(const json& config, const ModelOverrides& overrides = {},
                std::vector<std::string>* warnings = nullptr) {
  return ParseModelConfig(config.dump(), "m.json", overrides, warnings);
}

TEST(ModelConfigTest, Llama) {
  ModelSpec expected;
  expected.name = "m";
  expected.num_layers = 4;
  expected.hidden_size = 64;
  expected.vocab_size = 100;
  expected.attention = {.num_heads = 8, .num_kv_heads = 2, .head_dim = 16};
  expected.ffn_size = 128;
  expected.layers = {kDense, kDense, kDense, kDense};
  EXPECT_EQ(Parse(DenseConfig("LlamaForCausalLM")), expected);

  json config = DenseConfig("LlamaForCausalLM");
  config.update({{"attention_bias", true}, {"mlp_bias", true}, {"tie_word_embeddings", true}});
  config.erase("head_dim");
  config["num_key_value_heads"] = nullptr;
  expected.tie_word_embeddings = true;
  expected.ffn_bias = true;
  expected.attention = {.num_heads = 8, .num_kv_heads = 8, .head_dim = 8, .qkv_bias = true, .output_bias = true};
  EXPECT_EQ(Parse(config), expected);
}

TEST(ModelConfigTest, Mixtral) {
  json config = DenseConfig("MixtralForCausalLM");
  config.update({{"num_local_experts", 8}, {"num_experts_per_tok", 2}, {"sliding_window", 4096}});
  const ModelSpec model = Parse(config);
  EXPECT_EQ(model.moe, (MoeSpec{.num_experts = 8, .num_experts_per_token = 2, .expert_ffn_size = 128}));
  EXPECT_EQ(model.ffn_size, 0);
  EXPECT_EQ(model.attention.sliding_window, 4096);
  EXPECT_THAT(model.layers, ElementsAre(kMoe, kMoe, kMoe, kMoe));
}

TEST(ModelConfigTest, QwenDense) {
  const AttentionSpec qwen2 = Parse(DenseConfig("Qwen2ForCausalLM")).attention;
  EXPECT_TRUE(qwen2.qkv_bias);
  EXPECT_FALSE(qwen2.output_bias);
  EXPECT_FALSE(qwen2.qk_norm);
  const AttentionSpec qwen3 = Parse(DenseConfig("Qwen3ForCausalLM")).attention;
  EXPECT_FALSE(qwen3.qkv_bias);
  EXPECT_TRUE(qwen3.qk_norm);
}

TEST(ModelConfigTest, Qwen2Moe) {
  const ModelSpec model = Parse(With(QwenMoeConfig("Qwen2MoeForCausalLM"), "shared_expert_intermediate_size", 96));
  EXPECT_EQ(model.moe, (MoeSpec{.num_experts = 16,
                                .num_experts_per_token = 4,
                                .expert_ffn_size = 32,
                                .shared_ffn_size = 96,
                                .shared_expert_gate = true}));
  EXPECT_TRUE(model.attention.qkv_bias);
  EXPECT_EQ(ConfigErrorAt("", QwenMoeConfig("Qwen2MoeForCausalLM")), "missing key \"shared_expert_intermediate_size\"");
}

TEST(ModelConfigTest, Qwen3MoeChoosesItsDenseLayers) {
  json config = QwenMoeConfig("Qwen3MoeForCausalLM");
  EXPECT_THAT(Parse(config).layers, ElementsAre(kMoe, kMoe, kMoe, kMoe));
  EXPECT_EQ(Parse(config).ffn_size, 0);
  config["decoder_sparse_step"] = 2;
  EXPECT_THAT(Parse(config).layers, ElementsAre(kDense, kMoe, kDense, kMoe));
  EXPECT_EQ(Parse(config).ffn_size, 128);
  config["mlp_only_layers"] = {3};
  EXPECT_THAT(Parse(config).layers, ElementsAre(kDense, kMoe, kDense, kDense));
  config["mlp_only_layers"] = {1, 3};
  EXPECT_EQ(Parse(config).moe, MoeSpec());
  EXPECT_THAT(ConfigErrorAt("/mlp_only_layers", With(config, "mlp_only_layers", {4})),
              HasSubstr("below num_hidden_layers 4"));
  EXPECT_EQ(ConfigErrorAt("/mlp_only_layers/0", With(config, "mlp_only_layers", {-1})),
            "found -1, expected an integer in [0, 2147483648]");
}

TEST(ModelConfigTest, DeepSeek) {
  const ModelSpec model = Parse(DeepSeekConfig());
  EXPECT_EQ(model.attention, (AttentionSpec{.kind = AttentionKind::kMultiLatent,
                                            .num_heads = 8,
                                            .q_lora_rank = 24,
                                            .kv_lora_rank = 32,
                                            .qk_nope_head_dim = 16,
                                            .qk_rope_head_dim = 8,
                                            .v_head_dim = 12}));
  EXPECT_EQ(model.moe, (MoeSpec{.num_experts = 16,
                                .num_experts_per_token = 4,
                                .expert_ffn_size = 32,
                                .shared_ffn_size = 64,
                                .router_correction_bias = true}));
  EXPECT_THAT(model.layers, ElementsAre(kDense, kMoe, kMoe, kMoe));
  EXPECT_THAT(Parse(With(DeepSeekConfig(), "moe_layer_freq", 2)).layers, ElementsAre(kDense, kDense, kMoe, kDense));
  EXPECT_EQ(Parse(With(DeepSeekConfig(), "q_lora_rank", nullptr)).attention.q_lora_rank, 0);
}

TEST(ModelConfigTest, DeepSeekSparse) {
  json config = DeepSeekConfig();
  config.update({{"architectures", {"DeepseekV32ForCausalLM"}},
                 {"index_n_heads", 4},
                 {"index_head_dim", 16},
                 {"index_topk", 2048}});
  const AttentionSpec attention = Parse(config).attention;
  EXPECT_EQ(attention.index_heads, 4);
  EXPECT_EQ(attention.index_head_dim, 16);
  EXPECT_EQ(attention.index_topk, 2048);
  EXPECT_EQ(Parse(With(config, "architectures", {"GlmMoeDsaForCausalLM"})), Parse(config));
  EXPECT_THAT(ConfigErrorAt("/q_lora_rank", With(config, "q_lora_rank", 0)), HasSubstr("the indexer needs"));
}

TEST(ModelConfigTest, GptOss) {
  const ModelSpec model = Parse(GptOssConfig());
  EXPECT_EQ(model.attention, (AttentionSpec{.num_heads = 8,
                                            .num_kv_heads = 2,
                                            .head_dim = 16,
                                            .sliding_window = 128,
                                            .qkv_bias = true,
                                            .output_bias = true,
                                            .sinks = true}));
  EXPECT_THAT(model.full_attention_layers, ElementsAre(1, 3));
  EXPECT_EQ(model.moe, (MoeSpec{.num_experts = 16,
                                .num_experts_per_token = 4,
                                .expert_ffn_size = 128,
                                .router_bias = true,
                                .expert_bias = true}));
  EXPECT_EQ(model.weight_dtype, DType::kBf16);  // As the family is published: its files name no type.
  EXPECT_EQ(ConfigErrorAt("", Without(GptOssConfig(), "sliding_window")), "missing key \"sliding_window\"");

  const json all = json::array({"full_attention", "full_attention", "full_attention", "full_attention"});
  const ModelSpec full = Parse(With(GptOssConfig(), "layer_types", all));
  EXPECT_EQ(full.attention.sliding_window, 0);
  EXPECT_FALSE(full.HasMixedWindows());
}

TEST(ModelConfigTest, QwensWindowCoversTheLastLayers) {
  json config = DenseConfig("Qwen2ForCausalLM");
  config.update({{"use_sliding_window", true}, {"sliding_window", 64}, {"max_window_layers", 3}});
  EXPECT_EQ(Parse(config).attention.sliding_window, 64);
  EXPECT_THAT(Parse(config).full_attention_layers, ElementsAre(0, 1, 2));
  EXPECT_THAT(Parse(With(config, "max_window_layers", 0)).full_attention_layers, IsEmpty());
  EXPECT_EQ(Parse(With(config, "max_window_layers", 0)).attention.sliding_window, 64);
  EXPECT_EQ(Parse(With(config, "max_window_layers", 4)).attention.sliding_window, 0);
  EXPECT_EQ(Parse(With(config, "use_sliding_window", false)).attention.sliding_window, 0);
  EXPECT_EQ(ConfigErrorAt("", Without(config, "max_window_layers")), "missing key \"max_window_layers\"");
}

TEST(ModelConfigTest, Llama4) {
  std::vector<std::string> warnings;
  const ModelSpec model = Parse(Llama4Config(), {}, &warnings);
  EXPECT_THAT(warnings, IsEmpty());
  EXPECT_THAT(model.layers, ElementsAre(kDense, kMoe, kDense, kMoe));
  EXPECT_EQ(model.ffn_size, 256);
  EXPECT_EQ(model.moe,
            (MoeSpec{.num_experts = 16, .num_experts_per_token = 1, .expert_ffn_size = 128, .shared_ffn_size = 128}));
  EXPECT_EQ(model.attention.sliding_window, 512);
  EXPECT_THAT(model.full_attention_layers, ElementsAre(3));  // Every fourth has no rotary positions.
  const auto at = "/text_config/no_rope_layers"_json_pointer;
  EXPECT_THAT(Parse(With(Llama4Config(), at, {0, 1, 0, 1})).full_attention_layers, ElementsAre(0, 2));
}

TEST(ModelConfigTest, Glm4Moe) {
  json config = DenseConfig("Glm4MoeForCausalLM");
  config.update({{"attention_bias", true},
                 {"use_qk_norm", true},
                 {"first_k_dense_replace", 1},
                 {"n_routed_experts", 16},
                 {"n_shared_experts", 1},
                 {"num_experts_per_tok", 4},
                 {"moe_intermediate_size", 32},
                 {"num_nextn_predict_layers", 1}});
  const ModelSpec model = Parse(config);
  EXPECT_TRUE(model.attention.qkv_bias);
  EXPECT_FALSE(model.attention.output_bias);
  EXPECT_TRUE(model.attention.qk_norm);
  EXPECT_THAT(model.layers, ElementsAre(kDense, kMoe, kMoe, kMoe));
  EXPECT_EQ(model.moe.shared_ffn_size, 32);
  EXPECT_TRUE(model.moe.router_correction_bias);
  EXPECT_FALSE(Parse(With(config, "use_qk_norm", false)).attention.qk_norm);
}

TEST(ModelConfigTest, MiniMaxM2) {
  const ModelSpec model = Parse(MiniMaxConfig());
  EXPECT_TRUE(model.attention.whole_qk_norm);
  EXPECT_FALSE(model.attention.qk_norm);
  EXPECT_EQ(model.moe.expert_ffn_size, 128);
  EXPECT_TRUE(model.moe.router_correction_bias);
  EXPECT_THAT(ConfigErrorAt("/qk_norm_type", With(MiniMaxConfig(), "qk_norm_type", "per_head")),
              HasSubstr("per_layer"));
}

TEST(ModelConfigTest, Dbrx) {
  const ModelSpec model = Parse(DbrxConfig());
  EXPECT_EQ(model.attention, (AttentionSpec{.num_heads = 8, .num_kv_heads = 2, .head_dim = 8}));
  EXPECT_EQ(model.moe, (MoeSpec{.num_experts = 8, .num_experts_per_token = 2, .expert_ffn_size = 96}));
  EXPECT_THAT(model.layers, ElementsAre(kMoe, kMoe));
}

TEST(ModelConfigTest, Grok1HasNormsOfOutputs) {
  json config = DenseConfig("Grok1ForCausalLM");
  config.update({{"num_local_experts", 8}, {"num_experts_per_tok", 2}, {"attn_output_multiplier", 0.1}});
  EXPECT_EQ(Parse(config).norms_per_layer, 4);
  EXPECT_THAT(ConfigErrorAt("/norms_per_layer", With(config, "norms_per_layer", 3)), HasSubstr("expected 2 or 4"));
}

TEST(ModelConfigTest, Gpt2AndGptNeoX) {
  const json config = {{"architectures", {"GPT2LMHeadModel"}},
                       {"n_layer", 2},
                       {"n_embd", 64},
                       {"n_head", 8},
                       {"n_positions", 32},
                       {"vocab_size", 100},
                       {"n_inner", nullptr},
                       {"torch_dtype", "float32"}};
  const ModelSpec gpt2 = Parse(config);
  EXPECT_TRUE(gpt2.tie_word_embeddings);
  EXPECT_EQ(gpt2.ffn_size, 256);
  EXPECT_EQ(gpt2.learned_positions, 32);
  EXPECT_FALSE(gpt2.gated_ffn);
  EXPECT_TRUE(gpt2.ffn_bias && gpt2.norm_bias && gpt2.attention.qkv_bias && gpt2.attention.output_bias);
  EXPECT_EQ(Parse(With(config, "n_inner", 100)).ffn_size, 100);

  json neox = DenseConfig("GPTNeoXForCausalLM");
  neox["use_parallel_residual"] = true;
  const ModelSpec model = Parse(Without(neox, "num_key_value_heads"));
  EXPECT_EQ(model.attention.num_kv_heads, 8);
  EXPECT_EQ(model.learned_positions, 0);
  EXPECT_FALSE(model.gated_ffn || model.tie_word_embeddings);
  EXPECT_TRUE(model.ffn_bias && model.norm_bias && model.attention.qkv_bias && model.attention.output_bias);
}

TEST(ModelConfigTest, NameIsTheFileOrItsFolder) {
  const std::string text = DenseConfig("LlamaForCausalLM").dump();
  EXPECT_EQ(ParseModelConfig(text, "/models/llama-3.1-8b.json", {}, nullptr).name, "llama-3.1-8b");
  EXPECT_EQ(ParseModelConfig(text, "/models/Llama-3.1-8B/config.json", {}, nullptr).name, "Llama-3.1-8B");
  EXPECT_EQ(ParseModelConfig(text, "/models/\xff.json", {}, nullptr).name, "\\xff") << "a plan is UTF-8";
}

TEST(ModelConfigTest, OverridesReplaceTheFilesTypes) {
  const json fp8 =
      With(DeepSeekConfig(), "quantization_config", {{"quant_method", "fp8"}, {"weight_block_size", {128, 128}}});
  const ModelSpec widened = Parse(fp8, {.weight_dtype = "bf16"});
  EXPECT_EQ(widened.weight_dtype, DType::kBf16);
  EXPECT_EQ(widened.activation_dtype, DType::kBf16);
  EXPECT_EQ(widened.weight_quant_block, 0);

  const ModelSpec narrowed =
      Parse(DeepSeekConfig(), {.weight_dtype = "int4", .kv_dtype = "fp8", .weight_quant_block = 32});
  EXPECT_EQ(narrowed.weight_dtype, DType::kInt4);
  EXPECT_EQ(narrowed.activation_dtype, DType::kBf16);
  EXPECT_EQ(narrowed.kv_dtype, DType::kFp8);
  EXPECT_EQ(narrowed.weight_quant_block, 32);
  EXPECT_TRUE(narrowed.weight_quant_grouped);
  EXPECT_EQ(Parse(DeepSeekConfig(), {.activation_dtype = "fp8"}).activation_dtype, DType::kFp8);
  EXPECT_EQ(Parse(fp8, {.kv_dtype = "fp8"}).weight_quant_block, 128);

  EXPECT_THAT(SpecErrorAt("--weight-quant-block", [&] { Parse(DeepSeekConfig(), {.weight_quant_block = 128}); }),
              HasSubstr("found 128, expected 0: bf16 weights have no scales"));
  EXPECT_THAT(SpecErrorAt("--weight-dtype", [&] { Parse(DeepSeekConfig(), {.weight_dtype = "fp9"}); }),
              HasSubstr("found \"fp9\""));
}

TEST(ModelConfigTest, WarnsOfWhatItDoesNotKnow) {
  std::vector<std::string> warnings;
  json config = Without(DenseConfig("LlamaForCausalLM"), "torch_dtype");
  config.update(
      {{"rope_theta", 500000.0}, {"_comment", "x"}, {"favourite_dish", "soup"}, {"attention_chunk_size", nullptr}});
  Parse(config, {}, &warnings);
  EXPECT_THAT(warnings, ElementsAre("m.json#/torch_dtype: missing, bf16 assumed",
                                    "m.json#/attention_chunk_size: unknown key, ignored",
                                    "m.json#/favourite_dish: unknown key, ignored"));
  warnings.clear();
  Parse(DenseConfig("LlamaForCausalLM"), {}, &warnings);
  EXPECT_THAT(warnings, IsEmpty());
}

TEST(ModelConfigTest, RefusesFeaturesThatItDoesNotModel) {
  EXPECT_THAT(
      ConfigErrorAt("/attention_chunk_size", With(DenseConfig("LlamaForCausalLM"), "attention_chunk_size", 8192)),
      HasSubstr("found 8192: this key isn't known and may change the model's structure"));
  EXPECT_THAT(ConfigErrorAt("/index_topk", With(DeepSeekConfig(), "index_topk", 2048)), HasSubstr("found 2048: "));
  EXPECT_EQ(ConfigErrorAt("", With(DeepSeekConfig(), "architectures", {"DeepseekV32ForCausalLM"})),
            "missing key \"index_n_heads\"");
  EXPECT_THAT(ConfigErrorAt("/shared_intermediate_size", With(MiniMaxConfig(), "shared_intermediate_size", 64)),
              HasSubstr("found 64: a shared expert"));
  EXPECT_THAT(ConfigErrorAt("/attn_type_list", With(MiniMaxConfig(), "attn_type_list", {1, 0, 1, 1})),
              HasSubstr("expected 1, full attention"));
  EXPECT_THAT(ConfigErrorAt("/text_config/no_rope_layers",
                            With(Llama4Config(), "/text_config/no_rope_layers"_json_pointer, {1})),
              HasSubstr("expected one entry a layer"));
  EXPECT_EQ(ConfigErrorAt("", Without(Llama4Config(), "text_config")), "missing key \"text_config\"");
  EXPECT_THAT(ConfigErrorAt("/ffn_config/moe_top_k", With(DbrxConfig(), "/ffn_config/moe_top_k"_json_pointer, 9)),
              HasSubstr("found 9: expected at most the 8 experts"));
  EXPECT_THAT(ConfigErrorAt("/attn_config/kv_n_heads", With(DbrxConfig(), "/attn_config/kv_n_heads"_json_pointer, 3)),
              HasSubstr("found 3: expected a divisor of n_heads 8"));
  EXPECT_THAT(ConfigErrorAt("/num_experts", With(DenseConfig("Qwen3ForCausalLM"), "num_experts", 8)),
              HasSubstr("found 8: "));
  EXPECT_THAT(
      ConfigErrorAt("/layer_types", With(DenseConfig("Qwen3ForCausalLM"), "layer_types", {"sliding_attention"})),
      HasSubstr("expected one entry a layer, 4"));
  EXPECT_THAT(
      ConfigErrorAt("/layer_types", With(DenseConfig("Qwen3ForCausalLM"), "layer_types",
                                         {"linear_attention", "full_attention", "full_attention", "full_attention"})),
      HasSubstr("\"linear_attention\" isn't supported; expected full_attention or sliding_attention"));
  EXPECT_THAT(ConfigErrorAt("/topk_method", With(DeepSeekConfig(), "topk_method", "greedy")),
              HasSubstr("found \"greedy\""));
  EXPECT_THAT(ConfigErrorAt("/attention_bias", With(DeepSeekConfig(), "attention_bias", true)),
              HasSubstr("found true"));
  EXPECT_THAT(ConfigErrorAt("/shared_expert_intermediate_size",
                            With(QwenMoeConfig("Qwen3MoeForCausalLM"), "shared_expert_intermediate_size", 512)),
              HasSubstr("no shared expert"));
  EXPECT_THAT(
      ConfigErrorAt("/use_sliding_window", With(QwenMoeConfig("Qwen3MoeForCausalLM"), "use_sliding_window", true)),
      HasSubstr("found true: windows of this family"));
  EXPECT_THAT(ConfigErrorAt("/use_qk_norm", With(QwenMoeConfig("Qwen3MoeForCausalLM"), "use_qk_norm", false)),
              HasSubstr("found false"));
}

TEST(ModelConfigTest, OtherSpellingsOfASize) {
  const json llama = DenseConfig("LlamaForCausalLM");
  EXPECT_EQ(Parse(With(Without(llama, "num_key_value_heads"), "num_kv_heads", 4)).attention.num_kv_heads, 4);
  EXPECT_EQ(Parse(With(Without(llama, "num_hidden_layers"), "n_layer", 6)).num_layers, 6);
  EXPECT_EQ(Parse(With(llama, "n_layer", 4)).num_layers, 4);
  EXPECT_EQ(Parse(With(llama, "n_layer", nullptr)).num_layers, 4);
  EXPECT_THAT(ConfigErrorAt("/num_hidden_layers", With(llama, "n_layer", 6)),
              HasSubstr("found 4, but \"n_layer\" is another name of the same size and says 6; keep one"));
  EXPECT_EQ(ConfigErrorAt("/n_layer", With(Without(llama, "num_hidden_layers"), "n_layer", 0)),
            "found 0, expected an integer in [1, 100000]");
  EXPECT_EQ(ConfigErrorAt("", Without(llama, "num_hidden_layers")), "missing key \"num_hidden_layers\"");
  json moe = QwenMoeConfig("Qwen3MoeForCausalLM");
  moe.erase("num_experts");
  moe["num_local_experts"] = 32;
  EXPECT_EQ(Parse(moe).moe.num_experts, 32);
}

TEST(ModelConfigTest, RefusesUnknownArchitectures) {
  EXPECT_THAT(ConfigErrorAt("/architectures/0", DenseConfig("Qwen3MoEForCausalLM")),
              AllOf(HasSubstr("found \"Qwen3MoEForCausalLM\", expected one of LlamaForCausalLM, "),
                    HasSubstr(", Qwen3MoeForCausalLM, "), HasSubstr(", GPTNeoXForCausalLM")));
  EXPECT_EQ(ConfigErrorAt("/architectures", Without(DenseConfig("LlamaForCausalLM"), "architectures")),
            "found 0 architectures, expected one");
  EXPECT_EQ(ConfigErrorAt("/architectures/0", With(DenseConfig("LlamaForCausalLM"), "architectures", {1})),
            "found 1, expected a string");
}

TEST(ModelConfigTest, RefusesBadSizes) {
  const json llama = DenseConfig("LlamaForCausalLM");
  EXPECT_EQ(ConfigErrorAt("", Without(llama, "hidden_size")), "missing key \"hidden_size\"");
  EXPECT_EQ(ConfigErrorAt("", Without(DenseConfig("Qwen3ForCausalLM"), "head_dim")), "missing key \"head_dim\"");
  EXPECT_EQ(ConfigErrorAt("/hidden_size", With(llama, "hidden_size", "64")),
            "found \"64\", expected an integer in [1, 2147483648]");
  EXPECT_EQ(ConfigErrorAt("/hidden_size", With(llama, "hidden_size", 64.5)),
            "found 64.5, expected an integer in [1, 2147483648]");
  EXPECT_EQ(ConfigErrorAt("/vocab_size", With(llama, "vocab_size", -1)),
            "found -1, expected an integer in [1, 2147483648]");
  EXPECT_EQ(ConfigErrorAt("/num_hidden_layers", With(llama, "num_hidden_layers", 100001)),
            "found 100001, expected an integer in [1, 100000]");
  EXPECT_THAT(ConfigErrorAt("/num_key_value_heads", With(llama, "num_key_value_heads", 3)),
              HasSubstr("found 3: expected a divisor of num_attention_heads 8"));
  EXPECT_THAT(ConfigErrorAt("/num_attention_heads",
                            With(Without(Without(llama, "head_dim"), "num_key_value_heads"), "num_attention_heads", 7)),
              HasSubstr("found 7: expected a divisor of hidden_size 64"));
  EXPECT_THAT(ConfigErrorAt("/num_experts_per_tok", With(DeepSeekConfig(), "num_experts_per_tok", 17)),
              HasSubstr("found 17: expected at most the 16 experts"));
  json huge = llama;
  huge.update({{"hidden_size", 2147483648}, {"intermediate_size", 2147483648}, {"num_hidden_layers", 100000}});
  EXPECT_EQ(ConfigErrorAt("", huge), "the sizes give more than 2^53 parameters");
}

TEST(ModelConfigTest, RefusesWhatIsNotAnObject) {
  EXPECT_EQ(ConfigErrorAt("", json::array()), "found [], expected an object");
  EXPECT_THAT(SpecErrorAt("m.json", [] { ParseModelConfig("{oops", "m.json", {}, nullptr); }),
              HasSubstr("not JSON at line 1, column 2"));
}

}  // namespace
}  // namespace shardscout
