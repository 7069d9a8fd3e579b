// The backward passes of programs: executed rank by rank, they must give the derivatives of the forward passes, which
// interpreter_test.cc has proved equal to the unsharded model's.

#include <gtest/gtest.h>

#include <iostream>
#include <set>

#include "shardscout/random.h"
#include "shardscout/strategy_space.h"
#include "tests/strategies/block_proof.h"
#include "tests/strategies/spread_sampler.h"
#include "tests/strategies/tiny_models.h"

namespace shardscout::interpret {
namespace {

constexpr double kTolerance = 1e-5;

/// 4 heads, hidden 8: divisible by tp of 2 and 4.
ModelSpec Small(const std::string& name) {
  ModelSpec m = Grouped(name, 4, 4, 2);
  m.hidden_size = 8;
  m.vocab_size = 12;
  m.attention.head_dim = 2;
  m.ffn_size = 8;
  return m;
}

std::vector<ModelSpec> DenseModels() {
  std::vector<ModelSpec> models = {Small("mha"),  Small("mha-qknorm-ungated"), Small("mla"),
                                   Small("gqa2"), Small("mqa-gated"),          Small("whole")};
  models[3].attention.num_kv_heads = 2;
  models[4].attention.num_kv_heads = 1;
  models[4].attention.output_gate = true;
  models[5].attention.whole_qk_norm = true;
  models[1].attention.qk_norm = true;
  models[1].gated_ffn = false;
  ModelSpec mla = MultiLatent("mla", 6, 2);
  mla.hidden_size = 8;
  mla.vocab_size = 12;
  mla.ffn_size = 8;
  mla.attention.num_heads = 4;
  mla.attention.kv_lora_rank = 4;
  mla.attention.qk_nope_head_dim = 2;
  mla.attention.qk_rope_head_dim = 2;
  mla.attention.v_head_dim = 2;
  models[2] = mla;
  return models;
}

/// The first layer's attention is linear, with one key head for two value heads (or for four).
std::vector<ModelSpec> LinearModels() {
  std::vector<ModelSpec> models;
  for (const std::int64_t key_heads : {1, 2, 4}) {
    models.push_back(WithLinear(Small("linear" + std::to_string(key_heads)), key_heads, 4, 2));
    models.back().linear_attention.key_head_dim = 2;
    models.back().linear_attention.value_head_dim = 2;
  }
  return models;
}

ModelSpec SmallMoe(const std::string& name, std::int64_t experts, std::int64_t top_k, std::int64_t shared) {
  ModelSpec m = WithMoe(Small(name), experts, top_k, shared, 0);
  m.moe.expert_ffn_size = 8;
  return m;
}

/// Runs the backward of blocks of sampled strategies and counts them.
class Proofs {
 public:
  ~Proofs() { std::cout << blocks_ << " blocks, largest relative error " << worst_ << "\n"; }

  void Check(const Problem& problem, const Strategy& s, const ModelWeights& weights, BlockKind kind,
             std::size_t layer = 0) {
    SCOPED_TRACE(problem.model().name + ": " + ToShortString(s) + ", " + std::string(ToString(kind)));
    try {
      BlockProof proof(problem, s, weights, kind, layer);
      worst_ = std::max(worst_, proof.Check(kTolerance));
      compared_.insert(proof.compared().begin(), proof.compared().end());
    } catch (const InterpretError& error) {
      ADD_FAILURE() << error.what();
    }
    ++blocks_;
  }
  int blocks() const { return blocks_; }
  bool Compared(WeightKind kind) const { return compared_.count(kind) > 0; }

 private:
  double worst_ = 0;
  int blocks_ = 0;
  std::set<WeightKind> compared_;
};

bool IsSmall(const Problem& problem, const Strategy& s, std::int64_t requests) {
  return s.StageSize() > 1 && PrefillRequests(problem, s) * s.data_parallel_size <= requests;
}

/// Calls f with the problem, a strategy and the model's weights: so many strategies of small blocks each on two and on
/// four devices, spread over their spaces.
template <class F>
void ForEachSmall(const ModelSpec& model, std::size_t strategies, F f) {
  ReferenceModel reference(model, 7, 8);
  for (const std::int64_t devices : {2, 4}) {
    const Problem problem = TinyTrainingProblem(model, devices);
    const StrategySpace space(problem);
    SpreadSampler sampler;
    Rng rng(3);
    std::set<Strategy> seen;
    for (std::size_t draw = 0; draw < 5 * strategies && seen.size() < strategies; ++draw) {
      const Strategy s = sampler.Sample(space, rng);
      if (!IsSmall(problem, s, 4) || !seen.insert(s).second) continue;
      sampler.Count();
      f(problem, s, reference.weights());
    }
  }
}

TEST(Gradients, OfDenseBlocksAreTheDerivatives) {
  Proofs proofs;
  Coverage covered;
  for (const ModelSpec& model : DenseModels()) {
    ForEachSmall(model, 24, [&](const Problem& problem, const Strategy& s, const ModelWeights& weights) {
      covered.Add(s);
      for (const BlockKind kind :
           {BlockKind::kEmbedding, BlockKind::kAttention, BlockKind::kDenseFfn, BlockKind::kHead}) {
        proofs.Check(problem, s, weights, kind);
      }
    });
  }
  covered.Expect({"embedding vocab", "embedding hidden", "qkv heads",         "qkv hidden",      "qkv token",
                  "attention heads", "attention token",  "attn_out heads",    "attn_out hidden", "attn_out token",
                  "ffn_up ffn",      "ffn_up hidden",    "ffn_up token",      "ffn_down ffn",    "ffn_down hidden",
                  "ffn_down token",  "lm_head vocab",    "lm_head hidden",    "lm_head token",   "replicated",
                  "token_sharded",   "feature_sharded",  "recomputation full"});
  for (const WeightKind kind : {WeightKind::kEmbedding, WeightKind::kQkv, WeightKind::kAttnOut, WeightKind::kQueryDown,
                                WeightKind::kQueryUp, WeightKind::kLatentDown, WeightKind::kKeyUp, WeightKind::kValueUp,
                                WeightKind::kFfnUp, WeightKind::kFfnDown, WeightKind::kLmHead}) {
    EXPECT_TRUE(proofs.Compared(kind)) << ToString(kind);
  }
}

TEST(Gradients, OfLinearAttentionAreTheDerivatives) {
  Proofs proofs;
  Coverage covered;
  for (const ModelSpec& model : LinearModels()) {
    ForEachSmall(model, 12, [&](const Problem& problem, const Strategy& s, const ModelWeights& weights) {
      covered.Add(s);
      if (s.tensor_parallel_size > model.linear_attention.num_key_heads &&
          s.ShardingOf(Operator::kAttention) == Sharding::kHeads) {
        covered.Add("copies of key heads");
      }
      proofs.Check(problem, s, weights, BlockKind::kLinearAttention);
    });
  }
  covered.Expect({"qkv heads", "qkv hidden", "qkv token", "attention heads", "attention token", "attn_out heads",
                  "attn_out hidden", "attn_out token", "replicated", "token_sharded", "feature_sharded",
                  "recomputation full", "copies of key heads"});
  EXPECT_TRUE(proofs.Compared(WeightKind::kLinearGates));
}

struct MoeCase {
  ModelSpec model;
  std::vector<std::int64_t> devices;
};

std::vector<MoeCase> MoeCases() {
  std::vector<MoeCase> cases = {{SmallMoe("moe4", 4, 2, 0), {2, 4, 8}},
                                {SmallMoe("moe8-shared-ungated", 8, 3, 8), {2, 4, 8}},
                                {SmallMoe("moe6-correction", 6, 2, 8), {6}},
                                {SmallMoe("moe4-top1", 4, 1, 8), {4}}};
  cases[1].model.gated_ffn = false;
  cases[2].model.moe.router_correction_bias = true;
  return cases;
}

/// What of a strategy the MoE block depends on.
Strategy OfMoe(Strategy s) {
  s.pipeline_parallel_size = 1;
  for (const Operator op :
       {Operator::kEmbedding, Operator::kQkv, Operator::kAttention, Operator::kAttnOut, Operator::kLmHead}) {
    if (op != Operator::kAttention || s.ShardingOf(op) != Sharding::kToken) {
      s.shardings[static_cast<std::size_t>(op)] = Sharding::kNone;
    }
  }
  s.batch_size /= s.num_microbatches;
  s.num_microbatches = s.virtual_pipeline_parallel_size = 1;
  s.zero_stage = s.head_layers = s.recomputed_layers = 0;
  return s;
}

void CoverMoe(const Strategy& s, Coverage* covered) {
  covered->Add(s);
  const std::string exchange(ToString(s.expert_exchange));
  const bool ep = s.expert_parallel_size > 1, etp = s.expert_tensor_parallel_size > 1;
  const auto cover = [&](const std::string& what, bool has) {
    if (has) covered->Add(exchange + what);
  };
  cover(" ep", ep && !etp);
  cover(" etp", etp && !ep);
  cover(" ep etp", ep && etp);
  cover(" ep edp", ep && s.ExpertDataParallelSize() > 1);
  cover(" tp", s.tensor_parallel_size > 1);
  cover(" cp", s.context_parallel_size > 1);
  cover(" dp", s.data_parallel_size > 1);
  cover(" block above tp", s.tensor_parallel_size > 1 && s.BlockSize() > s.tensor_parallel_size);
  cover(" block below tp", s.BlockSize() > 1 && s.BlockSize() < s.tensor_parallel_size);
  cover(" " + std::string(ToString(s.residual_layout)), true);
  cover(" router " + std::string(ToString(s.ShardingOf(Operator::kRouter))), true);
  cover(" " + std::string(ToString(s.ShardingOf(Operator::kExpertUp))) + " " +
            std::string(ToString(s.ShardingOf(Operator::kExpertDown))),
        true);
}

TEST(Gradients, OfMoeBlocksAreTheDerivatives) {
  Proofs proofs;
  Coverage covered;
  for (const MoeCase& moe : MoeCases()) {
    ReferenceModel reference(moe.model, 7, 8);
    for (const std::int64_t devices : moe.devices) {
      const Problem problem = TinyTrainingProblem(moe.model, devices, devices == 6 ? 6 : 8);
      const StrategySpace space(problem);
      SpreadSampler sampler;
      Rng rng(3);
      std::set<Strategy> seen;
      for (int draw = 0; draw < 600 && seen.size() < 40; ++draw) {
        Strategy s = sampler.Sample(space, rng);
        sampler.Count();
        for (const ExpertExchange exchange :
             {ExpertExchange::kAllToAll, ExpertExchange::kGatherScatter, ExpertExchange::kGatherReduce}) {
          s.expert_exchange = exchange;
          if (!space.Contains(s) || !IsSmall(problem, s, 8) || !seen.insert(OfMoe(s)).second) continue;
          CoverMoe(s, &covered);
          proofs.Check(problem, s, reference.weights(), BlockKind::kMoe);
        }
      }
    }
  }
  EXPECT_GE(proofs.blocks(), 200);
  std::vector<std::string> expected = {"ffn_up ffn",         "ffn_up hidden",      "ffn_up token",
                                       "ffn_down ffn",       "ffn_down hidden",    "ffn_down token",
                                       "recomputation none", "recomputation full", "gather_scatter block below tp"};
  for (const std::string exchange : {"all_to_all", "gather_scatter", "gather_reduce"}) {
    for (const char* what : {" ep", " etp", " ep etp", " ep edp", " tp", " cp", " dp", " block above tp", " replicated",
                             " token_sharded", " feature_sharded", " router none", " router token", " ffn ffn",
                             " ffn hidden", " hidden ffn", " hidden hidden", " none none"}) {
      expected.push_back(exchange + what);
    }
  }
  covered.Expect(expected);
  for (const WeightKind kind : {WeightKind::kRouter, WeightKind::kExpertUp, WeightKind::kExpertDown, WeightKind::kFfnUp,
                                WeightKind::kFfnDown}) {
    EXPECT_TRUE(proofs.Compared(kind)) << ToString(kind);
  }
}

}  // namespace
}  // namespace shardscout::interpret
