#include <memory>
#include <nlohmann/json.hpp>

#include "agents/ppo_entry.h"
#include "agents/ppo_searcher.h"

namespace shardscout {

void RegisterAgents(SearcherRegistry& registry) {
  agents::RegisterPpo(
      registry, [](const std::string& name, const SearcherSettings& settings) -> std::unique_ptr<Searcher> {
        const agents::PpoConfig config = name == "ppo" ? env::ReadSettings<agents::PpoConfig>(settings)
                                                       : env::ReadSettings<agents::PpoPaperConfig>(settings).ppo;
        return std::make_unique<agents::PpoSearcher>(config, name);
      });
}

}  // namespace shardscout
