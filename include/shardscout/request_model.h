#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace shardscout {

/// How requests come.
enum class ArrivalKind : std::uint8_t {
  kConcurrency,  ///< As many as the workload's concurrency (else: as all ranks run) are always in flight.
  kPoisson,      ///< At a mean rate, independent of each other.
  kGamma,        ///< At a mean rate, with gamma distributed gaps: burstier or steadier than Poisson's.
  kTrace,        ///< As listed.
};

/// What an engine's step takes first; env/simulator/request_simulation.h.
enum class BatchPolicy : std::uint8_t { kChunkedPrefill, kPrefillFirst };

/// A request of a trace.
struct TracedRequest {
  double arrival_s = 0;
  std::int64_t input_tokens = 1;
  std::int64_t output_tokens = 1;
  bool operator==(const TracedRequest&) const = default;
};

/// The requests of a `serve` workload one by one, for evaluators that simulate them. Lengths are log-normal with the
/// workload's input_tokens and output_tokens as means, at least 1; or, with a shortest_ratio below 1, uniform from that
/// share of the workload's up to these. Invariants: rate_per_s exactly for poisson and gamma, trace exactly for kTrace,
/// its arrivals rising; shortest_ratio below 1 only where both cv are 0.
struct RequestModel {
  ArrivalKind arrivals = ArrivalKind::kConcurrency;
  std::optional<double> rate_per_s;  ///< Requests of the whole cluster.
  double arrival_cv = 1;             ///< Gamma: standard deviation of the gaps over their mean.
  double input_cv = 0;               ///< The same of the prompts' lengths; 0: all alike.
  double output_cv = 0;
  double shortest_ratio = 1;  ///< As benchmark clients' --random-range-ratio.
  std::vector<TracedRequest> trace;
  std::optional<std::int64_t> num_requests;  ///< Simulated: in a closed loop of a replica, else of the cluster; unset:
                                             ///< eight concurrencies, at a rate 1,000, a trace's.
  std::optional<std::int64_t> warmup_requests;  ///< Of those, the first and as many of the last that statistics leave
                                                ///< out; unset: one concurrency of them, none of a trace's.
  BatchPolicy policy = BatchPolicy::kChunkedPrefill;
  std::int64_t max_batched_tokens = 8192;  ///< Of a rank and a step: vLLM's max_num_batched_tokens.
  std::int64_t block_tokens = 16;          ///< Of a block of the KV cache.
  std::int64_t poll_interval_steps = 1;    ///< While it only decodes, an engine looks for new requests once in so many
                                           ///< steps: SGLang's scheduler_recv_interval.
  bool reserves_output = false;        ///< An admitted request has blocks for its whole output at once, and is never
                                       ///< pre-empted: TensorRT-LLM's GUARANTEED_NO_EVICT.
  std::int64_t prompt_wait_steps = 0;  ///< Prompts wait beside decodes for so many steps, or until they make
  double prompt_wait_ratio = 0;        ///< this share of max_batched_tokens: TensorRT-LLM's batch_wait_timeout_iters
                                       ///< and batch_wait_max_tokens_ratio.
  std::int64_t rank_wait_steps = 0;    ///< Ranks that step together (attention data parallelism) take prompts only
                                       ///< when all have one, or once in so many steps; 0: each when it has one.
                                       ///< TensorRT-LLM's attention_dp_config: enable_balance, timeout_iters.
  std::int64_t seed = 1;
  std::optional<double> ttft_p99_target_s;  ///< Limits of percentiles, beside the workload's limits of means.
  std::optional<double> tpot_p99_target_s;
  bool operator==(const RequestModel&) const = default;
};

std::string_view ToString(ArrivalKind kind);
std::string_view ToString(BatchPolicy policy);

}  // namespace shardscout
