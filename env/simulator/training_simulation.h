#pragma once

#include <cstdint>
#include <vector>

#include "env/simulator/simulation.h"
#include "shardscout/problem.h"
#include "shardscout/strategy.h"

/// A training step's pipeline, simulated: every stage runs the forward and backward passes of its chunks of layers for
/// all micro-batches in the order of a schedule, each as soon as what it needs is there.
///
///   1F1B         v = 1: stage i runs min(m, pp - 1 - i) forwards, then a forward and a backward in turn, then the rest
///                (Narayanan et al., PipeDream-Flush, arXiv 2006.09503)
///   interleaved  v > 1: the k-th forward of a stage is of chunk (k mod pp v) / pp and micro-batch
///                k / (pp v) * pp + k mod pp, the k-th backward of chunk v - 1 - that; 2 (pp - 1 - i) + (v - 1) pp
///                forwards come first, at most all (Megatron-LM, arXiv 2104.04473, section 2.2.2)
///   zero bubble  v = 1: a backward is two, by inputs and by weights; only the former is waited for by the stage
///                before, and the latter fills what would be idle (ZB-H1: Qi et al., arXiv 2401.10241, section 2.2)
namespace shardscout::env {

enum class PipelineSchedule : std::uint8_t { kOneForwardOneBackward, kZeroBubble };

/// What a chunk of a stage takes.
struct ChunkTimes {
  double forward_s = 0;
  double backward_s = 0;
  double weights_s = 0;    ///< Of backward_s, the gradients by weights.
  double send_s = 0;       ///< Its output to the next chunk, and a gradient back to the one before.
  double exchange_s = 0;   ///< Of its gradients over data parallel ranks, after its last backward.
  double update_s = 0;     ///< Of its weights, after all gradients of all stages (their norm is one).
  std::int64_t parts = 1;  ///< Its layers: the last backward gives that many equal parts of the gradients, in turn.
};

struct PipelineShape {
  std::int64_t microbatches = 1;
  std::int64_t chunks = 1;  ///< v. More than one: microbatches is a multiple of the number of stages.
  PipelineSchedule schedule = PipelineSchedule::kOneForwardOneBackward;
  bool sends_wait = false;        ///< A stage waits until what it sends has arrived; else it goes on.
  bool exchanges_overlap = true;  ///< Gradients are exchanged as soon as they are there; else after the last backward.
};

/// One pass of the schedule, for the timeline.
struct PipelineTask {
  std::int32_t stage = 0, chunk = 0, microbatch = 0;
  enum class Kind : std::uint8_t { kForward, kBackward, kWeights, kSend, kExchange, kUpdate } kind = Kind::kForward;
};

struct PipelinePass {
  SimulationGraph graph;
  std::vector<PipelineTask> tasks;  ///< By SimTaskId.
};

/// Streams of a stage: kernels, sends, exchanges.
inline constexpr StreamId kStreamsOfATrainingStage = 3;

/// `times`: by stage and chunk (stage * v + chunk).
PipelinePass MakePipeline(const std::vector<ChunkTimes>& times, const PipelineShape& shape);

/// The schedule of a strategy, 1F1B or interleaved, with the analytical evaluator's times for its stages. In reference
/// mode a stage waits for its sends, as the closed form has it.
PipelinePass MakeTrainingPass(const Problem& problem, const Strategy& strategy, bool reference,
                              PipelineSchedule schedule = PipelineSchedule::kOneForwardOneBackward);

}  // namespace shardscout::env
