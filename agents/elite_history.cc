#include "agents/elite_history.h"

#include <algorithm>

#include "shardscout/error.h"

namespace shardscout::agents {

EliteHistory::EliteHistory(std::size_t capacity) : capacity_(capacity) { SHARDSCOUT_CHECK_OP(capacity, >=, 1u); }

bool EliteHistory::Add(const Choices& choices, double reward) {
  for (const Elite& elite : elites_) {
    if (elite.choices == choices) return false;
  }
  const auto place = std::find_if(elites_.begin(), elites_.end(), [&](const Elite& elite) {
    return reward > elite.reward || (reward == elite.reward && choices < elite.choices);
  });
  if (place == elites_.end() && elites_.size() == capacity_) return false;
  elites_.insert(place, Elite{choices, reward});
  if (elites_.size() > capacity_) elites_.pop_back();
  return true;
}

}  // namespace shardscout::agents
