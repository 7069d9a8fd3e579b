// Reading the config.json of models with linear attention: Qwen3-Next and Qwen3.5.

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
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr LayerKind kDense = LayerKind::kDense;
constexpr LayerKind kMoe = LayerKind::kMoe;

json Qwen3NextConfig() {
  return {{"architectures", {"Qwen3NextForCausalLM"}},
          {"num_hidden_layers", 4},
          {"hidden_size", 64},
          {"vocab_size", 100},
          {"num_attention_heads", 8},
          {"num_key_value_heads", 2},
          {"head_dim", 16},
          {"intermediate_size", 128},
          {"torch_dtype", "bfloat16"},
          {"num_experts", 16},
          {"num_experts_per_tok", 4},
          {"moe_intermediate_size", 32},
          {"full_attention_interval", 2},
          {"partial_rotary_factor", 0.25},
          {"shared_expert_intermediate_size", 24},
          {"linear_num_key_heads", 2},
          {"linear_num_value_heads", 6},
          {"linear_key_head_dim", 8},
          {"linear_value_head_dim", 12},
          {"linear_conv_kernel_dim", 4}};
}

/// The same model with its keys under text_config, as Qwen3.5 has them.
json Qwen35MoeConfig() {
  json text = Qwen3NextConfig();
  for (const char* key : {"architectures", "torch_dtype", "intermediate_size"}) text.erase(key);
  text.update({{"dtype", "bfloat16"},
               {"attn_output_gate", true},
               {"mamba_ssm_dtype", "float32"},
               {"mlp_only_layers", json::array()},
               {"mtp_num_hidden_layers", 1},
               {"mtp_use_dedicated_embeddings", false}});
  return {{"architectures", {"Qwen3_5MoeForConditionalGeneration"}},
          {"text_config", text},
          {"vision_config", {{"depth", 27}, {"num_heads", 16}}},
          {"image_token_id", 90},
          {"video_token_id", 91},
          {"vision_start_token_id", 92},
          {"vision_end_token_id", 93}};
}

ModelSpec Parse(const json& config, std::vector<std::string>* warnings = nullptr) {
  return ParseModelConfig(config.dump(), "m.json", {}, warnings);
}

TEST(LinearAttentionConfigTest, Qwen3Next) {
  std::vector<std::string> warnings;
  const ModelSpec model = Parse(Qwen3NextConfig(), &warnings);
  EXPECT_THAT(warnings, IsEmpty());
  EXPECT_EQ(model.attention,
            (AttentionSpec{.num_heads = 8, .num_kv_heads = 2, .head_dim = 16, .qk_norm = true, .output_gate = true}));
  EXPECT_EQ(model.linear_attention,
            (LinearAttentionSpec{
                .num_key_heads = 2, .num_value_heads = 6, .key_head_dim = 8, .value_head_dim = 12, .conv_width = 4}));
  EXPECT_THAT(model.linear_attention_layers, ElementsAre(0, 2));
  EXPECT_THAT(model.layers, ElementsAre(kMoe, kMoe, kMoe, kMoe));
  EXPECT_EQ(model.ffn_size, 0);
  EXPECT_EQ(model.moe.shared_ffn_size, 24);
  EXPECT_TRUE(model.moe.shared_expert_gate);
  // By default every fourth layer has full attention.
  EXPECT_THAT(Parse(Without(Qwen3NextConfig(), "full_attention_interval")).linear_attention_layers,
              ElementsAre(0, 1, 2));
  const json types = {"full_attention", "linear_attention", "full_attention", "linear_attention"};
  EXPECT_THAT(Parse(With(Qwen3NextConfig(), "layer_types", types)).linear_attention_layers, ElementsAre(1, 3));
  EXPECT_EQ(Parse(With(Qwen3NextConfig(), "mamba_ssm_dtype", "bfloat16")).linear_attention.state_dtype, DType::kBf16);
  const ModelSpec full = Parse(With(Qwen3NextConfig(), "full_attention_interval", 1));
  EXPECT_FALSE(full.HasLinearAttention());
  EXPECT_EQ(full.linear_attention, LinearAttentionSpec());
}

TEST(LinearAttentionConfigTest, Qwen35) {
  std::vector<std::string> warnings;
  const ModelSpec model = Parse(Qwen35MoeConfig(), &warnings);
  EXPECT_THAT(warnings, IsEmpty());
  EXPECT_EQ(model, Parse(Qwen3NextConfig()));
  json flat = Qwen35MoeConfig()["text_config"];
  flat["architectures"] = {"Qwen3_5MoeForCausalLM"};
  EXPECT_EQ(Parse(flat), model);
  // The dense models differ in their FFN only.
  json dense = Without(flat, "num_experts");
  dense["architectures"] = {"Qwen3_5ForCausalLM"};
  for (const char* key : {"num_experts_per_tok", "moe_intermediate_size", "shared_expert_intermediate_size"}) {
    dense.erase(key);
  }
  dense["intermediate_size"] = 128;
  const ModelSpec without_experts = Parse(dense);
  EXPECT_THAT(without_experts.layers, ElementsAre(kDense, kDense, kDense, kDense));
  EXPECT_EQ(without_experts.ffn_size, 128);
  EXPECT_EQ(without_experts.linear_attention, model.linear_attention);
  EXPECT_EQ(without_experts.attention, model.attention);
}

/// As Qwen's FP8 files have it: gates, convolutions and norms are left in 16 bits, and so is what is not the main
/// model.
TEST(LinearAttentionConfigTest, Fp8OfLinearAttention) {
  json config = Qwen35MoeConfig();
  config["quantization_config"] = {
      {"quant_method", "fp8"},
      {"activation_scheme", "dynamic"},
      {"weight_block_size", {128, 128}},
      {"modules_to_not_convert",
       {"lm_head", "model.visual.patch_embed.proj", "mtp.fc", "model.language_model.layers.0.linear_attn.conv1d",
        "model.language_model.layers.0.linear_attn.in_proj_a", "model.language_model.layers.0.linear_attn.in_proj_b",
        "model.language_model.layers.0.linear_attn.in_proj_ba", "model.language_model.layers.0.linear_attn.norm",
        "model.language_model.layers.0.mlp.gate", "model.language_model.layers.0.mlp.shared_expert_gate"}}};
  const ModelSpec model = Parse(config);
  EXPECT_EQ(model.weight_dtype, DType::kFp8);
  EXPECT_TRUE(model.attention_quantised && model.shared_expert_quantised);
  json& left = config["quantization_config"]["modules_to_not_convert"];
  left = {"model.language_model.layers.*.linear_attn", "model.language_model.layers.*.self_attn"};
  EXPECT_FALSE(Parse(config).attention_quantised);
  left = {"model.language_model.layers.0.linear_attn"};
  EXPECT_THAT(ConfigErrorAt("/quantization_config/modules_to_not_convert", config), HasSubstr("in some layers only"));
}

TEST(LinearAttentionConfigTest, LinearAttentionThatIsRefused) {
  const json config = Qwen3NextConfig();
  EXPECT_THAT(ConfigErrorAt("/linear_num_value_heads", With(config, "linear_num_value_heads", 5)),
              HasSubstr("a multiple of linear_num_key_heads 2"));
  EXPECT_THAT(ConfigErrorAt("/layer_types", With(config, "layer_types", {"mamba", "x", "x", "x"})),
              HasSubstr("\"mamba\" isn't supported"));
  EXPECT_THAT(ConfigErrorAt("/layer_types", With(config, "layer_types", {"full_attention"})),
              HasSubstr("one entry a layer"));
  const json linear = {"linear_attention", "linear_attention", "linear_attention", "linear_attention"};
  EXPECT_THAT(ConfigErrorAt("/layer_types", With(config, "layer_types", linear)),
              HasSubstr("a layer with full attention among"));
  EXPECT_EQ(ConfigErrorAt("", Without(config, "linear_conv_kernel_dim")), "missing key \"linear_conv_kernel_dim\"");
  EXPECT_THAT(ConfigErrorAt("/use_sliding_window", With(config, "use_sliding_window", true)),
              HasSubstr("not supported"));
}

}  // namespace
}  // namespace shardscout
