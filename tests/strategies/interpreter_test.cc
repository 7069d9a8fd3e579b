#include "tests/strategies/interpreter.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "shardscout/random.h"
#include "shardscout/strategy_space.h"

namespace shardscout::interpret {
namespace {

constexpr double kTolerance = 1e-6;

/// 12 or 8 heads, hidden 48: small, and still divisible by tp of 2, 3, 4, 6 and 8 and by stages of 16.
ModelSpec Grouped(const std::string& name, std::int64_t heads, std::int64_t kv_heads, std::int64_t layers) {
  ModelSpec m;
  m.name = name;
  m.num_layers = layers;
  m.hidden_size = 48;
  m.vocab_size = 48;
  m.attention.num_heads = heads;
  m.attention.num_kv_heads = kv_heads;
  m.attention.head_dim = 4;
  m.ffn_size = 48;
  m.layers.assign(static_cast<std::size_t>(layers), LayerKind::kDense);
  return m;
}

ModelSpec MultiLatent(const std::string& name, std::int64_t q_lora_rank, std::int64_t layers) {
  ModelSpec m = Grouped(name, 8, 1, layers);
  m.attention.kind = AttentionKind::kMultiLatent;
  m.attention.head_dim = 0;
  m.attention.q_lora_rank = q_lora_rank;
  m.attention.kv_lora_rank = 10;
  m.attention.qk_nope_head_dim = 6;
  m.attention.qk_rope_head_dim = 4;
  m.attention.v_head_dim = 5;
  return m;
}

ModelSpec WithMoe(ModelSpec m, std::int64_t experts, std::int64_t top_k, std::int64_t shared, std::int64_t first_dense) {
  m.moe.num_experts = experts;
  m.moe.num_experts_per_token = top_k;
  m.moe.expert_ffn_size = 24;
  m.moe.shared_ffn_size = shared;
  for (std::size_t i = 0; i < m.layers.size(); ++i) {
    if (static_cast<std::int64_t>(i) >= first_dense) m.layers[i] = LayerKind::kMoe;
  }
  if (first_dense == 0) m.ffn_size = 0;
  return m;
}

std::vector<ModelSpec> TinyModels() {
  std::vector<ModelSpec> models;
  models.push_back(Grouped("gqa2", 8, 2, 2));
  models.back().attention.qkv_bias = true;
  models.push_back(Grouped("gqa4-qknorm-tied", 8, 4, 3));
  models.back().attention.qk_norm = true;
  models.back().tie_word_embeddings = true;
  models.push_back(Grouped("mha-ungated-window", 12, 12, 2));
  models.back().gated_ffn = false;
  models.back().attention.sliding_window = 4;
  models.push_back(Grouped("mqa", 12, 1, 2));
  models.push_back(MultiLatent("mla", 12, 2));
  models.push_back(WithMoe(Grouped("gqa2-moe8", 8, 2, 2), 8, 2, 0, 0));
  models.back().attention.qk_norm = true;
  models.push_back(WithMoe(Grouped("gqa6-moe6-shared", 12, 6, 2), 6, 2, 48, 0));
  models.back().attention.qkv_bias = true;
  models.push_back(WithMoe(Grouped("gqa4-mixed4", 8, 4, 3), 4, 1, 24, 1));
  models.push_back(WithMoe(MultiLatent("mla-mixed12", 0, 2), 12, 3, 48, 1));
  models.push_back(WithMoe(MultiLatent("mla-moe8-tied", 12, 2), 8, 2, 0, 0));
  models.back().tie_word_embeddings = true;
  return models;
}

ClusterSpec TinyCluster(std::int64_t devices) {
  ClusterSpec c;
  c.name = "tiny";
  c.device.name = "tiny";
  c.device.peak_flop_per_s.fill(1e12);
  c.device.hbm_bytes = 1e12;
  c.device.hbm_bytes_per_s = 1e12;
  c.tiers = {{.name = "all", .size = 0, .bytes_per_s = 1e11, .latency_s = 1e-6}};
  c.devices_per_node = devices;
  c.num_devices = devices;
  return c;
}

WorkloadSpec TinyWorkload(WorkloadKind kind) {
  WorkloadSpec w;
  w.name = "tiny";
  w.kind = kind;
  w.input_tokens = kind == WorkloadKind::kDecode ? 6 : 7;
  w.output_tokens = kind == WorkloadKind::kServe ? 2 : 3;
  w.max_batch_size = 24;
  return w;
}

constexpr std::int64_t kPositions = 10;

/// How often each value of each decision took part in an interpreted strategy.
using Coverage = std::map<std::string, std::int64_t>;

/// Samples by variable like StrategySpace::Sample, but prefers values that were drawn seldom.
class SpreadSampler {
 public:
  Strategy Sample(const StrategySpace& space, Rng& rng) const {
    Choices choices;
    std::vector<std::uint8_t> mask;
    for (int variable = 0; variable < kNumVariables; ++variable) {
      space.AllowedChoices(choices, mask);
      const auto values = space.Values(variable);
      std::vector<double> weights(values.size(), 0);
      for (std::size_t i = 0; i < values.size(); ++i) {
        if (mask[i] == 0) continue;
        const auto seen = counts_.find({variable, values[i]});
        const double count = seen == counts_.end() ? 0.0 : static_cast<double>(seen->second);
        // Degrees: the space's scale-free prior, or the first of them would take all ranks. Small batches are cheap.
        const bool degree = variable < static_cast<int>(Variable::kBatchSize);
        const bool batch = variable == static_cast<int>(Variable::kBatchSize);
        weights[i] = space.PriorWeights(variable)[i] / (degree ? std::sqrt(1 + count) : 1 + count);
        if (batch) weights[i] /= static_cast<double>(values[i] * values[i]);
      }
      choices.push_back(static_cast<int>(rng.Choice(weights)));
    }
    return space.Decode(choices);
  }
  void Count(const Strategy& strategy) {
    for (int variable = 0; variable < kNumVariables; ++variable) ++counts_[{variable, GetVariable(strategy, variable)}];
  }

 private:
  std::map<std::pair<int, std::int64_t>, std::int64_t> counts_;
};

/// Tokens that the ranks of an instance compute together, the price of an interpretation.
std::int64_t Tokens(const Problem& problem, const Strategy& s) {
  const bool decode = problem.workload().kind == WorkloadKind::kDecode;
  const std::int64_t multiple = 2 * s.tensor_parallel_size * s.context_parallel_size;
  const std::int64_t input = problem.workload().input_tokens;
  const std::int64_t positions = decode ? 4 : (input + multiple - 1) / multiple * multiple;
  return s.batch_size * s.data_parallel_size * positions;
}

void AddCoverage(const Problem& problem, const Strategy& s, Coverage* coverage) {
  auto add = [&](const std::string& what) { ++(*coverage)[what]; };
  const std::string kind(ToString(problem.workload().kind));
  add("workload " + kind);
  add("model " + problem.model().name);
  add("ranks " + std::to_string(s.InstanceSize()));
  const bool split = s.tensor_parallel_size > 1;
  for (std::size_t i = 0; i < kNumShardedOperators; ++i) {
    const auto op = static_cast<Operator>(i);
    const Sharding sharding = s.shardings[i];
    const bool grouped = op == Operator::kExpertUp || op == Operator::kExpertDown
                             ? s.expert_tensor_parallel_size > 1
                             : s.StageSize() > 1;
    if (grouped || sharding != Sharding::kNone) {
      add(kind + " " + std::string(ToString(op)) + " " + std::string(ToString(sharding)));
    }
  }
  if (split) add(kind + " residual " + std::string(ToString(s.residual_layout)));
  if (s.BlockSize() > 1) add(kind + " exchange " + std::string(ToString(s.expert_exchange)));
  if (s.StageSize() > 1 && problem.model().HasDense()) add(kind + " ffn group " + std::string(ToString(s.dense_ffn_group)));
  if (split) add(kind + " tp>1");
  if (s.context_parallel_size > 1) add(kind + " cp>1");
  if (s.data_parallel_size > 1) add(kind + " dp>1");
  if (s.pipeline_parallel_size > 1) add(kind + " pp>1");
  if (s.expert_parallel_size > 1) add(kind + " ep>1");
  if (s.expert_tensor_parallel_size > 1) add(kind + " etp>1");
  if (s.num_microbatches > 1) add(kind + " micro-batches>1");
}

/// Everything that a sampled problem needs, alive together.
struct Case {
  Problem problem;
  StrategySpace space;
  ReferenceModel* reference;
  Case(const ModelSpec& model, std::int64_t devices, WorkloadKind kind, ReferenceModel* r)
      : problem(model, TinyCluster(devices), TinyWorkload(kind)), space(problem), reference(r) {}
};

class InterpreterTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    for (const ModelSpec& model : TinyModels()) {
      references_.push_back(std::make_unique<ReferenceModel>(model, 7, kPositions));
      for (WorkloadKind kind : {WorkloadKind::kPrefill, WorkloadKind::kDecode, WorkloadKind::kServe}) {
        for (std::int64_t devices : {1, 2, 3, 4, 6, 8, 12, 16}) {
          cases_.push_back(std::make_unique<Case>(model, devices, kind, references_.back().get()));
        }
      }
    }
  }
  static void TearDownTestSuite() {
    cases_.clear();
    references_.clear();
  }
  static std::vector<std::unique_ptr<ReferenceModel>> references_;
  static std::vector<std::unique_ptr<Case>> cases_;
};

std::vector<std::unique_ptr<ReferenceModel>> InterpreterTest::references_;
std::vector<std::unique_ptr<Case>> InterpreterTest::cases_;

TEST_F(InterpreterTest, EveryStrategyGivesTheUnshardedModel) {
  Rng rng = Rng::Stream(20, "interpreter");
  SpreadSampler sampler;
  Coverage coverage;
  std::int64_t interpreted = 0, failures = 0;
  double worst = 0;
  for (int round = 0; round < 12; ++round) {
    for (const auto& c : cases_) {
      std::optional<Strategy> strategy;
      for (int attempt = 0; attempt < 20 && !strategy; ++attempt) {
        const Strategy candidate = sampler.Sample(c->space, rng);
        if (Tokens(c->problem, candidate) <= 256) strategy = candidate;
      }
      if (!strategy) continue;
      if (round > 3 && strategy->InstanceSize() == 1) continue;
      sampler.Count(*strategy);
      ++interpreted;
      AddCoverage(c->problem, *strategy, &coverage);
      try {
        const Interpretation result = Interpret(c->problem, Lower(c->problem, *strategy), *c->reference);
        worst = std::max(worst, result.max_error);
        if (result.max_error <= kTolerance) continue;
        ADD_FAILURE() << c->problem.model().name << " " << ToString(c->problem.workload().kind) << " "
                      << ToShortString(*strategy) << ": differs by " << result.max_error;
      } catch (const InterpretError& error) {
        ADD_FAILURE() << c->problem.model().name << " " << ToString(c->problem.workload().kind) << " "
                      << ToShortString(*strategy) << ": " << error.what();
      }
      if (++failures >= 20) FAIL() << "more failures are not shown";
    }
  }
  std::cout << interpreted << " strategies interpreted, largest relative error " << worst << "\n";
  for (const auto& [what, count] : coverage) std::cout << "  " << what << ": " << count << "\n";
  EXPECT_GE(interpreted, 2000);
}

}  // namespace
}  // namespace shardscout::interpret
