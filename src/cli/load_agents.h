#pragma once

// LibTorch takes most of a second to start, which every command would pay: the agents lie in a module of their own,
// beside the program or in lib/shardscout, and are loaded by the first search that needs them.

#include "shardscout/searcher.h"

/// Defined by the module. Its registry, searchers and errors are the program's, as the same compiler made both.
extern "C" void ShardscoutRegisterAgents(shardscout::SearcherRegistry& registry);

namespace shardscout::cli {

/// Registers the agents; SpecError where one is made and the module cannot be loaded.
void RegisterAgentsFromModule(SearcherRegistry& registry);

}  // namespace shardscout::cli
