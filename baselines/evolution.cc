#include "baselines/evolution.h"

#include <algorithm>
#include <cstddef>
#include <deque>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include "baselines/fresh_samples.h"
#include "env/searcher_config.h"
#include "shardscout/random.h"

namespace shardscout::baselines {
namespace {

constexpr std::int64_t kDrawsPerSample = 16;

class Evolution final : public Searcher {
 public:
  explicit Evolution(const EvolutionConfig& config) : config_(config) {}

  std::string_view Name() const override { return "evolution"; }
  std::string ConfigJson() const override { return env::SettingsJson(config_); }

  SearchStatus Search(SearchEnvironment& environment, std::uint64_t seed) override {
    Rng rng = Rng::Stream(seed, "evolution");
    std::deque<Scored> population(environment.start().begin(), environment.start().end());
    while (std::cmp_less(population.size(), config_.population_size)) {
      const std::int64_t missing = config_.population_size - static_cast<std::int64_t>(population.size());
      for (const Scored& scored : environment.Evaluate(FreshSamples(environment, rng, missing, kDrawsPerSample))) {
        population.push_back(scored);
      }
      if (environment.ended() != EndReason::kNone) return SearchStatus::kFinished;
    }
    while (environment.ended() == EndReason::kNone) {
      for (const Scored& child : environment.Evaluate(Children(environment, population, rng))) {
        population.push_back(child);
        population.pop_front();
      }
    }
    return SearchStatus::kFinished;
  }

 private:
  const Strategy& Parent(const std::deque<Scored>& population, Rng& rng) const {
    const Scored* best = nullptr;
    for (std::int64_t i = 0; i < config_.tournament_size; ++i) {
      const Scored& drawn = population[rng.Below(population.size())];
      if (best == nullptr || Better(drawn, *best)) best = &drawn;
    }
    return best->strategy;
  }

  std::vector<Strategy> Children(const SearchEnvironment& environment, const std::deque<Scored>& population,
                                 Rng& rng) const {
    const StrategySpace& space = environment.space();
    std::vector<Strategy> children;
    std::unordered_set<Strategy, StrategyHash> made;
    const auto is_new = [&](const Strategy& s) { return !environment.Known(s) && !made.contains(s); };
    for (std::int64_t i = 0; i < config_.minibatch_size; ++i) {
      Strategy child = Parent(population, rng);
      if (rng.Uniform() < config_.crossover) child = space.Repair(Cross(child, Parent(population, rng), rng));
      for (std::int64_t m = 0; m < config_.max_mutations && !is_new(child); ++m) child = space.Neighbour(child, rng);
      if (!is_new(child)) child = FreshSamples(environment, rng, 1, kDrawsPerSample).front();
      made.insert(child);
      children.push_back(child);
    }
    return children;
  }

  const EvolutionConfig config_;
};

}  // namespace

Strategy Cross(const Strategy& a, const Strategy& b, Rng& rng) {
  Strategy child = a;
  for (int v = static_cast<int>(Variable::kNumMicrobatches) + 1; v < kNumVariables; ++v) {
    if (v >= kNumInferenceVariables && GetVariable(a, v) == GetVariable(b, v)) continue;
    if (rng.Below(2) == 1) SetVariable(child, v, GetVariable(b, v));
  }
  return child;
}

std::unique_ptr<Searcher> MakeEvolution(const EvolutionConfig& config) { return std::make_unique<Evolution>(config); }

}  // namespace shardscout::baselines
