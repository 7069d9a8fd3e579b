#pragma once

// What the registry says about `ppo`, without torch: programs that load the agents when they are asked for list them
// too.

#include <utility>

#include "agents/ppo_config.h"
#include "env/searcher_config.h"
#include "shardscout/searcher.h"

namespace shardscout::agents {

inline SearcherRegistry::Entry PpoEntry(SearcherRegistry::Factory factory) {
  return {"proximal policy optimisation: a transformer decoder over elites, agents in sequence", std::move(factory),
          env::DescribeSettings<PpoConfig>()};
}

}  // namespace shardscout::agents
