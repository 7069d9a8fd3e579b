#include "tests/strategies/block_proof.h"

#include <gtest/gtest.h>

#include <cmath>
#include <utility>

#include "tests/strategies/spread_sampler.h"

namespace shardscout::interpret {
namespace {

constexpr double kStep = 1e-5;
/// Scores of experts move by less: a step times the sum over the features of inputs near 1.
constexpr double kMargin = 100 * kStep;

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

}  // namespace

BlockProof::BlockProof(const Problem& problem, const Strategy& strategy, const ModelWeights& weights, BlockKind kind,
                       std::size_t layer)
    : problem_(problem),
      strategy_(strategy),
      weights_(weights),
      layer_(layer),
      block_(LowerBlock(problem, strategy, Phase::kPrefill, kind)),
      layouts_(problem.model(), strategy, MakePass()),
      cache_(static_cast<std::size_t>(strategy.StageSize())),
      states_(static_cast<std::size_t>(strategy.StageSize())) {
  const Value& input = block_.values[static_cast<std::size_t>(block_.input)];
  direction_ = Random(input, layouts_, 2);
  output_gradient_ = Random(block_.values[static_cast<std::size_t>(block_.output)], layouts_, 3);
  for (std::uint64_t seed = 1;; seed += 10) {
    input_ = kind == BlockKind::kEmbedding ? Ids(input) : Random(input, layouts_, seed);
    BlockRunner runner = Runner(weights_);
    runner.Run(block_, input_, "forward");
    if (GradientRunner(runner, block_).RoutingMargin() > kMargin) return;
    if (seed > 1000) throw InterpretError("no input whose experts are chosen clearly");
  }
}

double BlockProof::Check(double tolerance) {
  BlockRunner runner = Runner(weights_);
  runner.Run(block_, input_, "forward");
  GradientRunner gradients(runner, block_);
  gradients.Run(output_gradient_, "backward");
  double worst = 0;
  const auto compare = [&](const std::string& what, double found, double expected) {
    const double error = std::abs(found - expected) / std::max(0.1, std::abs(expected));
    worst = std::max(worst, error);
    if (!(error <= tolerance)) ADD_FAILURE() << what << ": " << found << ", expected " << expected;
  };
  if (block_.input_gradient != kNoValue) {
    const double expected =
        (Loss(weights_, Moved(input_, direction_, kStep)) - Loss(weights_, Moved(input_, direction_, -kStep))) /
        (2 * kStep);
    compare("input", Product(gradients.InputGradient(), direction_), expected);
  }
  for (const Weight& weight : block_.weights) {
    ModelWeights plus = weights_, minus = weights_;
    if (!Move(weight, plus, kStep) || !Move(weight, minus, -kStep)) continue;
    const double expected = (Loss(plus, input_) - Loss(minus, input_)) / (2 * kStep);
    BlockRunner plus_runner = Runner(plus), minus_runner = Runner(minus);
    const double found = gradients.WeightDerivative(weight, plus_runner, minus_runner, kStep);
    compare(std::string(ToString(weight.kind)), found, expected);
    compared_.insert(weight.kind);
  }
  return worst;
}

Pass BlockProof::MakePass() const {
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

/// Without what an earlier run left in the caches.
BlockRunner BlockProof::Runner(const ModelWeights& weights) {
  cache_.assign(cache_.size(), {});
  states_.assign(states_.size(), {});
  const LayerState state{&weights.layers[layer_], 0, &cache_, nullptr, &states_};
  const bool in_layer = block_.kind != BlockKind::kEmbedding && block_.kind != BlockKind::kHead;
  return BlockRunner(problem_.model(), strategy_, weights, in_layer ? state : LayerState{}, &layouts_);
}

double BlockProof::Loss(const ModelWeights& weights, const Held& input) {
  const Held output = Runner(weights).Run(block_, input, "moved");
  if (block_.kind != BlockKind::kHead) return Product(output, output_gradient_);
  Held ones = output;
  for (LocalPtr& local : ones.at) {
    Local one = *local;
    one.data.setOnes();
    local = std::make_shared<const Local>(std::move(one));
  }
  return Product(output, ones);
}

Held BlockProof::Ids(const Value& value) {
  Held ids = Random(value, layouts_, 5);
  for (LocalPtr& local : ids.at) {
    Local whole = *local;
    whole.data = ((whole.data.array() + 1) * 0.5 * static_cast<double>(problem_.model().vocab_size - 1)).round();
    local = std::make_shared<const Local>(std::move(whole));
  }
  return ids;
}

/// Empty: not a matrix.
std::vector<Matrix*> BlockProof::MatricesOf(const Weight& weight, ModelWeights& weights) const {
  LayerWeights& layer = weights.layers[layer_];
  const bool shared = weight.ffn == FfnKind::kShared;
  const auto of_experts = [](std::vector<Matrix>& experts) {
    std::vector<Matrix*> all;
    for (Matrix& matrix : experts) all.push_back(&matrix);
    return all;
  };
  switch (weight.kind) {
    case WeightKind::kEmbedding:
      return {&weights.embedding};
    case WeightKind::kLmHead:
      return {&weights.lm_head};
    case WeightKind::kQkv:
      return {&layer.qkv};
    case WeightKind::kQuery:
      return {&layer.query};
    case WeightKind::kQueryDown:
      return {&layer.query_down};
    case WeightKind::kQueryUp:
      return {&layer.query_up};
    case WeightKind::kLatentDown:
      return {&layer.latent_down};
    case WeightKind::kKeyUp:
      return {&layer.key_up};
    case WeightKind::kValueUp:
      return {&layer.value_up};
    case WeightKind::kLinearGates:
      return {&layer.linear_gates};
    case WeightKind::kAttnOut:
      return {&layer.attn_out};
    case WeightKind::kRouter:
      return {&layer.router};
    case WeightKind::kFfnUp:
      return {shared ? &layer.shared_up : &layer.ffn_up};
    case WeightKind::kFfnDown:
      return {shared ? &layer.shared_down : &layer.ffn_down};
    case WeightKind::kExpertUp:
      return of_experts(layer.expert_up);
    case WeightKind::kExpertDown:
      return of_experts(layer.expert_down);
    default:
      return {};
  }
}

/// Moves a weight in a direction of its own; false: not a matrix.
bool BlockProof::Move(const Weight& weight, ModelWeights& weights, double step) const {
  const std::vector<Matrix*> matrices = MatricesOf(weight, weights);
  for (std::size_t m = 0; m < matrices.size(); ++m) {
    Matrix& matrix = *matrices[m];
    for (Eigen::Index i = 0; i < matrix.rows(); ++i) {
      for (Eigen::Index j = 0; j < matrix.cols(); ++j) {
        matrix(i, j) += step * Noise(11 + m, static_cast<std::uint64_t>(i), static_cast<std::uint64_t>(j));
      }
    }
  }
  return !matrices.empty();
}

void Coverage::Add(const Strategy& s) {
  for (std::size_t i = 0; i < kNumShardedOperators; ++i) {
    Add(std::string(ToString(static_cast<Operator>(i))) + " " + std::string(ToString(s.shardings[i])));
  }
  Add(std::string(ToString(s.residual_layout)));
  Add("recomputation " + std::string(ToString(s.recomputation)));
}

void Coverage::Expect(const std::vector<std::string>& all) const {
  for (const std::string& what : all) EXPECT_TRUE(seen_.count(what)) << what;
}

Problem TinyTrainingProblem(const ModelSpec& model, std::int64_t devices, std::int64_t global_batch) {
  WorkloadSpec workload;
  workload.name = "tiny";
  workload.kind = WorkloadKind::kTrain;
  workload.input_tokens = 4;
  workload.training = {.global_batch_size = global_batch};
  return Problem(model, TinyCluster(devices), workload);
}

}  // namespace shardscout::interpret
