#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "shardscout/strategy.h"

namespace shardscout::pretrain {

/// What is known of a problem: strategies with their value over the best one's, the best first (1). Infeasible ones
/// have the reward's negative number (reward.h).
struct Lesson {
  std::uint64_t seed = 0;  ///< RandomProblem's.
  bool proved = false;     ///< The best one is the optimum.
  std::vector<Strategy> strategies;
  std::vector<double> scores;
};

/// Solves RandomProblem(seed): the optimum by `exact` in at most exact_limit_s seconds (0: without), samples of the
/// space with and without templates, all moves from the best of the best tuples of degrees, and a local search with
/// what is left. Of `budget` strategies the best and a random choice of the others are kept. Empty: no feasible
/// strategy was found.
Lesson Solve(std::uint64_t seed, std::int64_t budget, double exact_limit_s);

/// Whether a lesson is measured by instead of learned: a tenth of them.
inline bool IsHeldOut(std::uint64_t seed) { return seed % 10 == 7; }

/// One line of JSON, and back.
std::string ToLine(const Lesson& lesson);
Lesson ParseLesson(const std::string& line);

}  // namespace shardscout::pretrain
