#pragma once

#include <vector>

#include "env/analytical/block_cost.h"

namespace shardscout::env {

/// What one stage does in a training step (training_cost.cc has the formulas).
struct TrainingStage {
  double forward_s = 0, backward_s = 0;  ///< One micro-batch, transfers left out, ZeRO's gathers beside it included.
  double send_s = 0;                     ///< To one neighbour, of one chunk: activations or gradients.
  std::int64_t neighbours = 0;           ///< Stages that it sends to: 0, 1 or 2.
  double gradients_s = 0;   ///< Their exchange after the last micro-batch, however much of it is hidden.
  double parameters_s = 0;  ///< Gathering the weights that others have updated, as much as is not hidden.
  double optimizer_s = 0;
  double layers = 1;
};

/// Of each class of stages.
std::vector<TrainingStage> TrainingStages(const Problem& problem, const Strategy& strategy,
                                          const std::vector<StageClass>& stages, const StrategyCost& cost,
                                          SpanCache& spans);

/// What is left of `exchange_s` when it goes on beside `computing_s`, in `parts` equal parts the last of which comes
/// after the computing.
double ExposedExchange(double exchange_s, double computing_s, double parts, bool overlapped);

/// The metrics that follow from a step's time, and the memory of the fullest stage.
Evaluation TrainingEvaluation(const Problem& problem, const Strategy& strategy, double step_s, const MemoryUse& memory);

}  // namespace shardscout::env
