#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "shardscout/engine_model.h"
#include "shardscout/request_model.h"
#include "shardscout/training_spec.h"

namespace shardscout {

enum class WorkloadKind : std::uint8_t { kPrefill, kDecode, kServe, kTrain };

/// One forward pass of a strategy: over the prompt (in training: the sequence), or over one new token a request.
enum class Phase : std::uint8_t { kPrefill, kDecode };

enum class Objective : std::uint8_t { kThroughputPerDevice, kLatency, kCostPerMillionTokens, kEnergyPerToken };

/// What is asked of the cluster. Invariants: input_tokens >= 1, output_tokens >= 1, at most one of batch_size and
/// concurrency is set, and none in training, 0 < memory_fraction <= 1, max_batch_size >= 1.
struct WorkloadSpec {
  std::string name;
  WorkloadKind kind = WorkloadKind::kDecode;
  std::int64_t input_tokens = 4096;
  std::int64_t output_tokens = 1024;
  std::optional<std::int64_t> batch_size;   ///< Concurrent requests a dp rank; unset: searched.
  std::optional<std::int64_t> concurrency;  ///< Requests in flight over the whole cluster; sets batch_size =
                                            ///< ceil(concurrency / (dp * replicas)).
  std::int64_t max_batch_size = 1024;       ///< Upper end of the searched batch sizes 2^k and 3*2^k.
  std::optional<double> ttft_target_s;
  std::optional<double> tpot_target_s;
  Objective objective = Objective::kThroughputPerDevice;
  double memory_fraction = 0.9;          ///< Of a device's HBM that may be used.
  std::optional<double> expert_skew;     ///< Zipf exponent of the experts' popularity, for evaluators that draw which
                                         ///< experts tokens go to; unset: as expected of even popularity.
  std::optional<EngineModel> engine;     ///< What the engine's host adds to each step; unset: nothing.
  std::optional<RequestModel> requests;  ///< Serve: its requests one by one; unset: as if all were in step.
  std::optional<TrainingSpec> training;  ///< Train, and only there.

  /// Positions at which a decode step is priced: the mean over the output, input + output/2.
  std::int64_t DecodeContext() const { return input_tokens + output_tokens / 2; }
  /// Positions that the KV cache must hold: input + output (prefill only: input).
  std::int64_t CachePositions() const {
    return kind == WorkloadKind::kPrefill ? input_tokens : input_tokens + output_tokens;
  }
  /// Training has the forward pass of a prefill, over its sequences (and each block a backward, see Block).
  bool HasPhase(Phase phase) const {
    return kind == WorkloadKind::kServe || (kind != WorkloadKind::kDecode) == (phase == Phase::kPrefill);
  }
  bool IsTraining() const { return kind == WorkloadKind::kTrain; }
  /// Requests over the whole cluster from which the batch of a rank follows; unset: it is searched or given.
  std::optional<std::int64_t> WholeBatch() const {
    return training ? std::optional(training->global_batch_size) : concurrency;
  }
  bool operator==(const WorkloadSpec&) const = default;
};

std::string_view ToString(WorkloadKind kind);
std::string_view ToString(Phase phase);
std::string_view ToString(Objective objective);

WorkloadSpec ParseWorkload(std::string_view json, std::string_view place);

/// A file or a preset under configs/workloads (prefill-chat, decode-chat, serve-chat).
WorkloadSpec LoadWorkload(const std::string& name_or_path);

}  // namespace shardscout
