#include <memory>
#include <nlohmann/json.hpp>

#include "agents/ppo_searcher.h"
#include "env/searcher_config.h"

namespace shardscout {

void RegisterAgents(SearcherRegistry& registry) {
  registry.Register("ppo",
                    {"proximal policy optimisation: a transformer decoder over elites, agents in sequence",
                     [](const SearcherSettings& settings) -> std::unique_ptr<Searcher> {
                       return std::make_unique<agents::PpoSearcher>(env::ReadSettings<agents::PpoConfig>(settings));
                     },
                     env::DescribeSettings<agents::PpoConfig>()});
}

}  // namespace shardscout
