#include "agents/pretrained_policy.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "agents/pretrained_network.h"
#include "strategies/strategy_features.h"

namespace shardscout::agents {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// A prefix of choices in the beam.
struct Prefix {
  Choices choices;
  Strategy strategy;
  double logprob = 0;
  double perturbed = 0;  ///< logprob plus Gumbel noise, given that no descendant's is above the parent's.
};

double Gumbel(Rng& rng) { return -std::log(-std::log(std::max(rng.Uniform(), 1e-300))); }

/// Gumbels of a parent's choices, conditioned on their largest being the parent's own (Kool et al., appendix B.3).
void Condition(double parent, std::vector<double>& perturbed) {
  const double largest = *std::max_element(perturbed.begin(), perturbed.end());
  for (double& g : perturbed) {
    const double v = g == largest ? -kInfinity : parent - g + std::log1p(-std::exp(g - largest));
    g = g == largest ? parent : parent - std::max(0.0, v) - std::log1p(std::exp(-std::abs(v)));
  }
}

}  // namespace

std::vector<std::size_t> ProposedChoices(const StrategySpace& space, std::span<const int> prefix) {
  std::vector<std::uint8_t> mask;
  space.AllowedChoices(prefix, mask);
  std::vector<std::size_t> allowed;
  for (std::size_t i = 0; i < mask.size(); ++i) {
    if (mask[i] != 0) allowed.push_back(i);
  }
  if (allowed.size() <= kMostChoices) return allowed;
  const auto values = space.Values(static_cast<int>(prefix.size()));
  const std::int64_t devices = space.problem().cluster().num_devices;
  std::set<std::size_t> some;
  for (const std::size_t i : allowed) {
    if (devices % values[i] == 0) some.insert(i);
  }
  for (const std::int64_t base : {std::int64_t{1}, std::int64_t{3}}) {
    for (std::int64_t round = base; round <= values[allowed.back()]; round *= 2) {
      const auto above = std::lower_bound(allowed.begin(), allowed.end(), round,
                                          [&](std::size_t i, std::int64_t size) { return values[i] < size; });
      some.insert(*above);  // Not past the end: the last is no smaller.
    }
  }
  return {some.begin(), some.end()};
}

void AppendChoices(const StrategyFeatures& features, Strategy strategy, int variable,
                   std::span<const std::int64_t> values, std::span<const std::size_t> choices,
                   std::vector<float>& rows) {
  for (const std::size_t choice : choices) {
    SetVariable(strategy, variable, values[choice]);
    rows.resize(rows.size() + features.size());
    features.Write(strategy, variable + 1, std::span(rows).last(features.size()));
  }
}

struct PretrainedPolicy::Impl {
  Impl(const StrategySpace& the_space, const PretrainedWeights& weights)
      : space(the_space), network(weights), features(the_space, weights.strategy_features) {
    const at::NoGradGuard no_grad;
    // Features of the problem by their names, as those of strategies.
    at::Tensor row = at::zeros({1, static_cast<std::int64_t>(weights.problem_features.size())});
    const std::vector<float> values = ProblemFeatures(space.problem());
    const auto names = ProblemFeatureNames();
    for (std::size_t i = 0; i < weights.problem_features.size(); ++i) {
      const auto found = std::find(names.begin(), names.end(), weights.problem_features[i]);
      if (found != names.end()) row.data_ptr<float>()[i] = values[static_cast<std::size_t>(found - names.begin())];
    }
    problem = network.Problems(row);
  }

  /// [rows, 2]: logit and value of strategies whose first num_decided[i] variables are decided.
  at::Tensor Score(std::span<const Strategy> strategies, int num_decided) const {
    const at::NoGradGuard no_grad;
    const auto rows = static_cast<std::int64_t>(strategies.size());
    const auto columns = static_cast<std::int64_t>(features.size());
    at::Tensor input = at::empty({rows, columns});
    for (std::size_t i = 0; i < strategies.size(); ++i) {
      features.Write(strategies[i], num_decided, {input.data_ptr<float>() + i * features.size(), features.size()});
    }
    return network.Score(problem.expand({rows, problem.size(1)}), input);
  }

  std::vector<Prefix> Extend(const std::vector<Prefix>& beam, int variable, std::size_t count, Rng& rng) const;

  const StrategySpace& space;
  const PretrainedNetwork network;
  const StrategyFeatures features;
  at::Tensor problem;
};

std::vector<Prefix> PretrainedPolicy::Impl::Extend(const std::vector<Prefix>& beam, int variable, std::size_t count,
                                                   Rng& rng) const {
  const auto values = space.Values(variable);
  std::vector<std::vector<std::size_t>> allowed(beam.size());
  std::vector<Strategy> rows;  // Of the prefixes that have a choice, choice by choice.
  for (std::size_t i = 0; i < beam.size(); ++i) {
    allowed[i] = ProposedChoices(space, beam[i].choices);
    if (allowed[i].size() < 2 || !features.Knows(variable)) continue;
    for (const std::size_t choice : allowed[i]) {
      rows.push_back(beam[i].strategy);
      SetVariable(rows.back(), variable, values[choice]);
    }
  }
  const at::Tensor scores = rows.empty() ? at::Tensor() : Score(rows, variable + 1);
  std::vector<Prefix> extended;
  std::size_t row = 0;
  std::vector<double> logprob, perturbed;
  for (std::size_t i = 0; i < beam.size(); ++i) {
    const std::size_t num_choices = allowed[i].size();
    logprob.assign(num_choices, 0);
    if (num_choices > 1) {
      for (std::size_t c = 0; c < num_choices; ++c) {
        logprob[c] = features.Knows(variable) ? static_cast<double>(scores.data_ptr<float>()[2 * row++])
                                              : std::log(space.PriorWeights(variable)[allowed[i][c]]);
      }
      const double largest = *std::max_element(logprob.begin(), logprob.end());
      double total = 0;
      for (const double l : logprob) total += std::exp(l - largest);
      for (double& l : logprob) l += beam[i].logprob - largest - std::log(total);
      perturbed = logprob;
      for (double& g : perturbed) g += Gumbel(rng);
      Condition(beam[i].perturbed, perturbed);
    } else {
      logprob[0] = beam[i].logprob;
      perturbed.assign(1, beam[i].perturbed);
    }
    for (std::size_t c = 0; c < num_choices; ++c) {
      Prefix& next = extended.emplace_back(beam[i]);
      next.choices.push_back(static_cast<int>(allowed[i][c]));
      SetVariable(next.strategy, variable, values[allowed[i][c]]);
      next.logprob = logprob[c];
      next.perturbed = perturbed[c];
    }
  }
  if (extended.size() > count) {
    std::stable_sort(extended.begin(), extended.end(),
                     [](const Prefix& a, const Prefix& b) { return a.perturbed > b.perturbed; });
    extended.resize(count);
  }
  return extended;
}

PretrainedPolicy::PretrainedPolicy(const StrategySpace& space, const PretrainedWeights& weights)
    : impl_(std::make_unique<Impl>(space, weights)) {}

PretrainedPolicy::~PretrainedPolicy() = default;

std::vector<PretrainedPolicy::Proposal> PretrainedPolicy::Sample(std::size_t count, Rng& rng) const {
  std::vector<Prefix> beam(1);
  for (int variable = 0; variable < kNumVariables; ++variable) beam = impl_->Extend(beam, variable, count, rng);
  std::vector<Proposal> proposals;
  for (const Prefix& prefix : beam) proposals.push_back({prefix.strategy, prefix.logprob});
  std::stable_sort(proposals.begin(), proposals.end(),
                   [](const Proposal& a, const Proposal& b) { return a.logprob > b.logprob; });
  return proposals;
}

std::vector<double> PretrainedPolicy::Values(std::span<const Strategy> strategies) const {
  std::vector<double> values;
  if (strategies.empty()) return values;
  const at::Tensor scores = impl_->Score(strategies, kNumVariables);
  for (std::size_t i = 0; i < strategies.size(); ++i) {
    values.push_back(static_cast<double>(scores.data_ptr<float>()[2 * i + 1]));
  }
  return values;
}

}  // namespace shardscout::agents
