#pragma once

#include <vector>

#include "shardscout/strategy_space.h"

namespace shardscout {

/// How many groups of moves a descent has (local_search.h): the variables, the sizes' pairs, the templates.
int NumMoveGroups(const StrategySpace& space);

/// The distinct members that group `group` in [0, NumMoveGroups(space)) leads to from `from`, without itself.
std::vector<Strategy> Moves(const StrategySpace& space, const Strategy& from, int group);

/// The member nearest to `s` with degrees rounded to powers of two.
Strategy WithRoundedDegrees(const StrategySpace& space, Strategy s);

}  // namespace shardscout
