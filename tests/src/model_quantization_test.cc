// What quantization_config means, method by method, and what of it is refused.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "shardscout/model_spec.h"
#include "tests/src/spec_error_at.h"

namespace shardscout {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

/// DeepSeek-V3's shape: one dense layer, three with experts and a shared one.
json Config(const json& quantization) {
  return {{"architectures", {"DeepseekV3ForCausalLM"}},
          {"num_hidden_layers", 4},
          {"hidden_size", 64},
          {"vocab_size", 100},
          {"num_attention_heads", 8},
          {"kv_lora_rank", 32},
          {"qk_nope_head_dim", 16},
          {"qk_rope_head_dim", 8},
          {"v_head_dim", 12},
          {"intermediate_size", 128},
          {"first_k_dense_replace", 1},
          {"n_routed_experts", 16},
          {"n_shared_experts", 1},
          {"num_experts_per_tok", 4},
          {"moe_intermediate_size", 32},
          {"torch_dtype", "bfloat16"},
          {"quantization_config", quantization}};
}

ModelSpec Parse(const json& quantization, const ModelOverrides& overrides = {}) {
  std::vector<std::string> warnings;
  const ModelSpec model = ParseModelConfig(Config(quantization).dump(), "m.json", overrides, &warnings);
  EXPECT_THAT(warnings, IsEmpty());
  return model;
}

std::string ErrorAt(const std::string& key, const json& quantization) {
  const std::string place = "m.json#/quantization_config" + key;
  const std::string what =
      SpecErrorAt(place, [&] { ParseModelConfig(Config(quantization).dump(), "m.json", {}, nullptr); });
  return what.substr(std::min(what.size(), place.size() + 2));
}

json With(json object, const std::string& key, const json& value) {
  object[json::json_pointer("/" + key)] = value;
  return object;
}

json Compressed(const json& weights, const json& input = nullptr) {
  return {
      {"quant_method", "compressed-tensors"},
      {"format", "pack-quantized"},
      {"config_groups", {{"group_0", {{"targets", {"Linear"}}, {"weights", weights}, {"input_activations", input}}}}},
      {"ignore", {"lm_head", "re:.*self_attn.*", "re:.*shared_experts.*", "re:.*mlp\\.(gate|up|gate_up|down)_proj.*"}},
      {"kv_cache_scheme", nullptr}};
}

TEST(ModelQuantizationTest, Fp8CoversTheProjections) {
  json fp8 = {{"quant_method", "fp8"}, {"activation_scheme", "dynamic"}, {"weight_block_size", {128, 128}}};
  const ModelSpec model = Parse(fp8);
  EXPECT_EQ(model.weight_dtype, DType::kFp8);
  EXPECT_EQ(model.activation_dtype, DType::kFp8);
  EXPECT_EQ(model.embedding_dtype, DType::kBf16);
  EXPECT_EQ(model.residual_dtype, DType::kBf16);
  EXPECT_EQ(model.kv_dtype, DType::kBf16);
  EXPECT_EQ(model.weight_quant_block, 128);
  EXPECT_FALSE(model.weight_quant_grouped);
  EXPECT_EQ(model.AttentionQuantBlock(), 128);
  fp8["weight_block_size"] = nullptr;
  fp8["modules_to_not_convert"] = {"lm_head", "model.layers.0.mlp.gate", "model.layers.0.input_layernorm"};
  EXPECT_EQ(Parse(fp8).weight_quant_block, 0);
}

TEST(ModelQuantizationTest, Mxfp4CoversTheRoutedExperts) {
  const json mxfp4 = {{"quant_method", "mxfp4"}, {"modules_to_not_convert", {"model.layers.*.self_attn", "lm_head"}}};
  const ModelSpec model = Parse(mxfp4);
  EXPECT_EQ(model.weight_dtype, DType::kMxfp4);
  EXPECT_EQ(model.activation_dtype, DType::kBf16);
  EXPECT_EQ(model.weight_quant_block, 32);
  EXPECT_TRUE(model.weight_quant_grouped);
  EXPECT_EQ(BitsPerElement(model.scale_dtype), 8);
  EXPECT_FALSE(model.attention_quantised || model.dense_ffn_quantised || model.shared_expert_quantised);
  EXPECT_EQ(model.AttentionQuantBlock(), 0);
  const ModelSpec wide = Parse(mxfp4, {.weight_dtype = "bf16"});
  EXPECT_EQ(wide.weight_quant_block, 0);
  EXPECT_TRUE(wide.attention_quantised && !wide.weight_quant_grouped);
}

TEST(ModelQuantizationTest, ModelOptimizersFormats) {
  const json nvfp4 = {{"quant_method", "modelopt"},
                      {"quant_algo", "NVFP4"},
                      {"kv_cache_scheme", {{"dynamic", false}, {"num_bits", 8}, {"type", "float"}}},
                      {"ignore", {"lm_head", "model.layers.*.self_attn*"}},
                      {"config_groups", json::object()}};
  const ModelSpec model = Parse(nvfp4);
  EXPECT_EQ(model.weight_dtype, DType::kNvfp4);
  EXPECT_EQ(model.activation_dtype, DType::kNvfp4);
  EXPECT_EQ(model.kv_dtype, DType::kFp8);
  EXPECT_EQ(model.weight_quant_block, 16);
  EXPECT_TRUE(model.weight_quant_grouped);
  EXPECT_EQ(BitsPerElement(model.scale_dtype), 8);
  EXPECT_FALSE(model.attention_quantised);
  const ModelSpec fp8 = Parse({{"quant_method", "modelopt"}, {"quant_algo", "FP8"}});
  EXPECT_EQ(fp8.weight_dtype, DType::kFp8);
  EXPECT_EQ(fp8.weight_quant_block, 0);
  EXPECT_EQ(fp8.kv_dtype, DType::kBf16);
  // By the override: blocks of 16 with fp8 scales.
  const ModelSpec overridden = LoadModel("llama-3.1-8b", {.weight_dtype = "nvfp4"});
  EXPECT_EQ(overridden.weight_quant_block, 16);
  EXPECT_EQ(overridden.scale_dtype, DType::kFp8);
}

TEST(ModelQuantizationTest, IntegerGroups) {
  const ModelSpec awq = Parse({{"quant_method", "awq"},
                               {"bits", 4},
                               {"group_size", 64},
                               {"zero_point", true},
                               {"version", "gemm"},
                               {"modules_to_not_convert", nullptr}});
  EXPECT_EQ(awq.weight_dtype, DType::kInt4);
  EXPECT_EQ(awq.activation_dtype, DType::kBf16);
  EXPECT_EQ(awq.weight_quant_block, 64);
  EXPECT_TRUE(awq.weight_quant_grouped && awq.weight_zero_points && awq.attention_quantised);
  EXPECT_EQ(awq.scale_dtype, DType::kFp16);
  const json gptq = {{"quant_method", "gptq"}, {"bits", 8}, {"group_size", -1}, {"sym", true}, {"desc_act", false}};
  EXPECT_EQ(Parse(gptq).weight_dtype, DType::kInt8);
  EXPECT_EQ(Parse(gptq).weight_quant_block, 0);
  EXPECT_FALSE(Parse(gptq).weight_quant_grouped || Parse(gptq).weight_zero_points);
  EXPECT_TRUE(Parse(With(With(gptq, "sym", false), "group_size", 128)).weight_zero_points);
}

TEST(ModelQuantizationTest, CompressedTensors) {
  // As Kimi-K2-Thinking has it: INT4 in groups of 32 in the routed experts only.
  const json int4 = {{"num_bits", 4}, {"type", "int"}, {"strategy", "group"}, {"group_size", 32}, {"symmetric", true}};
  const ModelSpec model = Parse(Compressed(int4));
  EXPECT_EQ(model.weight_dtype, DType::kInt4);
  EXPECT_EQ(model.activation_dtype, DType::kBf16);
  EXPECT_EQ(model.weight_quant_block, 32);
  EXPECT_TRUE(model.weight_quant_grouped);
  EXPECT_FALSE(model.weight_zero_points);
  EXPECT_FALSE(model.attention_quantised || model.dense_ffn_quantised || model.shared_expert_quantised);

  const json fp8 = {{"num_bits", 8}, {"type", "float"}, {"strategy", "channel"}, {"dynamic", false}};
  const json input = {{"num_bits", 8}, {"type", "float"}, {"strategy", "token"}, {"dynamic", true}};
  const ModelSpec both = Parse(With(Compressed(fp8, input), "ignore", {"lm_head"}));
  EXPECT_EQ(both.weight_dtype, DType::kFp8);
  EXPECT_EQ(both.activation_dtype, DType::kFp8);
  EXPECT_EQ(both.weight_quant_block, 0);
  EXPECT_TRUE(both.attention_quantised);

  const json block = {{"num_bits", 8}, {"type", "float"}, {"strategy", "block"}, {"block_structure", {128, 128}}};
  EXPECT_EQ(Parse(Compressed(block)).weight_quant_block, 128);
  EXPECT_FALSE(Parse(Compressed(block)).weight_quant_grouped);
}

TEST(ModelQuantizationTest, PartsThatAreLeftAlone) {
  const json fp8 = {{"quant_method", "fp8"}};
  const auto left = [&](const json& modules) { return Parse(With(fp8, "modules_to_not_convert", modules)); };
  EXPECT_FALSE(left({"re:.*self_attn.*"}).attention_quantised);
  EXPECT_TRUE(left({"re:.*self_attn.*"}).dense_ffn_quantised);
  EXPECT_FALSE(left({"model.layers.0.mlp"}).dense_ffn_quantised);  // The only dense layer.
  EXPECT_FALSE(left({"model.layers.*.mlp.shared_experts"}).shared_expert_quantised);
  EXPECT_TRUE(left({"lm_head", "gate", "e_score_correction_bias", "re:.*router"}).attention_quantised);
  const auto error = [&](const json& modules) {
    return ErrorAt("/modules_to_not_convert", With(fp8, "modules_to_not_convert", modules));
  };
  EXPECT_THAT(error({"model.layers.1.self_attn"}), HasSubstr("quantised in some layers only"));
  EXPECT_THAT(error({"lm_head", "model.layers.0.self_attn.o_proj"}),
              HasSubstr("\"model.layers.0.self_attn.o_proj\" is a part of what is taken as quantised as a whole"));
  EXPECT_THAT(error({"re:.*mlp.experts.*"}), HasSubstr("is a part of what"));
}

TEST(ModelQuantizationTest, RefusesWhatItDoesNotKnow) {
  const json fp8 = {{"quant_method", "fp8"}};
  EXPECT_THAT(ErrorAt("/quant_method", {{"quant_method", "bitsandbytes"}}),
              HasSubstr("found \"bitsandbytes\": expected fp8, mxfp4, modelopt, awq, gptq or compressed-tensors"));
  EXPECT_THAT(ErrorAt("/weight_block_size", With(fp8, "weight_block_size", {1, 128})),
              HasSubstr("found [1,128]: expected two equal sizes"));
  EXPECT_THAT(ErrorAt("/activation_scheme", With(fp8, "activation_scheme", "magic")), HasSubstr("dynamic or static"));
  EXPECT_EQ(ErrorAt("", 8), "found 8, expected an object");
  const json awq = {{"quant_method", "awq"}, {"bits", 3}, {"group_size", 128}};
  EXPECT_THAT(ErrorAt("/bits", awq), HasSubstr("found 3: expected 4 or 8 bits"));
  EXPECT_THAT(ErrorAt("/group_size", With(With(awq, "bits", 4), "group_size", 0)), HasSubstr("found 0: "));
  EXPECT_THAT(ErrorAt("/lm_head", With(With(awq, "bits", 4), "lm_head", true)), HasSubstr("found true: "));
  const json weights = {{"num_bits", 4}, {"type", "int"}, {"strategy", "group"}, {"group_size", 32}};
  EXPECT_THAT(ErrorAt("/config_groups", With(Compressed(weights), "config_groups/group_1", json::object())),
              HasSubstr("expected one group"));
  EXPECT_THAT(ErrorAt("/config_groups/group_0/targets",
                      With(Compressed(weights), "config_groups/group_0/targets", {"re:.*down_proj"})),
              HasSubstr("expected [\"Linear\"]"));
  EXPECT_THAT(ErrorAt("/config_groups/group_0/weights/num_bits", Compressed(With(weights, "num_bits", 5))),
              HasSubstr("found 5: "));
  EXPECT_THAT(ErrorAt("/config_groups/group_0/weights/strategy", Compressed(With(weights, "strategy", "spiral"))),
              HasSubstr("expected tensor, channel, group or block"));
  EXPECT_THAT(ErrorAt("/kv_cache_scheme", With(Compressed(weights), "kv_cache_scheme", {{"num_bits", 8}})),
              HasSubstr("--kv-dtype"));
}

}  // namespace
}  // namespace shardscout
