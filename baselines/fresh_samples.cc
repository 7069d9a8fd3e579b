#include "baselines/fresh_samples.h"

#include <cstddef>
#include <unordered_set>

namespace shardscout::baselines {

std::vector<Strategy> FreshSamples(const SearchEnvironment& environment, Rng& rng, std::int64_t count,
                                   std::int64_t draws_per_strategy) {
  const auto size = static_cast<std::size_t>(count);
  std::vector<Strategy> fresh;
  std::vector<Strategy> known;
  std::unordered_set<Strategy, StrategyHash> drawn;
  for (std::int64_t i = 0; i < count * draws_per_strategy && fresh.size() < size; ++i) {
    Strategy strategy = environment.space().Sample(rng);
    if (environment.Known(strategy)) {
      if (known.size() < size) known.push_back(strategy);
    } else if (drawn.insert(strategy).second) {
      fresh.push_back(strategy);
    }
  }
  return fresh.empty() ? known : fresh;
}

}  // namespace shardscout::baselines
