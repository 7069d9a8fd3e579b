// What torchtitan, DeepSpeed and MaxText are given to train by a plan.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "src/export/maxtext.h"
#include "src/export/torchtitan.h"
#include "tests/src/export/written_plans.h"

namespace shardscout::exporters {
namespace {

Problem MakeProblem(const char* model, std::int64_t devices, std::int64_t global_batch) {
  WorkloadSpec workload = LoadWorkload("train-4k");
  workload.training->global_batch_size = global_batch;
  return {LoadModel(model), LoadCluster("h100-sxm", devices), workload};
}

/// Columns, then rows, over tp.
Strategy Tensor(std::int64_t tp, Layout residual) {
  Strategy s;
  s.tensor_parallel_size = tp;
  s.residual_layout = residual;
  for (const Operator op : {Operator::kQkv, Operator::kAttention, Operator::kAttnOut}) {
    s.SetSharding(op, Sharding::kHeads);
  }
  for (const Operator op : {Operator::kFfnUp, Operator::kFfnDown}) s.SetSharding(op, Sharding::kFfn);
  for (const Operator op : {Operator::kEmbedding, Operator::kLmHead}) s.SetSharding(op, Sharding::kVocab);
  return s;
}

/// 4 x 2 x 4 of 32 devices, 16 sequences a rank in 8 micro-batches.
Strategy ThreeWays() {
  Strategy s = Tensor(2, Layout::kTokenSharded);
  s.pipeline_parallel_size = 4;
  s.data_parallel_size = 4;
  s.batch_size = 16;
  s.num_microbatches = 8;
  s.zero_stage = 2;
  s.recomputation = Recomputation::kFull;
  return s;
}

TEST(TorchtitanExport, ThreeWaysOverStages) {
  const Problem problem = MakeProblem("llama-3.1-8b", 32, 64);
  const ExportResult result = ExportTo("torchtitan", problem, ThreeWays());
  EXPECT_TRUE(result.dropped.empty()) << result.dropped.front().what;
  ExpectLines(TextOf(result, "torchtitan.args"),
              {"--parallelism.data_parallel_replicate_degree 1", "--parallelism.data_parallel_shard_degree 4",
               "--parallelism.fsdp_reshard_after_forward never", "--parallelism.tensor_parallel_degree 2",
               "--parallelism.pipeline_parallel_degree 4", "--parallelism.pipeline_parallel_schedule 1F1B",
               "--parallelism.pipeline_parallel_microbatch_size 2",
               // Its default takes one off the first and the last stage.
               "--parallelism.pipeline_parallel_first_stage_less_layers 0",
               "--parallelism.pipeline_parallel_last_stage_less_layers 0", "--training.local_batch_size 16",
               "--training.global_batch_size 64", "--training.seq_len 4096", "--activation_checkpoint.mode full"});
  EXPECT_EQ(TextOf(result, "torchtitan.args").find("layers_per_stage"), std::string::npos);
  EXPECT_EQ(result.command,
            "torchrun --nproc-per-node 8 --nnodes 4 --node-rank 0 --master-addr $HEAD_ADDRESS -m torchtitan.train "
            "--module $MODULE --config $CONFIG $(cat torchtitan.args)");
}

TEST(TorchtitanExport, ChunksOfAStageAreItsInterleavedSchedule) {
  const Problem problem = MakeProblem("llama-3.1-8b", 32, 64);
  Strategy s = ThreeWays();
  s.virtual_pipeline_parallel_size = 2;
  s.zero_stage = 3;
  ExpectLines(
      TextOf(ExportTo("torchtitan", problem, s), "torchtitan.args"),
      {"--parallelism.pipeline_parallel_schedule Interleaved1F1B", "--parallelism.pipeline_parallel_layers_per_stage 4",
       "--parallelism.fsdp_reshard_after_forward always"});
}

TEST(TorchtitanExport, WithoutAPipelineMicroBatchesAreAccumulated) {
  const Problem problem = MakeProblem("llama-3.1-8b", 8, 64);
  Strategy s;
  s.data_parallel_size = 8;
  s.batch_size = 8;
  s.num_microbatches = 4;
  const ExportResult copies = ExportTo("torchtitan", problem, s);
  EXPECT_TRUE(copies.dropped.empty());
  ExpectLines(TextOf(copies, "torchtitan.args"),
              {"--parallelism.data_parallel_replicate_degree 8", "--parallelism.data_parallel_shard_degree 1",
               "--training.local_batch_size 2", "--training.global_batch_size 64"});
}

TEST(TorchtitanExport, WhatItHasNotIsSaid) {
  const Problem problem = MakeProblem("llama-3.1-8b", 32, 64);
  Strategy s = ThreeWays();
  s.zero_stage = 1;
  // Ways that are alike: the first, which is nearest.
  const ExportResult result = ExportTo("torchtitan", problem, s, [](const Strategy&) { return MoreIsBetter({}); });
  ASSERT_EQ(result.dropped.size(), 1u);
  EXPECT_EQ(result.dropped[0].what, "training.zero_stage = 1");
  EXPECT_TRUE(result.lowered_evaluation);
}

TEST(TorchtitanExport, PlansOfInferenceAreNotForIt) {
  const Problem problem(LoadModel("llama-3.1-8b"), LoadCluster("h100-sxm", 8), LoadWorkload("decode-chat"));
  Strategy s;
  s.batch_size = 8;
  try {
    ExportTo("torchtitan", problem, s);
    FAIL();
  } catch (const SpecError& error) {
    EXPECT_NE(std::string(error.what()).find("--to torchtitan"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("vllm"), std::string::npos) << error.what();
  }
}

TEST(DeepSpeedTraining, TensorParallelWithZero) {
  const Problem problem = MakeProblem("llama-3.1-8b", 16, 64);
  Strategy s = Tensor(4, Layout::kReplicated);
  for (const Operator op : {Operator::kEmbedding, Operator::kLmHead}) s.SetSharding(op, Sharding::kNone);
  s.data_parallel_size = 4;
  s.batch_size = 16;
  s.num_microbatches = 8;
  s.zero_stage = 2;
  s.recomputation = Recomputation::kFull;
  const ExportResult result = ExportTo("deepspeed", problem, s);
  EXPECT_TRUE(result.dropped.empty()) << result.dropped.front().what;
  const auto config = nlohmann::json::parse(TextOf(result, "deepspeed.json"));
  EXPECT_EQ(config["train_batch_size"], 64);
  EXPECT_EQ(config["train_micro_batch_size_per_gpu"], 2);
  EXPECT_EQ(config["gradient_accumulation_steps"], 8);
  EXPECT_EQ(config["zero_optimization"]["stage"], 2);
  EXPECT_FALSE(config["zero_optimization"].contains("reduce_bucket_size"));
  EXPECT_THAT(result.notes, ::testing::Contains(::testing::HasSubstr("exchange_bucket_elements")));
  EXPECT_EQ(config["data_types"]["grad_accum_dtype"], "fp32");
  EXPECT_EQ(config["tensor_parallel"]["autotp_size"], 4);
  EXPECT_NE(TextOf(result, "deepspeed_setup.py").find("model.gradient_checkpointing_enable()"), std::string::npos);
}

/// Of an even number of elements, with ZeRO 1 and 2 alone.
TEST(DeepSpeedTraining, BucketsThatThePlanHas) {
  const Problem without = MakeProblem("llama-3.1-8b", 16, 64);
  WorkloadSpec workload = without.workload();
  workload.training->exchange_bucket_elements = 50'000'001;
  const Problem problem(without.model(), without.cluster(), workload);
  Strategy s;
  s.data_parallel_size = 16;
  s.batch_size = 4;
  s.recomputation = Recomputation::kFull;
  const auto zero = [&](std::int64_t stage) {
    s.zero_stage = stage;
    return nlohmann::json::parse(TextOf(ExportTo("deepspeed", problem, s), "deepspeed.json"))["zero_optimization"];
  };
  for (const std::int64_t stage : {1, 2}) {
    EXPECT_EQ(zero(stage)["reduce_bucket_size"], 50'000'000);
    EXPECT_EQ(zero(stage)["allgather_bucket_size"], 50'000'000);
  }
  EXPECT_FALSE(zero(3).contains("reduce_bucket_size"));
}

TEST(DeepSpeedTraining, StagesAreThePipelineModules) {
  const Problem problem = MakeProblem("llama-3.1-8b", 32, 64);
  Strategy s;
  s.pipeline_parallel_size = 4;
  s.data_parallel_size = 8;
  s.batch_size = 8;
  s.num_microbatches = 8;
  s.zero_stage = 1;
  const ExportResult result = ExportTo("deepspeed", problem, s);
  EXPECT_TRUE(result.dropped.empty()) << result.dropped.front().what;
  const std::string setup = TextOf(result, "deepspeed_setup.py");
  EXPECT_NE(setup.find("num_stages=4"), std::string::npos);
  EXPECT_NE(setup.find("activation_checkpoint_interval=0"), std::string::npos);
  const auto config = nlohmann::json::parse(TextOf(result, "deepspeed.json"));
  EXPECT_EQ(config["gradient_accumulation_steps"], 8);
  EXPECT_FALSE(config.contains("tensor_parallel"));
}

TEST(DeepSpeedTraining, DealtExpertsAreAutoEp) {
  const Problem problem = MakeProblem("mixtral-8x7b", 64, 128);
  Strategy s;
  s.data_parallel_size = 64;
  s.expert_parallel_size = 8;
  s.batch_size = 2;
  s.zero_stage = 2;
  const ExportResult result = ExportTo("deepspeed", problem, s);
  EXPECT_TRUE(result.dropped.empty()) << result.dropped.front().what;
  const auto experts = nlohmann::json::parse(TextOf(result, "deepspeed.json"))["expert_parallel"];
  EXPECT_EQ(experts["autoep_size"], 8);
  EXPECT_EQ(experts["preset_model"], "mixtral");
}

std::map<std::string, std::string> ValuesOf(const std::string& yaml) {
  std::map<std::string, std::string> values;
  std::istringstream lines(yaml);
  for (std::string line; std::getline(lines, line);) {
    const std::size_t colon = line.find(": ");
    if (line.front() != '#' && colon != std::string::npos) values[line.substr(0, colon)] = line.substr(colon + 2);
  }
  return values;
}

TEST(MaxTextExport, AxesFillANodeFromTheInnermost) {
  // The header's example.
  const Problem problem = MakeProblem("mixtral-8x22b", 64, 64);
  Strategy s = Tensor(4, Layout::kTokenSharded);
  s.data_parallel_size = 16;
  s.expert_parallel_size = 8;
  s.expert_tensor_parallel_size = 4;
  s.SetSharding(Operator::kRouter, Sharding::kToken);
  for (const Operator op : {Operator::kFfnUp, Operator::kFfnDown}) s.SetSharding(op, Sharding::kNone);
  for (const Operator op : {Operator::kExpertUp, Operator::kExpertDown}) s.SetSharding(op, Sharding::kFfn);
  s.batch_size = 4;
  s.num_microbatches = 2;
  s.zero_stage = 3;
  s.recomputation = Recomputation::kFull;
  const ExportResult result = ExportTo("maxtext", problem, s);
  EXPECT_TRUE(result.dropped.empty()) << result.dropped.front().what;
  std::map<std::string, std::string> values = ValuesOf(TextOf(result, "maxtext.yml"));
  EXPECT_EQ(values["ici_tensor_sequence_parallelism"], "4");
  EXPECT_EQ(values["ici_expert_parallelism"], "2");
  EXPECT_EQ(values["dcn_expert_parallelism"], "4");
  EXPECT_EQ(values["ici_fsdp_parallelism"], "1");
  EXPECT_EQ(values["dcn_fsdp_parallelism"], "2");
  // Two sequences a rank and step, over the 4 devices that share them.
  EXPECT_EQ(values["per_device_batch_size"], "0.5");
  EXPECT_EQ(values["gradient_accumulation_steps"], "2");
  EXPECT_EQ(values["remat_policy"], "full");
  EXPECT_EQ(values["base_num_decoder_layers"], "56");
}

struct Case {
  const char* model;
  std::int64_t devices, global_batch;
};

/// Every number of the strategy is read back from the flags.
void CheckTorchtitan(const ExportResult& result, const Strategy& s) {
  std::map<std::string, std::string> flags;
  std::istringstream lines(TextOf(result, "torchtitan.args"));
  for (std::string name, value; lines >> name >> value;) flags[name.substr(name.rfind('.') + 1)] = value;
  const auto number = [&](const char* name) { return flags.contains(name) ? std::stoll(flags[name]) : 1; };
  const std::string where = ToShortString(s);
  EXPECT_EQ(number("tensor_parallel_degree"), s.tensor_parallel_size) << where;
  EXPECT_EQ(number("pipeline_parallel_degree"), s.pipeline_parallel_size) << where;
  EXPECT_EQ(number("context_parallel_degree"), s.context_parallel_size) << where;
  EXPECT_EQ(number("expert_parallel_degree"), s.expert_parallel_size) << where;
  EXPECT_EQ(number("data_parallel_shard_degree") * number("data_parallel_replicate_degree"), s.data_parallel_size);
  EXPECT_EQ(number("global_batch_size"), s.batch_size * s.data_parallel_size) << where;
  const std::int64_t passes = s.pipeline_parallel_size > 1
                                  ? number("local_batch_size") / number("pipeline_parallel_microbatch_size")
                                  : number("global_batch_size") / number("local_batch_size") / s.data_parallel_size;
  EXPECT_EQ(passes, s.num_microbatches) << where;
  EXPECT_EQ(flags["mode"], ToString(s.recomputation)) << where;
  const bool sharded = number("data_parallel_shard_degree") * s.context_parallel_size > 1;
  EXPECT_EQ(s.zero_stage, !sharded ? 0 : flags["fsdp_reshard_after_forward"] == "always" ? 3 : 2) << where;
}

void CheckDeepSpeed(const ExportResult& result, const Strategy& s) {
  const auto config = nlohmann::json::parse(TextOf(result, "deepspeed.json"));
  const std::string setup = TextOf(result, "deepspeed_setup.py"), where = ToShortString(s);
  EXPECT_EQ(config["zero_optimization"]["stage"], s.zero_stage) << where;
  EXPECT_EQ(config["gradient_accumulation_steps"], s.num_microbatches) << where;
  EXPECT_EQ(config["train_batch_size"], s.batch_size * s.data_parallel_size) << where;
  EXPECT_EQ(config.contains("tensor_parallel"), s.tensor_parallel_size > 1) << where;
  EXPECT_EQ(config.contains("expert_parallel"), s.expert_parallel_size > 1) << where;
  EXPECT_EQ(setup.find("num_stages=" + std::to_string(s.pipeline_parallel_size)) != std::string::npos,
            s.pipeline_parallel_size > 1)
      << where;
  const bool again = setup.find("checkpointing_enable") != std::string::npos ||
                     setup.find("checkpoint_interval=1") != std::string::npos;
  EXPECT_EQ(again, s.recomputation == Recomputation::kFull) << where;
}

void CheckMaxText(const ExportResult& result, const Strategy& s) {
  std::map<std::string, std::string> values = ValuesOf(TextOf(result, "maxtext.yml"));
  const auto axis = [&](const std::string& name) {
    return std::stoll(values["ici_" + name + "_parallelism"]) * std::stoll(values["dcn_" + name + "_parallelism"]);
  };
  const std::string where = ToShortString(s);
  EXPECT_EQ(axis("tensor_sequence"), s.tensor_parallel_size) << where;
  EXPECT_EQ(axis("context"), s.context_parallel_size) << where;
  EXPECT_EQ(axis("expert"), s.expert_parallel_size) << where;
  EXPECT_EQ(axis("data") * axis("fsdp") * axis("expert"), s.data_parallel_size) << where;
  EXPECT_EQ(values["gradient_accumulation_steps"], std::to_string(s.num_microbatches)) << where;
  EXPECT_EQ(values["shard_optimizer_over_data"] == "true", s.zero_stage == 1) << where;
  const double sequences =
      std::stod(values["per_device_batch_size"]) * static_cast<double>(s.InstanceSize() * s.num_microbatches);
  EXPECT_NEAR(sequences, static_cast<double>(s.batch_size * s.data_parallel_size), 1e-6) << where;
}

class TrainingExports : public testing::TestWithParam<Framework> {};

TEST_P(TrainingExports, ManyPlansAreWrittenOrRefused) {
  const auto check = GetParam() == Framework::kTorchtitan ? CheckTorchtitan
                     : GetParam() == Framework::kMaxText  ? CheckMaxText
                                                          : CheckDeepSpeed;
  Counts counts;
  for (const Case& c : {Case{"llama-3.1-8b", 32, 64},
                        {"llama-3.1-70b", 24, 48},
                        {"mixtral-8x7b", 64, 128},
                        {"deepseek-v3", 64, 64},
                        {"gpt-2", 8, 16}}) {
    const Counts of_case = ExportMany(GetParam(), MakeProblem(c.model, c.devices, c.global_batch), 8, 11, check);
    counts.lossless += of_case.lossless;
    counts.lowered += of_case.lowered;
    counts.refused += of_case.refused;
  }
  EXPECT_EQ(counts.lossless + counts.lowered + counts.refused, 80);
  EXPECT_GE(counts.lossless, 40);
}

INSTANTIATE_TEST_SUITE_P(Frameworks, TrainingExports,
                         testing::Values(Framework::kTorchtitan, Framework::kDeepSpeed, Framework::kMaxText),
                         [](const auto& param_info) { return std::string(ToString(param_info.param)); });

}  // namespace
}  // namespace shardscout::exporters
