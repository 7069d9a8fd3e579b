#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include "shardscout/collective_time.h"
#include "shardscout/evaluation.h"
#include "shardscout/program.h"

namespace shardscout::env {

/// What a block costs a rank, in both phases; a phase that the workload does not have costs 0.
struct BlockCost {
  double time_s[2] = {0, 0};  ///< By Phase: one micro-batch, one layer.
  double weight_bytes = 0;    ///< One layer; where phases need different weights, what both need.
  double table_bytes = 0;     ///< Of weight_bytes, the vocabulary's table (embedding or lm_head).
  double peak_activation_bytes = 0;
  double max_payload_bytes = 0;
  // Training (the forward pass is time_s of kPrefill):
  double backward_s = 0;     ///< One micro-batch, one layer, with what is computed again.
  double forward_tasks = 0;  ///< That the host launches.
  double backward_tasks = 0;
  double input_bytes = 0;       ///< Of the residual stream.
  double kept_bytes = 0;        ///< Block::kept_bytes.
  double recomputed_bytes = 0;  ///< Block::recomputed_bytes.
  double elements = 0;          ///< Weights of a rank that all its data parallel ranks hold alike,
  double expert_elements = 0;   ///< of routed experts, which fewer hold,
  double summed_elements = 0;   ///< and of `elements` those whose gradients are summed over tp too.
};

/// A stage's time apart from its layers: what it sends on.
struct TransferCost {
  double send_s[2] = {0, 0};  ///< By Phase.
  double return_s = 0;        ///< Decode: token ids from the last stage to the first.
  double max_payload_bytes = 0;
};

/// Layers by their blocks.
struct LayerCounts {
  std::int64_t full = 0, windows = 0, linear = 0;  ///< kAttention, kWindowAttention, kLinearAttention.
  std::int64_t dense = 0, moe = 0;
  bool operator==(const LayerCounts&) const = default;
  LayerCounts& operator+=(const LayerCounts& more);
};

/// Stages that are alike: as many layers of each kind, at the same end of the pipeline.
struct StageClass {
  Stage stage;                   ///< The first of them.
  std::int64_t num_windows = 0;  ///< Of its layers, those whose attention is kWindowAttention,
  std::int64_t num_linear = 0;   ///< and kLinearAttention.
  std::int64_t count = 1;
  std::int64_t first_index = 0;  ///< The place of the first of them in the pipeline.
  bool first = false;            ///< Of the pipeline: holds the embedding.
  bool last = false;             ///< Holds the head.
  LayerCounts again;             ///< Training: of its layers, those that are computed again in the backward pass.
  LayerCounts Layers() const {
    return {.full = NumFull(),
            .windows = num_windows,
            .linear = num_linear,
            .dense = stage.num_dense,
            .moe = stage.num_moe};
  }
  /// Of its layers, those whose attention is kAttention.
  std::int64_t NumFull() const { return stage.num_layers - num_windows - num_linear; }
};
std::vector<StageClass> ClassifyStages(const ModelSpec& model, const std::vector<Stage>& stages);

/// Training's, from a strategy's chunks and what it computes again.
std::vector<StageClass> ClassifyStages(const ModelSpec& model, const Strategy& strategy);

/// The same, each stage a class of its own.
std::vector<StageClass> StagesApart(const ModelSpec& model, const Strategy& strategy);

/// Spans of the groups of one tuple of degrees, found once each.
class SpanCache {
 public:
  /// Spans that the mesh groups (those that tile their stage) of every strategy on `least_devices` devices or more have
  /// among theirs, and all of them on just so many: a group's spans depend on the degrees by the number of devices in
  /// use only, and grow with it. Knows no pipelines.
  SpanCache(const ClusterSpec& cluster, std::int64_t least_devices)
      : cluster_(cluster), stage_size_(0), stages_(1), replicas_(least_devices) {}
  SpanCache(const Problem& problem, const Strategy& degrees)
      : cluster_(problem.cluster()),
        stage_size_(degrees.StageSize()),
        stages_(degrees.pipeline_parallel_size),
        replicas_(problem.Replicas(degrees)) {}
  const std::vector<GroupSpan>& Of(const Group& group);
  /// Of a cache that knows no pipelines: the devices that it was made for.
  std::int64_t least_devices() const { return replicas_; }
  /// Of a transfer between stages, forward or back to the first: the chain of an instance's stages.
  const std::vector<GroupSpan>& OfPipeline();

 private:
  const std::vector<GroupSpan>& Find(const Group& group, std::int64_t ranks, std::int64_t times);

  const ClusterSpec& cluster_;
  std::int64_t stage_size_, stages_, replicas_;  ///< stage_size_ 0: mesh groups on replicas_ devices.
  std::vector<std::pair<Group, std::unique_ptr<std::vector<GroupSpan>>>> spans_;
};

/// Where a collective's groups lie.
const std::vector<GroupSpan>& SpansOfTask(const Task& task, SpanCache& spans);

/// Time of one task: OperatorTime or CollectiveTime.
double TaskTime(const ClusterSpec& cluster, const Task& task, SpanCache& spans);

/// The cost of a layer's block under Recomputation::kFull from that under kNone, to the last bit.
BlockCost ComputedAgain(BlockCost cost, BlockKind kind);

struct StrategyCost;
/// The same of all blocks.
StrategyCost ComputedAgain(StrategyCost cost);

/// Prices the lowered blocks of one kind, prefill and decode (either may be null).
BlockCost PriceBlock(const ClusterSpec& cluster, const Block* prefill, const Block* decode, SpanCache& spans);
TransferCost PriceTransfer(const ClusterSpec& cluster, const Block* prefill, const Block* decode, SpanCache& spans);

/// All that an evaluation is made of: the blocks that occur, each priced for the strategy's own variables.
struct StrategyCost {
  BlockCost embedding, attention, window_attention, linear_attention, dense_ffn, moe, head;
  TransferCost transfer;
};

/// Seconds of a strategy's passes, by whichever evaluator.
struct PassTimes {
  double prefill_pass_s = 0;  ///< One micro-batch through all stages.
  double prefill_s = 0;       ///< All micro-batches (`serve` has one).
  double decode_s = 0;        ///< One token of every request.
};

/// The metrics of docs/cost_model.md from them:
///
///     prefill     TTFT = prefill_s;  throughput = batch * dp * replicas * input / TTFT
///     decode      TPOT = decode_s;   throughput = batch * dp * replicas / TPOT
///     serve       T = output * decode_s + passes * prefill_pass_s for the batch's requests
///                 TPOT = T / output; throughput = batch * dp * replicas * output / T
///                 TTFT = prefill_pass_s + decode_s / 2
///
/// With an engine (WorkloadSpec::engine) each of the three times is that of a step with its host, of the requests that
/// it holds, and TTFT has the engine's arrival_s as well.
Evaluation EvaluationOf(const Problem& problem, const Strategy& strategy, PassTimes times, const MemoryUse& memory);

/// What follows from an evaluation's times, throughput and memory: what is per device or token, cost and energy, and
/// the excess over each limit.
void DeriveMetrics(const Problem& problem, Evaluation& evaluation);

/// The passes' times from the costs of the blocks, and the metrics from those:
///
///     stage time  = layers * attention + dense layers * dense_ffn + MoE layers * moe + its send
///                   (attention: of layers with a window, without, and of linear ones apart)
///                   (+ embedding on the first stage, head on the last)
///     prefill     sum of stage times + (m - 1) * slowest stage
///     decode      max(m * slowest stage, sum of stage times)
///
/// Memory is that of the fullest stage: weights, cache at the last position, linear attention's states, the largest
/// block's activations, staging for the largest collective, and the reserve.
Evaluation Assemble(const Problem& problem, const Strategy& strategy, const std::vector<StageClass>& stages,
                    const StrategyCost& cost);

/// The memory of each stage, of which Assemble takes the fullest.
std::vector<MemoryUse> StageMemories(const Problem& problem, const Strategy& strategy, const std::vector<Stage>& stages,
                                     const StrategyCost& cost);

/// What the shardings decide of a strategy's memory beside its blocks.
struct StorageTerms {
  double full_cache_bytes = 0;    ///< Of one layer of kAttention, the indexer's keys included.
  double window_cache_bytes = 0;  ///< Of one layer of kWindowAttention.
  double linear_state_bytes = 0;  ///< Of one layer of kLinearAttention.
  bool shares_embedding = false;
};
StorageTerms StorageOf(const Problem& problem, const Strategy& strategy);

/// The same from given terms: of `strategy` only the degrees, the batch, the micro-batches and PrefillRequests count.
/// Every metric, and the memory, grows or stays with every time, byte and count in `cost` and `storage` (throughput
/// falls or stays), so that lower bounds of those give bounds of these.
Evaluation Assemble(const Problem& problem, const Strategy& strategy, const std::vector<StageClass>& stages,
                    const StrategyCost& cost, const StorageTerms& storage);

}  // namespace shardscout::env
