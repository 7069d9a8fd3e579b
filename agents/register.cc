#include <spdlog/spdlog.h>

#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>

#include "agents/ppo_entry.h"
#include "agents/ppo_searcher.h"
#include "agents/pretrained_weights.h"
#include "shardscout/error.h"

namespace shardscout {
namespace {

agents::PpoConfig ConfigOf(const std::string& name, const SearcherSettings& settings) {
  if (name == "ppo-paper") return env::ReadSettings<agents::PpoPaperConfig>(settings).ppo;
  if (name == "ppo-from-scratch") return env::ReadSettings<agents::PpoFromScratchConfig>(settings).ppo;
  return env::ReadSettings<agents::PpoConfig>(settings);
}

}  // namespace

void RegisterAgents(SearcherRegistry& registry) {
  agents::RegisterPpo(
      registry, [](const std::string& name, const SearcherSettings& settings) -> std::unique_ptr<Searcher> {
        const agents::PpoConfig config = ConfigOf(name, settings);
        std::shared_ptr<const agents::PretrainedWeights> weights;
        if (!config.from_scratch) {
          try {
            weights = std::make_shared<agents::PretrainedWeights>(
                agents::ReadPretrainedWeights(agents::PretrainedWeightsPath()));
          } catch (const SpecError& error) {
            if (!config.weights.empty()) throw;  // Asked for by name.
            static std::once_flag once;          // Every search of a process finds the same file.
            std::call_once(once, [&] { spdlog::warn("{} searches from scratch: {}", name, error.what()); });
          }
        }
        if (weights && !config.weights.empty() && config.weights != agents::DigestOf(*weights)) {
          throw SpecError(name + ".weights", "found " + config.weights + ", but the weights at " +
                                                 agents::PretrainedWeightsPath() + " are " +
                                                 agents::DigestOf(*weights) +
                                                 "; leave the setting out, or set SHARDSCOUT_CONFIGS to a folder that "
                                                 "has those weights");
        }
        return std::make_unique<agents::PpoSearcher>(config, name, std::move(weights));
      });
}

}  // namespace shardscout
