#pragma once

#include <string>

#include "experiments/validation/training_point.h"
#include "shardscout/evaluation.h"
#include "shardscout/strategy.h"

namespace shardscout::validation {

/// What is predicted of a point, or why nothing is.
struct TrainingPrediction {
  Strategy strategy;
  Evaluation evaluation;
  std::string why_not;  ///< "": predicted.
};

/// Megatron's tensor parallelism (columns and rows, vocabulary split), its residual stream replicated or split by
/// positions, by the analytical evaluator.
TrainingPrediction Predict(const TrainingPoint& point);

}  // namespace shardscout::validation
