#include "env/simulator/expert_routing.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>

#include "shardscout/random.h"

namespace shardscout::env {
namespace {

/// Below this mean a binomial is drawn trial by gap, above it is rounded from a normal one.
constexpr double kFewSuccesses = 30;

std::int64_t Binomial(Rng& rng, std::int64_t trials, double p) {
  if (trials <= 0 || p <= 0) return 0;
  if (p >= 1) return trials;
  if (p > 0.5) return trials - Binomial(rng, trials, 1 - p);
  const double mean = static_cast<double>(trials) * p;
  if (mean > kFewSuccesses) {
    const double drawn = mean + std::sqrt(mean * (1 - p)) * rng.Normal();
    return std::clamp<std::int64_t>(std::llround(drawn), 0, trials);
  }
  // Failures between two successes are geometric.
  const double log_failure = std::log1p(-p);
  std::int64_t successes = 0;
  double at = 0;
  while (true) {
    at += std::floor(std::log1p(-rng.Uniform()) / log_failure) + 1;
    if (at > static_cast<double>(trials)) return successes;
    ++successes;
  }
}

}  // namespace

std::vector<std::int64_t> DrawExpertTokens(const ExpertWork& routing, double skew, std::int64_t layer) {
  const auto experts = static_cast<std::size_t>(std::llround(routing.experts));
  const std::int64_t tokens = std::llround(routing.tokens);
  std::int64_t left = tokens * std::llround(routing.experts_per_token);
  Rng rng = Rng::Stream(static_cast<std::uint64_t>(layer), "routing");
  std::vector<std::size_t> order(experts);
  std::iota(order.begin(), order.end(), std::size_t{0});
  rng.Shuffle(order);
  std::vector<double> popularity(experts);
  for (std::size_t k = 0; k < experts; ++k) popularity[k] = std::pow(static_cast<double>(k + 1), -skew);
  double popularity_left = std::accumulate(popularity.begin(), popularity.end(), 0.0);
  std::vector<std::int64_t> counts(experts);
  for (std::size_t k = 0; k < experts; ++k) {
    const double p = k + 1 == experts ? 1 : std::min(1.0, popularity[k] / popularity_left);
    const std::int64_t drawn = std::min(tokens, Binomial(rng, left, p));
    counts[order[k]] = drawn;
    left -= drawn;
    popularity_left -= popularity[k];
  }
  // What experts that have every token already would have got.
  for (std::size_t k = 0; k < experts && left > 0; ++k) {
    const std::int64_t more = std::min(left, tokens - counts[order[k]]);
    counts[order[k]] += more;
    left -= more;
  }
  return counts;
}

BusiestRank FindBusiestRank(const std::vector<std::int64_t>& expert_tokens, std::int64_t ranks) {
  BusiestRank busiest;
  const std::size_t local = expert_tokens.size() / static_cast<std::size_t>(ranks);
  for (std::size_t first = 0; first + local <= expert_tokens.size(); first += local) {
    BusiestRank rank;
    for (std::size_t e = first; e < first + local; ++e) {
      rank.pairs += static_cast<double>(expert_tokens[e]);
      rank.distinct += expert_tokens[e] > 0 ? 1 : 0;
    }
    if (rank.pairs > busiest.pairs) busiest = rank;
  }
  return busiest;
}

Task WithRouting(Task task, const BusiestRank& expected, const BusiestRank& drawn) {
  const double pairs = drawn.pairs / expected.pairs;
  if (task.collective == Collective::kAllToAll) {
    task.payload_bytes *= pairs;
    return task;
  }
  Work& work = task.work;
  if (work.routing.tokens <= 0) return task;
  work.routing.pairs = drawn.pairs;
  work.routing.distinct = drawn.distinct;
  work.flop *= pairs;
  work.read_bytes *= pairs;
  work.write_bytes *= pairs;
  if (task.kind != TaskKind::kExpertMatmul) return task;
  work.weight_bytes *= drawn.distinct / expected.distinct;
  work.count = drawn.distinct;
  work.m = drawn.pairs / drawn.distinct;
  return task;
}

}  // namespace shardscout::env
