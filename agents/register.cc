#include <memory>
#include <nlohmann/json.hpp>

#include "agents/ppo_entry.h"
#include "agents/ppo_searcher.h"

namespace shardscout {

void RegisterAgents(SearcherRegistry& registry) {
  registry.Register("ppo", agents::PpoEntry([](const SearcherSettings& settings) -> std::unique_ptr<Searcher> {
                      return std::make_unique<agents::PpoSearcher>(env::ReadSettings<agents::PpoConfig>(settings));
                    }));
}

}  // namespace shardscout
