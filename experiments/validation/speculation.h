#pragma once

#include <vector>

#include "experiments/validation/serving_point.h"

namespace shardscout::validation {

/// For each point, whether the table itself shows that its run decoded speculatively, for which it has no column.
///
/// A run is what has one model, system, engine, version and number formats. Two runs on models of one structure (as
/// DeepSeek-R1 and V3) have twins: points of the same layout, lengths and concurrency. Speculation brings later tokens
/// sooner and first tokens no sooner. A run with five twins or more in another run speculated, where its TPOT is 0.75
/// of theirs or less and its TTFT 0.9 of theirs or more, both in the median; not in those of its points whose twin is
/// as fast (0.9). A point that is the same to the last digit as one of such a run is that measurement again.
///
/// No prediction has a part in this.
std::vector<bool> ShownToSpeculate(const std::vector<ServingPoint>& points);

}  // namespace shardscout::validation
