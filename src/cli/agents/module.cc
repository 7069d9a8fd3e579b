// The learning agents as a module that the program loads when they are asked for (load_agents.h).

#include "shardscout/plan.h"
#include "src/cli/load_agents.h"

extern "C" const char* ShardscoutAgentsVersion() { return shardscout::Version().data(); }

extern "C" void ShardscoutRegisterAgents(shardscout::SearcherRegistry& registry) {
  shardscout::RegisterAgents(registry);
}
