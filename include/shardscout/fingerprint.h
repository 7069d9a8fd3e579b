#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "shardscout/live_run.h"
#include "shardscout/problem.h"
#include "shardscout/strategy.h"

/// A machine's fingerprint: the few unknowns of its devices and network, solved for from a handful of measured
/// strategies, by which all others are predicted.
///
/// Every task of a measured program is an equation: its seconds are a sum of what it does times unknowns of its class.
///
///     matrix products    calls, FLOP, bytes of weights
///     expert products    experts held (one product each), FLOP, bytes of weights
///     attention          calls, products of one KV head of one request, bytes read
///     the rest           calls, bytes read and written
///     collectives        calls, messages to other ranks, bytes to other ranks
///
/// Bytes to others among n ranks: all-reduce 2 (n-1)/n of the payload, the others (n-1)/n, as nccl-tests counts.
/// Everything is multiplied by how many processes share a processor, where there are more processes than processors.
/// The unknowns are the least squares solution of the relative errors with none negative, class by class: a class has
/// at most three, so that all subsets of them are tried (Lawson and Hanson, Solving Least Squares Problems, 1974,
/// chapter 23: the solution is the plain one of some subset). A step is made of sums over
/// its stages, and for further micro-batches over the slowest stage again; three last unknowns weigh them: what ranks
/// wait for each other is part of no task's time.
///
/// Not handled: `serve`, whose two phases have a step each (the first phase is taken).
namespace shardscout {

enum class TaskClass : std::uint8_t { kMatmul, kExperts, kAttention, kOther, kCollective };
inline constexpr int kNumTaskClasses = 5;
std::string_view ToString(TaskClass task_class);

struct Fingerprint {
  /// [class][unknown], seconds a unit, in the order above.
  std::array<std::array<double, 3>, kNumTaskClasses> seconds_per{};
  /// A step: the first times its operators' seconds, the second times its collectives', and the third, in seconds, for
  /// each collective.
  std::array<double, 3> step{};
  int processors = 1;  ///< That the processes share.
};

/// Solves for the unknowns. `reports` are runs of `problem` on `reports.front().num_processes` processes.
Fingerprint FitFingerprint(const Problem& problem, const std::vector<LiveReport>& reports, int processors);

/// Seconds of a step of the problem's (first) phase.
double PredictStep(const Problem& problem, const Strategy& strategy, const Fingerprint& fingerprint,
                   std::int64_t num_processes);

/// Strategies to measure: `count` random ones of the space, the first `fitted` of which have many different tasks.
std::vector<Strategy> FingerprintStrategies(const Problem& problem, std::size_t fitted, std::size_t count,
                                            std::int64_t num_processes, std::uint64_t seed);

}  // namespace shardscout
