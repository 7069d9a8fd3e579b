#pragma once

#include <string>

#include "shardscout/program.h"
#include "shardscout/strategy.h"

namespace shardscout {

/// A group in the words of docs/strategy_space.md: "tp (8 ranks)", "ep (32 ranks)", "cp*dp (4 ranks)", "stage (16
/// ranks)", "block (32 ranks)"; of two axes that are the same ranks the one that the operator works on. What is none of
/// them: "4 ranks, stride 2".
std::string GroupName(const Strategy& strategy, Operator op, const Group& group);

}  // namespace shardscout
