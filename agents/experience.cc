#include "agents/experience.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "strategies/local_moves.h"

namespace shardscout::agents {
namespace {

constexpr std::size_t kSample = 256;  // Of the policy, before the first rollout.
constexpr std::size_t kExpanded = 3;  // Tuples of degrees whose best strategy's moves are candidates.
constexpr double kCrowding = 0.05;    // Off the expectation for each of the rollout with the same degrees.

}  // namespace

Experience::Experience(const StrategySpace& space, const PretrainedWeights& weights, Known known, std::uint64_t seed)
    : space_(space), policy_(space, weights), known_(std::move(known)), rng_(Rng::Stream(seed, "experience")) {}

Experience::Degrees Experience::DegreesOf(const Strategy& strategy) {
  Degrees degrees{};
  for (std::size_t v = 0; v < degrees.size(); ++v) degrees[v] = GetVariable(strategy, static_cast<int>(v));
  return degrees;
}

void Experience::Add(const Strategy& strategy, double reward) {
  const double value = policy_.Values({&strategy, 1}).front();
  const double residual = reward > 0 ? std::log(reward) - value : MeanResidual() - 1;
  Niche& niche = niches_[DegreesOf(strategy)];
  if (niche.evaluated == 0 || reward > niche.best_reward) {
    niche.best = strategy;
    niche.best_reward = reward;
    niche.best_residual = residual;
    niche.expanded = false;
  }
  ++niche.evaluated;
  niche.residual_sum += residual;
  if (reward <= 0) return;
  ++feasible_;
  residual_sum_ += residual;
}

double Experience::Expected(const Candidate& candidate) const {
  if (candidate.moved) return candidate.value + candidate.residual;
  const double all = MeanResidual();
  const auto niche = niches_.find(candidate.degrees);
  if (niche == niches_.end()) return candidate.value + all;
  return candidate.value + (niche->second.residual_sum + all) / static_cast<double>(niche->second.evaluated + 1);
}

void Experience::Offer(const std::vector<Strategy>& strategies, bool moved, double residual) {
  std::vector<Strategy> fresh;
  for (const Strategy& strategy : strategies) {
    if (!known_(strategy) && offered_.insert(strategy).second) fresh.push_back(strategy);
  }
  const std::vector<double> values = policy_.Values(fresh);
  for (std::size_t i = 0; i < fresh.size(); ++i) {
    candidates_.push_back({.strategy = fresh[i],
                           .degrees = DegreesOf(fresh[i]),
                           .value = values[i],
                           .moved = moved,
                           .residual = residual});
  }
}

void Experience::ExpandBest() {
  std::vector<Niche*> ranked;
  for (auto& [degrees, niche] : niches_) ranked.push_back(&niche);
  std::stable_sort(ranked.begin(), ranked.end(),
                   [](const Niche* a, const Niche* b) { return a->best_reward > b->best_reward; });
  ranked.resize(std::min(ranked.size(), kExpanded));
  for (Niche* niche : ranked) {
    if (std::exchange(niche->expanded, true)) continue;
    std::vector<Strategy> moves;
    for (int group = 0; group < NumMoveGroups(space_); ++group) {
      for (const Strategy& move : Moves(space_, niche->best, group)) moves.push_back(move);
    }
    Offer(moves, true, niche->best_residual);
  }
}

std::vector<Strategy> Experience::Next(std::size_t count) {
  if (!std::exchange(sampled_, true)) {
    std::vector<Strategy> sample;
    for (const PretrainedPolicy::Proposal& proposal : policy_.Sample(kSample, rng_))
      sample.push_back(proposal.strategy);
    Offer(sample, false, 0);
  }
  ExpandBest();
  std::erase_if(candidates_, [&](const Candidate& candidate) { return known_(candidate.strategy); });
  std::vector<std::pair<double, const Candidate*>> open;
  for (const Candidate& candidate : candidates_) open.emplace_back(Expected(candidate), &candidate);
  std::vector<Strategy> next;
  while (next.size() < count && !open.empty()) {
    auto best = open.begin();
    for (auto at = open.begin(); at != open.end(); ++at) {
      if (at->first > best->first || (at->first == best->first && at->second->strategy < best->second->strategy)) {
        best = at;
      }
    }
    const Candidate& chosen = *best->second;
    next.push_back(chosen.strategy);
    open.erase(best);
    for (auto& [expected, candidate] : open) {
      if (candidate->degrees == chosen.degrees) expected -= kCrowding;
    }
  }
  return next;
}

}  // namespace shardscout::agents
