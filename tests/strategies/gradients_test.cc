// The backward passes of programs: executed rank by rank, they must give the derivatives of the forward passes, which
// interpreter_test.cc has proved equal to the unsharded model's.

#include <gtest/gtest.h>

#include <cmath>
#include <iostream>
#include <set>

#include "shardscout/random.h"
#include "shardscout/strategy_space.h"
#include "tests/strategies/gradient_runner.h"
#include "tests/strategies/spread_sampler.h"
#include "tests/strategies/tiny_models.h"

namespace shardscout::interpret {
namespace {

constexpr double kTolerance = 1e-5;
constexpr double kStep = 1e-5;

/// Hidden 12, 2 heads: divisible by tp of 2 and stages of 4.
ModelSpec Small(const std::string& name) {
  ModelSpec m = Grouped(name, 4, 4, 2);
  m.hidden_size = 8;
  m.vocab_size = 12;
  m.attention.head_dim = 2;
  m.ffn_size = 8;
  return m;
}

std::vector<ModelSpec> SmallModels() {
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

Problem TrainingProblem(const ModelSpec& model, std::int64_t devices) {
  WorkloadSpec workload;
  workload.name = "tiny";
  workload.kind = WorkloadKind::kTrain;
  workload.input_tokens = 4;
  workload.training = {.global_batch_size = 4};
  return Problem(model, TinyCluster(devices), workload);
}

/// In [-1, 1), the same for equal numbers.
double Noise(std::uint64_t a, std::uint64_t b, std::uint64_t c) {
  std::uint64_t x = a * 0x9E3779B97F4A7C15U ^ b * 0xC2B2AE3D27D4EB4FU ^ c * 0x165667B19E3779F9U;
  x ^= x >> 33;
  x *= 0xFF51AFD7ED558CCDU;
  x ^= x >> 33;
  return static_cast<double>(x >> 11) / 4503599627370496.0 - 1;
}

Held Random(const Value& value, Layouts& layouts, std::uint64_t seed) {
  Held held;
  for (std::int64_t rank = 0; rank < layouts.Ranks(); ++rank) {
    Local local{layouts.LocalTokens(value, rank), layouts.LocalColumns(value, rank), {}, {}};
    local.data = Matrix(std::ssize(*local.rows), std::ssize(*local.columns));
    for (Eigen::Index i = 0; i < local.data.rows(); ++i) {
      for (Eigen::Index j = 0; j < local.data.cols(); ++j) {
        local.data(i, j) = Noise(seed, static_cast<std::uint64_t>((*local.rows)[static_cast<std::size_t>(i)]),
                                 static_cast<std::uint64_t>((*local.columns)[static_cast<std::size_t>(j)]) + 7);
      }
    }
    held.at.push_back(std::make_shared<const Local>(std::move(local)));
  }
  return held;
}

Held Moved(const Held& held, const Held& direction, double step) {
  Held moved = held;
  for (std::size_t rank = 0; rank < held.at.size(); ++rank) {
    Local local = *held.at[rank];
    local.data += step * direction.at[rank]->data;
    moved.at[rank] = std::make_shared<const Local>(std::move(local));
  }
  return moved;
}

/// <a, b>, each element once, however many ranks hold it; those ranks must agree.
double Product(const Held& a, const Held& b) {
  std::map<std::pair<Tag, Tag>, double> seen;
  double sum = 0;
  for (std::size_t rank = 0; rank < a.at.size(); ++rank) {
    const Local& x = *a.at[rank];
    const Local& y = *b.at[rank];
    EXPECT_EQ(*x.rows, *y.rows);
    EXPECT_EQ(*x.columns, *y.columns);
    for (std::size_t i = 0; i < x.rows->size(); ++i) {
      for (std::size_t j = 0; j < x.columns->size(); ++j) {
        const double element = x.data(static_cast<Eigen::Index>(i), static_cast<Eigen::Index>(j)) *
                               y.data(static_cast<Eigen::Index>(i), static_cast<Eigen::Index>(j));
        const auto [known, is_new] = seen.try_emplace({(*x.rows)[i], (*x.columns)[j]}, element);
        if (is_new) {
          sum += element;
        } else {
          EXPECT_NEAR(known->second, element, 1e-6 * (1 + std::abs(element))) << "copies differ";
        }
      }
    }
  }
  return sum;
}

/// One block of a strategy, its input, and the loss <G, output> (of the head: the loss that it ends with).
class BlockProof {
 public:
  BlockProof(const Problem& problem, const Strategy& strategy, const ModelWeights& weights, BlockKind kind)
      : problem_(problem),
        strategy_(strategy),
        weights_(weights),
        block_(LowerBlock(problem, strategy, Phase::kPrefill, kind)),
        layouts_(problem.model(), strategy, MakePass()) {
    const Value& input = block_.values[static_cast<std::size_t>(block_.input)];
    input_ = kind == BlockKind::kEmbedding ? Ids(input) : Random(input, layouts_, 1);
    direction_ = Random(input, layouts_, 2);
    output_gradient_ = Random(block_.values[static_cast<std::size_t>(block_.output)], layouts_, 3);
  }

  /// The largest relative error of a derivative.
  double Check() {
    LayerCache cache(static_cast<std::size_t>(strategy_.StageSize()));
    BlockRunner runner = Runner(weights_, cache);
    runner.Run(block_, input_, "forward");
    GradientRunner gradients(runner, block_);
    gradients.Run(output_gradient_, "backward");
    double worst = 0;
    if (block_.input_gradient != kNoValue) {
      const double expected =
          (Loss(weights_, Moved(input_, direction_, kStep)) - Loss(weights_, Moved(input_, direction_, -kStep))) /
          (2 * kStep);
      worst = std::max(worst, Error(Product(gradients.InputGradient(), direction_), expected));
    }
    for (const Weight& weight : block_.weights) {
      ModelWeights plus = weights_, minus = weights_;
      if (!Move(weight.kind, plus, kStep) || !Move(weight.kind, minus, -kStep)) continue;
      const double expected = (Loss(plus, input_) - Loss(minus, input_)) / (2 * kStep);
      LayerCache plus_cache = cache, minus_cache = cache;
      BlockRunner plus_runner = Runner(plus, plus_cache), minus_runner = Runner(minus, minus_cache);
      const double found = gradients.WeightDerivative(weight.kind, plus_runner, minus_runner, kStep);
      worst = std::max(worst, Error(found, expected));
      if (Error(found, expected) > kTolerance) {
        ADD_FAILURE() << ToString(weight.kind) << ": " << found << ", expected " << expected;
      }
    }
    return worst;
  }

 private:
  static double Error(double found, double expected) {
    return std::abs(found - expected) / std::max(0.1, std::abs(expected));
  }

  Pass MakePass() const {
    const std::int64_t requests = PrefillRequests(problem_, strategy_);
    std::vector<std::vector<std::int64_t>> of_ranks;
    for (std::int64_t d = 0; d < strategy_.data_parallel_size; ++d) {
      std::vector<std::int64_t>& mine = of_ranks.emplace_back();
      for (std::int64_t j = 0; j < requests; ++j) mine.push_back(d * strategy_.batch_size + j);
    }
    return {.phase = Phase::kPrefill,
            .token_shard_by_request = strategy_.ShardingOf(Operator::kAttention) == Sharding::kToken,
            .input_tokens = problem_.workload().input_tokens,
            .padded_input = PaddedInputTokens(problem_, strategy_),
            .position = 0,
            .requests = of_ranks};
  }

  BlockRunner Runner(const ModelWeights& weights, LayerCache& cache) {
    LayerState state{&weights.layers.front(), 0, &cache, nullptr, nullptr};
    const bool in_layer = block_.kind != BlockKind::kEmbedding && block_.kind != BlockKind::kHead;
    return BlockRunner(problem_.model(), strategy_, weights, in_layer ? state : LayerState{}, &layouts_);
  }

  double Loss(const ModelWeights& weights, const Held& input) {
    LayerCache cache(static_cast<std::size_t>(strategy_.StageSize()));
    const Held output = Runner(weights, cache).Run(block_, input, "moved");
    if (block_.kind != BlockKind::kHead) return Product(output, output_gradient_);
    Held ones = output;
    for (LocalPtr& local : ones.at) {
      Local one = *local;
      one.data.setOnes();
      local = std::make_shared<const Local>(std::move(one));
    }
    return Product(output, ones);
  }

  Held Ids(const Value& value) {
    Held ids = Random(value, layouts_, 5);
    for (LocalPtr& local : ids.at) {
      Local whole = *local;
      whole.data = ((whole.data.array() + 1) * 0.5 * static_cast<double>(problem_.model().vocab_size - 1)).round();
      local = std::make_shared<const Local>(std::move(whole));
    }
    return ids;
  }

  /// Moves a matrix in a direction of its own; false: not a matrix of this block's layer.
  static bool Move(WeightKind kind, ModelWeights& weights, double step) {
    LayerWeights& layer = weights.layers.front();
    const std::map<WeightKind, Matrix*> matrices = {{WeightKind::kEmbedding, &weights.embedding},
                                                    {WeightKind::kLmHead, &weights.lm_head},
                                                    {WeightKind::kQkv, &layer.qkv},
                                                    {WeightKind::kAttnOut, &layer.attn_out},
                                                    {WeightKind::kFfnUp, &layer.ffn_up},
                                                    {WeightKind::kFfnDown, &layer.ffn_down},
                                                    {WeightKind::kQueryDown, &layer.query_down},
                                                    {WeightKind::kQueryUp, &layer.query_up},
                                                    {WeightKind::kLatentDown, &layer.latent_down}};
    const auto found = matrices.find(kind);
    if (found == matrices.end()) return false;
    Matrix& matrix = *found->second;
    for (Eigen::Index i = 0; i < matrix.rows(); ++i) {
      for (Eigen::Index j = 0; j < matrix.cols(); ++j) {
        matrix(i, j) += step * Noise(11, static_cast<std::uint64_t>(i), static_cast<std::uint64_t>(j));
      }
    }
    return true;
  }

  const Problem& problem_;
  const Strategy& strategy_;
  const ModelWeights& weights_;
  const Block block_;
  Layouts layouts_;
  Held input_, direction_, output_gradient_;
};

TEST(Gradients, OfBlocksAreTheDerivatives) {
  double worst = 0;
  int blocks = 0;
  std::set<std::string> covered;
  for (const ModelSpec& model : SmallModels()) {
    ReferenceModel reference(model, 7, 8);
    for (const std::int64_t devices : {2, 4}) {
      const Problem problem = TrainingProblem(model, devices);
      const StrategySpace space(problem);
      SpreadSampler sampler;
      Rng rng(3);
      std::set<Strategy> seen;
      for (int draw = 0; draw < 120 && seen.size() < 24; ++draw) {
        Strategy s = sampler.Sample(space, rng);
        if (s.StageSize() == 1 || s.batch_size / s.num_microbatches * s.data_parallel_size > 4) continue;
        if (!seen.insert(s).second) continue;
        sampler.Count();
        for (const BlockKind kind :
             {BlockKind::kEmbedding, BlockKind::kAttention, BlockKind::kDenseFfn, BlockKind::kHead}) {
          SCOPED_TRACE(model.name + ": " + ToShortString(s) + ", " + std::string(ToString(kind)));
          try {
            const double error = BlockProof(problem, s, reference.weights(), kind).Check();
            EXPECT_LE(error, kTolerance);
            worst = std::max(worst, error);
          } catch (const InterpretError& error) {
            ADD_FAILURE() << error.what();
          }
          ++blocks;
        }
        for (std::size_t i = 0; i < kNumShardedOperators; ++i) {
          covered.insert(std::string(ToString(static_cast<Operator>(i))) + " " + std::string(ToString(s.shardings[i])));
        }
        covered.insert(std::string(ToString(s.residual_layout)));
      }
    }
  }
  std::cout << blocks << " blocks, largest relative error " << worst << "\n";
  for (const char* what :
       {"embedding vocab", "embedding hidden", "qkv heads",       "qkv hidden",     "qkv token",     "attention heads",
        "attention token", "attn_out heads",   "attn_out hidden", "attn_out token", "ffn_up ffn",    "ffn_up hidden",
        "ffn_up token",    "ffn_down ffn",     "ffn_down hidden", "ffn_down token", "lm_head vocab", "lm_head hidden",
        "lm_head token",   "replicated",       "token_sharded",   "feature_sharded"}) {
    EXPECT_TRUE(covered.count(what)) << what;
  }
}

}  // namespace
}  // namespace shardscout::interpret
