#include "baselines/start.h"

namespace shardscout::baselines {

Strategy FirstState(const SearchEnvironment& environment, Rng& rng) {
  const Scored* best = nullptr;
  for (const Scored& scored : environment.start()) {
    if (best == nullptr || Better(scored, *best)) best = &scored;
  }
  return best != nullptr ? best->strategy : environment.space().Sample(rng);
}

}  // namespace shardscout::baselines
