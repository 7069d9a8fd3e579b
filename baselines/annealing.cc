#include "baselines/annealing.h"

#include <cmath>
#include <optional>
#include <string>
#include <string_view>

#include "baselines/start.h"
#include "env/searcher_config.h"
#include "shardscout/random.h"

namespace shardscout::baselines {
namespace {

double ShareSpent(const SearchEnvironment& environment) {
  const auto spent = static_cast<double>(environment.Evaluations());
  return spent / (spent + static_cast<double>(environment.Remaining()));
}

class Annealing final : public Searcher {
 public:
  explicit Annealing(const AnnealingConfig& config) : config_(config) {}

  std::string_view Name() const override { return "annealing"; }
  std::string ConfigJson() const override { return env::SettingsJson(config_); }

  SearchStatus Search(SearchEnvironment& environment, std::uint64_t seed) override {
    Rng rng = Rng::Stream(seed, "annealing");
    Strategy first = FirstState(environment, rng);
    while (RunChain(environment, first, rng)) {
      const bool from_best = rng.Uniform() < config_.restart_from_best;
      first = from_best ? environment.best()->strategy : environment.space().Sample(rng);
    }
    return SearchStatus::kFinished;
  }

 private:
  /// False when the environment has ended the search.
  bool RunChain(SearchEnvironment& environment, const Strategy& first, Rng& rng) const {
    std::optional<Scored> state = environment.Evaluate(first);
    if (!state) return false;
    double chain_best = state->reward;
    std::int64_t steps_since_best = 0;
    while (steps_since_best < config_.patience) {
      std::optional<Scored> proposed = environment.Evaluate(environment.space().Neighbour(state->strategy, rng));
      if (!proposed) return false;
      const double temperature = TemperatureAt(config_, ShareSpent(environment));
      if (rng.Uniform() < AcceptanceProbability(state->reward, proposed->reward, temperature)) state = proposed;
      ++steps_since_best;
      if (state->reward > chain_best) {
        chain_best = state->reward;
        steps_since_best = 0;
      }
    }
    return true;
  }

  const AnnealingConfig config_;
};

}  // namespace

double AcceptanceProbability(double current, double proposed, double temperature) {
  return proposed >= current ? 1 : std::exp((proposed - current) / temperature);
}

double TemperatureAt(const AnnealingConfig& config, double spent) {
  return config.initial_temperature * std::pow(config.final_temperature / config.initial_temperature, spent);
}

std::unique_ptr<Searcher> MakeAnnealing(const AnnealingConfig& config) { return std::make_unique<Annealing>(config); }

}  // namespace shardscout::baselines
