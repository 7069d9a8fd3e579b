#pragma once

#include <string>

#include "shardscout/run_search.h"

namespace shardscout::env {

/// SpecError where a request's screen is asked for wrongly: the search's own evaluator, names that are not registered,
/// nothing to keep.
void CheckScreen(const Problem& problem, const SearchRequest& request, const SearcherRegistry& searchers,
                 const EvaluatorRegistry& evaluators);

/// The screen of a request that has one.
ScreenReport RunScreen(const Problem& problem, const StrategySpace& space, const SearchRequest& request,
                       const SearcherRegistry& searchers, const EvaluatorRegistry& evaluators);

/// What of a screen changes results, for the digest of a configuration.
std::string DescribeScreen(const ScreenRequest& screen, const SearcherRegistry& searchers);

}  // namespace shardscout::env
