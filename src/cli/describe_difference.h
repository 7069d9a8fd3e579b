#pragma once

// Two strategies of one problem beside each other, as explain --against prints them.

#include <iosfwd>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "shardscout/problem.h"
#include "shardscout/strategy_difference.h"

namespace shardscout::cli {

/// `other` names their strategy: "megatron".
void PrintDifference(std::ostream& out, const Problem& problem, const StrategyDifference& difference,
                     const std::string& other);

nlohmann::ordered_json DifferenceJson(const Problem& problem, const StrategyDifference& difference);

}  // namespace shardscout::cli
