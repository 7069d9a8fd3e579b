#pragma once

#include <optional>

#include "shardscout/run_search.h"

namespace shardscout::env {

/// Who proves optima and bounds. Asks the evaluator for improvements only, so that so many evaluations are no limit.
inline constexpr const char* kProver = "exact";
inline constexpr std::int64_t kProverBudget = 1000000;

/// A bound in the unit of the objective as a reward.
double BoundReward(const Problem& problem, double bound, double normaliser);

/// What `exact` proves of the request's problem until its gap is the request's, or the time is over; nullopt where
/// nothing is feasible, or nothing was found in that time. SpecError where it does not know the request's evaluator.
std::optional<Certificate> ProveBound(const Problem& problem, const SearchRequest& request,
                                      const SearcherRegistry& searchers, const EvaluatorRegistry& evaluators);

/// The same bound for another strategy's objective.
Certificate WithValue(const Problem& problem, const Certificate& bound, double value);

}  // namespace shardscout::env
