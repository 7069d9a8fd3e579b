#pragma once

#include <cstdint>
#include <vector>

#include "shardscout/random.h"
#include "shardscout/search_environment.h"

namespace shardscout::baselines {

/// Up to `count` distinct samples of the space that the environment has not scored, from at most
/// `count * draws_per_strategy` draws. Where all of these are known, up to `count` known ones instead: a searcher that
/// asks for them shows the environment that it finds nothing new, and it can tell whether the space is exhausted.
std::vector<Strategy> FreshSamples(const SearchEnvironment& environment, Rng& rng, std::int64_t count,
                                   std::int64_t draws_per_strategy);

}  // namespace shardscout::baselines
