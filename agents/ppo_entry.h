#pragma once

// What the registry says about `ppo`, `ppo-from-scratch` and `ppo-paper`, without torch: programs that load the agents
// when they are asked for list them too.

#include <functional>
#include <memory>
#include <string>

#include "agents/ppo_config.h"
#include "env/searcher_config.h"
#include "shardscout/searcher.h"

namespace shardscout::agents {

/// Registers `ppo`, `ppo-from-scratch` and `ppo-paper`. `make` makes one of them, by its name.
inline void RegisterPpo(
    SearcherRegistry& registry,
    const std::function<std::unique_ptr<Searcher>(const std::string& name, const SearcherSettings&)>& make) {
  const auto factory = [make](const std::string& name) {
    return [make, name](const SearcherSettings& settings) { return make(name, settings); };
  };
  registry.Register("ppo",
                    {"a policy pretrained on other problems, then proximal policy optimisation beside changed elites",
                     factory("ppo"), env::DescribeSettings<PpoConfig>()});
  registry.Register("ppo-from-scratch", {"the same without pretraining: a transformer decoder, agents in sequence",
                                         factory("ppo-from-scratch"), env::DescribeSettings<PpoFromScratchConfig>()});
  registry.Register("ppo-paper", {"from scratch by the policy alone, after the paper", factory("ppo-paper"),
                                  env::DescribeSettings<PpoPaperConfig>()});
}

}  // namespace shardscout::agents
