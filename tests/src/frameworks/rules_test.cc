#include "src/frameworks/hub_names.h"
#include "src/frameworks/megatron.h"
#include "src/frameworks/sglang.h"
#include "src/frameworks/tensorrt_llm.h"
#include "tests/src/frameworks/breaking_cases.h"

namespace shardscout::frameworks {
namespace {

/// Designated initialisers over defaults.
template <class Arguments>
BreakingCase<Arguments> Breaks(const char* id, const char* model, Arguments arguments) {
  return {id, model, std::move(arguments)};
}

TEST(SglangRules, EachIsBrokenByItsCase) {
  using A = SglangArguments;
  ExpectEachIsBroken<A>(
      SglangRules(),
      {Breaks<A>("sglang.attention_divides", "deepseek-v3", {.tp_size = 8, .dp_size = 3, .enable_dp_attention = true}),
       Breaks<A>("sglang.nodes_divide", "deepseek-v3", {.tp_size = 8, .nnodes = 3}),
       Breaks<A>("sglang.nodes_divide", "llama-3.1-8b", {.tp_size = 2, .dp_size = 2, .nnodes = 2}),
       Breaks<A>("sglang.dp_attention_needs_moe", "llama-3.1-8b",
                 {.tp_size = 8, .dp_size = 8, .enable_dp_attention = true}),
       // 64 heads over 6: what users of 6 devices run into.
       Breaks<A>("sglang.heads_divide", "llama-3.1-70b", {.tp_size = 6}),
       Breaks<A>("sglang.heads_divide", "dbrx", {.tp_size = 12}),
       Breaks<A>("sglang.experts_divide", "deepseek-v3", {.tp_size = 8, .ep_size = 3}),
       Breaks<A>("sglang.experts_divide", "llama-3.1-8b", {.tp_size = 8, .ep_size = 8}),
       Breaks<A>("sglang.experts_divide", "deepseek-v3", {.tp_size = 8, .ep_size = 8, .ep_num_redundant_experts = 4}),
       // 2,048 / 32 = 64, not a multiple of 128.
       Breaks<A>("sglang.fp8_blocks", "deepseek-v3", {.tp_size = 32, .moe_dense_tp_size = 1}),
       // 18,432 / 16 = 1,152 = 9 * 128, but over 32 it is 576; experts whole.
       Breaks<A>("sglang.fp8_blocks", "deepseek-v3", {.tp_size = 32, .ep_size = 32}),
       Breaks<A>("sglang.moe_dense_tp", "deepseek-v3", {.tp_size = 8, .moe_dense_tp_size = 2}),
       Breaks<A>("sglang.moe_dense_tp", "llama-3.1-8b", {.tp_size = 8, .moe_dense_tp_size = 1}),
       Breaks<A>("sglang.a2a_takes_all_ranks", "deepseek-v3",
                 {.tp_size = 8, .ep_size = 4, .moe_a2a_backend = "deepep"}),
       Breaks<A>("sglang.a2a_backend", "deepseek-v3", {.tp_size = 8, .ep_size = 8, .moe_a2a_backend = "deep"}),
       Breaks<A>("sglang.eplb", "deepseek-v3", {.tp_size = 8, .enable_eplb = true}),
       Breaks<A>("sglang.layer_partition", "llama-3.1-8b", {.pp_size = 2, .layer_partition = {16, 17}}),
       Breaks<A>("sglang.dp_lm_head", "deepseek-v3", {.tp_size = 8, .enable_dp_lm_head = true}),
       Breaks<A>("sglang.running_requests", "deepseek-v3",
                 {.tp_size = 8, .dp_size = 8, .enable_dp_attention = true, .max_running_requests = 4})});
}

TEST(SglangRules, WhatSglangRunsIsKept) {
  EXPECT_EQ(BrokenIds(SglangRules(),
                      SglangArguments{.tp_size = 16,
                                      .dp_size = 16,
                                      .ep_size = 16,
                                      .enable_dp_attention = true,
                                      .enable_dp_lm_head = true,
                                      .moe_dense_tp_size = 1,
                                      .moe_a2a_backend = "deepep",
                                      .enable_eplb = true,
                                      .ep_num_redundant_experts = 32,
                                      .nnodes = 2},
                      LoadModel("deepseek-v3")),
            std::set<std::string>{});
  // Each expert over two ranks, which vLLM cannot: issue "tp and ep mixed".
  EXPECT_EQ(BrokenIds(SglangRules(), SglangArguments{.tp_size = 16, .ep_size = 8}, LoadModel("deepseek-v3")),
            std::set<std::string>{});
}

TEST(SglangLayerPartition, RestGoesToTheLast) {
  EXPECT_EQ(SglangLayerPartition(7, 3), (std::vector<std::int64_t>{2, 2, 3}));
  EXPECT_EQ(SglangLayerPartition(8, 2), (std::vector<std::int64_t>{4, 4}));
}

TEST(TensorRtLlmRules, EachIsBrokenByItsCase) {
  using A = TensorRtLlmArguments;
  ExpectEachIsBroken<A>(
      TensorRtLlmRules(),
      {Breaks<A>("trtllm.expert_grid", "deepseek-v3",
                 {.tensor_parallel_size = 8, .moe_tensor_parallel_size = 4, .moe_expert_parallel_size = 4}),
       Breaks<A>("trtllm.cp_with_ep", "deepseek-v3",
                 {.tensor_parallel_size = 4,
                  .context_parallel_size = 2,
                  .moe_tensor_parallel_size = 1,
                  .moe_expert_parallel_size = 4}),
       Breaks<A>("trtllm.cp_type", "deepseek-v3", {.cp_type = "SPIRAL"}),
       Breaks<A>("trtllm.cluster_alone", "deepseek-v3",
                 {.tensor_parallel_size = 8,
                  .moe_tensor_parallel_size = 2,
                  .moe_expert_parallel_size = 2,
                  .moe_cluster_parallel_size = 2}),
       Breaks<A>("trtllm.lm_head_tp_in_adp", "deepseek-v3", {.enable_lm_head_tp_in_adp = true}),
       Breaks<A>("trtllm.heads_divide", "llama-3.1-70b", {.tensor_parallel_size = 6}),
       Breaks<A>("trtllm.experts_divide", "deepseek-v3",
                 {.tensor_parallel_size = 24, .moe_expert_parallel_size = 24, .enable_attention_dp = true}),
       // 1,536 / 8 = 192, the FP8 checkpoint of Qwen3-235B.
       Breaks<A>("trtllm.fp8_blocks", "deepseek-v3", {.tensor_parallel_size = 32, .moe_tensor_parallel_size = 32}),
       Breaks<A>("trtllm.moe_backend", "deepseek-v3", {.moe_backend = "DEEPEP"}),
       Breaks<A>("trtllm.pp_partition", "llama-3.1-8b", {.pipeline_parallel_size = 2, .pp_partition = {32}}),
       Breaks<A>("trtllm.num_tokens", "llama-3.1-8b", {.max_batch_size = 4096, .max_num_tokens = 2048})});
}

TEST(TensorRtLlmRules, WhatItRunsIsKeptAndDerived) {
  const TensorRtLlmArguments sample{.tensor_parallel_size = 8,
                                    .moe_tensor_parallel_size = 1,
                                    .moe_expert_parallel_size = 8,
                                    .enable_attention_dp = true,
                                    .moe_backend = "CUTLASS",
                                    .max_batch_size = 256,
                                    .max_num_tokens = 4096};
  EXPECT_EQ(BrokenIds(TensorRtLlmRules(), sample, LoadModel("deepseek-v3")), std::set<std::string>{});
  EXPECT_EQ(sample.AttentionTensorSize(), 1);
  // Neither given: the experts' tp is all; one given: the other follows.
  EXPECT_EQ((TensorRtLlmArguments{.tensor_parallel_size = 8}.ExpertTensorSize()), 8);
  EXPECT_EQ((TensorRtLlmArguments{.tensor_parallel_size = 8, .moe_expert_parallel_size = 4}.ExpertTensorSize()), 2);
  EXPECT_EQ((TensorRtLlmArguments{.tensor_parallel_size = 8, .moe_tensor_parallel_size = 2}.ExpertSize()), 4);
}

TEST(TensorRtLlmLayerPartition, RestGoesToTheFirst) {
  EXPECT_EQ(TensorRtLlmLayerPartition(7, 3), (std::vector<std::int64_t>{3, 2, 2}));
}

TEST(MegatronRules, EachIsBrokenByItsCase) {
  using A = MegatronArguments;
  ExpectEachIsBroken<A>(
      MegatronRules(),
      {Breaks<A>("megatron.world_divides", "llama-3.1-8b", {.tensor_model_parallel_size = 4, .world_size = 6}),
       // TP * EP * PP need not divide the world together, each grid by itself must.
       Breaks<A>("megatron.expert_grid", "deepseek-v3",
                 {.expert_model_parallel_size = 16, .expert_tensor_parallel_size = 1, .world_size = 24}),
       Breaks<A>("megatron.heads_divide", "llama-3.1-70b", {.tensor_model_parallel_size = 6, .world_size = 6}),
       Breaks<A>("megatron.experts_divide", "deepseek-v3",
                 {.expert_model_parallel_size = 24, .expert_tensor_parallel_size = 1, .world_size = 24}),
       Breaks<A>("megatron.experts_divide", "llama-3.1-8b", {.expert_model_parallel_size = 8, .world_size = 8}),
       Breaks<A>("megatron.sequence_divides", "llama-3.1-8b",
                 {.context_parallel_size = 3, .world_size = 3, .seq_length = 4096}),
       Breaks<A>("megatron.sequence_divides", "llama-3.1-8b",
                 {.tensor_model_parallel_size = 8, .sequence_parallel = true, .world_size = 8, .seq_length = 4097}),
       Breaks<A>("megatron.sp_needs_tp", "llama-3.1-8b", {.sequence_parallel = true}),
       Breaks<A>("megatron.moe_needs_sp", "mixtral-8x7b", {.tensor_model_parallel_size = 8, .world_size = 8}),
       Breaks<A>("megatron.layout", "deepseek-v3", {.pipeline_model_parallel_size = 16, .world_size = 16}),
       // 31 stages: what the real class refuses.
       Breaks<A>("megatron.layout", "deepseek-v3",
                 {.pipeline_model_parallel_size = 16, .pipeline_layout = "Et*3|(tt|)*29,mL", .world_size = 16}),
       Breaks<A>("megatron.layout", "llama-3.1-8b",
                 {.pipeline_model_parallel_size = 2, .pipeline_layout = "t*16|Et*16L", .world_size = 2}),
       Breaks<A>("megatron.layout", "llama-3.1-8b",
                 {.pipeline_model_parallel_size = 2, .pipeline_layout = "Et*16|t*15L", .world_size = 2}),
       Breaks<A>("megatron.batch_divides", "llama-3.1-8b", {.world_size = 4, .global_batch_size = 6}),
       Breaks<A>("megatron.virtual_stages", "deepseek-v3",
                 {.pipeline_model_parallel_size = 16, .world_size = 16, .virtual_stages = 2}),
       Breaks<A>("megatron.virtual_stages", "llama-3.1-8b", {.virtual_stages = 2}),
       Breaks<A>("megatron.virtual_batches", "llama-3.1-8b",
                 {.pipeline_model_parallel_size = 4, .world_size = 4, .global_batch_size = 6, .virtual_stages = 2}),
       Breaks<A>("megatron.recompute", "llama-3.1-8b", {.recompute_granularity = "all"}),
       Breaks<A>("megatron.recompute_layers", "llama-3.1-8b", {.recompute_layers = 2}),
       Breaks<A>("megatron.recompute_layers", "llama-3.1-8b",
                 {.recompute_granularity = "full", .recompute_layers = 33}),
       Breaks<A>("megatron.dispatcher", "deepseek-v3", {.moe_token_dispatcher_type = "deepep"})});
}

/// The layouts that Megatron's own class took.
TEST(MegatronLayout, ThoseOfTheRealClass) {
  const auto stages = [](const char* layout) { return ExpandLayout(layout)->size(); };
  EXPECT_EQ(stages("Et*3|(tt|)*29,m|L"), 32u);         // PP 16, two virtual stages each.
  EXPECT_EQ(stages("Et|(tt|)*30mL"), 32u);             // PP 8, four.
  EXPECT_EQ(stages("Et*2|(tt|)*22t|(tt|)*7mL"), 32u);  // PP 8, four.
  EXPECT_EQ(stages("Et|t|(tt|)*29tL"), 32u);           // PP 2, sixteen.
  EXPECT_EQ(stages("Et*3|(tt|)*29,mL"), 31u);
  EXPECT_EQ(*ExpandLayout("Et*2|(tt|)*2L"), (std::vector<std::string>{"Ett", "tt", "tt", "L"}));
  EXPECT_EQ(ExpandLayout("Et*x"), std::nullopt);
  EXPECT_EQ(ExpandLayout("E(tt"), std::nullopt);
  EXPECT_EQ(ExpandLayout("(t*9999)*9999"), std::nullopt);
  EXPECT_EQ(LayoutOf({15, 16, 15}), "Et*15|t*16|t*15L");
  EXPECT_EQ(ExpandLayout(LayoutOf({1, 2})), (std::vector<std::string>{"Et", "ttL"}));
}

TEST(HubNames, PresetsAndTheirRelatives) {
  EXPECT_EQ(HubName("deepseek-v3"), "deepseek-ai/DeepSeek-V3");
  EXPECT_EQ(HubName("mine"), "mine");
  EXPECT_EQ(PresetOfHubName("deepseek-ai/DeepSeek-V3"), "deepseek-v3");
  EXPECT_EQ(PresetOfHubName("deepseek-ai/DeepSeek-R1-0528"), "deepseek-r1");
  EXPECT_EQ(PresetOfHubName("deepseek-ai/DeepSeek-V3.2"), "deepseek-v3.2");
  EXPECT_EQ(PresetOfHubName("meta-llama/Llama-3.1-405B"), "llama-3.1-405b");
  EXPECT_EQ(PresetOfHubName("Qwen/Qwen3-235B-A22B-FP8"), "qwen3-235b-a22b");
  EXPECT_EQ(PresetOfHubName("someone/else"), "");
}

}  // namespace
}  // namespace shardscout::frameworks
