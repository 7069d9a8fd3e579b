#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <vector>

#include "shardscout/random.h"
#include "shardscout/strategy_space.h"

namespace shardscout::agents {

/// The best strategy of each tuple of degrees (pp, tp, cp, dp, ep, etp), with the moves from it that have not been
/// tried. What descends from one of them does not crowd out another: strategies that differ in a sharding alone would
/// soon fill any list of the best.
class Niches {
 public:
  /// Whether a strategy needs no evaluation any more.
  using Known = std::function<bool(const Strategy&)>;

  explicit Niches(const StrategySpace& space) : space_(space) {}

  void Add(const Strategy& strategy, double reward);
  bool empty() const { return niches_.empty(); }

  /// The niche of rank r (0 the best) is drawn with weight decay^r.
  struct Niche {
    Strategy best;
    double reward = 0;
    bool listed = false;          ///< `moves` holds what is left of the moves from `best`.
    std::vector<Strategy> moves;  ///< The next one last.
    bool Exhausted() const { return listed && moves.empty(); }
  };
  Niche& Draw(double decay, Rng& rng);

  /// A move from a niche's best that is not `known`, each at most once (local_moves.h), in random order;
  /// from the niches after it where it has none left. nullptr where no niche has one. Valid until the next call.
  const Strategy* NextMove(double decay, const Known& known, Rng& rng);

 private:
  using Degrees = std::array<std::int64_t, 6>;
  bool Advance(Niche& niche, const Known& known, Rng& rng);

  const StrategySpace& space_;
  std::map<Degrees, Niche> niches_;
  std::vector<Niche*> ranked_;  ///< The best first; ties by degrees.
  Strategy next_;
};

}  // namespace shardscout::agents
