#pragma once

// The price of a task as a line over the rows of its cell (a dp and cp rank's tokens): no price is below it. Tasks that
// lie on one rank's way through a block are linear in those rows, their prices are not: kernels have shapes and
// collectives algorithms. So a block is lowered once, for one number of rows, and bounds follow for every other.

#include "env/analytical/block_cost.h"
#include "shardscout/problem.h"
#include "shardscout/program.h"

namespace shardscout::baselines::exact {

struct TaskLine {
  double compute_s_per_row = 0;
  double memory_s_per_row = 0;  ///< Of a collective the wire's.
  double memory_s = 0;          ///< Weights and latency.
  double launch_s = 0;
  double Seconds(double rows) const;
};

/// Of a kernel whose weights are read whatever the rows are.
TaskLine LineOfKernel(const DeviceSpec& device, const Task& task, double rows);

/// Of a kernel's FLOP and launches alone.
TaskLine LineOfFlop(const DeviceSpec& device, const Task& task, double rows);

/// On each span a collective takes at least what it takes for no bytes, and a byte at least what it takes in a message
/// without end.
TaskLine LineOfCollective(const ClusterSpec& cluster, const Task& task, double rows, env::SpanCache& spans);

}  // namespace shardscout::baselines::exact
