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

/// A rank's and a replica's part of a deployment, as far as a strategy decides it. `problem` is of the phases that the
/// engine runs, `closed_form` its evaluation.
///
///   ranks of a replica   dp; of each, batch_size requests run at a time
///   cache                what the device of the fullest stage has left beside the closed form's other memory, in
///                        blocks; at least one request's
EngineOptions EngineOf(const Problem& problem, const Strategy& strategy, const RequestModel& model,
                       const Evaluation& closed_form);

/// What a step of `problem`'s engine takes: the devices' time, and its host's. `timer` outlives it.
StepPrice PriceOf(const Problem& problem, StepTimer& timer);

/// Simulates the requests of a `serve` workload (WorkloadSpec::requests) under a strategy, of which `closed_form` has
/// the memory and the replicas. In a closed loop every replica has its share of the concurrency (rounded up) and one is
/// simulated; where all requests have the same lengths, so have the ranks of a replica.
ServingRun RunRequests(const Problem& problem, const Strategy& strategy, SimulatorOptions options,
                       LengthVariants& variants, const Evaluation& closed_form);

/// Runs the requests, and puts what they saw into an evaluation that has the closed form's memory and metrics:
/// statistics, and in place of its own the means of TTFT and TPOT, the throughput, and what follows from these, limits
/// of percentiles included.
///
///   throughput           output tokens from the first arrival that counts to the last one, a request's tokens spread
///                        evenly from its first to its last
///
/// Percentile p of n figures is the ceil(p n / 100)-th smallest.
void EvaluateRequests(const Problem& problem, const Strategy& strategy, SimulatorOptions options,
                      LengthVariants& variants, Evaluation& evaluation);

/// The same of a run, into an evaluation that has memory, replicas and concurrency.
void PutRequests(const Problem& problem, const ServingRun& serving, Evaluation& evaluation);

/// The same from a run: what of the statistics follows from it. `warmup` requests at either end are not counted.
RequestStatistics StatisticsOf(const RequestRun& run, std::int64_t warmup, const WorkloadSpec& workload);

/// Output tokens a second, as above.
double OutputTokensPerS(const RequestRun& run, std::int64_t warmup);

}  // namespace shardscout::env
