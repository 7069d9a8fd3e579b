#include "src/frameworks/vllm.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "tests/src/frameworks/breaking_cases.h"

namespace shardscout::frameworks {
namespace {

std::set<std::string> BrokenIds(const VllmArguments& arguments, const ModelSpec& model) {
  return frameworks::BrokenIds(VllmRules(), arguments, model);
}

std::vector<BreakingCase<VllmArguments>> BreakingCases() {
  return {
      // 32 heads over 3: vllm issue 4232 and its like.
      {"vllm.heads_divide_tp", "llama-3.1-8b", {.tensor_parallel_size = 3}},
      // 16 key heads.
      {"vllm.linear_heads_divide_tp", "qwen3.5-397b-a17b", {.tensor_parallel_size = 32}},
      {"vllm.dp_needs_moe", "llama-3.1-8b", {.data_parallel_size = 2}},
      {"vllm.pcp_alone", "deepseek-v3", {.data_parallel_size = 2, .prefill_context_parallel_size = 2}},
      {"vllm.pcp_alone",
       "deepseek-v3",
       {.tensor_parallel_size = 4, .prefill_context_parallel_size = 2, .decode_context_parallel_size = 4}},
      {"vllm.dcp_divides_tp", "deepseek-v3", {.tensor_parallel_size = 8, .decode_context_parallel_size = 3}},
      // 8 KV heads: tp 8 leaves no copy to share.
      {"vllm.dcp_kv_heads", "llama-3.1-8b", {.tensor_parallel_size = 8, .decode_context_parallel_size = 2}},
      {"vllm.dcp_kv_heads", "llama-3.1-70b", {.tensor_parallel_size = 16, .decode_context_parallel_size = 4}},
      // 2,048 / 32 = 64, not a multiple of 128.
      {"vllm.fp8_blocks", "deepseek-v3", {.data_parallel_size = 32}},
      // The shared expert, 2,048 wide, follows tp even with expert parallelism.
      {"vllm.fp8_blocks", "deepseek-v3", {.tensor_parallel_size = 32, .enable_expert_parallel = true}},
      // 16,384 over 5.
      {"vllm.fp8_blocks", "mixtral-8x22b", {.data_parallel_size = 5}},
      {"vllm.eplb", "deepseek-v3", {.data_parallel_size = 24, .enable_expert_parallel = true, .enable_eplb = true}},
      {"vllm.eplb", "deepseek-v3", {.data_parallel_size = 8, .enable_eplb = true}},
      {"vllm.eplb", "deepseek-v3", {.data_parallel_size = 8, .num_redundant_experts = 8}},
      {"vllm.kv_heads_divide_tp", "dbrx", {.tensor_parallel_size = 12}},
      {"vllm.all2all_backend", "deepseek-v3", {.enable_expert_parallel = true, .all2all_backend = "pplx"}},
      {"vllm.layer_partition", "llama-3.1-8b", {.pipeline_parallel_size = 2, .layer_partition = {32}}},
      {"vllm.layer_partition", "llama-3.1-8b", {.pipeline_parallel_size = 2, .layer_partition = {16, 17}}},
      {"vllm.batched_tokens", "llama-3.1-8b", {.max_num_seqs = 4096, .max_num_batched_tokens = 2048}},
  };
}

TEST(VllmRules, EachIsBrokenByItsCase) { ExpectEachIsBroken<VllmArguments>(VllmRules(), BreakingCases()); }

TEST(VllmRules, WhatVllmRunsIsKept) {
  // samples: DeepSeek-V3 as DEP16, Llama-3.1-70B as tp 4, pp 2.
  EXPECT_EQ(BrokenIds({.data_parallel_size = 16, .enable_expert_parallel = true}, LoadModel("deepseek-v3")),
            std::set<std::string>{});
  EXPECT_EQ(BrokenIds({.tensor_parallel_size = 4, .pipeline_parallel_size = 2}, LoadModel("llama-3.1-70b")),
            std::set<std::string>{});
  EXPECT_EQ(BrokenIds({.tensor_parallel_size = 8, .decode_context_parallel_size = 8}, LoadModel("deepseek-v3")),
            std::set<std::string>{});
  EXPECT_EQ(BrokenIds({.tensor_parallel_size = 16, .decode_context_parallel_size = 2}, LoadModel("llama-3.1-70b")),
            std::set<std::string>{});
}

TEST(VllmRules, Qwen3Fp8StopsAtTp4) {
  // 1,536 / 8 = 192 is no multiple of 128: the error that users report.
  ModelSpec model = LoadModel("qwen3-235b-a22b");
  model.weight_quant_block = 128;
  EXPECT_FALSE(BrokenIds({.tensor_parallel_size = 4}, model).contains("vllm.fp8_blocks"));
  EXPECT_TRUE(BrokenIds({.tensor_parallel_size = 8}, model).contains("vllm.fp8_blocks"));
  EXPECT_FALSE(
      BrokenIds({.tensor_parallel_size = 8, .enable_expert_parallel = true}, model).contains("vllm.fp8_blocks"));
}

TEST(VllmLayerPartition, RestGoesBeforeTheLast) {
  EXPECT_EQ(VllmLayerPartition(7, 3), (std::vector<std::int64_t>{2, 3, 2}));
  EXPECT_EQ(VllmLayerPartition(61, 4), (std::vector<std::int64_t>{15, 15, 16, 15}));
  EXPECT_EQ(VllmLayerPartition(8, 3), (std::vector<std::int64_t>{3, 3, 2}));
  EXPECT_EQ(VllmLayerPartition(5, 1), (std::vector<std::int64_t>{5}));
}

}  // namespace
}  // namespace shardscout::frameworks
