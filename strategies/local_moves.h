#pragma once

#include <vector>

#include "shardscout/strategy_space.h"

namespace shardscout::baselines {

/// The sizes of one strategy with the layer variables of another, repaired into the space.
Strategy WithLayers(const StrategySpace& space, const Strategy& sizes, const Strategy& layers);

/// How many groups of moves a descent has (local_search.h): the variables, the sizes' pairs, the templates.
int NumMoveGroups();

/// The distinct members that group `group` in [0, NumMoveGroups()) leads to from `from`, without itself.
std::vector<Strategy> Moves(const StrategySpace& space, const Strategy& from, int group);

}  // namespace shardscout::baselines
