#include "baselines/random_search.h"

#include <string>
#include <string_view>

#include "baselines/fresh_samples.h"
#include "env/searcher_config.h"
#include "shardscout/random.h"

namespace shardscout::baselines {
namespace {

class RandomSearch final : public Searcher {
 public:
  explicit RandomSearch(const RandomSearchConfig& config) : config_(config) {}

  std::string_view Name() const override { return "random"; }
  std::string ConfigJson() const override { return env::SettingsJson(config_); }

  SearchStatus Search(SearchEnvironment& environment, std::uint64_t seed) override {
    Rng rng = Rng::Stream(seed, "random");
    while (environment.ended() == EndReason::kNone) {
      environment.Evaluate(FreshSamples(environment, rng, config_.minibatch_size, config_.draws_per_strategy));
    }
    return SearchStatus::kFinished;
  }

 private:
  const RandomSearchConfig config_;
};

}  // namespace

std::unique_ptr<Searcher> MakeRandomSearch(const RandomSearchConfig& config) {
  return std::make_unique<RandomSearch>(config);
}

}  // namespace shardscout::baselines
