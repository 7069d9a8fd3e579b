#include "shardscout/strategy_space.h"

#include <gtest/gtest.h>

#include <set>

#include "shardscout/error.h"
#include "shardscout/program.h"
#include "strategies/sharding_rules.h"
#include "tests/tiny_problems.h"

namespace shardscout {
namespace {

using testing::DenseModel;
using testing::MoeModel;
using testing::MultiLatentModel;
using testing::SmallProblem;

/// Every member, by walking the whole tree of decisions. Fails on a dead end.
void Walk(const StrategySpace& space, Choices& prefix, std::set<Strategy>& members) {
  if (prefix.size() == static_cast<std::size_t>(kNumVariables)) {
    EXPECT_TRUE(members.insert(space.Decode(prefix)).second);
    return;
  }
  std::vector<std::uint8_t> mask;
  space.AllowedChoices(prefix, mask);
  bool any = false;
  for (std::size_t i = 0; i < mask.size(); ++i) {
    if (mask[i] == 0) continue;
    any = true;
    prefix.push_back(static_cast<int>(i));
    Walk(space, prefix, members);
    prefix.pop_back();
  }
  ASSERT_TRUE(any) << "dead end after " << prefix.size() << " variables: " << ToShortString([&] {
    Strategy s;
    for (std::size_t v = 0; v < prefix.size(); ++v) {
      SetVariable(s, static_cast<int>(v), space.Values(static_cast<int>(v))[static_cast<std::size_t>(prefix[v])]);
    }
    return s;
  }());
}

std::set<Strategy> Members(const StrategySpace& space) {
  std::set<Strategy> members;
  Choices prefix;
  Walk(space, prefix, members);
  return members;
}

/// Training's own variables: the batch is the global one over dp, chunks are as even as the stages and micro-batches
/// fill the stages, the head counts as layers where that moves one, ZeRO and recomputation take their first value where
/// they do nothing.
bool TrainingHolds(const Problem& problem, const Strategy& s) {
  const std::int64_t chunks = s.virtual_pipeline_parallel_size;
  const std::optional<TrainingSpec>& training = problem.workload().training;
  if (!training) {
    return chunks == 1 && s.head_layers == 0 && s.zero_stage == 0 && s.recomputation == Recomputation::kNone &&
           s.recomputed_layers == 0;
  }
  if (s.batch_size * s.data_parallel_size != training->global_batch_size) return false;
  const std::int64_t pp = s.pipeline_parallel_size;
  const std::int64_t layers = problem.model().num_layers, all = pp * chunks;
  if (chunks > 1 && (pp == 1 || s.num_microbatches % pp != 0)) return false;
  if (chunks > 1 && layers % all != 0 && (layers % pp == 0 || all > layers)) return false;
  const auto sizes = [&](std::int64_t head) {
    Strategy with = s;
    with.head_layers = head;
    std::vector<std::int64_t> stages;
    for (const auto& chunks_of_stage : ChunksOf(problem.model(), with)) {
      for (const Stage& chunk : chunks_of_stage) stages.push_back(chunk.num_layers);
    }
    return stages;
  };
  if (s.head_layers > 0) {
    if (pp == 1 || (layers + s.head_layers) / all <= s.head_layers) return false;
    if (sizes(s.head_layers) == sizes(s.head_layers - 1)) return false;
  }
  if (s.recomputed_layers > 0 && s.recomputation != Recomputation::kFull) return false;
  if (s.recomputed_layers > 0) {
    const std::vector<std::int64_t> chunk_sizes = sizes(s.head_layers);
    if (s.recomputed_layers >= *std::max_element(chunk_sizes.begin(), chunk_sizes.end())) return false;
  }
  if (s.zero_stage > 0 && s.context_parallel_size * s.data_parallel_size == 1) return false;
  return s.recomputation != Recomputation::kSelective || !training->fused_attention;
}

/// The rules of docs/strategy_space.md once more, written from the document and without look-ahead: the judge of the
/// tree.
bool ValidAndCanonical(const Problem& problem, const Strategy& s) {
  const ModelSpec& m = problem.model();
  const strategies::ShardingRules rules(problem);
  if (s.InstanceSize() > problem.cluster().num_devices || s.pipeline_parallel_size > m.num_layers) return false;
  if (s.StageSize() % s.BlockSize() != 0) return false;
  if (!m.HasMoe() && s.BlockSize() != 1) return false;
  if (m.HasMoe() &&
      (m.moe.num_experts % s.expert_parallel_size != 0 || !rules.ExpertTensorSplits(s.expert_tensor_parallel_size))) {
    return false;
  }
  if (s.batch_size % s.num_microbatches != 0 ||
      (s.pipeline_parallel_size == 1 && s.num_microbatches > 1 && !problem.workload().IsTraining())) {
    return false;
  }
  if (!rules.BatchSplits(s) || !rules.Residual(s, s.residual_layout) || !rules.FfnGroup(s, s.dense_ffn_group) ||
      !rules.Exchange(s, s.expert_exchange) || s.overlap != Overlap::kNone) {
    return false;
  }
  for (std::size_t i = 0; i < kNumShardedOperators; ++i) {
    if (!rules.Admits(s, static_cast<Operator>(i), s.shardings[i])) return false;
  }
  return TrainingHolds(problem, s);
}

/// One layer variable of a strategy that has all degrees, the batch and the FFN group.
bool LayerRuleHolds(const strategies::ShardingRules& rules, const Strategy& s, int variable) {
  switch (static_cast<Variable>(variable)) {
    case Variable::kResidualLayout:
      return rules.Residual(s, s.residual_layout);
    case Variable::kDenseFfnGroup:
      return rules.FfnGroup(s, s.dense_ffn_group);
    case Variable::kExpertExchange:
      return rules.Exchange(s, s.expert_exchange);
    case Variable::kOverlap:
      return s.overlap == Overlap::kNone;
    case Variable::kVirtualPipelineParallelSize:
    case Variable::kHeadLayers:
    case Variable::kZeroStage:
    case Variable::kRecomputation:
    case Variable::kRecomputedLayers:
      return true;  // Judged at the end.
    default:
      break;
  }
  const Operator op = static_cast<Operator>(variable - kFirstShardingVariable);
  return rules.Admits(s, op, s.ShardingOf(op));
}

/// All combinations of raw values, without any look-ahead, that the judge admits.
void CountBrute(const Problem& problem, const StrategySpace& space, Strategy& s, int variable, double& count) {
  if (variable == kNumVariables) {
    count += ValidAndCanonical(problem, s) ? 1 : 0;
    return;
  }
  if (s.InstanceSize() > problem.cluster().num_devices) return;
  if (variable == static_cast<int>(Variable::kBatchSize) && s.StageSize() % s.BlockSize() != 0) return;
  const strategies::ShardingRules rules(problem);
  for (std::int64_t value : space.Values(variable)) {
    SetVariable(s, variable, value);
    if (variable >= static_cast<int>(Variable::kResidualLayout) && !LayerRuleHolds(rules, s, variable)) continue;
    CountBrute(problem, space, s, variable + 1, count);
  }
  SetVariable(s, variable, GetVariable(Strategy(), variable));
}

struct Case {
  const char* name;
  ModelSpec model;
  std::int64_t devices;
  WorkloadKind kind;
  std::int64_t max_batch;
};

std::vector<Case> SmallCases() {
  return {{"dense decode", DenseModel(2), 3, WorkloadKind::kDecode, 4},
          {"dense prefill", DenseModel(2), 2, WorkloadKind::kPrefill, 2},
          {"moe prefill", MoeModel(2, 0, 0), 3, WorkloadKind::kPrefill, 2},
          {"moe decode", MoeModel(2, 0, 0), 2, WorkloadKind::kDecode, 4},
          {"mla serve", MultiLatentModel(1), 2, WorkloadKind::kServe, 2}};
}

TEST(StrategySpace, TreeHoldsExactlyTheValidCanonicalStrategies) {
  for (const Case& c : SmallCases()) {
    const Problem problem = SmallProblem(c.model, c.devices, c.kind, c.max_batch);
    const StrategySpace space(problem);
    const std::set<Strategy> members = Members(space);
    for (const Strategy& s : members) ASSERT_TRUE(ValidAndCanonical(problem, s)) << c.name << ": " << ToShortString(s);
    double brute = 0;
    Strategy s;
    CountBrute(problem, space, s, 0, brute);
    EXPECT_EQ(static_cast<double>(members.size()), brute) << c.name;
    const SpaceSize size = space.Size();
    EXPECT_TRUE(size.exact);
    EXPECT_EQ(size.strategies, brute) << c.name;
    std::set<std::vector<std::int64_t>> tuples;
    for (const Strategy& member : members) {
      std::vector<std::int64_t> degrees;
      for (int v = 0; v < 6; ++v) degrees.push_back(GetVariable(member, v));
      tuples.insert(degrees);
    }
    EXPECT_EQ(size.degree_tuples, static_cast<double>(tuples.size())) << c.name;
  }
}

/// A head of some layers' weights.
ModelSpec WithWideHead(ModelSpec model) {
  model.vocab_size *= 32;
  return model;
}

TEST(StrategySpace, TreeOfTrainingHoldsExactlyTheValidCanonicalStrategies) {
  for (const auto& [model, fused] : {std::pair(DenseModel(4), false), std::pair(WithWideHead(DenseModel(5)), true),
                                     std::pair(MoeModel(2, 0, 0), true)}) {
    WorkloadSpec workload = SmallProblem(model, 2, WorkloadKind::kPrefill, 2).workload();
    workload.kind = WorkloadKind::kTrain;
    workload.ttft_target_s.reset();
    workload.batch_size.reset();
    workload.training = {.global_batch_size = 4, .fused_attention = fused};
    ProblemOptions options;
    for (const char* op : {"embedding", "attn_out", "ffn_down", "lm_head"}) {
      options.fixed[std::string("shardings.") + op] = "none";
    }
    const Problem problem(model, SmallProblem(model, 4, WorkloadKind::kPrefill, 2).cluster(), workload, options);
    const StrategySpace space(problem);
    const std::set<Strategy> members = Members(space);
    for (const Strategy& s : members) ASSERT_TRUE(ValidAndCanonical(problem, s)) << ToShortString(s);
    double brute = 0;
    Strategy s;
    CountBrute(problem, space, s, 0, brute);
    EXPECT_EQ(static_cast<double>(members.size()), brute);
    EXPECT_EQ(space.Size().strategies, brute);
    EXPECT_TRUE(space.Size().exact);
    EXPECT_GT(brute, 1000);
    const bool wide = model.num_layers == 5;
    EXPECT_EQ(std::any_of(members.begin(), members.end(), [](const Strategy& m) { return m.head_layers > 1; }), wide);
  }
}

TEST(StrategySpace, FixedChunksFindTheirMicroBatches) {
  const Problem plain = SmallProblem(DenseModel(4), 4, WorkloadKind::kPrefill, 2);
  WorkloadSpec workload = plain.workload();
  workload.kind = WorkloadKind::kTrain;
  workload.ttft_target_s.reset();
  workload.batch_size.reset();
  workload.training = {.global_batch_size = 8};
  ProblemOptions options;
  options.fixed["training.virtual_pipeline_parallel_size"] = "2";
  const Problem problem(plain.model(), plain.cluster(), workload, options);
  const StrategySpace space(problem);
  Rng rng(1);
  for (int i = 0; i < 50; ++i) {
    const Strategy s = space.Sample(rng);
    EXPECT_EQ(s.virtual_pipeline_parallel_size, 2);
    EXPECT_EQ(s.num_microbatches % s.pipeline_parallel_size, 0);
    EXPECT_GT(s.pipeline_parallel_size, 1);
  }
}

TEST(StrategySpace, WhatIsFixedOfTrainingIsReached) {
  const Problem plain = SmallProblem(WithWideHead(DenseModel(5)), 4, WorkloadKind::kPrefill, 2);
  WorkloadSpec workload = plain.workload();
  workload.kind = WorkloadKind::kTrain;
  workload.ttft_target_s.reset();
  workload.batch_size.reset();
  workload.training = {.global_batch_size = 8};
  for (const auto& [name, value] : {std::pair("head_layers", "2"), std::pair("recomputed_layers", "2"),
                                    std::pair("virtual_pipeline_parallel_size", "2")}) {
    ProblemOptions options;
    options.fixed["training." + std::string(name)] = value;
    const Problem problem(plain.model(), plain.cluster(), workload, options);
    const StrategySpace space(problem);
    Rng rng(1);
    for (int i = 0; i < 50; ++i) {
      const Strategy s = space.Sample(rng);
      ASSERT_TRUE(ValidAndCanonical(problem, s)) << ToShortString(s);
      EXPECT_TRUE(s.head_layers == 2 || s.recomputed_layers == 2 || s.virtual_pipeline_parallel_size == 2);
    }
  }
}

TEST(StrategySpace, EncodeThenDecodeIsIdentityAndSamplesAreMembers) {
  Rng rng(7);
  for (const ModelSpec& model : {DenseModel(), MoeModel(), MoeModel(4, 0, 0), MultiLatentModel()}) {
    for (WorkloadKind kind : {WorkloadKind::kPrefill, WorkloadKind::kDecode, WorkloadKind::kServe}) {
      const Problem problem = SmallProblem(model, 24, kind, 48);
      const StrategySpace space(problem);
      for (int i = 0; i < 300; ++i) {
        const Strategy s = space.Sample(rng);
        ASSERT_EQ(space.WhyNot(s), "") << ToShortString(s);
        ASSERT_TRUE(ValidAndCanonical(problem, s)) << ToShortString(s);
        ASSERT_EQ(space.Decode(space.Encode(s)), s);
        ASSERT_EQ(space.Repair(s), s);
        const Strategy next = space.Neighbour(s, rng);
        ASSERT_NE(next, s);
        ASSERT_EQ(space.WhyNot(next), "") << ToShortString(next);
      }
    }
  }
}

TEST(StrategySpace, NeighboursReachTheWholeSpace) {
  ProblemOptions options;  // a few variables held, so that a walk can see everything
  options.fixed = {{"shardings.embedding", "none"},
                   {"shardings.lm_head", "none"},
                   {"shardings.attn_out", "none"},
                   {"shardings.ffn_down", "none"}};
  const Problem problem = SmallProblem(DenseModel(2), 3, WorkloadKind::kDecode, 2, options);
  const StrategySpace space(problem);
  const std::set<Strategy> members = Members(space);
  ASSERT_GT(members.size(), 100U);
  Rng rng(3);
  std::set<Strategy> seen;
  Strategy at = *members.begin();
  for (int i = 0; i < 400000 && seen.size() < members.size(); ++i) {
    seen.insert(at);
    at = space.Neighbour(at, rng);
  }
  EXPECT_EQ(seen.size(), members.size());
}

TEST(StrategySpace, RepairMendsWhatDoesNotFit) {
  const Problem problem = SmallProblem(MoeModel(), 16, WorkloadKind::kDecode);
  const StrategySpace space(problem);
  Strategy wanted;
  wanted.tensor_parallel_size = 5;  // divides neither the batch nor the experts
  wanted.batch_size = 1000;
  wanted.num_microbatches = 7;
  wanted.SetSharding(Operator::kQkv, Sharding::kHeads);
  const Strategy repaired = space.Repair(wanted);
  EXPECT_EQ(space.WhyNot(repaired), "");
  EXPECT_EQ(repaired.tensor_parallel_size, 6);  // 5 needs a batch that divides by it; 6 is the nearest by ratio
  EXPECT_EQ(repaired.batch_size, 12);
  EXPECT_EQ(repaired.num_microbatches, 1);
  EXPECT_NE(space.WhyNot(wanted), "");
}

TEST(StrategySpace, FixedVariablesHoldEverywhereAndContradictionsAreRefused) {
  ProblemOptions options;
  options.fixed = {{"tensor_parallel_size", "4"},
                   {"expert_parallel_size", "8"},
                   {"shardings.qkv", "heads"},
                   {"residual_layout", "token_sharded"}};
  const Problem problem = SmallProblem(MoeModel(), 16, WorkloadKind::kDecode, 16, options);
  const StrategySpace space(problem);
  Rng rng(1);
  for (int i = 0; i < 200; ++i) {
    const Strategy s = space.Sample(rng);
    ASSERT_EQ(s.tensor_parallel_size, 4);
    ASSERT_EQ(s.expert_parallel_size, 8);
    ASSERT_EQ(s.ShardingOf(Operator::kQkv), Sharding::kHeads);
    ASSERT_EQ(s.residual_layout, Layout::kTokenSharded);
    ASSERT_EQ(space.WhyNot(s), "");
  }
  auto refused = [&](std::map<std::string, std::string> fixed, const std::string& says) {
    ProblemOptions bad;
    bad.fixed = std::move(fixed);
    const Problem p = SmallProblem(MoeModel(), 16, WorkloadKind::kDecode, 16, bad);
    try {
      const StrategySpace s(p);
      ADD_FAILURE() << "not refused: " << says;
    } catch (const SpecError& error) {
      EXPECT_NE(std::string(error.what()).find(says), std::string::npos) << error.what();
    }
  };
  refused({{"tensor_paralel_size", "4"}}, "tensor_parallel_size");
  refused({{"tensor_parallel_size", "many"}}, "whole number");
  refused({{"shardings.qkv", "vocab"}}, "none, token, heads, hidden");
  refused({{"tensor_parallel_size", "1"}, {"shardings.qkv", "heads"}}, "no valid strategy");
  refused({{"expert_parallel_size", "3"}}, "not one that this problem admits");
}

TEST(StrategySpace, WhateverAMemberHasCanBeFixed) {
  std::vector<WorkloadSpec> workloads;
  for (const WorkloadKind kind : {WorkloadKind::kPrefill, WorkloadKind::kDecode, WorkloadKind::kServe}) {
    workloads.push_back(testing::SmallWorkload(kind));
  }
  workloads.push_back(testing::SmallWorkload(WorkloadKind::kDecode));
  workloads.back().concurrency = 24;
  for (const ModelSpec& model : {DenseModel(), MoeModel()}) {
    for (const WorkloadSpec& workload : workloads) {
      const Problem problem(model, testing::SmallCluster(12), workload);
      const StrategySpace space(problem);
      Rng rng(6);
      for (int i = 0; i < 20; ++i) {
        const Strategy member = space.Sample(rng);
        for (int v = 0; v < kNumVariables; ++v) {
          ProblemOptions options;
          options.fixed[VariableName(v)] = ValueName(v, GetVariable(member, v));
          const Problem fixed(model, problem.cluster(), workload, options);
          EXPECT_EQ(StrategySpace(fixed).WhyNot(member), "") << VariableName(v) << " " << ToShortString(member);
        }
      }
    }
  }
}

TEST(StrategySpace, ConcurrencySetsTheBatch) {
  WorkloadSpec workload = testing::SmallWorkload(WorkloadKind::kDecode);
  workload.concurrency = 100;
  const Problem problem(MoeModel(), testing::SmallCluster(16), workload);
  const StrategySpace space(problem);
  Rng rng(1);
  for (int i = 0; i < 300; ++i) {
    const Strategy s = space.Sample(rng);
    const std::int64_t ranks = s.data_parallel_size * problem.Replicas(s);
    ASSERT_EQ(s.batch_size, (100 + ranks - 1) / ranks);
  }
}

TEST(StrategySpace, WhyNotNamesTheRule) {
  const Problem problem = SmallProblem(DenseModel(), 6, WorkloadKind::kDecode);
  const StrategySpace space(problem);
  Strategy s;
  s.tensor_parallel_size = 6;
  s.SetSharding(Operator::kQkv, Sharding::kHeads);
  EXPECT_NE(space.WhyNot(s).find("8 heads"), std::string::npos) << space.WhyNot(s);
  s = Strategy();
  s.data_parallel_size = 2;  // a dense model's dp equals replicas
  EXPECT_NE(space.WhyNot(s), "");
  s = Strategy();
  s.tensor_parallel_size = 2;
  s.SetSharding(Operator::kExpertUp, Sharding::kFfn);
  EXPECT_NE(space.WhyNot(s), "");
}

/// Published facts of the models: the tensor parallel degrees up to 64 that divide the heads, and those of them that
/// leave whole 128-blocks of FP8 on the width of an FFN (of an expert, where there are experts).
struct LegalDegrees {
  const char* preset;
  std::vector<std::int64_t> heads;
  std::vector<std::int64_t> fp8;
};

class PresetDegrees : public ::testing::TestWithParam<LegalDegrees> {};

TEST_P(PresetDegrees, HeadsAndFp8BlocksDivide) {
  ModelSpec model = LoadModel(GetParam().preset);
  model.weight_dtype = DType::kFp8;
  model.weight_quant_block = 0;
  const Problem plain = SmallProblem(model, 64, WorkloadKind::kPrefill);
  model.weight_quant_block = 128;
  model.weight_quant_grouped = false;
  const Problem blocks = SmallProblem(model, 64, WorkloadKind::kPrefill);
  std::vector<std::int64_t> heads = {1}, fp8 = {1};
  for (std::int64_t tp = 2; tp <= 64; ++tp) {
    Strategy s;
    s.tensor_parallel_size = tp;
    if (!strategies::ShardingRules(plain).Admits(s, Operator::kAttnOut, Sharding::kHeads)) continue;
    heads.push_back(tp);
    const strategies::ShardingRules rules(blocks);
    if (model.HasMoe() ? rules.ExpertTensorSplits(tp) : rules.Admits(s, Operator::kFfnDown, Sharding::kFfn)) {
      fp8.push_back(tp);
    }
  }
  EXPECT_EQ(heads, GetParam().heads);
  EXPECT_EQ(fp8, GetParam().fp8);
}

const std::vector<std::int64_t> kPowersTo64 = {1, 2, 4, 8, 16, 32, 64};
const std::vector<std::int64_t> kOf48 = {1, 2, 3, 4, 6, 8, 12, 16, 24, 48};
const std::vector<std::int64_t> kOf96 = {1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48};
const std::vector<std::int64_t> kOf40 = {1, 2, 4, 5, 8, 10, 20, 40};

INSTANTIATE_TEST_SUITE_P(
    Published, PresetDegrees,
    ::testing::Values(
        LegalDegrees{"dbrx", kOf48, {1, 2, 3, 4, 6, 12}}, LegalDegrees{"deepseek-v3", kPowersTo64, {1, 2, 4, 8, 16}},
        LegalDegrees{"deepseek-v3.2", kPowersTo64, {1, 2, 4, 8, 16}}, LegalDegrees{"glm-4.5-air", kOf96, {1}},
        LegalDegrees{"glm-4.5", kOf96, {1, 2, 3, 4, 6, 12}}, LegalDegrees{"glm-5", kPowersTo64, {1, 2, 4, 8, 16}},
        LegalDegrees{"gpt-2", {1, 2, 3, 4, 6, 12}, {1, 2, 3, 4, 6, 12}},
        LegalDegrees{"gpt-neox-20b", kPowersTo64, kPowersTo64}, LegalDegrees{"grok-1", kOf48, {1, 2, 4, 8, 16}},
        LegalDegrees{"kimi-k2", kPowersTo64, {1, 2, 4, 8, 16}},
        LegalDegrees{"llama-3.1-405b", kPowersTo64, {1, 2, 4, 8, 16, 32}},
        LegalDegrees{"llama-3.1-70b", kPowersTo64, {1, 2, 4, 8, 16, 32}},
        LegalDegrees{"llama-3.1-8b", {1, 2, 4, 8, 16, 32}, {1, 2, 4, 8, 16}},
        LegalDegrees{"llama-4-maverick", kOf40, {1, 2, 4, 8}}, LegalDegrees{"llama-4-scout", kOf40, {1, 2, 4, 8}},
        LegalDegrees{"minimax-m2.5", kOf48, {1, 2, 3, 4, 6, 12}},
        LegalDegrees{"mixtral-8x22b", kOf48, {1, 2, 4, 8, 16}},
        LegalDegrees{"mixtral-8x7b", {1, 2, 4, 8, 16, 32}, {1, 2, 4, 8, 16}},
        LegalDegrees{"qwen1.5-moe-a2.7b", {1, 2, 4, 8, 16}, {1}}, LegalDegrees{"qwen2.5-72b", kPowersTo64, {1}},
        LegalDegrees{"qwen3-235b-a22b", kPowersTo64, {1, 2, 4}},
        LegalDegrees{"qwen3-30b-a3b", {1, 2, 4, 8, 16, 32}, {1, 2}},
        LegalDegrees{"qwen3-32b", kPowersTo64, {1, 2, 4, 8}},
        LegalDegrees{"qwen3-next-80b-a3b", {1, 2, 4, 8, 16}, {1, 2, 4}},
        LegalDegrees{"qwen3.5-397b-a17b", {1, 2, 4, 8, 16, 32}, {1, 2, 4, 8}},
        LegalDegrees{"qwen3-8b", {1, 2, 4, 8, 16, 32}, {1, 2, 4, 8, 16, 32}},
        LegalDegrees{"qwen3-coder-480b-a35b", kOf96, {1, 2, 4}}),
    [](const auto& test) {
      std::string name = test.param.preset;
      std::erase_if(name, [](char c) { return c == '.' || c == '-'; });
      return name;
    });

/// The state of a linear layer runs through all positions, so that they stay together.
TEST(StrategySpace, LinearLayersKeepPositionsWhole) {
  ProblemOptions options;
  for (const WorkloadKind kind : {WorkloadKind::kPrefill, WorkloadKind::kDecode, WorkloadKind::kServe}) {
    const Problem problem = SmallProblem(testing::LinearModel(), 8, kind);
    const StrategySpace space(problem);
    EXPECT_EQ(space.Values(static_cast<int>(Variable::kContextParallelSize)).size(), 1U);
    Strategy s;
    s.batch_size = 16;
    s.context_parallel_size = 2;
    EXPECT_NE(space.WhyNot(s).find("the state of linear attention"), std::string::npos) << space.WhyNot(s);
    s.context_parallel_size = 1;
    s.tensor_parallel_size = 2;
    s.SetSharding(Operator::kAttention, Sharding::kSequence);
    EXPECT_NE(space.WhyNot(s).find("the state of linear attention"), std::string::npos) << space.WhyNot(s);
    Rng rng(3);
    for (int i = 0; i < 300; ++i) {
      const Strategy sample = space.Sample(rng);
      ASSERT_EQ(sample.context_parallel_size, 1);
      ASSERT_NE(sample.ShardingOf(Operator::kAttention), Sharding::kSequence);
    }
  }
  options.fixed["context_parallel_size"] = "2";
  const Problem fixed = SmallProblem(testing::LinearModel(), 8, WorkloadKind::kDecode, 16, options);
  try {
    const StrategySpace space(fixed);
    FAIL() << "a context that is split";
  } catch (const SpecError& error) {
    EXPECT_NE(std::string(error.what()).find("the state of linear attention"), std::string::npos) << error.what();
  }
}

TEST(StrategySpace, HeadsOfBothKindsOfLayersSplit) {
  ModelSpec model = testing::LinearModel();
  const auto admits = [&](Operator op, Sharding sharding, std::int64_t tp) {
    const Problem problem = SmallProblem(model, 8, WorkloadKind::kPrefill);
    Strategy s;
    s.tensor_parallel_size = tp;
    return strategies::ShardingRules(problem).Admits(s, op, sharding);
  };
  // 8 query, 4 KV and 8 value heads; 4 key heads, of which 8 ranks hold copies.
  EXPECT_TRUE(admits(Operator::kAttention, Sharding::kHeads, 8));
  model.linear_attention.num_key_heads = 3;
  model.linear_attention.num_value_heads = 12;
  EXPECT_TRUE(admits(Operator::kAttnOut, Sharding::kHeads, 2));
  EXPECT_FALSE(admits(Operator::kAttnOut, Sharding::kHeads, 8)) << "12 value heads";
  for (const Operator op : {Operator::kQkv, Operator::kAttention}) {
    EXPECT_FALSE(admits(op, Sharding::kHeads, 2)) << "3 key heads on 2 ranks";
  }
  // Value heads of 16 in blocks of 32: two a rank.
  model = testing::LinearModel();
  model.attention.head_dim = 32;
  model.linear_attention.key_head_dim = 32;
  model.weight_dtype = DType::kFp8;
  model.weight_quant_block = 32;
  EXPECT_TRUE(admits(Operator::kQkv, Sharding::kHeads, 4));
  EXPECT_FALSE(admits(Operator::kQkv, Sharding::kHeads, 8));
  EXPECT_FALSE(admits(Operator::kAttnOut, Sharding::kHeads, 8));
}

TEST(PresetDegrees, PartsThatAreNotQuantisedHaveNoBlocks) {
  // gpt-oss: MXFP4 experts of 2880 = 90 blocks of 32; attention is not quantised.
  const Problem problem = SmallProblem(LoadModel("gpt-oss-120b"), 64, WorkloadKind::kPrefill);
  const strategies::ShardingRules rules(problem);
  EXPECT_TRUE(rules.ExpertTensorSplits(2));
  EXPECT_TRUE(rules.ExpertTensorSplits(3));
  EXPECT_FALSE(rules.ExpertTensorSplits(4));
  Strategy s;
  s.tensor_parallel_size = 32;  // hidden 2880 = 32 * 90, no multiple of 32
  EXPECT_TRUE(rules.Admits(s, Operator::kAttnOut, Sharding::kHidden));
}

}  // namespace
}  // namespace shardscout
