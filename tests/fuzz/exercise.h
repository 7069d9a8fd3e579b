#pragma once

#include "shardscout/problem.h"

namespace shardscout::fuzz {

/// What is done with an accepted problem, as far as it is bounded in time: parameters are counted; where it has few
/// layers it is written and read back, and where it has few devices too, its space is made, a member is sampled and
/// priced, and the price is written and read back (which checks that every number is finite).
void Exercise(const Problem& problem);

}  // namespace shardscout::fuzz
