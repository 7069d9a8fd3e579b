#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "shardscout/strategy_space.h"

namespace shardscout::agents {

/// A strategy found so far, as the indices of its values in StrategySpace::Values, with its reward.
struct Elite {
  Choices choices;
  double reward = 0;
  bool operator==(const Elite&) const = default;
};

/// The N best distinct strategies found so far: what a policy observes, and what an agent inherits from the one before
/// it ("Learning to Shard", arXiv 2509.00217).
///
/// Invariants: at most `capacity` elites, no two with the same choices, best first; among equal rewards the
/// lexicographically smaller choices come first (the order of Better). What was offered, not when, decides the content,
/// as long as a strategy always comes with the same reward.
///
/// Example, capacity 2: Add(a, 0.5), Add(b, 0.9), Add(a, 0.5), Add(c, 0.7) leave [b 0.9, c 0.7].
class EliteHistory {
 public:
  explicit EliteHistory(std::size_t capacity);

  /// True when the strategy is now among the elites and was not before.
  bool Add(const Choices& choices, double reward);

  std::span<const Elite> elites() const { return elites_; }
  std::size_t capacity() const { return capacity_; }
  bool empty() const { return elites_.empty(); }

 private:
  std::size_t capacity_;
  std::vector<Elite> elites_;
};

}  // namespace shardscout::agents
