#pragma once

#include "shardscout/random.h"
#include "shardscout/search_environment.h"

namespace shardscout::baselines {

/// Where a local search begins: at the best of the start strategies, or where there are none at a sample of the space
/// (which is not evaluated here).
Strategy FirstState(const SearchEnvironment& environment, Rng& rng);

}  // namespace shardscout::baselines
