// Counts against published figures, and against counts by hand on a model small enough for it.

#include "shardscout/model_spec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "shardscout/preset_paths.h"
#include "src/model_counts.h"

namespace shardscout {
namespace {

struct Published {
  const char* preset;
  const char* file;  ///< Under facts/model_configs; empty where it was not collected.
  double total;
  double active;
  std::int64_t kv_elements_per_token;
};

/// Computed independently of this library and checked against the sizes that the models' authors publish.
constexpr Published kPublished[] = {
    {"dbrx", "DBRX", 131.60e9, 36.47e9, 81920},
    {"deepseek-r1", "DeepSeek-R1", 671.03e9, 37.55e9, 35136},
    {"deepseek-v3", "DeepSeek-V3", 671.03e9, 37.55e9, 35136},
    {"deepseek-v3.2", "DeepSeek-V3.2", 671.88e9, 38.40e9, 35136},
    {"glm-4.5", "GLM-4.5", 352.80e9, 33.63e9, 188416},
    {"glm-4.5-air", "GLM-4.5-Air", 106.85e9, 13.42e9, 94208},
    {"glm-5", "GLM-5", 743.91e9, 41.78e9, 44928},
    {"gpt-2", "GPT-2", 124.44e6, 124.44e6, 18432},
    {"gpt-neox-20b", "GPT-NeoX-20B", 20.55e9, 20.55e9, 540672},
    {"gpt-oss-120b", "gpt-oss-120b", 116.83e9, 5.71e9, 36864},
    {"gpt-oss-20b", "gpt-oss-20b", 20.91e9, 4.19e9, 24576},
    {"grok-1", "Grok-1", 315.68e9, 83.76e9, 131072},
    {"kimi-k2", "Kimi-K2", 1026.41e9, 32.86e9, 35136},
    {"llama-3.1-405b", "Llama-3.1-405B", 405.85e9, 405.85e9, 258048},
    {"llama-3.1-70b", "Llama-3.1-70B", 70.55e9, 70.55e9, 163840},
    {"llama-3.1-8b", "Llama-3.1-8B", 8.03e9, 8.03e9, 65536},
    {"llama-4-maverick", "Llama-4-Maverick", 400.71e9, 17.18e9, 98304},
    {"llama-4-scout", "Llama-4-Scout", 107.77e9, 17.17e9, 98304},
    {"minimax-m2.5", "MiniMax-M2.5", 228.69e9, 11.03e9, 126976},
    {"mixtral-8x22b", "Mixtral-8x22B", 140.62e9, 39.15e9, 114688},
    {"mixtral-8x7b", "Mixtral-8x7B", 46.70e9, 12.88e9, 65536},
    {"qwen1.5-moe-a2.7b", "Qwen1.5-MoE-A2.7B", 14.32e9, 2.69e9, 98304},
    {"qwen2.5-72b", "Qwen2.5-72B", 72.71e9, 72.71e9, 163840},
    {"qwen3-235b-a22b", "Qwen3-235B-A22B", 235.09e9, 22.19e9, 96256},
    {"qwen3-30b-a3b", "Qwen3-30B-A3B", 30.53e9, 3.35e9, 49152},
    {"qwen3-32b", "Qwen3-32B", 32.76e9, 32.76e9, 131072},
    {"qwen3-8b", "Qwen3-8B", 8.19e9, 8.19e9, 73728},
    {"qwen3-coder-480b-a35b", "Qwen3-Coder-480B-A35B", 480.15e9, 35.47e9, 126976},
    {"qwen3-next-80b-a3b", "", 79.67e9, 3.88e9, 12288},
    {"qwen3.5-397b-a17b", "", 396.35e9, 17.35e9, 15360},
};

/// Of published tables of measurements (experiments/validation); no config.json of them was collected.
constexpr Published kMeasured[] = {
    {"bloom-176b", "", 176.25e9, 176.25e9, 2007040},  {"gpt-1.3b", "", 1.32e9, 1.32e9, 98304},
    {"gpt-20b", "", 20.26e9, 20.26e9, 540672},        {"gpt-350m", "", 356.9e6, 356.9e6, 49152},
    {"gpt-6.7b", "", 6.66e9, 6.66e9, 262144},         {"gpt-89b", "", 87.6e9, 87.6e9, 1179648},
    {"gpt-j-6b", "", 6.05e9, 6.05e9, 229376},         {"llama-2-13b", "", 13.02e9, 13.02e9, 409600},
    {"llama-2-70b", "", 68.98e9, 68.98e9, 163840},    {"llama-2-7b", "", 6.74e9, 6.74e9, 262144},
    {"mistral-7b", "", 7.24e9, 7.24e9, 65536},        {"mistral-large-2407", "", 122.61e9, 122.61e9, 180224},
    {"mt-nlg-530b", "", 529.6e9, 529.6e9, 4300800},   {"qwen3-14b", "", 14.77e9, 14.77e9, 81920},
    {"gpt3-175b", "", 174.6e9, 174.6e9, 2359296},     {"megatron-22b", "", 22.08e9, 22.08e9, 589824},
    {"megatron-1t", "", 1008.1e9, 1008.1e9, 6553600},
};

void ExpectCounts(const ModelSpec& model, const Published& published) {
  const ParameterCount count = CountParameters(model);
  EXPECT_NEAR(static_cast<double>(count.total), published.total, 0.005 * published.total);
  EXPECT_NEAR(static_cast<double>(count.active), published.active, 0.005 * published.active);
  EXPECT_EQ(KvElementsPerToken(model), published.kv_elements_per_token);
}

class PublishedModelTest : public ::testing::TestWithParam<Published> {};

TEST_P(PublishedModelTest, PresetHasThePublishedCounts) {
  std::vector<std::string> warnings;
  const ModelSpec model = LoadModel(GetParam().preset, {}, &warnings);
  EXPECT_EQ(model.name, GetParam().preset);
  EXPECT_THAT(warnings, ::testing::IsEmpty());
  ExpectCounts(model, GetParam());
}

TEST_P(PublishedModelTest, PresetEqualsTheCollectedConfig) {
  const char* data = std::getenv("SHARDSCOUT_DATA");
  if (data == nullptr) GTEST_SKIP() << "SHARDSCOUT_DATA isn't set: no collected config.json to compare with";
  if (std::string(GetParam().file).empty())
    GTEST_SKIP() << "no config.json of " << GetParam().preset << " is collected";
  const auto path = std::filesystem::path(data) / "facts" / "model_configs" / (std::string(GetParam().file) + ".json");
  if (!std::ifstream(path)) GTEST_SKIP() << path << " can't be read";
  std::vector<std::string> warnings;
  ModelSpec collected = LoadModel(path.string(), {}, &warnings);
  EXPECT_THAT(warnings, ::testing::IsEmpty());
  collected.name = GetParam().preset;
  EXPECT_EQ(collected, LoadModel(GetParam().preset));
}

INSTANTIATE_TEST_SUITE_P(All, PublishedModelTest, ::testing::ValuesIn(kPublished), [](const auto& test) {
  std::string name = test.param.file;
  if (name.empty()) name = test.param.preset;
  std::erase_if(name, [](char c) { return c == '.' || c == '-'; });
  return name;
});

TEST(CollectedConfigTest, EveryConfigParsesAndIsAPreset) {
  const char* data = std::getenv("SHARDSCOUT_DATA");
  if (data == nullptr) GTEST_SKIP() << "SHARDSCOUT_DATA isn't set: no collected config.json to read";
  const auto folder = std::filesystem::path(data) / "facts" / "model_configs";
  if (!std::filesystem::is_directory(folder)) GTEST_SKIP() << folder << " isn't a folder";
  std::vector<std::string> files, expected;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    SCOPED_TRACE(entry.path());
    EXPECT_NO_THROW(LoadModel(entry.path().string()));
    files.push_back(entry.path().stem().string());
  }
  for (const Published& published : kPublished) {
    if (const std::string file = published.file; !file.empty()) expected.push_back(file);
  }
  EXPECT_THAT(files, ::testing::UnorderedElementsAreArray(expected));
}

TEST(ModelPresetTest, EveryPresetIsCounted) {
  std::vector<std::string> expected = {"moe-1.2t", "moe-1.6t", "tiny-dense", "tiny-moe"};
  for (const Published& published : kPublished) expected.emplace_back(published.preset);
  for (const Published& published : kMeasured) expected.emplace_back(published.preset);
  EXPECT_THAT(ListPresets("models"), ::testing::UnorderedElementsAreArray(expected));
}

TEST(ModelPresetTest, ModelsOfPublishedTablesHaveTheirSize) {
  for (const Published& published : kMeasured) {
    SCOPED_TRACE(published.preset);
    std::vector<std::string> warnings;
    ExpectCounts(LoadModel(published.preset, {}, &warnings), published);
    EXPECT_THAT(warnings, ::testing::IsEmpty());
  }
}

TEST(ModelPresetTest, SyntheticModelsHaveTheirSize) {
  EXPECT_NEAR(static_cast<double>(CountParameters(LoadModel("moe-1.2t")).total), 1.2e12, 0.012e12);
  EXPECT_NEAR(static_cast<double>(CountParameters(LoadModel("moe-1.6t")).total), 1.6e12, 0.016e12);
  // Vocabulary in and out, 4 layers of attention (q and output 192 x 384, k and v 192 x 128), FFN and two norms, a
  // norm.
  constexpr std::int64_t kEnds = 2 * 768 * 192 + 192, kAttention = 2 * 192 * 384 + 2 * 192 * 128 + 2 * 192;
  EXPECT_EQ(CountParameters(LoadModel("tiny-dense")).total, kEnds + 4 * (kAttention + 3 * 192 * 768));
  EXPECT_EQ(CountParameters(LoadModel("tiny-moe")).total,
            kEnds + 4 * (kAttention + 2 * 16 + 192 * 24 + 24 * 3 * 192 * 96));
}

/// hidden 8, 4 heads of 2 over 2 KV heads, FFN 16, vocabulary 10, one dense layer.
ModelSpec TinyModel() {
  ModelSpec model;
  model.num_layers = 1;
  model.hidden_size = 8;
  model.vocab_size = 10;
  model.attention = {.num_heads = 4, .num_kv_heads = 2, .head_dim = 2};
  model.ffn_size = 16;
  model.layers = {LayerKind::kDense};
  return model;
}

// Embedding and lm_head 2 * 10 * 8 = 160, final norm 8, q 8 * 8, k and v 8 * 4 each, o 8 * 8: 192, norms 16, FFN 3 * 8
// * 16 = 384.
constexpr std::int64_t kTinyCount = 160 + 8 + 192 + 16 + 384;

TEST(CountParametersTest, DenseByHand) {
  ModelSpec model = TinyModel();
  EXPECT_EQ(CountParameters(model), (ParameterCount{kTinyCount, kTinyCount}));
  EXPECT_EQ(KvElementsPerToken(model), 2 * 2 * 2);
  model.tie_word_embeddings = true;
  EXPECT_EQ(CountParameters(model).total, kTinyCount - 80);
}

TEST(CountParametersTest, BiasesAndNormsByHand) {
  ModelSpec model = TinyModel();
  model.attention.qkv_bias = true;
  EXPECT_EQ(CountParameters(model).total, kTinyCount + 16);
  model.attention.output_bias = true;
  EXPECT_EQ(CountParameters(model).total, kTinyCount + 16 + 8);
  model.attention.qk_norm = true;
  EXPECT_EQ(CountParameters(model).total, kTinyCount + 16 + 8 + 4);
  model.ffn_bias = true;
  EXPECT_EQ(CountParameters(model).total, kTinyCount + 16 + 8 + 4 + 40);
  model.gated_ffn = false;
  EXPECT_EQ(CountParameters(model).total, kTinyCount + 16 + 8 + 4 + 24 - 128);
}

TEST(CountParametersTest, MoeByHand) {
  ModelSpec model = TinyModel();
  model.num_layers = 2;
  model.layers = {LayerKind::kDense, LayerKind::kMoe};
  model.moe = {.num_experts = 4, .num_experts_per_token = 2, .expert_ffn_size = 6, .shared_ffn_size = 5};
  // Second layer: attention 192, norms 16, experts 4 * 3 * 8 * 6 = 576, shared 3 * 8 * 5 = 120, router 8 * 4 = 32.
  EXPECT_EQ(CountParameters(model).total, kTinyCount + 192 + 16 + 576 + 120 + 32);
  EXPECT_EQ(CountParameters(model).active, kTinyCount + 192 + 16 + 288 + 120 + 32);
  EXPECT_EQ(KvElementsPerToken(model), 16);
  model.moe.router_correction_bias = true;
  model.moe.shared_expert_gate = true;
  EXPECT_EQ(CountParameters(model).total, kTinyCount + 192 + 16 + 576 + 120 + 32 + 4 + 8);
}

TEST(CountParametersTest, MultiLatentByHand) {
  ModelSpec model = TinyModel();
  model.attention = {.kind = AttentionKind::kMultiLatent,
                     .num_heads = 4,
                     .kv_lora_rank = 5,
                     .qk_nope_head_dim = 3,
                     .qk_rope_head_dim = 2,
                     .v_head_dim = 7};
  // q 8 * 4 * 5 = 160; down 8 * 7 = 56, its norm 5, up 5 * 4 * 10 = 200; o 4 * 7 * 8 = 224.
  EXPECT_EQ(CountParameters(model).total, kTinyCount - 192 + 160 + 56 + 5 + 200 + 224);
  EXPECT_EQ(KvElementsPerToken(model), 7);
  model.attention.q_lora_rank = 6;
  // q: down 8 * 6 = 48, its norm 6, up 6 * 4 * 5 = 120.
  EXPECT_EQ(CountParameters(model).total, kTinyCount - 192 + 174 + 56 + 5 + 200 + 224);
  EXPECT_EQ(model.attention.QkHeadDim(), 5);
  EXPECT_EQ(model.attention.VHeadDim(), 7);
}

TEST(CountParametersTest, OtherFamiliesPartsByHand) {
  ModelSpec model = TinyModel();
  model.norm_bias = true;  // Three norms of 8.
  EXPECT_EQ(CountParameters(model).total, kTinyCount + 24);
  model.norms_per_layer = 4;  // Two more, with biases.
  EXPECT_EQ(CountParameters(model).total, kTinyCount + 24 + 32);
  model.learned_positions = 20;
  EXPECT_EQ(CountParameters(model).total, kTinyCount + 24 + 32 + 160);
  model = TinyModel();
  model.attention.sinks = true;
  EXPECT_EQ(CountParameters(model).total, kTinyCount + 4);
  model.attention.whole_qk_norm = true;  // 4 query and 2 key heads of 2.
  EXPECT_EQ(CountParameters(model).total, kTinyCount + 4 + 12);

  model = TinyModel();
  model.layers = {LayerKind::kMoe};
  model.ffn_size = 0;
  model.moe = {.num_experts = 4, .num_experts_per_token = 2, .expert_ffn_size = 6};
  const ParameterCount plain = CountParameters(model);
  model.moe.router_bias = true;
  EXPECT_EQ(CountParameters(model).total, plain.total + 4);
  model.moe.expert_bias = true;  // An expert: gate and up 6 each, down 8.
  EXPECT_EQ(CountParameters(model).total, plain.total + 4 + 4 * 20);
  EXPECT_EQ(CountParameters(model).active, plain.active + 4 + 2 * 20);
}

TEST(CountParametersTest, IndexerByHand) {
  ModelSpec model = TinyModel();
  model.attention = {.kind = AttentionKind::kMultiLatent,
                     .num_heads = 4,
                     .q_lora_rank = 6,
                     .kv_lora_rank = 5,
                     .qk_nope_head_dim = 3,
                     .qk_rope_head_dim = 2,
                     .v_head_dim = 7};
  const std::int64_t without = CountParameters(model).total;
  EXPECT_EQ(IndexCacheBytesPerToken(model), 0);
  model.attention.index_heads = 3;
  model.attention.index_head_dim = 10;
  model.attention.index_topk = 2;
  // Queries 6 * 3 * 10, key 8 * 10, weights 8 * 3, the key's norm 20.
  EXPECT_EQ(CountParameters(model).total, without + 180 + 80 + 24 + 20);
  EXPECT_EQ(KvElementsPerToken(model), 7);
  EXPECT_EQ(IndexCacheBytesPerToken(model), 14);
}

/// LinearAttentionSpec's worked example, beside a layer with full attention.
ModelSpec TinyLinearModel() {
  ModelSpec model = TinyModel();
  model.num_layers = 2;
  model.layers.push_back(LayerKind::kDense);
  model.linear_attention = {
      .num_key_heads = 1, .num_value_heads = 2, .key_head_dim = 3, .value_head_dim = 4, .conv_width = 4};
  model.linear_attention_layers = {0};
  return model;
}

TEST(CountParametersTest, LinearAttentionByHand) {
  ModelSpec model = TinyLinearModel();
  EXPECT_EQ(model.linear_attention.ConvChannels(), 14);
  // q and k 3 each, v and z 8 each: 8 * 22 = 176; gates 8 * 4 = 32; convolution 14 * 4 = 56; A_log and dt_bias 4; norm
  // 4; output 8 * 8 = 64. Norms 16 and the FFN 384 as in the other layer.
  const std::int64_t linear = 176 + 32 + 56 + 4 + 4 + 64;
  EXPECT_EQ(CountParameters(model).total, kTinyCount + linear + 16 + 384);
  EXPECT_TRUE(model.IsLinear(0));
  EXPECT_FALSE(model.IsLinear(1));
  // Only the other layer has a cache; this one keeps 2 * 3 * 4 numbers in fp32 and 3 inputs of 14 channels in bf16.
  EXPECT_EQ(KvElementsPerToken(model), 2 * 2 * 2);
  EXPECT_DOUBLE_EQ(LinearStateBytes(model), 24 * 4 + 3 * 14 * 2);
  model.linear_attention.state_dtype = DType::kBf16;
  EXPECT_DOUBLE_EQ(LinearStateBytes(model), 24 * 2 + 3 * 14 * 2);
  EXPECT_DOUBLE_EQ(LinearStateBytes(TinyModel()), 0);
}

TEST(CountParametersTest, OutputGateByHand) {
  ModelSpec model = TinyModel();
  model.attention.output_gate = true;
  EXPECT_EQ(CountParameters(model).total, kTinyCount + 64);
  model.attention.qkv_bias = true;  // The gate's columns have theirs.
  EXPECT_EQ(CountParameters(model).total, kTinyCount + 64 + 16 + 8);
}

/// The published state of Qwen3.5-397B: 64 heads of 128 x 128 and 12288 channels.
TEST(ModelSpecTest, StateOfAPublishedModel) {
  const ModelSpec model = LoadModel("qwen3.5-397b-a17b");
  EXPECT_EQ(model.linear_attention_layers.size(), 45U);
  EXPECT_DOUBLE_EQ(LinearStateBytes(model), 64 * 128 * 128 * 4 + 3 * 12288 * 2);
}

TEST(ModelSpecTest, WindowsOfLayers) {
  ModelSpec model = TinyModel();
  model.num_layers = 3;
  EXPECT_EQ(model.WindowOf(1), 0);
  model.attention.sliding_window = 64;
  EXPECT_FALSE(model.HasMixedWindows());
  EXPECT_EQ(model.WindowOf(1), 64);
  model.full_attention_layers = {1};
  EXPECT_TRUE(model.HasMixedWindows());
  EXPECT_EQ(model.WindowOf(0), 64);
  EXPECT_EQ(model.WindowOf(1), 0);
}

TEST(CountParametersTest, NoticesOverflow) {
  ModelSpec model = TinyModel();
  model.hidden_size = std::int64_t{1} << 31;
  model.ffn_size = std::int64_t{1} << 31;
  EXPECT_EQ(internal::TryCountParameters(model), std::nullopt);
}

}  // namespace
}  // namespace shardscout
