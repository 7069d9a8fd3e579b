#pragma once

#include <span>
#include <string>
#include <vector>

#include "experiments/validation/serving_point.h"
#include "shardscout/engine_model.h"

namespace shardscout::validation {

/// How far predictions with an engine are from points: the mean of |log(predicted / measured)| of TPOT and of TTFT,
/// added; the mean over points of a group (Thinned), then over the groups, so that each counts alike. What is beyond
/// log 1.5 counts a tenth: such a point was run otherwise than it says (speculative decoding, cached prompts), and no
/// engine explains it.
double EngineError(std::span<const ServingPoint> points, const EngineModel& engine);

/// The times of an engine that make EngineError of the points least: coordinate descent from none at all, each time
/// multiplied or divided by 2, then by 1.3; with and without overlap.
EngineModel FitEngine(std::span<const ServingPoint> points, const std::string& name);

/// At most `most` points of each group (model, system and number format), evenly spaced.
std::vector<ServingPoint> Thinned(std::span<const ServingPoint> points, std::size_t most);

}  // namespace shardscout::validation
