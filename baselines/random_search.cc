#include "baselines/random_search.h"

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

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
    while (environment.ended() == EndReason::kNone) environment.Evaluate(DrawBatch(environment, rng));
    return SearchStatus::kFinished;
  }

 private:
  std::vector<Strategy> DrawBatch(const SearchEnvironment& environment, Rng& rng) const {
    const auto size = static_cast<std::size_t>(config_.minibatch_size);
    std::vector<Strategy> fresh;
    std::vector<Strategy> known;
    std::unordered_set<Strategy, StrategyHash> drawn;
    for (std::int64_t i = 0; i < config_.minibatch_size * config_.draws_per_strategy && fresh.size() < size; ++i) {
      Strategy strategy = environment.space().Sample(rng);
      if (environment.Known(strategy)) {
        if (known.size() < size) known.push_back(strategy);
      } else if (drawn.insert(strategy).second) {
        fresh.push_back(strategy);
      }
    }
    return fresh.empty() ? known : fresh;
  }

  const RandomSearchConfig config_;
};

}  // namespace

std::unique_ptr<Searcher> MakeRandomSearch(const RandomSearchConfig& config) {
  return std::make_unique<RandomSearch>(config);
}

}  // namespace shardscout::baselines
