#pragma once

#include <string>
#include <vector>

#include "experiments/validation/serving_point.h"
#include "experiments/validation/serving_prediction.h"

namespace shardscout::validation {

/// Errors by model, system, engine and number formats, by system and by engine, and of all; whether predictions choose
/// the layout as measurements do; how far points of one and the same setting are from each other; and what was not
/// predicted, with the reasons. `predictions` has one of each point.
std::string ServingTable(const std::vector<ServingPoint>& points, const std::vector<Prediction>& predictions);

/// A row of each point.
std::string ServingCsv(const std::vector<ServingPoint>& points, const std::vector<Prediction>& predictions);

/// Predicted over measured against measured, one chart of each system's TPOT and TTFT, by engine. This build must have
/// Chart.js.
std::string ServingPage(const std::vector<ServingPoint>& points, const std::vector<Prediction>& predictions);

}  // namespace shardscout::validation
