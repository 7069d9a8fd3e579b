#pragma once

// LibTorch takes most of a second to start, which every command would pay: the agents lie in a module of their own,
// beside the program or in lib/shardscout, and are loaded by the first search that needs them.

#include "shardscout/searcher.h"

/// Defined by the module, whose version has to be the program's: they share the registry, searchers and errors.
extern "C" const char* ShardscoutAgentsVersion();
extern "C" void ShardscoutRegisterAgents(shardscout::SearcherRegistry& registry);

namespace shardscout::cli {

/// Registers the agents; SpecError where one is made and the module cannot be loaded or is another version's.
void RegisterAgentsFromModule(SearcherRegistry& registry);

}  // namespace shardscout::cli
