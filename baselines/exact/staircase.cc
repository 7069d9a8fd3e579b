#include "baselines/exact/staircase.h"

#include <algorithm>

namespace shardscout::baselines::exact {
namespace {

/// The first candidate with a higher latency.
template <class Steps>
auto Above(Steps& steps, double latency_s) {
  return std::upper_bound(steps.begin(), steps.end(), latency_s,
                          [](double latency, const Candidate& step) { return latency < step.worth.latency_s; });
}

}  // namespace

Worth Tightest(const Worth& a, const Worth& b) {
  return {std::min(a.score, b.score), std::max(a.latency_s, b.latency_s)};
}

Worth Loosest(const Worth& a, const Worth& b) {
  if (a.score <= 0 || b.score <= 0) return a.score <= 0 ? b : a;
  return {std::max(a.score, b.score), std::min(a.latency_s, b.latency_s)};
}

bool Staircase::Covers(const Worth& worth) const {
  if (worth.score <= 0) return true;
  // Of those with as little latency the last has the most score.
  const auto above = Above(steps_, worth.latency_s);
  return above != steps_.begin() && std::prev(above)->worth.score >= worth.score;
}

void Staircase::Add(const Candidate& candidate) {
  if (Covers(candidate.worth)) return;
  const auto covered = [&](const Candidate& step) {
    return step.worth.latency_s >= candidate.worth.latency_s && step.worth.score <= candidate.worth.score;
  };
  std::erase_if(steps_, covered);
  steps_.insert(Above(steps_, candidate.worth.latency_s), candidate);
}

}  // namespace shardscout::baselines::exact
