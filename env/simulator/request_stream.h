#pragma once

#include <cstdint>
#include <vector>

#include "env/simulator/request_simulation.h"
#include "shardscout/workload_spec.h"

namespace shardscout::env {

/// The requests of a `serve` workload's RequestModel, in the order of their arrivals: the same ones for every strategy.
/// Those of a fixed concurrency arrive at 0. `concurrency`: how many are in flight, where the workload does not say.
///
/// Lengths are log-normal: with mean m and deviation cv * m, sigma^2 = ln(1 + cv^2) and mu = ln m - sigma^2 / 2,
/// rounded, at least 1. Gaps are exponential, or gamma with shape 1 / cv^2 and mean 1 / rate (Marsaglia and Tsang, "A
/// Simple Method for Generating Gamma Variables", 2000).
std::vector<Request> MakeRequests(const WorkloadSpec& workload, std::int64_t concurrency);

/// How many of the first and of the last requests statistics leave out; at least one is left.
std::int64_t WarmupRequests(const WorkloadSpec& workload, std::int64_t concurrency, std::int64_t num_requests);

}  // namespace shardscout::env
