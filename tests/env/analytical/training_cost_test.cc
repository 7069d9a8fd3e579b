#include "env/analytical/training_cost.h"

#include <gtest/gtest.h>

#include <functional>

#include "env/analytical/analytical_evaluator.h"
#include "shardscout/program.h"
#include "shardscout/random.h"
#include "shardscout/stage_memory.h"
#include "shardscout/strategy_space.h"

namespace shardscout::env {
namespace {

Problem Gpt(std::int64_t devices, bool fused = false) {
  WorkloadSpec workload = LoadWorkload("train-2k");
  workload.training->global_batch_size = 64;
  workload.training->fused_attention = fused;
  workload.training->dropout = true;
  return Problem(LoadModel("megatron-22b"), LoadCluster("a100-80-sxm", devices), workload);
}

/// Megatron's shardings.
Strategy Megatron(std::int64_t tp, Layout residual) {
  Strategy s;
  s.tensor_parallel_size = tp;
  s.batch_size = s.num_microbatches = 64;
  s.residual_layout = residual;
  for (const Operator op : {Operator::kQkv, Operator::kAttention, Operator::kAttnOut}) {
    s.SetSharding(op, Sharding::kHeads);
  }
  for (const Operator op : {Operator::kFfnUp, Operator::kFfnDown}) s.SetSharding(op, Sharding::kFfn);
  s.SetSharding(Operator::kEmbedding, Sharding::kVocab);
  s.SetSharding(Operator::kLmHead, Sharding::kVocab);
  return s;
}

/// arXiv 2205.05198, equations 1 to 4: a layer keeps s b h (10 + 24 / t + 5 a s / (h t)) bytes, with sequence
/// parallelism s b h (34 + 5 a s / h) / t; selective recomputation leaves the 5 a s out.
TEST(TrainingCost, KeepsWhatThePaperCounts) {
  const Problem problem = Gpt(8);
  const double s = 2048, h = 6144, a = 64, t = 8;
  const auto kept = [&](Strategy strategy, Recomputation again) {
    strategy.recomputation = again;
    return LowerBlock(problem, strategy, Phase::kPrefill, BlockKind::kAttention).kept_bytes +
           LowerBlock(problem, strategy, Phase::kPrefill, BlockKind::kDenseFfn).kept_bytes;
  };
  const Strategy tensor = Megatron(8, Layout::kReplicated), sequence = Megatron(8, Layout::kTokenSharded);
  EXPECT_DOUBLE_EQ(kept(tensor, Recomputation::kNone), s * h * (10 + 24 / t + 5 * a * s / (h * t)));
  EXPECT_DOUBLE_EQ(kept(sequence, Recomputation::kNone), s * h * (34 + 5 * a * s / h) / t);
  EXPECT_DOUBLE_EQ(kept(sequence, Recomputation::kSelective), s * h * 34 / t);
  EXPECT_DOUBLE_EQ(kept(tensor, Recomputation::kFull), s * h * 2);
  EXPECT_DOUBLE_EQ(kept(sequence, Recomputation::kFull), s * h * 2 / t);
  // Section 4.3: the last norm's and the head's inputs, and the logits in 32 bits.
  const auto v = static_cast<double>(problem.model().vocab_size);
  EXPECT_DOUBLE_EQ(LowerBlock(problem, sequence, Phase::kPrefill, BlockKind::kHead).kept_bytes, 4 * s * (h + v) / t);
}

/// Each product is derived by its input and by its weight, with as many FLOP each.
TEST(TrainingCost, BackwardHasTwiceTheProducts) {
  const Problem problem = Gpt(64, true);
  const StrategySpace space(problem);
  Rng rng(5);
  for (int i = 0; i < 50; ++i) {
    Strategy s = space.Sample(rng);
    s.recomputation = Recomputation::kNone;
    for (const BlockKind kind : {BlockKind::kAttention, BlockKind::kDenseFfn, BlockKind::kHead}) {
      const Block block = LowerBlock(problem, s, Phase::kPrefill, kind);
      double forward = 0, backward = 0;
      for (const Task& task : block.tasks) forward += task.kind == TaskKind::kMatmul ? task.work.flop : 0;
      for (const Task& task : block.backward) backward += task.kind == TaskKind::kMatmul ? task.work.flop : 0;
      EXPECT_DOUBLE_EQ(backward, 2 * forward) << ToShortString(s) << " " << ToString(kind);
    }
  }
}

/// With Megatron's tensor parallelism two all-reduces a layer forward and two backward; with sequence parallelism four
/// gathers and four scatters, two of the former of what is gathered again (arXiv 2205.05198, section 4.2.2).
TEST(TrainingCost, CollectivesAreMegatrons) {
  const Problem problem = Gpt(8);
  const auto count = [&](const Strategy& s, Collective collective) {
    int forward = 0, backward = 0;
    for (const BlockKind kind : {BlockKind::kAttention, BlockKind::kDenseFfn}) {
      const Block block = LowerBlock(problem, s, Phase::kPrefill, kind);
      for (const Task& task : block.tasks) forward += task.collective == collective ? 1 : 0;
      for (const Task& task : block.backward) backward += task.collective == collective ? 1 : 0;
    }
    return std::pair(forward, backward);
  };
  const Strategy tensor = Megatron(8, Layout::kReplicated), sequence = Megatron(8, Layout::kTokenSharded);
  EXPECT_EQ(count(tensor, Collective::kAllReduce), std::pair(2, 2));
  EXPECT_EQ(count(tensor, Collective::kAllGather), std::pair(0, 0));
  EXPECT_EQ(count(sequence, Collective::kReduceScatter), std::pair(2, 2));
  EXPECT_EQ(count(sequence, Collective::kAllGather), std::pair(2, 4));
}

/// 22 billion weights over 8 ranks of tp, 8 of dp: 2 bytes of weights, 4 of gradients, 12 of states, each shared from
/// its stage on.
TEST(TrainingCost, ZeroSharesMemory) {
  const Problem problem = Gpt(64);
  const AnalyticalEvaluator evaluator(problem);
  Strategy s = Megatron(8, Layout::kTokenSharded);
  s.data_parallel_size = 8;
  s.batch_size = s.num_microbatches = 8;
  const MemoryUse whole = evaluator.Evaluate(s).memory;
  EXPECT_DOUBLE_EQ(whole.gradient_bytes, 2 * whole.weight_bytes);
  EXPECT_DOUBLE_EQ(whole.optimizer_bytes, 6 * whole.weight_bytes);
  for (const std::int64_t stage : {1, 2, 3}) {
    s.zero_stage = stage;
    const MemoryUse shared = evaluator.Evaluate(s).memory;
    EXPECT_DOUBLE_EQ(shared.optimizer_bytes, whole.optimizer_bytes / 8);
    EXPECT_DOUBLE_EQ(shared.gradient_bytes, whole.gradient_bytes / (stage >= 2 ? 8 : 1));
    EXPECT_DOUBLE_EQ(shared.weight_bytes, whole.weight_bytes / (stage >= 3 ? 8 : 1));
  }
}

/// A training problem with other settings of the step.
Problem With(const Problem& problem, const std::function<void(TrainingSpec&)>& change) {
  WorkloadSpec workload = problem.workload();
  change(*workload.training);
  return {problem.model(), problem.cluster(), workload};
}

/// 2 bytes a weight beside the 4 of the sums; not where the sums have 16 bits themselves: they are cast to 32 for the
/// update. Exchanged are the sums.
TEST(TrainingCost, GradientsOf16BitsMayStayBesideTheirSums) {
  const Problem problem = Gpt(64);
  Strategy s = Megatron(8, Layout::kTokenSharded);
  s.data_parallel_size = 8;
  s.batch_size = s.num_microbatches = 8;
  const auto evaluate = [&](bool fp32, bool keep) {
    const auto change = [&](TrainingSpec& t) {
      t.fp32_gradients = fp32;
      t.keep_16_bit_gradients = keep;
    };
    return AnalyticalEvaluator(With(problem, change)).Evaluate(s);
  };
  const double weights = evaluate(true, false).memory.weight_bytes;
  EXPECT_DOUBLE_EQ(evaluate(true, false).memory.gradient_bytes, 2 * weights);
  EXPECT_DOUBLE_EQ(evaluate(true, true).memory.gradient_bytes, 3 * weights);
  EXPECT_DOUBLE_EQ(evaluate(false, true).memory.gradient_bytes, 3 * weights);
  EXPECT_EQ(evaluate(true, true).metrics.step_time_s, evaluate(true, false).metrics.step_time_s);
  s.zero_stage = 1;
  EXPECT_DOUBLE_EQ(evaluate(false, false).memory.gradient_bytes, (1 + 2.0 / 8) * weights);
  s.zero_stage = 2;
  EXPECT_DOUBLE_EQ(evaluate(false, false).memory.gradient_bytes, 3.0 / 8 * weights);
  s.zero_stage = 3;
  EXPECT_DOUBLE_EQ(evaluate(false, false).memory.gradient_bytes, 1.0 / 8 * weights) << "updated by small parts";
}

/// Gradients of 16 bits pass through a bucket, weights too where ranks share them; sums of 32 bits lie together.
TEST(TrainingCost, BucketsOfExchangesTakeMemory) {
  const Problem problem = Gpt(64);
  Strategy s = Megatron(8, Layout::kTokenSharded);
  s.data_parallel_size = 8;
  s.batch_size = s.num_microbatches = 8;
  const auto bucket_bytes = [&](bool fp32) {
    const auto total = [&](std::int64_t elements) {
      const auto change = [&](TrainingSpec& t) {
        t.fp32_gradients = fp32;
        t.exchange_bucket_elements = elements;
      };
      return AnalyticalEvaluator(With(problem, change)).Evaluate(s).memory.TotalBytes();
    };
    return total(1'000'000) - total(0);
  };
  EXPECT_DOUBLE_EQ(bucket_bytes(true), 0);
  EXPECT_DOUBLE_EQ(bucket_bytes(false), 2e6);
  s.zero_stage = 1;
  EXPECT_DOUBLE_EQ(bucket_bytes(true), 2e6);
  EXPECT_DOUBLE_EQ(bucket_bytes(false), 4e6);
}

/// A residual stream more of each micro-batch in flight; the last stage has its loss at once.
TEST(TrainingCost, OutputsOfStagesMayBeKept) {
  const Problem problem = Gpt(64);
  const Problem kept = With(problem, [](TrainingSpec& t) { t.keep_stage_outputs = true; });
  Strategy s = Megatron(8, Layout::kTokenSharded);
  s.pipeline_parallel_size = 4;
  s.recomputation = Recomputation::kFull;
  const std::vector<MemoryUse> without = MemoryByStage(problem, s), with = MemoryByStage(kept, s);
  const double residual = 2.0 * 2048 * 6144 / 8;
  for (std::size_t stage = 0; stage < 4; ++stage) {
    const double in_flight = 4 - static_cast<double>(stage);
    EXPECT_NEAR(with[stage].TotalBytes() - without[stage].TotalBytes(), stage == 3 ? 0 : in_flight * residual, 1)
        << stage;
  }
}

/// Over many ranks a broadcast each costs more than a gather; where nothing is shared, neither does.
TEST(TrainingCost, SharingByBroadcastTakesLongerOverManyRanks) {
  const Problem gather = With(Gpt(512), [](TrainingSpec& t) { t.overlap_parameters = false; });
  const Problem broadcast = With(gather, [](TrainingSpec& t) { t.parameter_exchange = ParameterExchange::kBroadcast; });
  Strategy s = Megatron(8, Layout::kTokenSharded);
  s.data_parallel_size = 64;
  s.batch_size = s.num_microbatches = 1;
  const auto step_s = [&](const Problem& problem) {
    return AnalyticalEvaluator(problem).Evaluate(s).metrics.step_time_s;
  };
  EXPECT_DOUBLE_EQ(step_s(broadcast), step_s(gather)) << "ZeRO 0 shares nothing";
  s.zero_stage = 1;
  EXPECT_GT(step_s(broadcast), step_s(gather));
}

TEST(TrainingCost, BlockingLaunchesAddTheHostsTime) {
  Strategy s = Megatron(8, Layout::kTokenSharded);
  s.batch_size = s.num_microbatches = 8;
  const auto step_s = [&](double host_task_s, bool blocking) {
    const Problem problem = With(Gpt(8), [&](TrainingSpec& t) {
      t.host_task_s = host_task_s;
      t.blocking_launches = blocking;
    });
    return AnalyticalEvaluator(problem).Evaluate(s).metrics.step_time_s;
  };
  const double device_s = step_s(0, false), host_s = step_s(1e-3, false);
  EXPECT_GT(host_s, device_s);
  EXPECT_DOUBLE_EQ(step_s(0, true), device_s);
  // A host so slow that it alone sets the pace: its time, and with blocking launches the device's as well.
  EXPECT_NEAR(step_s(1e-3, true), host_s + device_s, 0.05 * host_s);
}

/// The first of pp stages keeps pp micro-batches (arXiv 2205.05198, section 4.2.3), m where that is fewer; interleaved
/// (pp - 1) / v more.
TEST(TrainingCost, MicroBatchesInFlight) {
  const Problem problem = Gpt(64);
  const AnalyticalEvaluator evaluator(problem);
  Strategy s = Megatron(8, Layout::kTokenSharded);
  s.pipeline_parallel_size = 8;
  const auto activations = [&](std::int64_t microbatches, std::int64_t chunks) {
    s.num_microbatches = microbatches;
    s.batch_size = microbatches;
    s.virtual_pipeline_parallel_size = chunks;
    return evaluator.Evaluate(s).memory.activation_bytes;
  };
  const double one = activations(2, 1) - activations(1, 1);
  EXPECT_GT(one, 0);
  EXPECT_NEAR(activations(8, 1) - activations(1, 1), 7 * one, 1);
  EXPECT_NEAR(activations(64, 1), activations(8, 1), 1);
  EXPECT_NEAR(activations(64, 2) - activations(64, 1), 3.5 * one, 1);
}

/// Each layer more that is computed again takes time and frees memory, up to all of them.
TEST(TrainingCost, LayersComputedAgainLieBetween) {
  const Problem problem = Gpt(8, true);
  const AnalyticalEvaluator evaluator(problem);
  Strategy s = Megatron(4, Layout::kTokenSharded);
  s.pipeline_parallel_size = 2;
  s.virtual_pipeline_parallel_size = 3;
  Evaluation fewer = evaluator.Evaluate(s);
  s.recomputation = Recomputation::kFull;
  const Evaluation all = evaluator.Evaluate(s);
  for (s.recomputed_layers = 1; s.recomputed_layers < 8; ++s.recomputed_layers) {
    ASSERT_EQ(StrategySpace(problem).WhyNot(s), "");
    const Evaluation e = evaluator.Evaluate(s);
    EXPECT_GT(e.metrics.step_time_s, fewer.metrics.step_time_s);
    EXPECT_LT(e.metrics.step_time_s, all.metrics.step_time_s);
    EXPECT_GT(e.memory.TotalBytes(), all.memory.TotalBytes());
    if (s.recomputed_layers > 1) {
      EXPECT_LT(e.memory.TotalBytes(), fewer.memory.TotalBytes());
    }
    fewer = e;
  }
  s.recomputed_layers = 8;  // A chunk has eight.
  EXPECT_EQ(evaluator.Evaluate(s).metrics, all.metrics);
  EXPECT_NE(StrategySpace(problem).WhyNot(s), "") << "the same as all";
}

/// A head of more than two layers' weights: the last stage is the slowest where all have as many layers.
TEST(TrainingCost, AHeadThatCountsAsLayersEvensTheStages) {
  WorkloadSpec workload = LoadWorkload("train-4k");
  workload.training->global_batch_size = 64;
  workload.training->host_task_s = 0;
  const Problem problem(LoadModel("llama-3.1-8b"), LoadCluster("h100-sxm", 4), workload);
  Strategy s;
  s.pipeline_parallel_size = 4;
  s.batch_size = s.num_microbatches = 64;
  s.recomputation = Recomputation::kFull;
  const StrategySpace space(problem);
  const AnalyticalEvaluator evaluator(problem);
  const auto step_s = [&](std::int64_t head) {
    s.head_layers = head;
    EXPECT_EQ(space.WhyNot(s), "");
    return evaluator.Evaluate(s).metrics.step_time_s;
  };
  EXPECT_LT(step_s(1), step_s(0));
  EXPECT_LT(step_s(2), step_s(0));
  s.head_layers = 3;
  EXPECT_NE(space.WhyNot(s), "") << "more than the head's weights are";
}

/// Nothing gets slower by a faster network or memory, or by fewer bytes of gradients.
TEST(TrainingCost, MoreIsNeverSlower) {
  const Problem problem = Gpt(64, true);
  const StrategySpace space(problem);
  ClusterSpec network = problem.cluster(), memory = problem.cluster();
  for (NetworkTier& tier : network.tiers) tier.bytes_per_s *= 2;
  memory.device.hbm_bytes_per_s *= 2;
  WorkloadSpec workload = problem.workload();
  workload.training->fp32_gradients = false;
  const Problem others[] = {{problem.model(), network, problem.workload()},
                            {problem.model(), memory, problem.workload()},
                            {problem.model(), problem.cluster(), workload}};
  const AnalyticalEvaluator evaluator(problem);
  Rng rng(9);
  for (int i = 0; i < 100; ++i) {
    const Strategy s = space.Sample(rng);
    const double step_s = evaluator.Evaluate(s).metrics.step_time_s;
    for (const Problem& other : others) {
      EXPECT_LE(AnalyticalEvaluator(other).Evaluate(s).metrics.step_time_s, step_s * (1 + 1e-12)) << ToShortString(s);
    }
  }
}

/// Tables and whole programs give the same.
TEST(TrainingCost, ProgramsArePricedAlike) {
  const Problem problem(LoadModel("mixtral-8x7b"), LoadCluster("h100-sxm", 64), LoadWorkload("train-4k"));
  const AnalyticalEvaluator evaluator(problem);
  const StrategySpace space(problem);
  Rng rng(2);
  for (int i = 0; i < 60; ++i) {
    const Strategy s = space.Sample(rng);
    EXPECT_EQ(evaluator.Evaluate(s), evaluator.EvaluateProgram(Lower(problem, s))) << ToShortString(s);
  }
}

}  // namespace
}  // namespace shardscout::env
