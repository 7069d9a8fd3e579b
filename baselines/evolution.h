#pragma once

#include <cstdint>
#include <memory>

#include "shardscout/searcher.h"
#include "src/json/field.h"

namespace shardscout::baselines {

/// `evolution`: regularised (aging) evolution, Real et al., "Regularized Evolution for Image Classifier Architecture
/// Search" (AAAI 2019), algorithm 1, with crossover.
///
/// The population is a queue of `population_size` scored strategies: first the start strategies, then samples of the
/// space. To make a child, `tournament_size` members are drawn with replacement and the best of them is the parent; the
/// child is Neighbour(parent). With probability `crossover` there is a second parent from a second tournament, and the
/// child is first a cross of the two: parallel sizes, batch and micro-batches of the one, each of the other variables
/// of either with equal chance, repaired into the space. A scored child joins at the end of the queue and the oldest
/// member leaves it, however good it is, so that what stays are lines that keep doing well.
///
/// `minibatch_size` children are made from one population before any of them is scored. A child that was scored before
/// is mutated again until it is new, at most `max_mutations` times; in vain, a fresh sample takes its place. Infeasible
/// strategies take part with their rewards, which are graded by the violations.
///
/// Departures from the paper: crossover; children in batches (1 is the paper's algorithm); the child of two parents is
/// mutated only when it is known.
///
/// Defaults: what experiments/tune_rulers chose on held-out problems at a budget of 1,000.
struct EvolutionConfig {
  std::int64_t population_size = 30;
  std::int64_t tournament_size = 15;
  double crossover = 0.25;
  std::int64_t minibatch_size = 8;
  std::int64_t max_mutations = 8;
};

template <class V>
void VisitFields(V& visit, EvolutionConfig& config) {
  visit("population_size", config.population_size,
        {.doc = "Members; the first generation, and the age at which a member dies.", .min = 1, .max = 65536});
  visit("tournament_size", config.tournament_size,
        {.doc = "Members drawn for each parent, the best of which it is.", .min = 1, .max = 65536});
  visit("crossover", config.crossover, {.doc = "Probability that a child has two parents.", .min = 0, .max = 1});
  visit("minibatch_size", config.minibatch_size,
        {.doc = "Children made from one population and evaluated at a time.", .min = 1, .max = 65536});
  visit("max_mutations", config.max_mutations,
        {.doc = "Mutations of a child that is known before a fresh sample takes its place.", .min = 1, .max = 65536});
}

/// The cross of two members before it is repaired: sizes (the variables up to num_microbatches) of `a`, each other
/// variable of either.
Strategy Cross(const Strategy& a, const Strategy& b, Rng& rng);

std::unique_ptr<Searcher> MakeEvolution(const EvolutionConfig& config);

}  // namespace shardscout::baselines
