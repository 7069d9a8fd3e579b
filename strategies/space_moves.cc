#include <algorithm>
#include <cmath>

#include "shardscout/error.h"
#include "strategies/space_impl.h"

namespace shardscout {
namespace {

constexpr int kNumDegrees = static_cast<int>(Variable::kExpertTensorParallelSize) + 1;
constexpr int kNumSizes = static_cast<int>(Variable::kNumMicrobatches) + 1;

/// How far two sizes are apart: by ratio, so that 4 is as far from 8 as 64 from 128.
double Distance(int variable, std::int64_t a, std::int64_t b) {
  if (variable >= kNumSizes) return a == b ? 0 : 1;
  return std::abs(std::log(static_cast<double>(a)) - std::log(static_cast<double>(b)));
}

}  // namespace

Strategy StrategySpace::Sample(Rng& rng) const {
  Strategy s;
  std::vector<std::uint8_t> mask;
  std::vector<double> weights;
  for (int v = 0; v < NumVariables(); ++v) {
    impl_->Mask(s, v, mask);
    const auto prior = PriorWeights(v);
    weights.assign(prior.begin(), prior.end());
    for (std::size_t i = 0; i < mask.size(); ++i) weights[i] *= mask[i];
    SetVariable(s, v, Values(v)[rng.Choice(weights)]);
  }
  return s;
}

Strategy StrategySpace::Repair(const Strategy& wanted) const {
  Strategy s;
  std::vector<std::uint8_t> mask;
  for (int v = 0; v < kNumVariables; ++v) {
    const auto values = Values(v);
    const std::int64_t want = GetVariable(wanted, v);
    const auto found = std::lower_bound(values.begin(), values.end(), want);
    if (found != values.end() && *found == want && impl_->Allowed(s, v, want)) {
      SetVariable(s, v, want);
      continue;
    }
    impl_->Mask(s, v, mask);
    std::size_t best = values.size();
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (mask[i] == 0) continue;
      if (best == values.size() || Distance(v, values[i], want) < Distance(v, values[best], want)) best = i;
    }
    SHARDSCOUT_CHECK_OP(best, <, values.size());
    SetVariable(s, v, values[best]);
  }
  return s;
}

Strategy StrategySpace::Neighbour(const Strategy& strategy, Rng& rng) const {
  // A move may be undone by the repair (a forced variable); try others. A space of one member has none.
  constexpr int kAttempts = 64;
  std::vector<std::uint8_t> mask;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    const int v = static_cast<int>(rng.Below(static_cast<std::size_t>(NumVariables())));
    Strategy prefix;
    for (int i = 0; i < v; ++i) SetVariable(prefix, i, GetVariable(strategy, i));
    impl_->Mask(prefix, v, mask);
    const auto values = Values(v);
    const std::int64_t old = GetVariable(strategy, v);

    Strategy wanted = strategy;
    const bool exchange = v < kNumDegrees && rng.Uniform() < 0.5;
    if (exchange) {
      // Move a factor between two degrees, so that the number of ranks stays.
      const int other = static_cast<int>(rng.Below(static_cast<std::size_t>(kNumDegrees)));
      if (other == v) continue;
      const std::int64_t factor = rng.Below(4) == 0 ? 3 : 2;
      const std::int64_t from = GetVariable(strategy, other);
      if (from % factor != 0) continue;
      SetVariable(wanted, other, from / factor);
      SetVariable(wanted, v, old * factor);
    } else {
      std::vector<std::int64_t> below, above;
      for (std::size_t i = 0; i < values.size(); ++i) {
        if (mask[i] == 0 || values[i] == old) continue;
        (values[i] < old ? below : above).push_back(values[i]);
      }
      if (below.empty() && above.empty()) continue;
      if (v < kNumSizes && rng.Uniform() < 0.75) {
        // To a neighbour: half the time the next value, half the time the nearest to half or double.
        const bool up = below.empty() || (!above.empty() && rng.Uniform() < 0.5);
        const auto& side = up ? above : below;
        const std::int64_t aim = rng.Uniform() < 0.5 ? old : (up ? old * 2 : std::max<std::int64_t>(1, old / 2));
        const auto nearest = std::min_element(side.begin(), side.end(), [&](std::int64_t a, std::int64_t b) {
          return Distance(v, a, aim) < Distance(v, b, aim);
        });
        SetVariable(wanted, v, *nearest);
      } else {
        below.insert(below.end(), above.begin(), above.end());
        if (v < kNumDegrees) {
          std::vector<double> weights;
          weights.reserve(below.size());
          for (std::int64_t value : below) weights.push_back(1.0 / static_cast<double>(value));
          SetVariable(wanted, v, below[rng.Choice(weights)]);
        } else {
          SetVariable(wanted, v, below[rng.Below(below.size())]);
        }
      }
    }
    const Strategy moved = Repair(wanted);
    if (moved != strategy) return moved;
  }
  return strategy;
}

}  // namespace shardscout
