#include "src/frameworks/deepspeed.h"
#include "src/frameworks/maxtext.h"
#include "src/frameworks/torchtitan.h"
#include "tests/src/frameworks/breaking_cases.h"

namespace shardscout::frameworks {
namespace {

/// Designated initialisers over defaults.
template <class Arguments>
BreakingCase<Arguments> Breaks(const char* id, const char* model, Arguments arguments) {
  return {id, model, std::move(arguments)};
}

TEST(TorchtitanRules, EachIsBrokenByItsCase) {
  using A = TorchtitanArguments;
  ExpectEachIsBroken<A>(
      TorchtitanRules(),
      {Breaks<A>("torchtitan.world", "llama-3.1-8b", {.world_size = 16, .data_parallel_shard_degree = 8}),
       Breaks<A>("torchtitan.expert_grid", "mixtral-8x7b",
                 {.world_size = 12, .data_parallel_shard_degree = 12, .expert_parallel_degree = 8}),
       Breaks<A>("torchtitan.expert_grid", "llama-3.1-8b",
                 {.world_size = 8, .data_parallel_shard_degree = 8, .expert_parallel_degree = 8}),
       Breaks<A>("torchtitan.experts_divide", "mixtral-8x7b",
                 {.world_size = 16, .data_parallel_shard_degree = 16, .expert_parallel_degree = 16}),
       Breaks<A>("torchtitan.experts_with_tp", "mixtral-8x7b",
                 {.world_size = 16, .data_parallel_shard_degree = 8, .tensor_parallel_degree = 2}),
       Breaks<A>("torchtitan.heads_divide", "llama-3.1-8b",
                 {.world_size = 32, .data_parallel_shard_degree = 2, .tensor_parallel_degree = 16}),
       Breaks<A>("torchtitan.sequence_divides", "llama-3.1-8b",
                 {.world_size = 16, .context_parallel_degree = 4, .tensor_parallel_degree = 4, .seq_len = 4080}),
       Breaks<A>("torchtitan.microbatch_divides", "llama-3.1-8b",
                 {.pipeline_parallel_degree = 2, .pipeline_parallel_microbatch_size = 2, .local_batch_size = 7}),
       Breaks<A>("torchtitan.batch_divides", "llama-3.1-8b",
                 {.data_parallel_shard_degree = 8, .local_batch_size = 4, .global_batch_size = 48}),
       Breaks<A>("torchtitan.schedule", "llama-3.1-8b", {.pipeline_parallel_schedule = "ZeroBubble"}),
       // 8 stages of 4 layers, which 1F1B over 4 ranks does not have.
       Breaks<A>("torchtitan.stages", "llama-3.1-8b",
                 {.pipeline_parallel_degree = 4, .pipeline_parallel_layers_per_stage = 4}),
       Breaks<A>("torchtitan.stages", "llama-3.1-8b",
                 {.pipeline_parallel_degree = 4,
                  .pipeline_parallel_schedule = "Interleaved1F1B",
                  .pipeline_parallel_layers_per_stage = 6}),
       Breaks<A>("torchtitan.microbatches", "llama-3.1-8b", {.pipeline_parallel_degree = 4, .local_batch_size = 3}),
       Breaks<A>("torchtitan.rounds", "llama-3.1-8b",
                 {.pipeline_parallel_degree = 4,
                  .pipeline_parallel_schedule = "Interleaved1F1B",
                  .pipeline_parallel_layers_per_stage = 4,
                  .local_batch_size = 11}),
       Breaks<A>("torchtitan.tied", "gpt-2", {.pipeline_parallel_degree = 2}),
       Breaks<A>("torchtitan.ddp_alone", "llama-3.1-8b",
                 {.world_size = 16, .data_parallel_replicate_degree = 8, .tensor_parallel_degree = 2}),
       Breaks<A>("torchtitan.mixed_precision", "llama-3.1-8b", {.world_size = 8, .tensor_parallel_degree = 8}),
       Breaks<A>("torchtitan.policies", "llama-3.1-8b", {.fsdp_reshard_after_forward = "sometimes"}),
       Breaks<A>("torchtitan.policies", "llama-3.1-8b", {.activation_checkpoint_mode = "half"}),
       Breaks<A>("torchtitan.attention", "qwen3-next-80b-a3b", {}),
       Breaks<A>("torchtitan.attention", "deepseek-v3.2", {})});
}

TEST(TorchtitanRules, WhatItRunsIsKept) {
  // The sample of its documentation: 64 = dp_shard 16 * tp 4, experts over 16 of them.
  EXPECT_EQ(BrokenIds(TorchtitanRules(),
                      TorchtitanArguments{.world_size = 64,
                                          .data_parallel_shard_degree = 16,
                                          .tensor_parallel_degree = 4,
                                          .expert_parallel_degree = 16,
                                          .local_batch_size = 2,
                                          .global_batch_size = 64,
                                          .seq_len = 4096},
                      LoadModel("deepseek-v3")),
            std::set<std::string>{});
  EXPECT_EQ(BrokenIds(TorchtitanRules(),
                      TorchtitanArguments{.world_size = 8,
                                          .data_parallel_shard_degree = 2,
                                          .pipeline_parallel_degree = 4,
                                          .pipeline_parallel_schedule = "Interleaved1F1B",
                                          .pipeline_parallel_layers_per_stage = 4,
                                          .local_batch_size = 8,
                                          .global_batch_size = 16},
                      LoadModel("llama-3.1-8b")),
            std::set<std::string>{});
}

TEST(DeepSpeedRules, EachIsBrokenByItsCase) {
  using A = DeepSpeedArguments;
  ExpectEachIsBroken<A>(
      DeepSpeedRules(),
      {Breaks<A>("deepspeed.world_divides", "llama-3.1-8b", {.world_size = 6, .autotp_size = 4}),
       Breaks<A>("deepspeed.batch", "llama-3.1-8b",
                 {.world_size = 8, .train_micro_batch_size_per_gpu = 2, .train_batch_size = 8}),
       Breaks<A>("deepspeed.zero_stage", "llama-3.1-8b", {.zero_stage = 4}),
       Breaks<A>("deepspeed.zero_with_pipeline", "llama-3.1-8b", {.world_size = 8, .num_stages = 4, .zero_stage = 2}),
       Breaks<A>("deepspeed.zero_with_autotp", "llama-3.1-8b", {.world_size = 8, .autotp_size = 4, .zero_stage = 3}),
       Breaks<A>("deepspeed.zero_with_autoep", "mixtral-8x7b", {.world_size = 8, .autoep_size = 8, .zero_stage = 3}),
       Breaks<A>("deepspeed.autoep_alone", "mixtral-8x7b", {.world_size = 8, .autotp_size = 2, .autoep_size = 4}),
       Breaks<A>("deepspeed.autoep_alone", "mixtral-8x7b", {.world_size = 8, .num_stages = 2, .autoep_size = 4}),
       Breaks<A>("deepspeed.autoep_divides", "mixtral-8x7b", {.world_size = 12, .autoep_size = 8}),
       Breaks<A>("deepspeed.autoep_divides", "mixtral-8x7b", {.world_size = 16, .autoep_size = 16}),
       Breaks<A>("deepspeed.autoep_divides", "llama-3.1-8b", {.world_size = 8, .autoep_size = 8}),
       Breaks<A>("deepspeed.autoep_preset", "dbrx", {.world_size = 8, .autoep_size = 8}),
       Breaks<A>("deepspeed.heads_divide", "llama-3.1-8b", {.world_size = 16, .autotp_size = 16}),
       Breaks<A>("deepspeed.pipeline_alone", "llama-3.1-8b", {.world_size = 8, .num_stages = 2, .autotp_size = 2}),
       Breaks<A>("deepspeed.stages", "deepseek-v3", {.world_size = 8, .num_stages = 8})});
}

TEST(DeepSpeedRules, WhatItRunsIsKept) {
  EXPECT_EQ(BrokenIds(DeepSpeedRules(),
                      DeepSpeedArguments{.world_size = 64,
                                         .autoep_size = 8,
                                         .autoep_preset = AutoEpPresetOf("mistralai/Mixtral-8x7B-Instruct-v0.1"),
                                         .zero_stage = 2,
                                         .train_micro_batch_size_per_gpu = 2,
                                         .gradient_accumulation_steps = 4,
                                         .train_batch_size = 512},
                      LoadModel("mixtral-8x7b")),
            std::set<std::string>{});
}

TEST(AutoEp, PresetsByName) {
  EXPECT_EQ(AutoEpPresetOf("deepseek-ai/DeepSeek-V3"), "deepseek_v3");
  EXPECT_EQ(AutoEpPresetOf("Qwen/Qwen3-235B-A22B"), "qwen3_moe");
  // Another attention than what the presets' modules have.
  EXPECT_EQ(AutoEpPresetOf("deepseek-ai/DeepSeek-V3.2"), "");
  EXPECT_EQ(AutoEpPresetOf("databricks/dbrx-instruct"), "");
}

TEST(MaxTextRules, EachIsBrokenByItsCase) {
  using A = MaxTextArguments;
  ExpectEachIsBroken<A>(
      MaxTextRules(),
      {Breaks<A>("maxtext.ici_product", "llama-3.1-8b", {.devices_per_slice = 8, .ici = {.fsdp = 4}}),
       Breaks<A>("maxtext.dcn_product", "llama-3.1-8b", {.slices = 4, .dcn = {.data = 2}}),
       Breaks<A>("maxtext.heads_divide", "llama-3.1-8b", {.devices_per_slice = 16, .ici = {.tensor_sequence = 16}}),
       Breaks<A>("maxtext.sizes_divide", "llama-3.1-8b", {.devices_per_slice = 3, .ici = {.fsdp = 3}}),
       // 50,257 is odd.
       Breaks<A>("maxtext.sizes_divide", "gpt-2", {.devices_per_slice = 2, .ici = {.tensor_sequence = 2}}),
       Breaks<A>("maxtext.experts_divide", "mixtral-8x7b", {.devices_per_slice = 16, .ici = {.expert = 16}}),
       Breaks<A>("maxtext.experts_divide", "llama-3.1-8b", {.devices_per_slice = 8, .ici = {.expert = 8}}),
       Breaks<A>("maxtext.sequence_divides", "llama-3.1-8b",
                 {.devices_per_slice = 8, .ici = {.context = 8}, .max_target_length = 4088}),
       Breaks<A>("maxtext.batch_divides", "llama-3.1-8b",
                 {.devices_per_slice = 8, .ici = {.fsdp = 8}, .per_device_batch_size = 0.5}),
       Breaks<A>("maxtext.remat_policy", "llama-3.1-8b", {.remat_policy = "none"}),
       Breaks<A>("maxtext.optimizer_over_data", "llama-3.1-8b",
                 {.devices_per_slice = 8, .ici = {.fsdp = 8}, .shard_optimizer_over_data = true}),
       Breaks<A>("maxtext.layers", "llama-4-maverick", {}), Breaks<A>("maxtext.attention", "qwen3-next-80b-a3b", {})});
}

TEST(MaxTextRules, WhatItRunsIsKept) {
  // The sample: 256 chips a slice, 2 slices.
  EXPECT_EQ(BrokenIds(MaxTextRules(),
                      MaxTextArguments{.devices_per_slice = 256,
                                       .slices = 2,
                                       .ici = {.fsdp = 16, .tensor_sequence = 4, .expert = 4},
                                       .dcn = {.data = 2},
                                       .per_device_batch_size = 0.25},
                      LoadModel("mixtral-8x22b")),
            std::set<std::string>{});
}

}  // namespace
}  // namespace shardscout::frameworks
