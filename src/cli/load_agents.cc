#include "src/cli/load_agents.h"

#include <dlfcn.h>

#include <memory>
#include <string>

#include "agents/ppo_entry.h"
#include "shardscout/error.h"

namespace shardscout::cli {
namespace {

constexpr const char* kModule = "shardscout_agents.so";

/// Never unloaded: LibTorch's threads stay.
SearcherRegistry LoadAgents() {
  void* const module = dlopen(kModule, RTLD_NOW | RTLD_LOCAL);
  void* const symbol = module == nullptr ? nullptr : dlsym(module, "ShardscoutRegisterAgents");
  if (symbol == nullptr) {
    const char* const reason = dlerror();
    throw SpecError("the learning agents",
                    "cannot be loaded (" + std::string(reason == nullptr ? "" : reason) +
                        "); install the program whole, with LibTorch, or choose another searcher");
  }
  SearcherRegistry registry;
  reinterpret_cast<decltype(&ShardscoutRegisterAgents)>(symbol)(registry);
  return registry;
}

}  // namespace

void RegisterAgentsFromModule(SearcherRegistry& registry) {
  registry.Register("ppo", agents::PpoEntry([](const SearcherSettings& settings) -> std::unique_ptr<Searcher> {
                      return LoadAgents().Make("ppo", settings);
                    }));
}

}  // namespace shardscout::cli
