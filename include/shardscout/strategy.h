#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace shardscout {

/// The layout of an activation over a group. A residual stream takes the first three.
enum class Layout : std::uint8_t { kReplicated, kTokenSharded, kFeatureSharded, kPartial };

/// Which ranks share a dense FFN: the tp group, or all tp*cp*dp ranks of the stage (features tp outer, cp*dp inner).
enum class DenseFfnGroup : std::uint8_t { kTp, kStage };

enum class ExpertExchange : std::uint8_t { kAllToAll, kGatherScatter, kGatherReduce };

/// Overlap of compute and communication. The analytical model knows kNone; the problem lists the values it admits.
enum class Overlap : std::uint8_t { kNone, kTwoBatch, kChunked };

/// Training: what of the forward pass is computed again in the backward pass instead of being kept. kSelective: the
/// core of an attention that is not fused (its scores; Korthikanti et al., arXiv 2205.05198, section 5). kFull: every
/// layers, of which only the input is kept: all, or of each chunk the first Strategy::recomputed_layers.
enum class Recomputation : std::uint8_t { kNone, kSelective, kFull };

/// The operators of the layer graph. The first kNumShardedOperators carry a sharding, in the order in which a strategy
/// lists them.
enum class Operator : std::uint8_t {
  kEmbedding,
  kQkv,
  kAttention,
  kAttnOut,
  kRouter,
  kFfnUp,
  kFfnDown,
  kExpertUp,
  kExpertDown,
  kLmHead,
  kDispatch,  ///< Tokens to experts; follows expert_exchange, has no sharding of its own.
  kCombine,   ///< Experts' results back.
  kResidual,  ///< The residual stream: resharding a block's output to it, and the addition.
  kPipeline,  ///< Transfers between stages.
};
inline constexpr std::size_t kNumShardedOperators = 10;
inline constexpr std::size_t kNumOperators = 14;

/// The axis along which an operator is split over its group. Which ones an operator admits: AdmittedShardings.
enum class Sharding : std::uint8_t { kNone, kToken, kHeads, kHidden, kSequence, kFfn, kVocab };

/// A parallelization: a value. The field order is the order in which a policy emits the decision variables, and
/// operator<=> (ties go to the smallest strategy) follows it.
struct Strategy {
  std::int64_t pipeline_parallel_size = 1;
  std::int64_t tensor_parallel_size = 1;
  std::int64_t context_parallel_size = 1;
  std::int64_t data_parallel_size = 1;
  std::int64_t expert_parallel_size = 1;
  std::int64_t expert_tensor_parallel_size = 1;
  std::int64_t batch_size = 1;  ///< Concurrent requests a dp rank.
  std::int64_t num_microbatches = 1;
  Layout residual_layout = Layout::kReplicated;
  DenseFfnGroup dense_ffn_group = DenseFfnGroup::kTp;
  ExpertExchange expert_exchange = ExpertExchange::kAllToAll;
  Overlap overlap = Overlap::kNone;
  std::array<Sharding, kNumShardedOperators> shardings{};
  // Training's own; inference has the first value of each.
  std::int64_t virtual_pipeline_parallel_size = 1;  ///< Chunks of layers that a stage holds, interleaved over stages.
  std::int64_t head_layers = 0;  ///< Layers that the head counts as where layers are split over the pipeline.
  std::int64_t zero_stage = 0;   ///< What data parallel ranks share: 1 optimizer, 2 gradients, 3 weights.
  Recomputation recomputation = Recomputation::kNone;
  std::int64_t recomputed_layers = 0;  ///< kFull: of each chunk, the first so many; 0: all.

  Sharding ShardingOf(Operator op) const { return shardings[static_cast<std::size_t>(op)]; }
  void SetSharding(Operator op, Sharding sharding) { shardings[static_cast<std::size_t>(op)] = sharding; }

  /// Ranks of one pipeline stage: tp * cp * dp.
  std::int64_t StageSize() const { return tensor_parallel_size * context_parallel_size * data_parallel_size; }
  /// Devices of one instance: tp * cp * dp * pp.
  std::int64_t InstanceSize() const { return StageSize() * pipeline_parallel_size; }
  /// Ranks of one expert block: etp * ep.
  std::int64_t BlockSize() const { return expert_parallel_size * expert_tensor_parallel_size; }
  /// edp: blocks of a stage, each working on its own tokens.
  std::int64_t ExpertDataParallelSize() const { return StageSize() / BlockSize(); }

  auto operator<=>(const Strategy&) const = default;
  bool operator==(const Strategy&) const = default;
};

/// Stable over runs and machines (FNV-1a over the fields).
std::uint64_t Hash(const Strategy& strategy);

struct StrategyHash {
  std::size_t operator()(const Strategy& strategy) const { return static_cast<std::size_t>(Hash(strategy)); }
};

std::string_view ToString(Layout layout);
std::string_view ToString(DenseFfnGroup group);
std::string_view ToString(ExpertExchange exchange);
std::string_view ToString(Overlap overlap);
std::string_view ToString(Operator op);
std::string_view ToString(Sharding sharding);
std::string_view ToString(Recomputation recomputation);

/// The JSON object of docs/strategy_space.md, keys in emission order, with "training" only where one of its values is
/// not the first. `indent` < 0: one line.
std::string ToJson(const Strategy& strategy, int indent = -1);

/// Strict: all keys, no others; a SpecError names `place` and the JSON pointer. Says nothing about validity on a
/// problem.
Strategy ParseStrategy(std::string_view json, std::string_view place);

/// "pp1 tp8 cp1 dp4 ep32 etp1 b64 m1 T tp all_to_all | vocab heads heads heads token ffn ffn none none vocab", for
/// tables and logs; where training's variables are not all at their first value also " v2 zero1 full", with "full 3"
/// for three layers and " head2" where the head counts as two.
std::string ToShortString(const Strategy& strategy);

}  // namespace shardscout
