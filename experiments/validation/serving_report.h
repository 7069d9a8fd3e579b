#pragma once

#include <string>
#include <vector>

#include "experiments/validation/serving_point.h"
#include "experiments/validation/serving_prediction.h"

namespace shardscout::validation {

/// For each point, whether its series contradicts itself: of the points that differ in their concurrency alone (and the
/// engine's version), one has a TPOT more than a tenth below that of another with fewer requests. No one set-up does
/// that; such series mix several (speculative decoding, or a client that delivers late), which the table does not tell.
std::vector<bool> ContradictsItself(const std::vector<ServingPoint>& points);

/// Errors by model, system, engine and number formats, by system and by engine, and of all; whether predictions choose
/// the layout as measurements do; how far points of one and the same setting are from each other; the errors without
/// points that are shown to have speculated (speculation.h), and without series that contradict themselves; and what
/// was not predicted, with the reasons. `predictions` has one of each point.
std::string ServingTable(const std::vector<ServingPoint>& points, const std::vector<Prediction>& predictions);

/// A row of each point.
std::string ServingCsv(const std::vector<ServingPoint>& points, const std::vector<Prediction>& predictions);

/// Predicted over measured against measured, one chart of each system's TPOT and TTFT, by engine. This build must have
/// Chart.js.
std::string ServingPage(const std::vector<ServingPoint>& points, const std::vector<Prediction>& predictions);

}  // namespace shardscout::validation
