#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "shardscout/evaluator.h"

/// What a cluster can be between fast for one user and good for many: the Pareto front of throughput per device against
/// latency (TTFT in prefill, else TPOT).
///
/// A strategy dominates another one if its throughput per device is no lower and its latency no higher, and one of the
/// two is better. The front is the feasible strategies that none dominates; of those that are equal in both, one.
/// Example, as (tokens/s/device, ms): of (100, 10), (200, 20), (150, 25), (200, 30) the first two.
///
/// The batch is chosen with the rest where the workload fixes neither batch_size nor concurrency. All limits hold but
/// the workload's target of that very latency, so that the front also shows what a stricter or looser one would bring;
/// which points keep it, their evaluations tell.
namespace shardscout {

/// Seconds: TTFT in prefill, else TPOT.
double LatencyOf(const Evaluation& evaluation, const WorkloadSpec& workload);

/// Of two feasible evaluations of one problem.
bool Dominates(const Evaluation& a, const Evaluation& b, const WorkloadSpec& workload);

struct ParetoPoint {
  Strategy strategy;
  Evaluation evaluation;  ///< On the problem as it is, with all its targets.
};

/// Drops what another point dominates or equals (the first of equal ones stays) and orders the rest by rising latency.
void KeepNonDominated(std::vector<ParetoPoint>& points, const WorkloadSpec& workload);

struct ParetoRequest {
  std::string evaluator = "analytical";
  int threads = 0;                          ///< 0: OpenMP's default. Changes no result.
  double time_limit_s = 0;                  ///< 0: none. Such a front is not repeatable.
  const std::atomic<bool>* stop = nullptr;  ///< Set by Ctrl-C. Not owned.
};

struct ParetoFront {
  std::vector<ParetoPoint> points;  ///< By rising latency, and so rising throughput per device.
  std::string evaluator;
  /// No canonical strategy of the problem is missing. False: time or Ctrl-C ended the search (then nothing is said of
  /// what was not found), or the evaluator is not the analytical one.
  bool proved = false;
  double wall_s = 0;
};

/// By branch and bound with both numbers as bounds (baselines/exact/solver.h). Of another evaluator than the analytical
/// one, what that one leaves of the analytical front: each of its strategies is scored anew, and those that are
/// dominated or infeasible then are dropped.
ParetoFront FindParetoFront(const Problem& problem, const ParetoRequest& request, const EvaluatorRegistry& evaluators);

/// RFC 4180: a header, then one row a point; the strategy's variables are columns. Numbers read back bit for bit.
std::string ParetoCsv(const Problem& problem, const ParetoFront& front);

/// One JSON object: the front but its wall time.
std::string ParetoJson(const Problem& problem, const ParetoFront& front, int indent = 2);

}  // namespace shardscout
