#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "shardscout/plan.h"
#include "shardscout/problem.h"
#include "shardscout/run_search.h"

/// How many devices are to compute prompts, how many to decode, and with what strategies: a `serve` problem divided
/// between two pools (two_pools.h).
///
/// On n devices each phase is a problem of its own, with its own target: P(n) and D(n) are the most requests a second
/// that a search finds for them. The deployment of N devices serves min(P(n), D(N - n)). Both are searched for as many
/// n as it takes to find the best: P rises with n and D(N - n) falls, so that the best lies where they cross, which
/// bisection finds. On 16 nodes and more, n is a number of whole nodes.
///
/// With the searcher `exact` and the analytical evaluator P and D are proved optima, and so is the division over the
/// points tried, in closed form. Decode's TPOT target is lessened by the longest transfer that could be (a request's
/// cache from one device to one other), so that the transfer breaks it nowhere.
namespace shardscout {

/// One point of division.
struct DivisionPoint {
  std::int64_t prefill_devices = 0, decode_devices = 0;
  double prefill_requests_per_s = 0, decode_requests_per_s = 0;  ///< 0: nothing feasible.
  double RequestsPerS() const {
    return prefill_requests_per_s < decode_requests_per_s ? prefill_requests_per_s : decode_requests_per_s;
  }
};

struct Division {
  std::vector<DivisionPoint> points;  ///< All that were searched, by prefill_devices.
  std::optional<Plan> plan;           ///< Of the best; absent where at none both phases are feasible.
  std::optional<DivisionPoint> best;  ///< Which that is.
  bool proved = false;                ///< Every search behind it was.
  SearchReport one_pool;              ///< The whole cluster as one pool, by the same search.
  std::int64_t evaluations = 0;       ///< Of all searches of pools.
};

/// `request` is each search's; its journal, resume, screen and top are not used. The plan is evaluated in closed form,
/// or by requests where the workload has them. SpecError where the problem is no `serve` problem on two or more devices
/// with two or more output tokens, fixes batch size or concurrency, or asks for latency.
Division DivideCluster(const Problem& problem, const SearchRequest& request, const SearcherRegistry& searchers,
                       const EvaluatorRegistry& evaluators);

}  // namespace shardscout
