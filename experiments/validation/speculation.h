#pragma once

#include <string>
#include <vector>

#include "experiments/validation/serving_point.h"

namespace shardscout::validation {

/// What the table itself shows of runs that decoded speculatively, for which it has no column.
struct Speculation {
  std::vector<bool> shown;            ///< Of each point.
  std::vector<std::string> evidence;  ///< A line of each pair of runs that shows it.
};

/// A run is what has one model, system, engine, version and number formats. Two runs on models of one structure (as
/// DeepSeek-R1 and V3) have twins: points of the same layout, lengths and concurrency. Speculation brings later tokens
/// sooner and first tokens no sooner. A run with five twins or more in another run speculated, where its TPOT is 0.75
/// of theirs or less and its TTFT 0.9 of theirs or more, both in the median; not in those of its points whose twin is
/// as fast (0.9). A point that is the same to the last digit as one of such a run is that measurement again.
///
/// No prediction has a part in this.
Speculation FindSpeculation(const std::vector<ServingPoint>& points);

}  // namespace shardscout::validation
