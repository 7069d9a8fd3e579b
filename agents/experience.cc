#include "agents/experience.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "strategies/local_moves.h"

namespace shardscout::agents {
namespace {

constexpr std::size_t kSample = 256;      // Of the policy, before the first rollout.
constexpr std::size_t kExpanded = 3;      // Tuples of degrees whose best strategy's moves are candidates.
constexpr std::size_t kBestPoints = 96;   // The residuals of the best,
constexpr std::size_t kLastPoints = 32;   // and the last that were evaluated, are modelled.
constexpr std::size_t kCandidates = 600;  // At most, by value and what their parents' residuals were.
constexpr double kLeastScale = 0.02;      // Of residuals.
constexpr double kInfeasible = -3;        // Of a strategy that the cheap evaluator finds infeasible.

std::vector<Strategy> StrategiesOf(const auto& items) {
  std::vector<Strategy> strategies;
  for (const auto& item : items) strategies.push_back(item.strategy);
  return strategies;
}

}  // namespace

Experience::Experience(const StrategySpace& space, const PretrainedWeights& weights, const ExperienceConfig& config,
                       Known known, Estimate estimate, std::uint64_t seed)
    : space_(space),
      config_(config),
      policy_(space, weights),
      features_(space, StrategyFeatureNames(space)),
      model_(features_.size(), {.length = config.length, .noise = config.noise}),
      known_(std::move(known)),
      estimate_(std::move(estimate)),
      rng_(Rng::Stream(seed, "experience")) {}

Experience::Degrees Experience::DegreesOf(const Strategy& strategy) {
  Degrees degrees{};
  for (std::size_t v = 0; v < degrees.size(); ++v) degrees[v] = GetVariable(strategy, static_cast<int>(v));
  return degrees;
}

std::vector<double> Experience::Values(std::span<const Strategy> strategies) const {
  if (!estimate_) return policy_.Values(strategies);
  std::vector<double> values = estimate_(strategies);
  for (double& value : values) value = value > 0 ? std::log(value) : kInfeasible + value;
  return values;
}

std::vector<float> Experience::Features(std::span<const Strategy> strategies) const {
  std::vector<float> rows(strategies.size() * features_.size());
  for (std::size_t i = 0; i < strategies.size(); ++i) {
    features_.Write(strategies[i], kNumVariables, std::span(rows).subspan(i * features_.size(), features_.size()));
  }
  return rows;
}

double Experience::ResidualOf(const Point& point) const {
  return point.reward > 0 ? std::log(point.reward) - point.value : MeanResidual() - 1;
}

void Experience::Add(const Strategy& strategy, double reward) {
  points_.push_back({strategy, reward, Values({&strategy, 1}).front()});
  const double residual = ResidualOf(points_.back());
  const auto [at, first] = niches_.try_emplace(DegreesOf(strategy));
  if (first || reward > at->second.best_reward) at->second = {strategy, reward, residual, false};
  if (reward <= 0) return;
  ++feasible_;
  residual_sum_ += residual;
}

void Experience::Offer(const std::vector<Strategy>& strategies, bool moved, double residual) {
  std::vector<Strategy> fresh;
  for (const Strategy& strategy : strategies) {
    if (!known_(strategy) && offered_.insert(strategy).second) fresh.push_back(strategy);
  }
  const std::vector<double> values = Values(fresh);
  for (std::size_t i = 0; i < fresh.size(); ++i) {
    candidates_.push_back({fresh[i], DegreesOf(fresh[i]), values[i], moved ? residual : MeanResidual()});
  }
}

std::vector<Experience::Niche*> Experience::BestNiches(std::size_t count) {
  std::vector<Niche*> ranked;
  for (auto& [degrees, niche] : niches_) ranked.push_back(&niche);
  std::stable_sort(ranked.begin(), ranked.end(),
                   [](const Niche* a, const Niche* b) { return a->best_reward > b->best_reward; });
  ranked.resize(std::min(ranked.size(), count));
  return ranked;
}

void Experience::ExpandBest() {
  for (Niche* niche : BestNiches(kExpanded)) {
    if (std::exchange(niche->expanded, true)) continue;
    std::vector<Strategy> moves;
    for (int group = 0; group < NumMoveGroups(space_); ++group) {
      for (const Strategy& move : Moves(space_, niche->best, group)) moves.push_back(move);
    }
    Offer(moves, true, niche->best_residual);
  }
}

std::vector<Strategy> Experience::LargerBatches() {
  std::vector<Strategy> probes;
  for (const Niche* niche : BestNiches(static_cast<std::size_t>(config_.probes))) {
    if (niche->best_reward <= 0) break;
    std::vector<Strategy> larger = Moves(space_, niche->best, static_cast<int>(Variable::kBatchSize));
    std::erase_if(larger, [&](const Strategy& move) {
      return move.batch_size <= niche->best.batch_size || move.batch_size > 2 * niche->best.batch_size;
    });
    std::sort(larger.begin(), larger.end(),
              [](const Strategy& a, const Strategy& b) { return a.batch_size < b.batch_size; });
    // The best is the best of its degrees: what is known above it is no better, and nothing above that is tried.
    const auto known = std::find_if(larger.begin(), larger.end(), known_);
    if (known != larger.begin()) probes.push_back(*std::prev(known));
  }
  return probes;
}

double Experience::FitResiduals() {
  std::vector<Point> chosen = points_;
  if (chosen.size() > kBestPoints + kLastPoints) {
    const auto last = chosen.end() - static_cast<std::ptrdiff_t>(kLastPoints);
    std::stable_sort(chosen.begin(), last, [](const Point& a, const Point& b) { return a.reward > b.reward; });
    chosen.erase(chosen.begin() + static_cast<std::ptrdiff_t>(kBestPoints), last);
  }
  std::vector<double> residuals;
  double squares = 0;
  for (const Point& point : chosen) {
    residuals.push_back(ResidualOf(point));
    squares += std::pow(residuals.back() - MeanResidual(), 2) / static_cast<double>(chosen.size());
  }
  model_.Fit(Features(StrategiesOf(chosen)), residuals, MeanResidual());
  return std::max(kLeastScale, std::sqrt(squares));
}

void Experience::DropHopeless() {
  std::erase_if(candidates_, [&](const Candidate& candidate) { return known_(candidate.strategy); });
  if (candidates_.size() <= kCandidates) return;
  std::stable_sort(candidates_.begin(), candidates_.end(),
                   [](const Candidate& a, const Candidate& b) { return a.value + a.residual > b.value + b.residual; });
  candidates_.resize(kCandidates);
}

std::vector<Strategy> Experience::Next(std::size_t count, double left) {
  if (!std::exchange(sampled_, true)) Offer(StrategiesOf(policy_.Sample(kSample, rng_)), false, 0);
  ExpandBest();
  DropHopeless();
  const double exploration = config_.exploration * left * FitResiduals();
  ResidualModel::Candidates posterior(model_, Features(StrategiesOf(candidates_)));
  std::vector<bool> taken(candidates_.size());
  std::map<Degrees, double> crowding;
  std::vector<Strategy> next = LargerBatches();
  next.resize(std::min(next.size(), count));
  for (std::size_t i = 0; i < candidates_.size(); ++i) {
    taken[i] = std::find(next.begin(), next.end(), candidates_[i].strategy) != next.end();
  }
  while (next.size() < count) {
    std::size_t best = candidates_.size();
    double best_promise = 0;
    for (std::size_t i = 0; i < candidates_.size(); ++i) {
      if (taken[i]) continue;
      const auto crowded = crowding.find(candidates_[i].degrees);
      const double promise = candidates_[i].value + posterior.Mean(i) + exploration * posterior.Deviation(i) -
                             (crowded == crowding.end() ? 0 : crowded->second);
      const bool ties = best < candidates_.size() && promise == best_promise;
      if (best == candidates_.size() || promise > best_promise ||
          (ties && candidates_[i].strategy < candidates_[best].strategy)) {
        best = i;
        best_promise = promise;
      }
    }
    if (best == candidates_.size()) break;  // None is left.
    taken[best] = true;
    posterior.Condition(best);
    crowding[candidates_[best].degrees] += config_.crowding;
    next.push_back(candidates_[best].strategy);
  }
  return next;
}

}  // namespace shardscout::agents
