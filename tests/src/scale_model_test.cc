#include "shardscout/scale_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "shardscout/error.h"
#include "shardscout/plan.h"
#include "shardscout/problem.h"
#include "tests/tiny_problems.h"

namespace shardscout {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string ErrorOf(const ModelSpec& model, const ModelScale& scale) {
  try {
    ScaledModel(model, scale);
  } catch (const SpecError& error) {
    return error.what();
  }
  return "";
}

TEST(ScaleModelTest, AllWidthsByOneFactorAndTheFirstLayers) {
  const ModelSpec whole = LoadModel("deepseek-v3");
  std::vector<ScaledSize> changes;
  const ModelSpec model = ScaledModel(whole, {.num_layers = 4, .hidden_size = 448, .num_experts = 32}, &changes);
  EXPECT_EQ(model.layers,
            (std::vector<LayerKind>{LayerKind::kDense, LayerKind::kDense, LayerKind::kDense, LayerKind::kMoe}));
  EXPECT_EQ(model.hidden_size, 448);
  EXPECT_EQ(model.vocab_size, 8080);
  EXPECT_EQ(model.ffn_size, 1152);
  EXPECT_EQ(model.moe.expert_ffn_size, 128);
  EXPECT_EQ(model.moe.num_experts, 32);
  EXPECT_EQ(model.moe.num_experts_per_token, 8);
  EXPECT_EQ(model.attention.q_lora_rank, 96);
  EXPECT_EQ(model.attention.kv_lora_rank, 32);
  EXPECT_EQ(model.attention.num_heads, 128);
  EXPECT_EQ(model.attention.qk_nope_head_dim, 8);
  EXPECT_EQ(model.attention.qk_rope_head_dim, 4);
  EXPECT_EQ(model.attention.v_head_dim, 8);
  EXPECT_EQ(model.weight_quant_block, 8);
  EXPECT_THAT(changes, ::testing::Contains(ScaledSize{"num_layers", 61, 4}));
  EXPECT_THAT(changes, ::testing::Contains(ScaledSize{"attention.qk_rope_head_dim", 64, 4}));
  EXPECT_THAT(changes, Not(::testing::Contains(::testing::Field(&ScaledSize::name, "attention.head_dim"))));

  // Whole: it passes the checks of a problem's file.
  const Problem problem(model, testing::SmallCluster(4), testing::SmallWorkload(WorkloadKind::kDecode));
  EXPECT_EQ(ParseProblem(ToJson(problem), "p.json").model(), model);
  EXPECT_EQ(ScaledModel(whole, {}), whole);
}

TEST(ScaleModelTest, LayersOfSomeKindsAreCutToo) {
  const ModelSpec windows = ScaledModel(testing::MixedWindowModel(8), {.num_layers = 3});
  EXPECT_EQ(windows.full_attention_layers, (std::vector<std::int64_t>{1}));
  const ModelSpec linear = ScaledModel(testing::LinearModel(8), {.num_layers = 3});
  EXPECT_EQ(linear.linear_attention_layers, (std::vector<std::int64_t>{0, 2}));
  EXPECT_THAT(ErrorOf(testing::MixedWindowModel(8), {.num_layers = 1}), HasSubstr("expected at least 2"));
  EXPECT_THAT(ErrorOf(testing::LinearModel(8), {.num_layers = 1}), HasSubstr("expected at least 2"));
  EXPECT_THAT(ErrorOf(LoadModel("deepseek-v3"), {.num_layers = 3}),
              HasSubstr("--scale-layers 3: the first 3 of deepseek-v3 have not all its kinds of layers; expected at "
                        "least 4"));
}

TEST(ScaleModelTest, RefusesWhatDoesNotDivide) {
  const ModelSpec llama = LoadModel("llama-3.1-8b");
  EXPECT_THAT(ErrorOf(llama, {.hidden_size = 500}),
              HasSubstr("--scale-width 500: expected a divisor of 4096, the hidden_size of llama-3.1-8b"));
  EXPECT_THAT(ErrorOf(llama, {.hidden_size = 8192}), HasSubstr("expected a divisor of 4096"));
  EXPECT_THAT(ErrorOf(llama, {.hidden_size = 32}),
              HasSubstr("leaves 1 of the 128 of attention.head_dim, and a rotary embedding needs an even number"));
  EXPECT_THAT(ErrorOf(llama, {.num_layers = 33}), HasSubstr("expected 1 to 32, the num_layers of llama-3.1-8b"));
  EXPECT_THAT(ErrorOf(llama, {.num_experts = 4}), HasSubstr("llama-3.1-8b has no routed experts"));
  EXPECT_THAT(ErrorOf(LoadModel("deepseek-v3"), {.num_experts = 7}), HasSubstr("expected at least 8"));
  const ModelSpec gpt2 = LoadModel("gpt-2");
  EXPECT_THAT(ErrorOf(gpt2, {.hidden_size = 192}), HasSubstr("vocab_size of gpt-2 is 50257; give its size by "
                                                             "--scale-vocab"));
  EXPECT_EQ(ScaledModel(gpt2, {.hidden_size = 192, .vocab_size = 512}).vocab_size, 512);
}

}  // namespace
}  // namespace shardscout
