#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "shardscout/program.h"

namespace shardscout {

/// What a strategy achieves. Definitions: docs/cost_model.md. A metric that the workload does not have is 0.
struct Metrics {
  double step_time_s = 0;              ///< Training: one step of the whole batch.
  double model_flops_utilisation = 0;  ///< Training: the model's FLOP of a step over what all devices could do.
  double ttft_s = 0;                   ///< Time to first token.
  double tpot_s = 0;                   ///< Time per output token.
  double throughput_tokens_per_s = 0;  ///< Whole cluster: input tokens (prefill, train), output tokens (decode, serve).
  double throughput_per_device = 0;    ///< tokens/s/device, idle devices included.
  double cost_usd_per_million_tokens = 0;  ///< Of all devices, by their price.
  double energy_j_per_token = 0;           ///< Of all devices at their power.
  std::int64_t replicas = 0;
  std::int64_t idle_devices = 0;
  std::int64_t concurrency = 0;  ///< batch_size * dp * replicas.
  bool operator==(const Metrics&) const = default;
};

/// Bytes on the device of the fullest stage.
struct MemoryUse {
  double weight_bytes = 0;
  double kv_cache_bytes = 0;
  double linear_state_bytes = 0;   ///< Linear attention's states, which do not grow with the context.
  double gradient_bytes = 0;       ///< Training.
  double optimizer_bytes = 0;      ///< Training: master copies and moments.
  double activation_bytes = 0;     ///< Training: kept for the backward passes of all micro-batches in flight, too.
  double communication_bytes = 0;  ///< Staging for the largest collective.
  double reserved_bytes = 0;
  double limit_bytes = 0;  ///< Problem::MemoryLimitBytes.
  double TotalBytes() const {
    return weight_bytes + kv_cache_bytes + linear_state_bytes + gradient_bytes + optimizer_bytes + activation_bytes +
           communication_bytes + reserved_bytes;
  }
  bool operator==(const MemoryUse&) const = default;
};

/// Of the requests that were simulated one by one.
struct LatencyStatistics {
  double mean_s = 0;
  double p50_s = 0;
  double p90_s = 0;
  double p99_s = 0;
  bool operator==(const LatencyStatistics&) const = default;
};

/// What requests saw that were simulated one by one (WorkloadSpec::requests), warm-up apart. Metrics::ttft_s and tpot_s
/// are then the means.
struct RequestStatistics {
  LatencyStatistics ttft;
  LatencyStatistics tpot;             ///< A request's mean time between its tokens; of those with more than one.
  LatencyStatistics latency;          ///< From arrival to the last token.
  double requests_per_s = 0;          ///< That left.
  double goodput_requests_per_s = 0;  ///< Of those, that kept the workload's targets of TTFT and TPOT.
  double mean_waiting = 0;            ///< Requests of the whole cluster, over time.
  double mean_running = 0;
  std::int64_t most_waiting = 0;  ///< Where replicas behave alike, of one of them.
  std::int64_t num_requests = 0;  ///< Counted.
  std::int64_t rejected = 0;      ///< Of all that were simulated: no cache could hold them.
  std::int64_t preemptions = 0;   ///< The same.
  std::int64_t steps = 0;         ///< Simulated.
  bool operator==(const RequestStatistics&) const = default;
};

enum class LimitKind : std::uint8_t { kMemory, kTtft, kTpot };

/// The relative excess of each limit, (value - limit) / limit; 0 or less: kept. Infinite never: limits are positive.
struct LimitExcess {
  double memory = 0;
  double ttft = 0;
  double tpot = 0;
  bool operator==(const LimitExcess&) const = default;
};

/// An evaluator's answer: a value.
struct Evaluation {
  Metrics metrics;
  MemoryUse memory;
  LimitExcess excess;
  std::optional<RequestStatistics> requests{};
  bool Feasible() const { return excess.memory <= 0 && excess.ttft <= 0 && excess.tpot <= 0; }
  bool operator==(const Evaluation&) const = default;
};

std::string_view ToString(LimitKind kind);

/// "memory 91.2 GB of 77.3 GB (+18 %); TPOT 61 ms of 50 ms (+22 %)", or "" when feasible.
std::string DescribeViolations(const Evaluation& evaluation, const WorkloadSpec& workload);

/// Where the time of one pass goes: seconds of the critical path of one micro-batch over all stages and layers.
struct BreakdownRow {
  Phase phase = Phase::kDecode;
  Operator op = Operator::kResidual;
  std::string what;  ///< "matmul", "all_reduce over tp", ...
  bool collective = false;
  std::int64_t calls = 0;  ///< Over all layers and stages, one micro-batch.
  double time_s = 0;
  double bytes = 0;  ///< Collectives: payload; operators: bytes moved from and to HBM. One rank, all calls.
  double flop = 0;
  int tier = -1;  ///< Collectives: the outermost tier that the group's ranks span.
};

struct StageTime {
  Phase phase = Phase::kDecode;
  double time_s = 0;  ///< One micro-batch.
};

struct Breakdown {
  std::vector<BreakdownRow> rows;
  std::vector<StageTime> stages;      ///< By phase, then stage.
  std::vector<double> bytes_by_tier;  ///< A device's wire bytes on each tier, one pass of all micro-batches (prefill
                                      ///< and decode summed).
};

}  // namespace shardscout
