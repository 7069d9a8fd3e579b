#pragma once

// What strategies are worth to the exact solver, and those found that are worth most.

#include <vector>

#include "shardscout/evaluation.h"
#include "shardscout/strategy.h"

namespace shardscout::baselines::exact {

/// More score is better, less latency is better. Where only the score counts, the latency of everything is 0. A score
/// of 0: nothing, an infeasible strategy.
struct Worth {
  double score = 0;
  double latency_s = 0;
  bool operator==(const Worth&) const = default;
};
inline constexpr Worth kNothing{};

/// Of two bounds of the same: both hold.
Worth Tightest(const Worth& a, const Worth& b);
/// A bound of what either bounds.
Worth Loosest(const Worth& a, const Worth& b);

struct Candidate {
  Strategy strategy;
  Evaluation evaluation;
  Worth worth;
};

/// Candidates none of which covers another: latency and score rise together from one to the next.
class Staircase {
 public:
  /// Whether some candidate has as much score and as little latency or better of each; always true of kNothing.
  bool Covers(const Worth& worth) const;
  /// Takes the place of those that it covers. Nothing happens where it is itself covered: of equal ones the first
  /// stays.
  void Add(const Candidate& candidate);

  /// By rising latency.
  const std::vector<Candidate>& steps() const { return steps_; }

 private:
  std::vector<Candidate> steps_;
};

}  // namespace shardscout::baselines::exact
