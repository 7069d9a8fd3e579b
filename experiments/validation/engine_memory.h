#pragma once

#include <cstdint>

#include "shardscout/cluster_spec.h"
#include "shardscout/evaluation.h"
#include "shardscout/model_spec.h"
#include "shardscout/strategy.h"

namespace shardscout::validation {

/// What an engine's memory fraction is a fraction of.
enum class FractionOf : std::uint8_t {
  kAll,              ///< Of a device's memory; the cache gets what weights and a full step leave of it: vLLM's
                     ///< gpu_memory_utilization.
  kFree,             ///< Of what weights and a full step leave: TensorRT-LLM's free_gpu_memory_fraction.
  kWeightsAndCache,  ///< Of a device's memory, for weights and cache alone: SGLang's mem_fraction_static.
};

struct CacheRule {
  double memory_fraction = 0.9;
  FractionOf of = FractionOf::kAll;
  bool operator==(const CacheRule&) const = default;
};

/// Bytes of activations and communication of a step that is full of prompts, of `max_batched_tokens` tokens.
double PromptStepBytes(const ModelSpec& model, const ClusterSpec& cluster, const Strategy& strategy,
                       std::int64_t input_tokens, std::int64_t max_batched_tokens);

/// The memory that a rank has for its cache under an engine's rule; below 0: none. `memory` is that of a decode or a
/// serve problem, and `prompt_step_bytes` PromptStepBytes.
///
/// Worked example (a test): of 100 GB, weights take 60, the reserve 5, a full step 5. A fraction of 0.8 leaves 10 GB of
/// all, 24 of what is free, and 16 (0.8 (100 - 5) - 60) where it is for weights and cache alone.
double CacheBytes(const DeviceSpec& device, const CacheRule& rule, const MemoryUse& memory, double prompt_step_bytes);

/// The fraction of a device's memory that leaves a problem with `memory` so much cache: WorkloadSpec::memory_fraction,
/// at most 1.
double MemoryFractionFor(const DeviceSpec& device, const MemoryUse& memory, double cache_bytes);

}  // namespace shardscout::validation
