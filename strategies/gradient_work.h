#pragma once

#include "shardscout/model_spec.h"
#include "shardscout/program.h"
#include "shardscout/training_spec.h"

namespace shardscout::strategies {

/// Whether a task multiplies by a weight, and so has a derivative by it.
bool HasWeight(TaskKind kind);

/// What the derivative `back` of a forward task does on the fullest rank (Task::work), which so far is the forward
/// task's: a product [m, k] x [k, n] is derived by its input with [m, n] x [n, k] and by its weight with [k, m] x
/// [m, n], added to what is there; attention takes 2.5 times its FLOP (scores again, dV, dP, dQ, dK), linear attention
/// twice; what goes element
/// by element reads the gradient and its input and writes another. `input`, `output`: of the forward task.
void FillGradientWork(const ModelSpec& model, const TrainingSpec& training, const Value& input, const Value& output,
                      const Task& forward, Task& back);

}  // namespace shardscout::strategies
