#include "agents/niches.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "strategies/local_moves.h"

namespace shardscout::agents {

void Niches::Add(const Strategy& strategy, double reward) {
  Degrees degrees{};
  for (std::size_t v = 0; v < degrees.size(); ++v) degrees[v] = GetVariable(strategy, static_cast<int>(v));
  const auto [entry, is_new] = niches_.try_emplace(degrees);
  Niche& niche = entry->second;
  if (!is_new && reward <= niche.reward) return;
  niche = {.best = strategy, .reward = reward, .listed = false, .moves = {}};
  if (is_new) ranked_.push_back(&niche);
  std::stable_sort(ranked_.begin(), ranked_.end(),
                   [](const Niche* a, const Niche* b) { return a->reward > b->reward; });
}

Niches::Niche& Niches::Draw(double decay, Rng& rng) {
  std::vector<double> weights;
  for (std::size_t rank = 0; rank < ranked_.size(); ++rank) {
    weights.push_back(std::max(1e-12, std::pow(decay, static_cast<double>(rank))));
  }
  return *ranked_[rng.Choice(weights)];
}

const Strategy* Niches::NextMove(double decay, const Known& known, Rng& rng) {
  // Those with nothing left lose their rank.
  std::vector<Niche*> open;
  std::vector<double> weights;
  for (Niche* niche : ranked_) {
    if (niche->Exhausted()) continue;
    open.push_back(niche);
    weights.push_back(std::max(1e-12, std::pow(decay, static_cast<double>(weights.size()))));
  }
  while (!open.empty()) {
    const std::size_t drawn = rng.Choice(weights);
    if (Advance(*open[drawn], known, rng)) return &next_;
    open.erase(open.begin() + static_cast<std::ptrdiff_t>(drawn));
    weights.pop_back();
  }
  return nullptr;
}

bool Niches::Advance(Niche& niche, const Known& known, Rng& rng) {
  if (!niche.listed) {
    niche.listed = true;
    for (int group = 0; group < NumMoveGroups(space_); ++group) {
      for (Strategy& move : Moves(space_, niche.best, group)) {
        if (!known(move)) niche.moves.push_back(std::move(move));
      }
    }
    rng.Shuffle(niche.moves);
  }
  while (!niche.moves.empty()) {
    next_ = niche.moves.back();
    niche.moves.pop_back();
    if (!known(next_)) return true;
  }
  return false;
}

}  // namespace shardscout::agents
