#include <algorithm>

#include "shardscout/error.h"
#include "shardscout/program.h"
#include "strategies/block_builder.h"

namespace shardscout {
namespace {

void CountKinds(const ModelSpec& model, Stage& stage) {
  for (std::int64_t layer = stage.first_layer; layer < stage.first_layer + stage.num_layers; ++layer) {
    (model.layers[static_cast<std::size_t>(layer)] == LayerKind::kDense ? stage.num_dense : stage.num_moe) += 1;
  }
}

/// Runs of layers, one after the other, with their kinds counted.
std::vector<Stage> Consecutive(const ModelSpec& model, const std::vector<std::int64_t>& sizes) {
  std::vector<Stage> stages;
  std::int64_t next = 0;
  for (const std::int64_t size : sizes) {
    Stage& stage = stages.emplace_back(Stage{.first_layer = next, .num_layers = size});
    next += size;
    CountKinds(model, stage);
  }
  SHARDSCOUT_CHECK_OP(next, ==, model.num_layers);
  return stages;
}

/// `layers` over `parts`, those that are over to the parts just before the last.
std::vector<std::int64_t> Sizes(std::int64_t layers, std::int64_t parts) {
  const std::int64_t extra = layers % parts;
  std::vector<std::int64_t> sizes(static_cast<std::size_t>(parts), layers / parts);
  for (std::int64_t i = parts - 1 - extra; i < parts - 1; ++i) ++sizes[static_cast<std::size_t>(i)];
  return sizes;
}

/// All chunks in the order of the model's layers.
std::vector<Stage> ChunksInOrder(const ModelSpec& model, const Strategy& s) {
  const std::int64_t chunks = s.pipeline_parallel_size * s.virtual_pipeline_parallel_size;
  std::vector<std::int64_t> sizes = Sizes(model.num_layers + s.head_layers, chunks);
  sizes.back() -= s.head_layers;
  return Consecutive(model, sizes);
}

}  // namespace

std::vector<Stage> SplitLayers(const ModelSpec& model, std::int64_t pp) {
  SHARDSCOUT_CHECK(pp >= 1 && pp <= model.num_layers);
  return Consecutive(model, Sizes(model.num_layers, pp));
}

std::vector<std::vector<Stage>> ChunksOf(const ModelSpec& model, const Strategy& s) {
  std::vector<std::vector<Stage>> chunks(static_cast<std::size_t>(s.pipeline_parallel_size));
  std::size_t next = 0;
  for (const Stage& chunk : ChunksInOrder(model, s)) chunks[next++ % chunks.size()].push_back(chunk);
  return chunks;
}

std::vector<Stage> StagesOf(const ModelSpec& model, const Strategy& s) {
  std::vector<Stage> stages;
  for (const std::vector<Stage>& chunks : ChunksOf(model, s)) {
    Stage& stage = stages.emplace_back(Stage{.first_layer = chunks.front().first_layer});
    for (const Stage& chunk : chunks) {
      stage.num_layers += chunk.num_layers;
      stage.num_dense += chunk.num_dense;
      stage.num_moe += chunk.num_moe;
    }
  }
  return stages;
}

std::int64_t MostLayersOfAChunk(const ModelSpec& model, const Strategy& s) {
  const std::int64_t chunks = s.pipeline_parallel_size * s.virtual_pipeline_parallel_size;
  const std::int64_t layers = model.num_layers + s.head_layers;
  // Of one chunk that is the last too, the head takes none of the layers; elsewhere the last is no larger than others.
  return chunks == 1 ? model.num_layers : (layers + chunks - 1) / chunks;
}

std::int64_t PrefillRequests(const Problem& problem, const Strategy& s) {
  if (problem.workload().kind != WorkloadKind::kServe) return s.batch_size / s.num_microbatches;
  const bool by_request =
      s.ShardingOf(Operator::kAttention) == Sharding::kToken || s.ShardingOf(Operator::kLmHead) == Sharding::kToken;
  return by_request ? s.tensor_parallel_size : 1;
}

std::int64_t PaddedInputTokens(const Problem& problem, const Strategy& s) {
  const std::int64_t input = problem.workload().input_tokens;
  const std::int64_t ranks = s.tensor_parallel_size * s.context_parallel_size;
  const std::int64_t multiple = ranks == 1 ? 1 : 2 * ranks;
  return (input + multiple - 1) / multiple * multiple;
}

std::int64_t WindowOf(const ModelSpec& model, BlockKind kind) {
  return model.HasMixedWindows() && kind == BlockKind::kAttention ? 0 : model.attention.sliding_window;
}

std::int64_t NumWindowLayers(const ModelSpec& model, const Stage& stage) {
  if (!model.HasMixedWindows()) return 0;
  const auto& full = model.full_attention_layers;
  const auto first = std::lower_bound(full.begin(), full.end(), stage.first_layer);
  const auto end = std::lower_bound(first, full.end(), stage.first_layer + stage.num_layers);
  return stage.num_layers - (end - first);
}

std::int64_t NumLinearLayers(const ModelSpec& model, const Stage& stage) {
  const auto& linear = model.linear_attention_layers;
  const auto first = std::lower_bound(linear.begin(), linear.end(), stage.first_layer);
  return std::lower_bound(first, linear.end(), stage.first_layer + stage.num_layers) - first;
}

BlockKind AttentionBlockOf(const ModelSpec& model, std::int64_t layer) {
  if (model.IsLinear(layer)) return BlockKind::kLinearAttention;
  return model.HasMixedWindows() && model.WindowOf(layer) > 0 ? BlockKind::kWindowAttention : BlockKind::kAttention;
}

double LinearStateBytesPerLayer(const Problem& problem, const Strategy& s) {
  const ModelSpec& model = problem.model();
  if (!model.HasLinearAttention()) return 0;
  const Sharding sharding = s.ShardingOf(Operator::kAttention);
  const std::int64_t tp = s.tensor_parallel_size;
  ModelSpec part = model;
  if (sharding == Sharding::kHeads) {
    LinearAttentionSpec& linear = part.linear_attention;
    linear.num_value_heads /= tp;
    linear.num_key_heads = std::max<std::int64_t>(1, linear.num_key_heads / tp);
  }
  return static_cast<double>(sharding == Sharding::kToken ? s.batch_size / tp : s.batch_size) * LinearStateBytes(part);
}

double IndexCacheBytesPerLayer(const Problem& problem, const Strategy& s) {
  const bool by_request = s.ShardingOf(Operator::kAttention) == Sharding::kToken;
  const std::int64_t requests = by_request ? s.batch_size / s.tensor_parallel_size : s.batch_size;
  return static_cast<double>(requests * problem.workload().CachePositions()) *
         static_cast<double>(IndexCacheBytesPerToken(problem.model()));
}

double CacheElementsPerLayer(const Problem& problem, const Strategy& s, BlockKind kind) {
  const AttentionSpec& a = problem.model().attention;
  const Sharding sharding = s.ShardingOf(Operator::kAttention);
  const std::int64_t tp = s.tensor_parallel_size;
  std::int64_t requests = s.batch_size;
  if (sharding == Sharding::kToken) requests /= tp;
  const std::int64_t parts = s.context_parallel_size * (sharding == Sharding::kSequence ? tp : 1);
  std::int64_t positions = problem.workload().CachePositions();
  if (const std::int64_t window = WindowOf(problem.model(), kind); window > 0) positions = std::min(positions, window);
  positions = (positions + parts - 1) / parts;
  std::int64_t width = a.kv_lora_rank + a.qk_rope_head_dim;
  if (a.kind == AttentionKind::kGrouped) {
    const std::int64_t over = sharding == Sharding::kHeads ? tp : 1;
    width = 2 * std::max<std::int64_t>(1, a.num_kv_heads / over) * a.head_dim;
  }
  return static_cast<double>(requests * positions) * static_cast<double>(width);
}

Block LowerBlock(const Problem& problem, const Strategy& strategy, Phase phase, BlockKind kind) {
  switch (kind) {
    case BlockKind::kEmbedding:
      return strategies::LowerEmbedding(problem, strategy, phase);
    case BlockKind::kAttention:
      return strategies::LowerAttention(problem, strategy, phase, kind);
    case BlockKind::kWindowAttention:
      return problem.model().HasMixedWindows() ? strategies::LowerAttention(problem, strategy, phase, kind)
                                               : Block{.kind = kind};
    case BlockKind::kLinearAttention:
      return problem.model().HasLinearAttention() ? strategies::LowerLinearAttention(problem, strategy, phase)
                                                  : Block{.kind = kind};
    case BlockKind::kDenseFfn:
      return problem.model().HasDense() ? strategies::LowerDenseFfn(problem, strategy, phase) : Block{.kind = kind};
    case BlockKind::kMoe:
      return problem.model().HasMoe() ? strategies::LowerMoe(problem, strategy, phase) : Block{.kind = kind};
    case BlockKind::kHead:
      return strategies::LowerHead(problem, strategy, phase);
    case BlockKind::kTransfer:
      return strategy.pipeline_parallel_size > 1 ? strategies::LowerTransfer(problem, strategy, phase)
                                                 : Block{.kind = kind};
  }
  SHARDSCOUT_CHECK(false && "unknown block");
  return {};
}

bool SharesEmbedding(const ModelSpec& model, const Strategy& s) {
  if (!model.tie_word_embeddings || s.pipeline_parallel_size > 1) return false;
  const Sharding embedding = s.ShardingOf(Operator::kEmbedding);
  const Sharding head = s.ShardingOf(Operator::kLmHead);
  return embedding == head || (embedding == Sharding::kNone && head == Sharding::kToken);
}

Program Lower(const Problem& problem, const Strategy& strategy) {
  Program program{.strategy = strategy,
                  .phases = {},
                  .stages = StagesOf(problem.model(), strategy),
                  .shares_embedding = SharesEmbedding(problem.model(), strategy)};
  for (Phase phase : {Phase::kPrefill, Phase::kDecode}) {
    if (!problem.workload().HasPhase(phase)) continue;
    const strategies::Geometry geometry(problem, strategy, phase);
    PhaseProgram p{.phase = phase, .requests = geometry.requests, .context = geometry.context};
    const bool one_pass = phase == Phase::kPrefill && problem.workload().kind == WorkloadKind::kServe;
    p.num_microbatches = one_pass ? 1 : strategy.num_microbatches;
    p.padded_input = geometry.padded_input;
    p.token_shard_by_request = geometry.by_request;
    for (int kind = 0; kind < kNumBlockKinds; ++kind) {
      p.blocks.push_back(LowerBlock(problem, strategy, phase, static_cast<BlockKind>(kind)));
    }
    program.phases.push_back(std::move(p));
  }
  return program;
}

}  // namespace shardscout
