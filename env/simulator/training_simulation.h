#pragma once

#include <cstdint>
#include <vector>

#include "env/simulator/simulation.h"

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
  double weights_s = 0;  ///< Of backward_s, the gradients by weights.
  double send_s = 0;     ///< Its output to the next chunk, and a gradient back to the one before.
};

struct PipelineShape {
  std::int64_t microbatches = 1;
  std::int64_t chunks = 1;  ///< v. More than one: microbatches is a multiple of the number of stages.
  PipelineSchedule schedule = PipelineSchedule::kOneForwardOneBackward;
  bool sends_wait = false;  ///< A stage waits until what it sends has arrived; else it goes on.
};

/// One pass of the schedule, for the timeline.
struct PipelineTask {
  std::int32_t stage = 0, chunk = 0, microbatch = 0;
  enum class Kind : std::uint8_t { kForward, kBackward, kWeights, kSend } kind = Kind::kForward;
};

struct PipelinePass {
  SimulationGraph graph;
  std::vector<PipelineTask> tasks;              ///< By SimTaskId.
  std::vector<SimTaskId> last_backward;         ///< By stage and chunk (stage * v + chunk): of the last micro-batch.
};

/// `times`: by stage and chunk (stage * v + chunk). Streams: two a stage, kernels and sends.
PipelinePass MakePipeline(const std::vector<ChunkTimes>& times, const PipelineShape& shape);

}  // namespace shardscout::env
