// The learning agents as a module that the program loads when they are asked for (load_agents.h).

#include "src/cli/load_agents.h"

extern "C" void ShardscoutRegisterAgents(shardscout::SearcherRegistry& registry) {
  shardscout::RegisterAgents(registry);
}
