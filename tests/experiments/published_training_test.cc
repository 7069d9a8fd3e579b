// What published steps of training say, in this library's terms.

#include "experiments/validation/published_training.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "env/analytical/analytical_evaluator.h"
#include "experiments/validation/training_prediction.h"
#include "shardscout/program.h"

namespace shardscout::validation {
namespace {

PublishedRecord Foundry() {
  PublishedRecord record;
  record.id = "r";
  record.phase = "train";
  record.group_kind = "cross_workload";
  record.model = "MPT 7b";
  record.framework = "llm-foundry / PyTorch FSDP";
  record.hardware = "H100-SXM 80GB";
  record.dtype = "amp_bf16";
  record.other_parallelism = "FSDP FULL_SHARD; activation checkpointing False";
  record.notes = "MFU 42.2%, MBS 6, grad accum 1, 6658859008 params";
  record.load = "3072";
  record.n_gpus = record.data_parallel = 512;
  record.tensor_parallel = record.pipeline_parallel = record.expert_parallel = 1;
  record.input_tokens = 2048;
  record.metric = "tokens_per_s_per_gpu";
  record.value = 9670;
  return record;
}

void SetMapping(PublishedRecord& record, std::int64_t tp, std::int64_t pp, std::int64_t dp) {
  record.n_gpus = tp * pp * dp;
  record.tensor_parallel = tp;
  record.pipeline_parallel = pp;
  record.data_parallel = dp;
}

PublishedRecord Bridge() {
  PublishedRecord record = Foundry();
  record.group = "megatron-bridge-26.02.01|Pre-Training|LLAMA3_70B";
  record.group_kind = "ranking_same_gpus";
  record.model = "LLAMA3_70B";
  record.framework = "Megatron-Bridge / Megatron-Core, NeMo container 26.02.01";
  record.dtype = "FP8";
  record.other_parallelism = "VP=5";
  record.notes = "Pre-Training, NeMo container 26.02.01; Model TFLOP/s/GPU=736; MBS=1";
  record.load = "256";
  SetMapping(record, 4, 8, 2);
  record.input_tokens = 8192;
  record.value = 1639;
  return record;
}

TrainingPoint PointOf(const PublishedRecord& record) {
  std::string why_not;
  const auto point = TrainingPointOf(record, why_not);
  EXPECT_TRUE(point) << why_not;
  return point.value_or(TrainingPoint{});
}

std::string WhyNot(const PublishedRecord& record) {
  std::string why_not;
  EXPECT_FALSE(TrainingPointOf(record, why_not));
  return why_not;
}

TEST(PublishedTraining, ShardedDataParallelismOfLlmFoundry) {
  const TrainingPoint point = PointOf(Foundry());
  EXPECT_NEAR(static_cast<double>(CountParameters(point.model).total), 6658859008, 0.001 * 6658859008);
  EXPECT_DOUBLE_EQ(point.step_s, 3072.0 * 2048 / (9670.0 * 512));
  EXPECT_EQ(point.zero_stage, 3);
  EXPECT_EQ(point.micro_batch, 6) << "of the notes";
  EXPECT_EQ(point.recomputation, Recomputation::kNone);
  EXPECT_EQ(point.group, "") << "its group differs in more than the mapping";
  EXPECT_EQ(point.workload.training->precision, TrainingPrecision::kBf16);
  PublishedRecord again = Foundry();
  again.other_parallelism = "FSDP FULL_SHARD; activation checkpointing True";
  again.micro_batch = 3;
  EXPECT_EQ(PointOf(again).recomputation, Recomputation::kFull);
  EXPECT_EQ(PointOf(again).micro_batch, 3);
}

TEST(PublishedTraining, MegatronBridge) {
  const TrainingPoint point = PointOf(Bridge());
  EXPECT_EQ(point.virtual_pipeline_parallel, 5);
  EXPECT_EQ(point.zero_stage, 1);
  EXPECT_TRUE(point.sequence_parallel);
  EXPECT_EQ(point.recomputation, std::nullopt);
  EXPECT_EQ(point.workload.training->precision, TrainingPrecision::kFp8);
  EXPECT_NE(point.group, "");
  const TrainingPrediction prediction = Predict(point);
  EXPECT_EQ(prediction.why_not, "");
  EXPECT_EQ(prediction.strategy.num_microbatches, 128);
  EXPECT_TRUE(prediction.evaluation.Feasible()) << "it ran";
  PublishedRecord sharded = Bridge();
  sharded.other_parallelism = "VP=1, FSDP=64";
  sharded.tensor_parallel = sharded.pipeline_parallel = 1;
  sharded.data_parallel = 64;
  EXPECT_EQ(PointOf(sharded).zero_stage, 3);
}

TEST(PublishedTraining, RacksOf72AreUsed64AtATime) {
  PublishedRecord record = Bridge();
  record.hardware = "GB200";
  record.n_gpus = 256;
  record.data_parallel = 8;
  EXPECT_EQ(PointOf(record).cluster.tiers.front().size, 64);
  record.n_gpus = 64;
  EXPECT_EQ(PointOf(record).cluster.tiers.front().size, 72);
  record.hardware = "H100-SXM 80GB";
  record.n_gpus = 12;
  EXPECT_EQ(PointOf(record).cluster.tiers.front().size, 8) << "nodes are whole";
}

TEST(PublishedTraining, TheFewestLayersAreComputedAgainThatFit) {
  PublishedRecord record = Foundry();
  record.other_parallelism = "FSDP FULL_SHARD";
  record.n_gpus = record.data_parallel = 8;
  record.load = "128";
  record.micro_batch = 16;
  TrainingPoint point = PointOf(record);
  ASSERT_EQ(point.recomputation, std::nullopt);
  TrainingPrediction prediction = Predict(point);
  EXPECT_TRUE(prediction.evaluation.Feasible());
  EXPECT_EQ(prediction.strategy.recomputation, Recomputation::kFull);
  ASSERT_GT(prediction.strategy.recomputed_layers, 1);
  --prediction.strategy.recomputed_layers;
  const Problem problem(point.model, point.cluster, point.workload);
  EXPECT_FALSE(env::AnalyticalEvaluator(problem).Evaluate(prediction.strategy).Feasible());
}

/// The record has both figures: 1,639 tokens and 736 TFLOP a second and device.
TEST(PublishedTraining, FlopsAreMegatronsFormula) {
  PublishedRecord record = Bridge();
  const double step_s = PointOf(record).step_s;
  record.metric = "tflops_per_gpu";
  record.value = 736;
  EXPECT_NEAR(PointOf(record).step_s, step_s, 0.005 * step_s);
  record.framework = "Megatron-LM";
  EXPECT_EQ(WhyNot(record), "a figure of tflops_per_gpu") << "whose formula counts what is computed again";
}

TEST(PublishedTraining, WhatIsNotStatedIsNotPredicted) {
  const auto with = [](PublishedRecord record, auto change) {
    change(record);
    return WhyNot(record);
  };
  EXPECT_EQ(with(Bridge(), [](auto& r) { r.group = "megatron-bridge-26.06|LoRA|LLAMA3_70B"; }),
            "adapters alone are trained");
  EXPECT_EQ(with(Bridge(), [](auto& r) { r.notes = ""; }), "micro-batch not stated");
  EXPECT_EQ(with(Bridge(), [](auto& r) { r.dtype = "NVFP4"; }), "number format NVFP4");
  EXPECT_EQ(with(Bridge(), [](auto& r) { r.load = "local batch 16"; }), "global batch or sequence length not stated");
  EXPECT_EQ(with(Bridge(), [](auto& r) { r.pipeline_parallel.reset(); }), "number of GPUs or mapping not stated");
  EXPECT_EQ(with(Bridge(), [](auto& r) { r.model = "Nemotron_3_Nano"; }), "no preset of the model Nemotron_3_Nano");
  EXPECT_EQ(with(Foundry(), [](auto& r) { r.hardware = "TPU v5p"; }), "no preset of the hardware \"TPU v5p\"");
  EXPECT_EQ(with(Foundry(), [](auto& r) { r.other_parallelism = "ZeRO-1 group size 8"; }),
            "states shared by some of the data parallel ranks");
  EXPECT_EQ(with(Foundry(), [](auto& r) { r.model = "BLOOM-like GPT 200B (hidden 14400, layers not stated)"; }),
            "sizes of the model not stated");
}

PublishedRecord Bloom() {
  PublishedRecord record = Foundry();
  record.group = "bloom-topology|181B|H14336|L72|n384|gbs2048|02-21";
  record.group_kind = "ranking_same_gpus";
  record.model = "BLOOM-like GPT 181B (hidden 14336, layers 72, heads not stated)";
  record.framework = "Megatron-DeepSpeed (ZeRO-1)";
  record.hardware = "A100-SXM4 80GB";
  record.dtype = "FP16";
  record.other_parallelism = "ZeRO stage 1";
  record.notes = "MBS 4; memory 49GB; run 02-21";
  record.load = "2048";
  SetMapping(record, 8, 12, 4);
  record.memory_gib = 49;
  record.metric = "step_time_s";
  record.value = 123.69;
  return record;
}

TEST(PublishedTraining, BloomsSweep) {
  const TrainingPoint point = PointOf(Bloom());
  EXPECT_EQ(point.model.attention.num_heads, 64) << "of the source";
  EXPECT_EQ(point.model.num_layers, 72);
  EXPECT_DOUBLE_EQ(point.memory_bytes, 49.0 * (1 << 30));
  EXPECT_FALSE(point.workload.training->fp32_gradients);
  EXPECT_EQ(point.workload.training->exchange_bucket_elements, 500'000'000);
  const MemoryUse memory = Predict(point).evaluation.memory;
  EXPECT_NEAR(memory.TotalBytes(), point.memory_bytes, 0.15 * point.memory_bytes);
  PublishedRecord other_batch = Bloom();
  other_batch.tflops_per_gpu = 130.34;
  EXPECT_EQ(PointOf(other_batch).step_s, point.step_s) << "the source's own";
  other_batch.value /= 4;
  EXPECT_EQ(WhyNot(other_batch), "its time and its FLOP/s are of different batches");
  PublishedRecord no_layers = Bloom();
  no_layers.model = "BLOOM-like GPT 200B (hidden 14400, layers not stated, heads not stated)";
  EXPECT_EQ(WhyNot(no_layers), "sizes of the model not stated");
}

/// Two nodes of four V100s; half the memory for the smaller ones.
TEST(PublishedTraining, NodesOfV100s) {
  PublishedRecord record = Bloom();
  record.group = "bigscience-1.3B|V100-SXM2 16GB|ckpt";
  record.model = "GPT 1.3B";
  record.framework = "Megatron-DeepSpeed";
  record.hardware = "V100-SXM2 16GB";
  record.other_parallelism = "activation checkpointing on";
  record.notes = "MBS 1; memory/notes 11GB; 45.4 TFLOP/s; integer-second resolution";
  record.memory_gib.reset();
  record.micro_batch = 1;
  record.load = "512";
  SetMapping(record, 1, 2, 4);
  record.value = 30;
  const TrainingPoint point = PointOf(record);
  EXPECT_NEAR(static_cast<double>(CountParameters(point.model).total), 1.3e9, 0.02e9);
  EXPECT_EQ(point.cluster.devices_per_node, 4);
  EXPECT_EQ(point.cluster.tiers.front().size, 4);
  EXPECT_DOUBLE_EQ(point.cluster.device.hbm_bytes, 16.0 * (1 << 30));
  EXPECT_DOUBLE_EQ(point.memory_bytes, 11.0 * (1 << 30));
  EXPECT_EQ(point.recomputation, Recomputation::kFull);
  EXPECT_FALSE(point.workload.training->blocking_launches);
  const TrainingPrediction prediction = Predict(point);
  EXPECT_EQ(prediction.why_not, "");
  EXPECT_TRUE(prediction.evaluation.Feasible());
  PublishedRecord off = record;
  off.other_parallelism = "activation checkpointing off";
  EXPECT_EQ(PointOf(off).recomputation, Recomputation::kNone);
  PublishedRecord full = record;
  full.micro_batch = 8;
  full.metric = "out_of_memory";
  EXPECT_GT(Predict(PointOf(full)).evaluation.excess.memory, 0);
}

/// From 28 February on the embedding and the head counted as layers, which is this library's split where two layers are
/// wanting, and gradients were summed in 32 bits.
TEST(PublishedTraining, BloomsEvenStages) {
  PublishedRecord record = Bloom();
  record.dtype = "BF16 (fp32 grad accumulation)";
  record.model = "BLOOM-like GPT 176B (hidden 14336, layers 70, heads 112)";
  const TrainingPoint point = PointOf(record);
  EXPECT_EQ(point.model.attention.num_heads, 112);
  EXPECT_TRUE(point.workload.training->keep_16_bit_gradients);
  const Strategy strategy = Predict(point).strategy;
  const std::vector<Stage> stages = StagesOf(point.model, strategy);
  EXPECT_EQ(stages.front().num_layers, 5);
  EXPECT_EQ(stages[1].num_layers, 6);
  EXPECT_EQ(stages.back().num_layers, 5);
}

}  // namespace
}  // namespace shardscout::validation
