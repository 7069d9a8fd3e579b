#pragma once

#include <span>
#include <string>

#include "experiments/validation/training_point.h"
#include "experiments/validation/training_prediction.h"

namespace shardscout::validation {

/// Errors of the step by set, tensor and pipeline parallelism, and the choice of the split in groups of two points or
/// more; then the points that are not predicted, by reason.
std::string TrainingTable(std::span<const TrainingPoint> points, std::span<const TrainingPrediction> predictions);

/// A row a point.
std::string TrainingCsv(std::span<const TrainingPoint> points, std::span<const TrainingPrediction> predictions);

}  // namespace shardscout::validation
