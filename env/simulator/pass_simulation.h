#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "env/analytical/block_cost.h"
#include "env/simulator/expert_routing.h"
#include "env/simulator/simulation.h"
#include "shardscout/problem.h"
#include "shardscout/program.h"

/// One pass of a strategy's micro-batches through its pipeline, simulated.
///
/// All ranks of a stage do the same, so that a stage is one device, with a stream for kernels, one for collectives and
/// one for sends. Tasks last what the analytical evaluator says (TaskTime). A micro-batch's tasks in a stage follow one
/// another. What a stage makes is sent to the next one; in decode the last stage returns the token ids, and the
/// micro-batch begins its next token.
///
///   overlap none        a stage works on one micro-batch after the other, in order
///   overlap two_batch   a micro-batch is two halves, each lowered for itself, which take turns at every collective:
///                       one half computes while the other one communicates. Where the requests of a micro-batch cannot
///                       be halved (an odd number, a layout that half of them does not split into, and the prefill
///                       passes of `serve`): as none
///   overlap chunked     a product is cut by its rows into kChunks, and so is the all_reduce or reduce_scatter that
///                       takes its output next, or the all_gather that has just made its input: while one chunk is
///                       sent the next one is computed. Each chunk's product reads the weights again. Only where this
///                       is quicker: k + (kChunks - 1) max(k, c) + c < both whole, k and c a chunk's product and
///                       collective
///
/// Where the workload has an expert_skew, each MoE layer's tokens are drawn (expert_routing.h), and the busiest of the
/// ranks that share its experts sets the pace; else, and in reference mode, they are as expected.
///
/// In reference mode a stage sends before it goes on, as the analytical model has it. Otherwise it goes on while it
/// sends; a send and the collectives of the sender and of the receiver that run at the same time share the devices'
/// links out and in (link_loads.h).
namespace shardscout::env {

/// Streams of a stage, and what they are for.
inline constexpr StreamId kStreamsOfAStage = 3;
enum class StageStream : std::uint8_t { kKernels, kCollectives, kSends };
inline StageStream StreamKind(StreamId stream) { return static_cast<StageStream>(stream % kStreamsOfAStage); }

inline constexpr std::int64_t kChunks = 4;

/// Tokens of decode, where there is a pipeline, after which every token takes as long as the one before.
inline constexpr std::int64_t kDecodeRounds = 4;

struct SimulatorOptions {
  bool reference = false;
  bool contention = true;  ///< Not in reference mode.
};

/// What a task of the graph is, for a trace.
struct PassTask {
  Phase phase = Phase::kDecode;
  std::int32_t stage = 0;
  std::int32_t microbatch = 0;
  std::int32_t half = 0;   ///< two_batch: 0 and 1.
  std::int32_t round = 0;  ///< Decode: the token.
  BlockKind block = BlockKind::kAttention;
  std::int32_t layer = -1;  ///< -1: none.
  std::int32_t chunk = -1;  ///< Of a task that is cut; else -1.
  const Task* task = nullptr;
};

/// The graph of a pass, and where its micro-batches end.
struct Pass {
  SimulationGraph graph;
  std::vector<std::vector<SimTaskId>> ends;  ///< By round and micro-batch: its last task.
  std::vector<PassTask> tasks;               ///< By SimTaskId; empty where equal tasks in a row were made one.
};

/// What the core of attention takes in one layer of kAttention, kWindowAttention and kLinearAttention.
struct AttentionTimes {
  double full_s = 0, window_s = 0, linear_s = 0;
};

/// Lowers and prices a phase of a strategy, once.
class PassMaker {
 public:
  PassMaker(const Problem& problem, const Strategy& strategy, Phase phase, SimulatorOptions options);

  /// `rounds` passes of `microbatches` each. `detailed`: one task of the graph a task of the program.
  Pass Make(std::int64_t microbatches, std::int64_t rounds, bool detailed) const;
  /// Whether two halves take turns.
  bool Halved() const { return half_.has_value(); }
  /// What a task of a detailed pass was priced as: one chunk's work where it is cut, the drawn tokens' where routing is
  /// drawn, else the program's task. Not for where halves meet, which is no task.
  Task PricedTask(const PassTask& task) const;

  /// Replaces what the attentions' cores take, for one micro-batch.
  void SetAttention(const AttentionTimes& times);
  /// What the head's tasks take, of a whole micro-batch, of a half, and where they are cut.
  struct HeadTimes {
    std::vector<double> whole_s, half_s, chunks_s;
  };
  HeadTimes Head() const;
  /// The head of another batch.
  void SetHead(const HeadTimes& head);

 private:
  /// The blocks of the whole micro-batch or of a half, priced.
  struct PricedBlocks {
    std::vector<Block> blocks;                             ///< By BlockKind.
    std::vector<std::vector<double>> durations_s;          ///< By BlockKind and task.
    std::vector<std::vector<std::vector<double>>> shares;  ///< And link: of it, that the task takes alone.
    std::vector<std::vector<double>> moe_layers_s;         ///< By layer and task of kMoe, where routing is drawn.
    BusiestRank expected;                                  ///< What the tasks of kMoe were lowered for,
    std::vector<BusiestRank> drawn;                        ///< and by layer what was drawn.
    std::vector<std::vector<double>> chunks_s;  ///< By BlockKind and task: of one of kChunks, 0 where it is whole. Of
                                                ///< two in a row that are cut, the second follows the first.
  };
  /// One task of a stage, in program order.
  struct StageTask {
    Picoseconds duration = 0;
    bool collective = false;
    BlockKind block = BlockKind::kAttention;
    std::int32_t layer = -1;
    const Task* task = nullptr;
    const std::vector<double>* shares = nullptr;
    std::int32_t chunk = -1;  ///< Of a task that is cut.
    bool follows = true;      ///< A chunk's second task: after its first one; its first: after what came before both.
  };

  PricedBlocks Price(const Strategy& strategy, SpanCache& spans) const;
  /// Overlap chunked: which tasks are cut.
  void Cut(PricedBlocks& priced, SpanCache& spans) const;
  /// Where the workload has an expert_skew, what each MoE layer's busiest rank takes.
  void DrawRouting(PricedBlocks& priced, SpanCache& spans) const;
  /// `apart`: collectives are not made one with kernels, nor with each other.
  std::vector<StageTask> TasksOf(const PricedBlocks& blocks, std::size_t stage, bool detailed, bool apart) const;

  const Problem& problem_;
  Strategy strategy_;
  Phase phase_;
  SimulatorOptions options_;
  std::vector<Stage> stages_;
  PricedBlocks whole_;
  std::optional<PricedBlocks> half_;  ///< Of either half, where there are two.
};

/// The tasks of attention whose time follows from the lengths of the requests, or from which tokens are whose.
inline bool IsAttentionCore(const Task& task) {
  return task.kind == TaskKind::kAttention || task.kind == TaskKind::kIndexSelect ||
         task.kind == TaskKind::kLinearAttention;
}

/// Whether the batch splits as the strategy's degrees and shardings need it.
bool BatchFits(const Problem& problem, const Strategy& strategy);

/// One token of every request of the strategy's micro-batches.
Picoseconds SimulateDecode(const PassMaker& maker, const Strategy& strategy);

/// The simulated times (docs/simulator.md): of a pass of one micro-batch, of all, and of a token.
PassTimes SimulatePasses(const Problem& problem, const Strategy& strategy, SimulatorOptions options);

}  // namespace shardscout::env
