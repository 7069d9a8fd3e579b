#include "src/export/vllm.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "shardscout/error.h"
#include "shardscout/random.h"
#include "shardscout/strategy_space.h"

namespace shardscout::exporters {
namespace {

Problem MakeProblem(const char* model, const char* workload, std::int64_t devices) {
  return Problem(LoadModel(model), LoadCluster("h100-sxm", devices), LoadWorkload(workload));
}

Plan PlanOf(const Problem& problem, const Strategy& strategy) {
  return shardscout::PlanOf(problem, {MakePool(problem, strategy)});
}

void SplitOverTensor(Strategy& strategy) {
  for (const auto& [op, sharding] : {std::pair{Operator::kEmbedding, Sharding::kVocab},
                                     {Operator::kQkv, Sharding::kHeads},
                                     {Operator::kAttention, Sharding::kHeads},
                                     {Operator::kAttnOut, Sharding::kHeads},
                                     {Operator::kFfnUp, Sharding::kFfn},
                                     {Operator::kFfnDown, Sharding::kFfn},
                                     {Operator::kLmHead, Sharding::kVocab}}) {
    strategy.SetSharding(op, sharding);
  }
}

/// -tp 1 -dp 32 --enable-expert-parallel.
Strategy WideExpertParallel() {
  Strategy strategy;
  strategy.data_parallel_size = 32;
  strategy.expert_parallel_size = 32;
  strategy.batch_size = 64;
  return strategy;
}

bool Contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST(VllmExport, WideExpertParallelIsLossless) {
  const Problem problem = MakeProblem("deepseek-v3", "decode-chat", 256);
  ASSERT_EQ(StrategySpace(problem).WhyNot(WideExpertParallel()), "");
  const ExportResult result = VllmExporter().Export(PlanOf(problem, WideExpertParallel()), {});
  EXPECT_TRUE(result.dropped.empty()) << result.dropped.front().what;
  EXPECT_EQ(result.lowered, WideExpertParallel());
  EXPECT_EQ(result.lowered_evaluation, std::nullopt);
  EXPECT_EQ(result.command, "vllm serve --config vllm.yaml --data-parallel-address $HEAD_ADDRESS");
  ASSERT_EQ(result.files.size(), 1u);
  const std::string& yaml = result.files[0].text;
  for (const char* line :
       {"\nmodel: deepseek-ai/DeepSeek-V3\n", "\ntensor-parallel-size: 1\n", "\npipeline-parallel-size: 1\n",
        "\ndata-parallel-size: 32\n", "\ndata-parallel-size-local: 8\n", "\nenable-expert-parallel: true\n",
        "\nall2all-backend: deepep_low_latency\n", "\nmax-model-len: 5120\n", "\nmax-num-seqs: 64\n",
        "\ngpu-memory-utilization: 0.9\n", "\nkv-cache-dtype: auto\n"}) {
    EXPECT_TRUE(Contains(yaml, line)) << line << yaml;
  }
  ASSERT_EQ(result.notes.size(), 2u);
  EXPECT_TRUE(Contains(result.notes[0], "8 such instances"));
  EXPECT_TRUE(Contains(result.notes[1], "--data-parallel-start-rank $((k * 8))"));
}

TEST(VllmExport, DenseTensorParallelIsLossless) {
  const Problem problem = MakeProblem("llama-3.1-70b", "decode-chat", 8);
  Strategy strategy;
  strategy.tensor_parallel_size = 8;
  strategy.batch_size = 64;
  SplitOverTensor(strategy);
  ASSERT_EQ(StrategySpace(problem).WhyNot(strategy), "");
  const ExportResult result = VllmExporter().Export(PlanOf(problem, strategy), {});
  EXPECT_TRUE(result.dropped.empty());
  EXPECT_EQ(result.command, "vllm serve --config vllm.yaml");
  EXPECT_FALSE(Contains(result.files[0].text, "expert"));
  EXPECT_TRUE(result.notes.empty());
}

TEST(VllmExport, WhatItCannotExpressIsListedAndPriced) {
  const Problem problem = MakeProblem("llama-3.1-70b", "decode-chat", 8);
  Strategy strategy;
  strategy.tensor_parallel_size = 8;
  strategy.batch_size = 64;
  SplitOverTensor(strategy);
  const Strategy expressible = strategy;
  strategy.residual_layout = Layout::kTokenSharded;
  strategy.SetSharding(Operator::kLmHead, Sharding::kHidden);
  ASSERT_EQ(StrategySpace(problem).WhyNot(strategy), "");
  Evaluation priced;
  priced.metrics.throughput_per_device = 42;
  const ExportResult result = VllmExporter().Export(PlanOf(problem, strategy), [&](const Strategy& lowered) {
    EXPECT_EQ(lowered, expressible);
    return priced;
  });
  ASSERT_EQ(result.dropped.size(), 2u);
  EXPECT_EQ(result.dropped[0].what, "residual_layout = token_sharded");
  EXPECT_TRUE(result.dropped[0].instead.starts_with("replicated ("));
  EXPECT_EQ(result.dropped[1].what, "shardings.lm_head = hidden");
  EXPECT_TRUE(result.dropped[1].instead.starts_with("vocab ("));
  EXPECT_EQ(result.lowered, expressible);
  EXPECT_EQ(result.lowered_evaluation, priced);
}

TEST(VllmLowering, ContextParallelismOfOneKvHeadMovesIntoTensorParallelism) {
  const Problem problem = MakeProblem("deepseek-v3", "decode-chat", 256);
  Strategy strategy = WideExpertParallel();
  strategy.context_parallel_size = 4;
  strategy.data_parallel_size = 8;
  const VllmLowering lowering = LowerForVllm(problem, strategy);
  EXPECT_FALSE(lowering.approximate);
  EXPECT_EQ(lowering.arguments.tensor_parallel_size, 4);
  EXPECT_EQ(lowering.arguments.decode_context_parallel_size, 4);
  EXPECT_EQ(lowering.arguments.data_parallel_size, 8);
  EXPECT_TRUE(lowering.arguments.enable_expert_parallel);
  EXPECT_EQ(lowering.lowered.tensor_parallel_size, 4);
  EXPECT_EQ(lowering.lowered.context_parallel_size, 1);
  EXPECT_EQ(lowering.lowered.ShardingOf(Operator::kAttention), Sharding::kSequence);
}

TEST(VllmLowering, ContextParallelismOfSharedKvHeadsIsApproximate) {
  const Problem problem = MakeProblem("llama-3.1-70b", "decode-chat", 16);
  Strategy strategy;
  strategy.tensor_parallel_size = 8;
  strategy.context_parallel_size = 2;
  strategy.batch_size = 64;
  SplitOverTensor(strategy);
  const VllmLowering lowering = LowerForVllm(problem, strategy);
  EXPECT_TRUE(lowering.approximate);
  EXPECT_EQ(lowering.arguments.tensor_parallel_size, 16);
  EXPECT_EQ(lowering.arguments.decode_context_parallel_size, 2);
  EXPECT_EQ(lowering.lowered, strategy);
  const ExportResult result = VllmExporter().Export(PlanOf(problem, strategy), {});
  ASSERT_EQ(result.dropped.size(), 1u);
  EXPECT_EQ(result.dropped[0].what, "context_parallel_size = 2");
}

TEST(VllmLowering, TokenAttentionOfExpertsIsDataParallelism) {
  const Problem problem = MakeProblem("deepseek-v3", "decode-chat", 256);
  Strategy strategy = WideExpertParallel();
  strategy.tensor_parallel_size = 4;
  strategy.data_parallel_size = 8;
  strategy.batch_size = 256;
  strategy.residual_layout = Layout::kTokenSharded;
  for (const Operator op : {Operator::kQkv, Operator::kAttention, Operator::kAttnOut, Operator::kRouter,
                            Operator::kFfnUp, Operator::kFfnDown}) {
    strategy.SetSharding(op, Sharding::kToken);
  }
  ASSERT_EQ(StrategySpace(problem).WhyNot(strategy), "");
  EXPECT_EQ(LowerForVllm(problem, strategy).lowered, WideExpertParallel());
}

TEST(VllmLowering, TakesTheLargestBatchThatKeepsTheLimits) {
  const Problem problem = MakeProblem("llama-3.1-70b", "decode-chat", 8);
  Strategy strategy;
  strategy.tensor_parallel_size = 8;
  strategy.batch_size = 64;
  SplitOverTensor(strategy);
  strategy.residual_layout = Layout::kTokenSharded;
  const auto evaluate = [](std::int64_t most) {
    return [most](const Strategy& s) {
      Evaluation evaluation;
      evaluation.excess.memory = s.batch_size > most ? 1 : -1;
      return evaluation;
    };
  };
  const auto batch = [&](std::int64_t most) {
    return LowerFeasiblyForVllm(problem, strategy, evaluate(most)).lowered.batch_size;
  };
  EXPECT_EQ(batch(64), 64);
  EXPECT_EQ(batch(40), 32);
  EXPECT_EQ(batch(24), 24);
  EXPECT_EQ(batch(0), 64);
  const ExportResult result = VllmExporter().Export(PlanOf(problem, strategy), evaluate(40));
  EXPECT_TRUE(Contains(result.files[0].text, "max-num-seqs: 32\n"));
  EXPECT_EQ(result.dropped.front().what, "batch_size = 64");
  EXPECT_TRUE(result.lowered_evaluation->Feasible());
}

TEST(VllmLowering, MixedExpertDegreesBecomeExpertParallel) {
  const Problem problem = MakeProblem("deepseek-v3", "decode-chat", 256);
  Strategy strategy = WideExpertParallel();
  strategy.expert_parallel_size = 16;
  strategy.expert_tensor_parallel_size = 2;
  const VllmLowering lowering = LowerForVllm(problem, strategy);
  EXPECT_TRUE(lowering.arguments.enable_expert_parallel);
  EXPECT_EQ(lowering.lowered.expert_parallel_size, 32);
  EXPECT_EQ(lowering.lowered.expert_tensor_parallel_size, 1);
}

TEST(VllmLowering, ExpertsCutOverTheStageNeedNoFlag) {
  const Problem problem = MakeProblem("mixtral-8x22b", "decode-chat", 8);
  Strategy strategy;
  strategy.tensor_parallel_size = 8;
  strategy.expert_tensor_parallel_size = 8;
  strategy.batch_size = 16;
  SplitOverTensor(strategy);
  const VllmLowering lowering = LowerForVllm(problem, strategy);
  EXPECT_FALSE(lowering.arguments.enable_expert_parallel);
  EXPECT_EQ(lowering.lowered.expert_tensor_parallel_size, 8);
  EXPECT_EQ(lowering.lowered.expert_exchange, ExpertExchange::kGatherReduce);
}

TEST(VllmLowering, DataParallelismOfADenseModelBecomesReplicas) {
  const Problem problem = MakeProblem("llama-3.1-70b", "decode-chat", 16);
  Strategy strategy;
  strategy.tensor_parallel_size = 4;
  strategy.data_parallel_size = 4;
  strategy.dense_ffn_group = DenseFfnGroup::kStage;
  strategy.batch_size = 16;
  SplitOverTensor(strategy);
  const VllmLowering lowering = LowerForVllm(problem, strategy);
  EXPECT_EQ(lowering.arguments.data_parallel_size, 1);
  EXPECT_EQ(lowering.lowered.data_parallel_size, 1);
  EXPECT_EQ(lowering.lowered.dense_ffn_group, DenseFfnGroup::kTp);
  EXPECT_EQ(problem.Replicas(lowering.lowered), 4);
}

/// Lowering is a projection: what vLLM runs is lowered to itself, and its arguments keep vLLM's rules or are refused.
TEST(VllmLowering, IsAProjection) {
  for (const auto& [model, workload, devices] : {std::tuple{"deepseek-v3", "decode-chat", 64},
                                                 {"deepseek-v3", "prefill-chat", 64},
                                                 {"mixtral-8x22b", "serve-chat", 32},
                                                 {"llama-3.1-70b", "decode-chat", 32}}) {
    const Problem problem = MakeProblem(model, workload, devices);
    const StrategySpace space(problem);
    Rng rng = Rng::Stream(1, "vllm");
    int exported = 0;
    for (int i = 0; i < 60; ++i) {
      const Strategy strategy = space.Sample(rng);
      try {
        const VllmLowering once = LowerForVllm(problem, strategy);
        EXPECT_EQ(space.WhyNot(once.lowered), "") << ToShortString(strategy);
        EXPECT_EQ(once.lowered.InstanceSize() % once.arguments.WorldSize(), 0) << ToShortString(strategy);
        EXPECT_EQ(once.lowered.InstanceSize(), once.arguments.WorldSize() * once.arguments.data_parallel_size);
        const VllmLowering twice = LowerForVllm(problem, once.lowered);
        EXPECT_EQ(ToShortString(twice.lowered), ToShortString(once.lowered)) << ToShortString(strategy);
        const ExportResult result = VllmExporter().Export(PlanOf(problem, strategy), {});
        EXPECT_EQ(result.dropped.empty(),
                  result.lowered == strategy && !once.approximate &&
                      !(once.arguments.pipeline_parallel_size > 1 && once.arguments.data_parallel_size > 1 &&
                        once.lowered.InstanceSize() > 8) &&
                      !(once.lowered.ShardingOf(Operator::kAttention) == Sharding::kSequence &&
                        problem.workload().HasPhase(Phase::kPrefill)));
        ++exported;
      } catch (const SpecError& error) {
        EXPECT_TRUE(Contains(error.what(), "vLLM")) << error.what();
      }
    }
    EXPECT_GT(exported, 10) << model << " " << workload;
  }
}

TEST(ExporterRegistry, FindsByFrameworkAndVersion) {
  ExporterRegistry registry;
  RegisterBuiltinExporters(registry);
  EXPECT_EQ(registry.Get("vllm").Name(), "vllm@0.24");
  EXPECT_EQ(registry.Get("vllm@0.24").Name(), "vllm@0.24");
  try {
    registry.Get("vlm");
    FAIL();
  } catch (const SpecError& error) {
    EXPECT_TRUE(Contains(error.what(), "did you mean \"vllm\"")) << error.what();
  }
}

}  // namespace
}  // namespace shardscout::exporters
