#include "env/analytical/analytical_evaluator.h"

#include <gtest/gtest.h>

#include <cmath>

#include "env/analytical/block_cost.h"
#include "shardscout/strategy_space.h"
#include "tests/tiny_problems.h"

namespace shardscout {
namespace {

using env::AnalyticalEvaluator;
using testing::DenseModel;
using testing::MoeModel;
using testing::MultiLatentModel;
using testing::SmallCluster;
using testing::SmallProblem;
using testing::SmallWorkload;

constexpr WorkloadKind kKinds[] = {WorkloadKind::kPrefill, WorkloadKind::kDecode, WorkloadKind::kServe};

std::vector<ModelSpec> Models() {
  return {DenseModel(),
          MoeModel(),
          MoeModel(4, 0, 0),
          MultiLatentModel(6),
          testing::MixedWindowModel(7),
          testing::IndexerModel(),
          testing::LinearModel(7)};
}

TEST(AnalyticalEvaluator, TablesEqualTheProgramBitForBit) {
  Rng rng(11);
  for (const ModelSpec& model : Models()) {
    for (WorkloadKind kind : kKinds) {
      const Problem problem = SmallProblem(model, 24, kind, 48);
      const StrategySpace space(problem);
      const AnalyticalEvaluator evaluator(problem);
      Strategy s = space.Sample(rng);
      for (int i = 0; i < 400; ++i) {
        // Neighbours share tables; samples do not.
        s = i % 4 == 0 ? space.Sample(rng) : space.Neighbour(s, rng);
        ASSERT_EQ(evaluator.Evaluate(s), evaluator.EvaluateProgram(Lower(problem, s))) << ToShortString(s);
      }
    }
  }
}

TEST(AnalyticalEvaluator, StagesOfTheBreakdownGiveTheMetrics) {
  Rng rng(12);
  for (const ModelSpec& model : Models()) {
    for (WorkloadKind kind : kKinds) {
      const Problem problem = SmallProblem(model, 16, kind);
      const StrategySpace space(problem);
      const AnalyticalEvaluator evaluator(problem);
      for (int i = 0; i < 60; ++i) {
        const Strategy s = space.Sample(rng);
        const Breakdown b = evaluator.Explain(s);
        const Metrics m = evaluator.Evaluate(s).metrics;
        double sum[2] = {0, 0}, slowest[2] = {0, 0}, rows[2] = {0, 0};
        for (const StageTime& stage : b.stages) {
          const auto phase = static_cast<std::size_t>(stage.phase);
          sum[phase] += stage.time_s;
          slowest[phase] = std::max(slowest[phase], stage.time_s);
        }
        for (const BreakdownRow& row : b.rows) rows[static_cast<std::size_t>(row.phase)] += row.time_s;
        const auto n = static_cast<double>(s.num_microbatches);
        const double decode_s = std::max(n * slowest[1], sum[1]);
        for (std::size_t phase : {0U, 1U}) EXPECT_NEAR(rows[phase], sum[phase], 1e-12 + 1e-9 * sum[phase]);
        if (kind == WorkloadKind::kPrefill) {
          EXPECT_NEAR(m.ttft_s / (sum[0] + (n - 1) * slowest[0]), 1, 1e-9);
        }
        if (kind == WorkloadKind::kDecode) {
          EXPECT_NEAR(m.tpot_s / decode_s, 1, 1e-9);
        }
        if (kind == WorkloadKind::kServe) {
          EXPECT_NEAR(m.ttft_s / (sum[0] + decode_s / 2), 1, 1e-9);
        }
      }
    }
  }
}

TEST(AnalyticalEvaluator, MetricsByHand) {
  const Problem problem = SmallProblem(DenseModel(), 3, WorkloadKind::kDecode);
  const AnalyticalEvaluator evaluator(problem);
  Strategy s;
  s.batch_size = 8;
  s.pipeline_parallel_size = 2;
  s.num_microbatches = 4;
  const Evaluation e = evaluator.Evaluate(s);
  EXPECT_EQ(e.metrics.replicas, 1);
  EXPECT_EQ(e.metrics.idle_devices, 1);
  EXPECT_EQ(e.metrics.concurrency, 8);
  EXPECT_DOUBLE_EQ(e.metrics.throughput_tokens_per_s, 8 / e.metrics.tpot_s);
  EXPECT_DOUBLE_EQ(e.metrics.throughput_per_device, e.metrics.throughput_tokens_per_s / 3);
  // 2 USD an hour for each of three devices, 700 W each.
  EXPECT_DOUBLE_EQ(e.metrics.cost_usd_per_million_tokens, 3 * 2 / 3600.0 / e.metrics.throughput_tokens_per_s * 1e6);
  EXPECT_DOUBLE_EQ(e.metrics.energy_j_per_token, 3 * 700 / e.metrics.throughput_tokens_per_s);
  // Cache: 8 requests x 128 positions x K and V x 4 KV heads x 12 x bf16 x 2 layers of a stage.
  EXPECT_DOUBLE_EQ(e.memory.kv_cache_bytes, 8 * 128 * 2 * 4 * 12 * 2 * 2.0);
  EXPECT_DOUBLE_EQ(e.memory.limit_bytes, 0.9 * 80 * (1 << 30));
}

TEST(AnalyticalEvaluator, LimitsAreRelativeExcess) {
  ClusterSpec cluster = SmallCluster(1);
  WorkloadSpec workload = SmallWorkload(WorkloadKind::kDecode);
  const Evaluation free = AnalyticalEvaluator(Problem(DenseModel(), cluster, workload)).Evaluate(Strategy());
  EXPECT_TRUE(free.Feasible());
  workload.tpot_target_s = free.metrics.tpot_s / 2;
  cluster.device.hbm_bytes = free.memory.TotalBytes() / 0.9 / 4;
  const Problem tight(DenseModel(), cluster, workload);
  const Evaluation e = AnalyticalEvaluator(tight).Evaluate(Strategy());
  EXPECT_FALSE(e.Feasible());
  EXPECT_NEAR(e.excess.tpot, 1, 1e-9);
  EXPECT_NEAR(e.excess.memory, 3, 1e-9);
}

TEST(AnalyticalEvaluator, TiedEmbeddingsOfEqualShardingAreStoredOnce) {
  ModelSpec tied = DenseModel();
  tied.tie_word_embeddings = true;
  Strategy s;
  auto weights = [&](const ModelSpec& model) {
    return AnalyticalEvaluator(SmallProblem(model, 2, WorkloadKind::kDecode)).Evaluate(s).memory.weight_bytes;
  };
  const double table = 96 * 96 * 2;
  EXPECT_DOUBLE_EQ(weights(DenseModel()) - weights(tied), table);
  s.tensor_parallel_size = 2;
  s.SetSharding(Operator::kEmbedding, Sharding::kVocab);
  EXPECT_DOUBLE_EQ(weights(DenseModel()), weights(tied));  // unequal: half and whole
  s.SetSharding(Operator::kLmHead, Sharding::kVocab);
  EXPECT_DOUBLE_EQ(weights(DenseModel()) - weights(tied), table / 2);
}

TEST(AnalyticalEvaluator, LearnedPositionsAreNoPartOfTheTableThatIsTied) {
  ModelSpec tied = DenseModel();
  tied.tie_word_embeddings = true;
  const auto weights = [](const ModelSpec& model) {
    return AnalyticalEvaluator(SmallProblem(model, 1, WorkloadKind::kDecode)).Evaluate(Strategy()).memory.weight_bytes;
  };
  const double without = weights(tied);
  tied.learned_positions = 64;
  EXPECT_DOUBLE_EQ(weights(tied) - without, 64 * 96 * 2.0);
}

TEST(AnalyticalEvaluator, OnlyTheLayersWithAWindowForget) {
  ModelSpec model = testing::MixedWindowModel(4);
  const auto evaluate = [](const ModelSpec& m) {
    return AnalyticalEvaluator(SmallProblem(m, 1, WorkloadKind::kDecode)).Evaluate(Strategy());
  };
  const Evaluation mixed = evaluate(model);
  // One request: two layers of 128 positions, two of 32; K and V x 4 KV heads x 12 x bf16.
  EXPECT_DOUBLE_EQ(mixed.memory.kv_cache_bytes, (2 * 128 + 2 * 32) * 2 * 4 * 12 * 2.0);
  model.full_attention_layers.clear();
  const Evaluation windowed = evaluate(model);
  EXPECT_DOUBLE_EQ(windowed.memory.kv_cache_bytes, 4 * 32 * 2 * 4 * 12 * 2.0);
  model.attention.sliding_window = 0;
  const Evaluation full = evaluate(model);
  EXPECT_LT(windowed.metrics.tpot_s, mixed.metrics.tpot_s);
  EXPECT_LT(mixed.metrics.tpot_s, full.metrics.tpot_s);
  EXPECT_NEAR(mixed.metrics.tpot_s, (windowed.metrics.tpot_s + full.metrics.tpot_s) / 2, 1e-12);
}

TEST(AnalyticalEvaluator, TheIndexersKeysAreCachedBesideTheLatent) {
  const auto cache = [](const ModelSpec& model) {
    return AnalyticalEvaluator(SmallProblem(model, 1, WorkloadKind::kDecode))
        .Evaluate(Strategy())
        .memory.kv_cache_bytes;
  };
  // One request of 128 positions over 4 layers: keys of 16 in FP8 with an fp32 scale.
  EXPECT_DOUBLE_EQ(cache(testing::IndexerModel()) - cache(MultiLatentModel()), 4 * 128 * (16 + 4.0));
}

TEST(AnalyticalEvaluator, StatesOfLinearAttentionDoNotGrowWithTheContext) {
  const auto memory = [](std::int64_t input_tokens, std::int64_t batch) {
    WorkloadSpec workload = SmallWorkload(WorkloadKind::kDecode);
    workload.input_tokens = input_tokens;
    Strategy s;
    s.batch_size = batch;
    return AnalyticalEvaluator(Problem(testing::LinearModel(), SmallCluster(1), workload)).Evaluate(s).memory;
  };
  // A request and linear layer, of which there are 2: S of 8 heads of 12 x 16 in fp32; 3 inputs of 2 * 48 + 128
  // channels in bf16.
  const double state_bytes = 2 * (8 * 12 * 16 * 4 + 3 * 224 * 2.0);
  EXPECT_DOUBLE_EQ(memory(96, 1).linear_state_bytes, state_bytes);
  EXPECT_DOUBLE_EQ(memory(9600, 1).linear_state_bytes, state_bytes);
  EXPECT_DOUBLE_EQ(memory(96, 8).linear_state_bytes, 8 * state_bytes);
  // The cache is that of the 2 layers with full attention: K and V x 4 KV heads x 12 x bf16.
  EXPECT_DOUBLE_EQ(memory(96, 1).kv_cache_bytes, 2 * 128 * 2 * 4 * 12 * 2.0);
  const MemoryUse all = memory(96, 1);
  EXPECT_DOUBLE_EQ(all.TotalBytes(), all.weight_bytes + all.kv_cache_bytes + state_bytes + all.activation_bytes +
                                         all.communication_bytes + all.reserved_bytes);
}

TEST(AnalyticalEvaluator, OnlyFullAttentionSlowsDownWithTheContext) {
  const auto tpot_s = [](const ModelSpec& model, std::int64_t input_tokens) {
    WorkloadSpec workload = SmallWorkload(WorkloadKind::kDecode);
    workload.input_tokens = input_tokens;
    Strategy s;
    s.batch_size = 16;
    return AnalyticalEvaluator(Problem(model, SmallCluster(1), workload)).Evaluate(s).metrics.tpot_s;
  };
  ModelSpec all_full = testing::LinearModel();
  all_full.linear_attention_layers.clear();
  all_full.linear_attention = {};
  const double slower_s = tpot_s(testing::LinearModel(), 65536) - tpot_s(testing::LinearModel(), 96);
  const double all_slower_s = tpot_s(all_full, 65536) - tpot_s(all_full, 96);
  EXPECT_GT(slower_s, 0);
  EXPECT_NEAR(slower_s / all_slower_s, 2.0 / 4, 1e-9);
}

TEST(AnalyticalEvaluator, ServeStoresWhatBothPhasesNeed) {
  // MLA: the value projection belongs to qkv in prefill and to attn_out in decode. Whole in one, an eighth in the
  // other: whole is stored.
  const Problem serve = SmallProblem(MultiLatentModel(), 8, WorkloadKind::kServe);
  const Problem decode = SmallProblem(MultiLatentModel(), 8, WorkloadKind::kDecode);
  Strategy s;
  s.tensor_parallel_size = 8;
  s.batch_size = 8;
  s.SetSharding(Operator::kAttnOut, Sharding::kHeads);
  const double value_up = 4 * 8 * 32 * 8 * 2;  // layers x heads x rank x size x bf16
  const double more = AnalyticalEvaluator(serve).Evaluate(s).memory.weight_bytes -
                      AnalyticalEvaluator(decode).Evaluate(s).memory.weight_bytes;
  EXPECT_NEAR(more, value_up * 7 / 8, 1e-6);
}

}  // namespace
}  // namespace shardscout
