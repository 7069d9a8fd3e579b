#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "baselines/annealing.h"
#include "baselines/megatron.h"
#include "baselines/megatron_tuned.h"
#include "baselines/random_search.h"
#include "baselines/random_walk.h"
#include "env/searcher_config.h"
#include "shardscout/searcher.h"

namespace shardscout {
namespace {

template <class Config>
void Add(SearcherRegistry& registry, const std::string& name, std::string description,
         std::unique_ptr<Searcher> (*make)(const Config&)) {
  registry.Register(name,
                    {std::move(description),
                     [make](const SearcherSettings& settings) { return make(env::ReadSettings<Config>(settings)); },
                     env::DescribeSettings<Config>()});
}

}  // namespace

void RegisterBuiltinSearchers(SearcherRegistry& registry) {
  Add(registry, "random", "independent samples of the space", baselines::MakeRandomSearch);
  Add(registry, "random-walk", "steps to random neighbours, always accepted", baselines::MakeRandomWalk);
  Add(registry, "annealing", "simulated annealing with restarts", baselines::MakeAnnealing);
  Add(registry, "megatron", "the Megatron rule: its first feasible candidate", baselines::MakeMegatron);
  Add(registry, "megatron-tuned", "Megatron's shardings over all degrees and batches", baselines::MakeMegatronTuned);
}

}  // namespace shardscout
