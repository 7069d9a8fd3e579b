#include "baselines/local_search.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "baselines/fresh_samples.h"
#include "env/searcher_config.h"
#include "shardscout/random.h"
#include "strategies/local_moves.h"
#include "strategies/sharding_templates.h"

namespace shardscout::baselines {
namespace {

constexpr int kNumDegrees = static_cast<int>(Variable::kExpertTensorParallelSize) + 1;
constexpr std::int64_t kDrawsPerSample = 16;
constexpr std::int64_t kMostSizes = 1024;

using Degrees = std::array<std::int64_t, kNumDegrees>;

Degrees DegreesOf(const Strategy& s) {
  Degrees degrees{};
  for (int v = 0; v < kNumDegrees; ++v) degrees[static_cast<std::size_t>(v)] = GetVariable(s, v);
  return degrees;
}

class LocalSearch final : public Searcher {
 public:
  explicit LocalSearch(const LocalSearchConfig& config) : config_(config) {}

  std::string_view Name() const override { return "local-search"; }
  std::string ConfigJson() const override { return env::SettingsJson(config_); }

  SearchStatus Search(SearchEnvironment& environment, std::uint64_t seed) override {
    Rng rng = Rng::Stream(seed, "local-search");
    std::set<Degrees> ended_at;
    std::vector<Scored> points(environment.start().begin(), environment.start().end());
    while (environment.ended() == EndReason::kNone) {
      Screen(environment, rng, points);
      std::sort(points.begin(), points.end(), Better);
      std::int64_t starts = 0;
      for (const Scored& point : points) {
        if (starts == config_.num_starts || environment.ended() != EndReason::kNone) break;
        if (!ended_at.insert(DegreesOf(point.strategy)).second) continue;
        ++starts;
        ended_at.insert(DegreesOf(Descend(environment, point, rng).strategy));
        for (std::int64_t i = 0; i < config_.num_kicks; ++i) Kick(environment, rng);
      }
      // All screened degrees are known from descents.
      if (starts == 0) Kick(environment, rng);
      points.clear();
    }
    return SearchStatus::kFinished;
  }

 private:
  void Screen(SearchEnvironment& environment, Rng& rng, std::vector<Scored>& points) const {
    const StrategySpace& space = environment.space();
    std::vector<Strategy> templates = ShardingTemplates();
    templates.resize(static_cast<std::size_t>(config_.num_templates));
    const double share = config_.screen_share * static_cast<double>(environment.Remaining());
    const auto num_sizes =
        std::min(kMostSizes, static_cast<std::int64_t>(share / static_cast<double>(templates.size())) + 1);
    const std::vector<Strategy> drawn = FreshSamples(environment, rng, num_sizes, kDrawsPerSample);
    std::vector<Strategy> screened;
    for (const Strategy& sample : drawn) {
      const Strategy sizes = config_.round_degrees ? WithRoundedDegrees(space, sample) : sample;
      for (const Strategy& layers : templates) {
        Strategy member = WithLayers(space, sizes, layers);
        if (!environment.Known(member)) screened.push_back(member);
      }
    }
    // All that the templates reach is known: what is left is elsewhere.
    if (screened.empty()) screened = drawn;
    screened = Promising(environment, std::move(screened));
    const auto size = static_cast<std::size_t>(config_.minibatch_size);
    for (std::size_t i = 0; i < screened.size(); i += size) {
      const auto batch = std::span(screened).subspan(i, std::min(size, screened.size() - i));
      for (const Scored& scored : environment.Evaluate(batch)) points.push_back(scored);
    }
  }

  /// The estimated_share of the strategies, by their estimates; all of them where there are none.
  std::vector<Strategy> Promising(const SearchEnvironment& environment, std::vector<Strategy> strategies) const {
    if (!environment.HasEstimates()) return strategies;
    const std::vector<double> estimates = environment.Estimate(strategies);
    std::vector<std::size_t> order(strategies.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return estimates[a] > estimates[b]; });
    order.resize(static_cast<std::size_t>(std::ceil(config_.estimated_share * static_cast<double>(order.size()))));
    std::vector<Strategy> promising;
    promising.reserve(order.size());
    for (const std::size_t i : order) promising.push_back(strategies[i]);
    return promising;
  }

  /// A local optimum, or where the environment ended the search.
  Scored Descend(SearchEnvironment& environment, Scored state, Rng& rng) const {
    std::vector<int> groups(static_cast<std::size_t>(NumMoveGroups(environment.space())));
    std::iota(groups.begin(), groups.end(), 0);
    rng.Shuffle(groups);
    std::size_t without_gain = 0;
    for (std::size_t i = 0; without_gain < groups.size(); i = (i + 1) % groups.size()) {
      ++without_gain;
      const std::vector<Strategy> moves = Promising(environment, Moves(environment.space(), state.strategy, groups[i]));
      if (moves.empty()) continue;
      for (const Scored& scored : environment.Evaluate(moves)) {
        if (scored.reward <= state.reward) continue;
        state = scored;
        without_gain = 0;
      }
      if (environment.ended() != EndReason::kNone) break;
    }
    return state;
  }

  void Kick(SearchEnvironment& environment, Rng& rng) const {
    if (environment.ended() != EndReason::kNone) return;
    Strategy moved = environment.best()->strategy;
    for (std::int64_t i = 0; i < config_.kick_steps; ++i) moved = environment.space().Neighbour(moved, rng);
    if (const std::optional<Scored> scored = environment.Evaluate(moved)) Descend(environment, *scored, rng);
  }

  const LocalSearchConfig config_;
};

}  // namespace

std::unique_ptr<Searcher> MakeLocalSearch(const LocalSearchConfig& config) {
  return std::make_unique<LocalSearch>(config);
}

}  // namespace shardscout::baselines
