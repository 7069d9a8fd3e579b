#pragma once

// What vLLM 0.24 takes and refuses. Transcribed from its source (vllm/config/parallel.py, vllm/config/model.py,
// vllm/engine/arg_utils.py, the FP8 linear layers); each rule has an id and a test that breaks it.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "src/frameworks/rule.h"

namespace shardscout::frameworks {

/// The arguments of `vllm serve` that a plan decides, by vLLM's own words and meanings.
struct VllmArguments {
  std::int64_t tensor_parallel_size = 1;    ///< Of attention, inside one data parallel rank.
  std::int64_t pipeline_parallel_size = 1;  ///< Stages.
  std::int64_t data_parallel_size = 1;      ///< Ranks with their own requests, sharing the experts.
  std::int64_t prefill_context_parallel_size = 1;
  std::int64_t decode_context_parallel_size = 1;  ///< Part of tensor_parallel_size (times prefill context parallel).
  bool enable_expert_parallel = false;
  std::string all2all_backend = {};  ///< Empty: vLLM's default, not written.
  bool enable_dbo = false;           ///< Dual batch overlap.
  bool enable_eplb = false;          ///< Copies of busy experts; no plan has it, deployments may.
  std::int64_t num_redundant_experts = 0;
  std::int64_t max_model_len = 0;
  std::int64_t max_num_seqs = 0;            ///< Requests of a data parallel rank.
  std::int64_t max_num_batched_tokens = 0;  ///< 0: vLLM's default, not written.
  double gpu_memory_utilization = 0.9;
  std::string kv_cache_dtype = "auto";
  std::vector<std::int64_t> layer_partition = {};  ///< VLLM_PP_LAYER_PARTITION; empty: vLLM's own split.

  bool operator==(const VllmArguments&) const = default;

  /// Devices of one data parallel rank.
  std::int64_t WorldSize() const {
    return tensor_parallel_size * pipeline_parallel_size * prefill_context_parallel_size;
  }
  /// Ranks over which experts are split, by expert (expert parallel) or each (tensor parallel).
  std::int64_t ExpertGroupSize() const {
    return tensor_parallel_size * prefill_context_parallel_size * data_parallel_size;
  }
};

using VllmRule = Rule<VllmArguments>;
std::span<const VllmRule> VllmRules();

/// vLLM's own split of layers over stages: what does not divide goes one each to the stages before the last (7 layers
/// over 3: 2, 3, 2).
std::vector<std::int64_t> VllmLayerPartition(std::int64_t num_layers, std::int64_t stages);

}  // namespace shardscout::frameworks
