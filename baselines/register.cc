#include <string>
#include <utility>

#include "baselines/annealing.h"
#include "baselines/evolution.h"
#include "baselines/exact.h"
#include "baselines/exhaustive.h"
#include "baselines/local_search.h"
#include "baselines/megatron.h"
#include "baselines/megatron_tuned.h"
#include "baselines/random_search.h"
#include "baselines/random_walk.h"
#include "env/searcher_config.h"
#include "shardscout/searcher.h"

namespace shardscout {
namespace {

/// See SearcherRegistry::Entry.
struct Traits {
  std::string only_evaluator = {};
  bool seeded = true;
};

template <class Config>
void Add(SearcherRegistry& registry, const std::string& name, std::string description,
         std::unique_ptr<Searcher> (*make)(const Config&), const Traits& traits = {}) {
  registry.Register(name,
                    {std::move(description),
                     [make](const SearcherSettings& settings) { return make(env::ReadSettings<Config>(settings)); },
                     env::DescribeSettings<Config>(), traits.only_evaluator, traits.seeded});
}

}  // namespace

void RegisterBuiltinSearchers(SearcherRegistry& registry) {
  Add(registry, "random", "independent samples of the space", baselines::MakeRandomSearch);
  Add(registry, "random-walk", "steps to random neighbours, always accepted", baselines::MakeRandomWalk);
  Add(registry, "annealing", "simulated annealing with restarts", baselines::MakeAnnealing);
  Add(registry, "evolution", "aging evolution with crossover", baselines::MakeEvolution);
  Add(registry, "local-search", "screening of degrees with sharding templates, then descents by coordinates",
      baselines::MakeLocalSearch);
  Add(registry, "megatron", "the Megatron rule: its first feasible candidate", baselines::MakeMegatron,
      {.seeded = false});
  Add(registry, "exact", "the proved optimum of the analytical evaluator, by branch and bound", baselines::MakeExact,
      {.only_evaluator = "analytical", .seeded = false});
  Add(registry, "exhaustive", "every strategy of a small space", baselines::MakeExhaustive, {.seeded = false});
  Add(registry, "megatron-tuned", "Megatron's shardings over all degrees and batches", baselines::MakeMegatronTuned,
      {.seeded = false});
}

}  // namespace shardscout
