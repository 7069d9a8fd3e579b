#include "baselines/random_walk.h"

#include <string>
#include <string_view>
#include <vector>

#include "baselines/start.h"
#include "env/searcher_config.h"
#include "shardscout/random.h"

namespace shardscout::baselines {
namespace {

class RandomWalk final : public Searcher {
 public:
  explicit RandomWalk(const RandomWalkConfig& config) : config_(config) {}

  std::string_view Name() const override { return "random-walk"; }
  std::string ConfigJson() const override { return env::SettingsJson(config_); }

  SearchStatus Search(SearchEnvironment& environment, std::uint64_t seed) override {
    Rng rng = Rng::Stream(seed, "random-walk");
    const StrategySpace& space = environment.space();
    Strategy state = FirstState(environment, rng);
    std::int64_t steps = 0;
    std::vector<Strategy> batch;
    while (environment.ended() == EndReason::kNone) {
      batch.clear();
      for (std::int64_t i = 0; i < config_.minibatch_size; ++i) {
        batch.push_back(state);
        ++steps;
        const bool restart = config_.restart_interval > 0 && steps % config_.restart_interval == 0;
        state = restart ? space.Sample(rng) : space.Neighbour(state, rng);
      }
      environment.Evaluate(batch);
    }
    return SearchStatus::kFinished;
  }

 private:
  const RandomWalkConfig config_;
};

}  // namespace

std::unique_ptr<Searcher> MakeRandomWalk(const RandomWalkConfig& config) {
  return std::make_unique<RandomWalk>(config);
}

}  // namespace shardscout::baselines
