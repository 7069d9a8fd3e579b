#pragma once

#include "env/simulator/step_timer.h"
#include "shardscout/evaluation.h"

namespace shardscout::env {

/// A strategy's requests, simulated.
struct ServingRun {
  RequestRun run;
  std::int64_t warmup = 0;  ///< Requests at either end that statistics leave out.
  double times = 1;         ///< How many replicas, or ranks of them, what was simulated stands for.
};

/// Simulates the requests of a `serve` workload (WorkloadSpec::requests) under a strategy, of which `closed_form` has
/// the memory and the replicas.
///
///   ranks of a replica   dp; of each, batch_size requests run at a time
///   folding              in a closed loop every replica has its share of the concurrency (rounded up) and one is
///                        simulated; where all requests have the same lengths, so have the ranks of a replica
///   cache                what the device of the fullest stage has left beside the closed form's other memory, in
///                        blocks; at least one request's
ServingRun RunRequests(const Problem& problem, const Strategy& strategy, SimulatorOptions options,
                       LengthVariants& variants, const Evaluation& closed_form);

/// Puts what the requests saw into an evaluation that has the closed form's memory and metrics: statistics, and in
/// place of its own the means of TTFT and TPOT, the throughput, and what follows from these, limits of percentiles
/// included.
///
///   throughput           output tokens from the first arrival that counts to the last one, a request's tokens spread
///                        evenly from its first to its last
///
/// Percentile p of n figures is the ceil(p n / 100)-th smallest.
void EvaluateRequests(const Problem& problem, const Strategy& strategy, SimulatorOptions options,
                      LengthVariants& variants, Evaluation& evaluation);

/// The same from a run: what of the statistics follows from it. `warmup` requests at either end are not counted.
RequestStatistics StatisticsOf(const RequestRun& run, std::int64_t warmup, const WorkloadSpec& workload);

/// Output tokens a second, as above.
double OutputTokensPerS(const RequestRun& run, std::int64_t warmup);

}  // namespace shardscout::env
