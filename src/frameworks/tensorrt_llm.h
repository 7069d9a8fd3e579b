#pragma once

// What TensorRT-LLM takes and refuses. Transcribed from tensorrt_llm/llmapi/llm_args.py at commit 00043967 (unknown
// keys are forbidden there) and tensorrt_llm/mapping.py at b35ac1b6; each rule has an id and a test that breaks it.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "src/frameworks/rule.h"

namespace shardscout::frameworks {

/// The keys of LlmArgs that a plan decides, by TensorRT-LLM's own words and meanings.
struct TensorRtLlmArguments {
  std::int64_t tensor_parallel_size = 1;  ///< All ranks of a pipeline stage, context parallelism apart.
  std::int64_t pipeline_parallel_size = 1;
  std::int64_t context_parallel_size = 1;
  std::string cp_type = {};                    ///< Empty: ULYSSES.
  std::int64_t moe_tensor_parallel_size = 0;   ///< 0: derived.
  std::int64_t moe_expert_parallel_size = 0;   ///< 0: derived.
  std::int64_t moe_cluster_parallel_size = 1;  ///< Deprecated.
  bool enable_attention_dp = false;            ///< Each rank has its own requests: attention's tp is 1, its dp tp.
  bool enable_lm_head_tp_in_adp = false;
  std::int64_t gpus_per_node = 8;
  std::string moe_backend = {};                 ///< moe_config.backend; empty: not written.
  std::vector<std::int64_t> pp_partition = {};  ///< Empty: TensorRT-LLM's own split.
  std::int64_t max_batch_size = 0;              ///< Requests of one rank and pass. 0 here and below: not written.
  std::int64_t max_num_tokens = 0;
  std::int64_t max_seq_len = 0;
  double free_gpu_memory_fraction = 0;  ///< KV cache, of the memory that is free beside the weights.
  std::string kv_cache_dtype = "auto";
  bool operator==(const TensorRtLlmArguments&) const = default;

  bool Helix() const { return cp_type == "HELIX"; }
  /// Ranks among which experts lie.
  std::int64_t MoeWorldSize() const { return tensor_parallel_size * (Helix() ? context_parallel_size : 1); }
  std::int64_t ExpertSize() const;        ///< moe_expert_parallel_size or what is derived.
  std::int64_t ExpertTensorSize() const;  ///< moe_tensor_parallel_size or what is derived.
  std::int64_t AttentionTensorSize() const;
  /// Devices of one instance.
  std::int64_t WorldSize() const { return tensor_parallel_size * context_parallel_size * pipeline_parallel_size; }
};

using TensorRtLlmRule = Rule<TensorRtLlmArguments>;
std::span<const TensorRtLlmRule> TensorRtLlmRules();

/// TensorRT-LLM's own split of layers over stages (torch.tensor_split): what does not divide goes one each to the first
/// stages (7 over 3: 3, 2, 2).
std::vector<std::int64_t> TensorRtLlmLayerPartition(std::int64_t num_layers, std::int64_t stages);

}  // namespace shardscout::frameworks
