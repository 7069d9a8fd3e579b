// The files of each exporter, line by line where a mistake would start something else.

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "shardscout/deployment.h"
#include "shardscout/error.h"
#include "shardscout/exporter.h"
#include "shardscout/strategy_space.h"

namespace shardscout::exporters {
namespace {

Problem MakeProblem(const char* model, const char* workload, std::int64_t devices) {
  return Problem(LoadModel(model), LoadCluster("h100-sxm", devices), LoadWorkload(workload));
}

/// 1 GB of activations and 1.5 GB kept back; weights 20 GB, of a limit of 72 GB.
Evaluation SomeMemory(const Strategy&) {
  Evaluation evaluation;
  evaluation.metrics.throughput_per_device = 1;
  evaluation.memory = {.weight_bytes = 20e9,
                       .kv_cache_bytes = 30e9,
                       .activation_bytes = 1e9,
                       .reserved_bytes = 1.5e9,
                       .limit_bytes = 72e9};
  return evaluation;
}

ExportResult ExportTo(const char* target, const Problem& problem, const Strategy& strategy) {
  ExporterRegistry exporters;
  RegisterBuiltinExporters(exporters);
  EXPECT_EQ(StrategySpace(problem).WhyNot(strategy), "");
  return exporters.Get(target).Export(PlanOf(problem, {MakePool(problem, strategy)}), SomeMemory);
}

void ExpectLines(const ExportResult& result, std::initializer_list<const char*> lines) {
  ASSERT_EQ(result.files.size(), 1u);
  for (const char* line : lines) {
    EXPECT_NE(("\n" + result.files[0].text).find("\n" + std::string(line) + "\n"), std::string::npos)
        << line << "\n"
        << result.files[0].text;
  }
}

/// Data parallel attention, experts dealt over all.
Strategy Wide(std::int64_t devices) {
  Strategy strategy;
  strategy.data_parallel_size = strategy.expert_parallel_size = devices;
  strategy.batch_size = 64;
  return strategy;
}

Strategy Tensor(std::int64_t tp) {
  Strategy s;
  s.tensor_parallel_size = tp;
  s.batch_size = 64;
  for (const Operator op : {Operator::kQkv, Operator::kAttention, Operator::kAttnOut})
    s.SetSharding(op, Sharding::kHeads);
  for (const Operator op : {Operator::kFfnUp, Operator::kFfnDown}) s.SetSharding(op, Sharding::kFfn);
  for (const Operator op : {Operator::kEmbedding, Operator::kLmHead}) s.SetSharding(op, Sharding::kVocab);
  return s;
}

TEST(SglangExport, WideExpertParallelOverNodes) {
  const Problem problem = MakeProblem("deepseek-v3", "decode-chat", 32);
  const ExportResult result = ExportTo("sglang", problem, Wide(16));
  EXPECT_TRUE(result.dropped.empty());
  ExpectLines(result, {"model-path: deepseek-ai/DeepSeek-V3", "tp-size: 16", "dp-size: 16", "ep-size: 16",
                       "enable-dp-attention: true", "enable-dp-lm-head: true", "moe-dense-tp-size: 1",
                       "moe-a2a-backend: deepep", "deepep-mode: low_latency", "nnodes: 2", "context-length: 5120",
                       // Of all ranks together.
                       "max-running-requests: 1024",
                       // (72 - 1 - 1.5) of the device's 85.9 GB.
                       "mem-fraction-static: 0.809"});
  EXPECT_EQ(result.command,
            "python -m sglang.launch_server --config sglang.yaml --dist-init-addr $HEAD_ADDRESS:5757 --node-rank 0");
  ASSERT_EQ(result.notes.size(), 2u);
  EXPECT_NE(result.notes[0].find("2 such instances"), std::string::npos);
}

TEST(SglangExport, UnevenStagesAreSaid) {
  const Problem problem = MakeProblem("llama-3.1-70b", "decode-chat", 6);
  Strategy strategy = Tensor(2);
  strategy.pipeline_parallel_size = strategy.num_microbatches = 3;
  strategy.batch_size = 48;
  // SGLang would put the two layers that are left at the end; the plan has them before it.
  EXPECT_EQ(ExportTo("sglang", problem, strategy).command.substr(0, 36), "SGLANG_PP_LAYER_PARTITION=27,27,26 p");
  // vLLM has the plan's own split.
  EXPECT_EQ(ExportTo("vllm", problem, strategy).command.substr(0, 10), "vllm serve");
  ExpectLines(ExportTo("tensorrt-llm", problem, strategy), {"pipeline_parallel_size: 3", "max_batch_size: 16"});
  ExpectLines(ExportTo("megatron", problem, strategy),
              {"--pipeline-model-parallel-layout Et*27|t*27|t*26L", "--tensor-model-parallel-size 2"});
}

TEST(TensorRtLlmExport, AttentionDataParallel) {
  const Problem problem = MakeProblem("deepseek-v3", "decode-chat", 16);
  Strategy strategy = Wide(16);
  strategy.expert_exchange = ExpertExchange::kGatherScatter;
  strategy.expert_parallel_size = 8;
  strategy.expert_tensor_parallel_size = 2;
  strategy.SetSharding(Operator::kExpertUp, Sharding::kFfn);
  strategy.SetSharding(Operator::kExpertDown, Sharding::kFfn);
  const ExportResult result = ExportTo("trtllm", problem, strategy);
  EXPECT_EQ(result.target, "tensorrt-llm@00043967");
  EXPECT_TRUE(result.dropped.empty()) << result.dropped.front().what;
  ExpectLines(result, {"tensor_parallel_size: 16", "moe_tensor_parallel_size: 2", "moe_expert_parallel_size: 8",
                       "enable_attention_dp: true", "moe_config: {backend: CUTLASS}", "max_batch_size: 64",
                       // (72 - 20 - 1 - 1.5) of 85.9 - 20 GB: of what is free beside the weights.
                       "kv_cache_config: {dtype: auto, free_gpu_memory_fraction: 0.751}"});
  EXPECT_NE(result.command.find("srun --mpi=pmix -N 2 -n 16 trtllm-llmapi-launch trtllm-serve"), std::string::npos);
}

TEST(TensorRtLlmExport, TensorAndDataParallelAttentionIsLowered) {
  const Problem problem = MakeProblem("deepseek-v3", "decode-chat", 16);
  Strategy strategy = Tensor(2);
  strategy.data_parallel_size = 8;
  strategy.expert_parallel_size = 16;
  const ExportResult result = ExportTo("tensorrt-llm", problem, strategy);
  EXPECT_FALSE(result.dropped.empty());
  EXPECT_TRUE(result.lowered.tensor_parallel_size == 1 || result.lowered.data_parallel_size == 1);
  EXPECT_TRUE(result.lowered_evaluation);
}

TEST(MegatronExport, ExpertsInSequenceParallel) {
  const Problem problem = MakeProblem("mixtral-8x22b", "decode-chat", 8);
  Strategy strategy = Tensor(4);
  strategy.data_parallel_size = 2;
  strategy.expert_parallel_size = 8;
  strategy.residual_layout = Layout::kTokenSharded;
  strategy.SetSharding(Operator::kRouter, Sharding::kToken);
  // The model has experts only: nothing for these to shard.
  strategy.SetSharding(Operator::kFfnUp, Sharding::kNone);
  strategy.SetSharding(Operator::kFfnDown, Sharding::kNone);
  const ExportResult result = ExportTo("megatron", problem, strategy);
  EXPECT_TRUE(result.dropped.empty()) << result.dropped.front().what;
  ExpectLines(result, {"--tensor-model-parallel-size 4", "--sequence-parallel", "--expert-model-parallel-size 8",
                       "--expert-tensor-parallel-size 1", "--moe-token-dispatcher-type alltoall",
                       "--global-batch-size 128", "--num-query-groups 8"});
}

TEST(MegatronExport, UnevenChunksAndSomeLayersComputedAgain) {
  WorkloadSpec workload = LoadWorkload("train-4k");
  workload.training->global_batch_size = 64;
  const Problem problem(LoadModel("deepseek-v3"), LoadCluster("h100-sxm", 8), workload);
  Strategy s;
  s.pipeline_parallel_size = 8;
  s.batch_size = s.num_microbatches = 64;
  s.virtual_pipeline_parallel_size = 2;
  s.head_layers = 1;
  s.recomputation = Recomputation::kFull;
  s.recomputed_layers = 3;
  // 61 layers and the head over 16 chunks: 3 or 4 each, the last 2.
  ExpectLines(ExportTo("megatron", problem, s),
              {"--pipeline-model-parallel-layout "
               "Et*3|t*4|t*4|t*4|t*4|t*4|t*4|t*4|t*4|t*4|t*4|t*4|t*4|t*4|t*4|t*2L",
               "--recompute-granularity full", "--recompute-method block", "--recompute-num-layers 3"});
  // Equal chunks need no layout.
  const Problem even(LoadModel("llama-3.1-8b"), LoadCluster("h100-sxm", 8), workload);
  s.head_layers = s.recomputed_layers = 0;
  ExpectLines(ExportTo("megatron", even, s),
              {"--num-virtual-stages-per-pipeline-rank 2", "--recompute-method uniform"});
}

TEST(DeepSpeedExport, AShardingAnOperator) {
  const Problem problem = MakeProblem("llama-3.1-70b", "decode-chat", 8);
  Strategy strategy = Tensor(8);
  strategy.SetSharding(Operator::kEmbedding, Sharding::kNone);
  strategy.SetSharding(Operator::kFfnDown, Sharding::kHidden);
  const ExportResult result = ExportTo("deepspeed", problem, strategy);
  EXPECT_TRUE(result.dropped.empty()) << result.dropped.front().what;
  const auto config = nlohmann::json::parse(result.files[0].text);
  EXPECT_EQ(config["tensor_parallel"]["autotp_size"], 8);
  int seen = 0;
  for (const auto& layer : config["tensor_parallel"]["partition_config"]["layer_specs"]) {
    const std::string pattern = layer["patterns"][0];
    if (pattern.find("down_proj") != std::string::npos || pattern.find("lm_head") != std::string::npos ||
        pattern.find("up)_proj") != std::string::npos) {
      // A down projection by columns takes whole activations: what is before it is gathered.
      EXPECT_EQ(layer["partition_type"], "column") << pattern;
      EXPECT_EQ(layer["gather_output"], true) << pattern;
      ++seen;
    }
  }
  EXPECT_EQ(seen, 3);
  // By rows, the common way, nothing is gathered in between.
  Strategy rows = strategy;
  rows.SetSharding(Operator::kFfnDown, Sharding::kFfn);
  EXPECT_EQ(ExportTo("deepspeed", problem, rows).files[0].text.find("\"row\"") != std::string::npos, true);
}

TEST(AiConfiguratorExport, IsAnEstimateRequest) {
  const Problem problem = MakeProblem("deepseek-v3", "serve-chat", 32);
  const ExportResult result = ExportTo("aiconfigurator", problem, Wide(16));
  const auto request = nlohmann::json::parse(result.files[0].text);
  EXPECT_EQ(request["schema_version"], "aic-estimate-request/1.0.0");
  EXPECT_EQ(request["systems"]["prefill"], "h100_sxm");
  const auto& worker = request["topology"]["worker"];
  EXPECT_EQ(worker["replicas"], 2);
  EXPECT_EQ(worker["gpus_per_replica"], 16);
  EXPECT_EQ(worker["attention_dp_size"], 16);
  EXPECT_EQ(worker["moe_ep_size"], 16);
  EXPECT_EQ(request["workload"]["concurrency"], 64 * 16 * 2);
  // What is written is read.
  const std::vector<Deployment> back = ReadDeployments(result.files[0].text, "request", &problem.model());
  ASSERT_EQ(back.size(), 1u);
  EXPECT_EQ(back[0].degrees, DegreesOf(Wide(16)));
  EXPECT_EQ(back[0].replicas, 2);
  EXPECT_EQ(back[0].max_batch_size, 64);
}

TEST(Exporters, EachFrameworkHasOneOfItsVersion) {
  ExporterRegistry exporters;
  RegisterBuiltinExporters(exporters);
  for (const Framework framework : AllFrameworks()) {
    const std::string name(ToString(framework));
    EXPECT_EQ(exporters.Get(name).Name(), name + "@" + std::string(VersionOf(framework)));
  }
}

TEST(Exporters, VersionsThatAreNotKnownAreRefused) {
  ExporterRegistry exporters;
  RegisterBuiltinExporters(exporters);
  for (const char* target : {"sglang@0.4", "vllm@0.20", "trtllm@1.0"}) EXPECT_THROW(exporters.Get(target), SpecError);
}

}  // namespace
}  // namespace shardscout::exporters
