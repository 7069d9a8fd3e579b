#include "agents/proposals.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "strategies/local_moves.h"
#include "strategies/sharding_templates.h"

namespace shardscout::agents {
namespace {

constexpr int kNumSizes = static_cast<int>(Variable::kNumMicrobatches) + 1;
constexpr int kAttempts = 8;  // To find a neighbour that has not been evaluated.

}  // namespace

Proposals::Proposals(const StrategySpace& space, const StrategyActionSpace& actions, const PpoConfig& config,
                     Niches::Known known)
    : space_(space),
      actions_(actions),
      config_(config),
      known_(std::move(known)),
      templates_(ShardingTemplates()),
      niches_(space) {}

std::vector<Guide> Proposals::Next(bool screens, Rng& rng) {
  std::vector<Guide> guides(static_cast<std::size_t>(config_.rollout_size));
  const double share = screens ? 1 : niches_.empty() ? 0 : config_.mutation_share;
  const auto count = static_cast<std::size_t>(std::lround(share * static_cast<double>(guides.size())));
  for (std::size_t i = 0; i < count; ++i) guides[i] = screens ? Screen(rng) : Mutant(rng);
  return guides;
}

Guide Proposals::Screen(Rng& rng) const {
  Strategy member;
  for (int i = 0; i < kAttempts; ++i) {
    const Strategy sizes = WithRoundedDegrees(space_, space_.Sample(rng));
    member = WithLayers(space_, sizes, templates_[rng.Below(templates_.size())]);
    if (!known_(member)) break;
  }
  return Settled(member);
}

Guide Proposals::Settled(const Strategy& member) const { return {.settled = Reduced(member), .avoided = {}}; }

Guide Proposals::Mutant(Rng& rng) {
  const double kind = rng.Uniform();
  if (kind < config_.neighbour_share) {
    if (const Strategy* move = niches_.NextMove(config_.parent_decay, known_, rng)) return Settled(*move);
  }
  const Choices parent = Reduced(niches_.Draw(config_.parent_decay, rng).best);
  if (kind < config_.neighbour_share + config_.crossed_share) {
    return Crossed(parent, Reduced(niches_.Draw(config_.parent_decay, rng).best));
  }
  return Reopened(parent, rng);
}

Guide Proposals::Reopened(const Choices& parent, Rng& rng) const {
  Guide guide{.settled = parent, .avoided = Choices(parent.size(), Guide::kOpen)};
  do {
    const std::size_t place = rng.Below(parent.size());
    guide.settled[place] = Guide::kOpen;
    guide.avoided[place] = parent[place];
  } while (rng.Uniform() < 0.5);
  return guide;
}

Guide Proposals::Crossed(const Choices& parent, const Choices& other) const {
  Guide guide{.settled = parent, .avoided = {}};
  for (std::size_t i = 0; i < parent.size(); ++i) {
    if (actions_.variables()[i] >= kNumSizes) guide.settled[i] = other[i];
  }
  return guide;
}

}  // namespace shardscout::agents
