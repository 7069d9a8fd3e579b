#include "env/analytical/expert_loads.h"

#include <algorithm>
#include <cmath>

namespace shardscout::internal {
namespace {

constexpr std::size_t kQuantiles = 16;
constexpr double kOff = 1.5;  // Standard deviations of the outer classes of even loads.

/// A power law on [low, high], by its quantiles.
class PowerLaw {
 public:
  PowerLaw(double low, double high, double exponent)
      : high_(std::pow(high, 1 - exponent)), low_(std::pow(low, 1 - exponent)), inverse_(1 / (1 - exponent)) {}
  double Quantile(double share) const { return std::pow((high_ - low_) * share + low_, inverse_); }

 private:
  double high_, low_, inverse_;
};

double Midpoint(std::size_t j) { return (static_cast<double>(j) + 0.5) / static_cast<double>(kQuantiles); }

/// Pairs of the busiest rank, from the spread of single experts' counts.
double BusiestRows(const Routing& routing, const PowerLaw& law) {
  const double pairs = routing.tokens * routing.topk;
  const double local = routing.LocalExperts();
  std::array<double, kQuantiles> draws{};
  double mean_draw = 0;
  for (std::size_t j = 0; j < kQuantiles; ++j) {
    draws[j] = law.Quantile(Midpoint(j));
    mean_draw += draws[j] / kQuantiles;
  }
  double mean = 0, square = 0;
  for (const double draw : draws) {
    const double count = std::floor(std::min(routing.tokens, draw / mean_draw * pairs / routing.experts) + 0.5);
    mean += count / kQuantiles;
    square += count * count / kQuantiles;
  }
  double rows = pairs / routing.ranks;
  if (routing.ranks > 1) {
    const double deviation = std::sqrt(std::max(0.0, square - mean * mean));
    rows += 0.6 * std::pow(std::log2(routing.ranks), 0.95 + 0.12 * std::pow(local, -0.8)) *
            std::sqrt(local * (1 - 1 / routing.ranks)) * deviation;
  }
  return std::min({std::max(rows, std::min(1.0, pairs)), local * routing.tokens, pairs});
}

}  // namespace

void ExpertLoads::Add(double experts, double rows_each) {
  if (experts <= 0 || rows_each <= 0) return;
  if (num_classes < classes.size()) {
    classes[num_classes++] = {experts, rows_each};
    return;
  }
  Class& last = classes.back();  // Full: mixed into the last.
  last.rows = (last.experts * last.rows + experts * rows_each) / (last.experts + experts);
  last.experts += experts;
}

double ExpertLoads::Tiles(double tile_rows) const {
  double tiles = 0;
  for (std::size_t i = 0; i < num_classes; ++i) tiles += classes[i].experts * std::ceil(classes[i].rows / tile_rows);
  return tiles;
}

ExpertLoads DealtLoads(const Routing& routing) {
  const double local = routing.LocalExperts();
  const double stride = std::ceil(routing.experts / routing.topk);
  ExpertLoads loads;
  if (routing.tokens < stride) {
    const double hit = local >= stride ? local / stride * routing.tokens : std::ceil(local * routing.tokens / stride);
    loads.Add(std::min(hit, local), 1);
  } else {
    const double rounds = std::floor(routing.tokens / stride);
    const double left = routing.tokens - rounds * stride;
    const double groups = std::floor(local / stride);
    const double more = groups * left + std::min(local - groups * stride, left);
    loads.Add(more, rounds + 1);
    loads.Add(local - more, rounds);
  }
  for (std::size_t i = 0; i < loads.num_classes; ++i) {
    loads.distinct += loads.classes[i].experts;
    loads.rows += loads.classes[i].experts * loads.classes[i].rows;
  }
  return loads;
}

ExpertLoads EvenLoads(const Routing& routing) {
  const double local = routing.LocalExperts();
  const double mean = routing.tokens * routing.topk / routing.experts;
  return EvenLoads(local, local * (1 - std::exp(-mean)), local * mean);
}

ExpertLoads EvenLoads(double local, double distinct, double rows) {
  ExpertLoads loads;
  loads.distinct = distinct;
  loads.rows = rows;
  const double mean = rows / distinct;
  const double off = kOff * std::sqrt(rows / local);
  loads.Add(distinct * 0.25, std::max(1.0, mean - off));
  loads.Add(distinct * 0.5, std::max(1.0, mean));
  loads.Add(distinct * 0.25, std::max(1.0, mean + off));
  return loads;
}

ExpertLoads PowerLawLoads(const Routing& routing, double exponent) {
  const double pairs = routing.tokens * routing.topk;
  const double local = routing.LocalExperts();
  const bool many = pairs > routing.experts;
  const PowerLaw law(many ? 1 : 0.01, many ? std::max(routing.tokens * 0.8, 1 + 1e-9) : 2, exponent);
  ExpertLoads loads;
  loads.rows = BusiestRows(routing, law);

  const double tilt = 1 + (routing.ranks - 1) / std::pow(local, 1.2);
  const double experts_each = local / static_cast<double>(kQuantiles);
  std::array<double, kQuantiles> counts{};
  double sum = 0;
  for (std::size_t j = 0; j < kQuantiles; ++j) {
    counts[j] = law.Quantile(std::pow(Midpoint(j), 1 / tilt));
    sum += counts[j];
  }
  double over = 0;
  for (double& count : counts) {
    count *= loads.rows / (sum * experts_each);
    over += std::max(0.0, count - routing.tokens);
    count = std::min(count, routing.tokens);
  }
  for (double& count : counts) {
    const double more = std::min(over, routing.tokens - count);
    count += more;
    over -= more;
  }
  double kept = 0;
  for (std::size_t j = kQuantiles; j-- > 0;) {
    if (counts[j] < 0.5) continue;
    loads.Add(experts_each, std::floor(counts[j] + 0.5));
    loads.distinct += experts_each;
    kept += experts_each * std::floor(counts[j] + 0.5);
  }
  // Pairs lost to rounding go to idle experts, one each.
  const double lost = std::max(0.0, std::min(loads.rows - kept, local - loads.distinct));
  loads.Add(lost, 1);
  loads.distinct += lost;
  if (loads.distinct > loads.rows) {
    for (std::size_t i = 0; i < loads.num_classes; ++i) loads.classes[i].experts *= loads.rows / loads.distinct;
    loads.distinct = loads.rows;
  }
  return loads;
}

}  // namespace shardscout::internal
