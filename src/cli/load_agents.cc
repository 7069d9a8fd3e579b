#include "src/cli/load_agents.h"

#include <dlfcn.h>

#include <memory>
#include <string>

#include "agents/ppo_entry.h"
#include "shardscout/error.h"
#include "shardscout/plan.h"

namespace shardscout::cli {
namespace {

constexpr const char* kModule = "shardscout_agents.so";

/// A function of the module, which is never unloaded: LibTorch's threads stay.
template <class Function>
Function* Find(void* module, const char* name) {
  void* const symbol = module == nullptr ? nullptr : dlsym(module, name);
  if (symbol != nullptr) return reinterpret_cast<Function*>(symbol);
  const char* const reason = dlerror();
  throw SpecError("the learning agents", "cannot be loaded (" + std::string(reason == nullptr ? "" : reason) +
                                             "); install the program whole, with LibTorch, or choose another searcher");
}

SearcherRegistry LoadAgents() {
  void* const module = dlopen(kModule, RTLD_NOW | RTLD_LOCAL);
  const std::string version = Find<decltype(ShardscoutAgentsVersion)>(module, "ShardscoutAgentsVersion")();
  if (version != Version()) {
    throw SpecError("the learning agents", "found version " + version + " beside version " + std::string(Version()) +
                                               " of the program; install it whole");
  }
  SearcherRegistry registry;
  Find<decltype(ShardscoutRegisterAgents)>(module, "ShardscoutRegisterAgents")(registry);
  return registry;
}

}  // namespace

void RegisterAgentsFromModule(SearcherRegistry& registry) {
  agents::RegisterPpo(registry, [](const std::string& name, const SearcherSettings& settings) {
    return LoadAgents().Make(name, settings);
  });
}

}  // namespace shardscout::cli
