#pragma once

// What SGLang takes and refuses. Transcribed from python/sglang/srt/server_args.py and layers/dp_attention.py at commit
// 001067ff (August 2026); each rule has an id and a test that breaks it.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "src/frameworks/rule.h"

namespace shardscout::frameworks {

/// The arguments of `python -m sglang.launch_server` that a plan decides, by SGLang's own words and meanings.
struct SglangArguments {
  std::int64_t tp_size = 1;  ///< All ranks of a pipeline stage.
  std::int64_t pp_size = 1;
  std::int64_t dp_size = 1;       ///< With enable_dp_attention parts of tp_size, else independent replicas.
  std::int64_t ep_size = 1;       ///< Part of tp_size; tp_size / ep_size ranks share each expert.
  std::int64_t attn_cp_size = 1;  ///< Part of tp_size.
  bool enable_dp_attention = false;
  bool enable_dp_lm_head = false;
  std::int64_t moe_dense_tp_size = 0;  ///< 1: dense layers whole on each rank. 0: not written, tp_size.
  std::string moe_a2a_backend = "none";
  std::string deepep_mode = {};  ///< Empty: not written.
  bool enable_eplb = false;
  std::int64_t ep_num_redundant_experts = 0;
  std::int64_t nnodes = 1;
  std::int64_t max_running_requests = 0;  ///< Of all data parallel ranks together. 0 here and below: not written.
  std::int64_t context_length = 0;
  std::int64_t chunked_prefill_size = 0;  ///< Tokens of all data parallel ranks together.
  double mem_fraction_static = 0;         ///< Weights and KV cache, of the device's memory.
  std::string kv_cache_dtype = "auto";
  std::vector<std::int64_t> layer_partition = {};  ///< SGLANG_PP_LAYER_PARTITION; empty: SGLang's own split.
  bool operator==(const SglangArguments&) const = default;

  /// Ranks that share one request's attention.
  std::int64_t AttentionTensorSize() const { return tp_size / (enable_dp_attention ? dp_size : 1) / attn_cp_size; }
  /// Devices of one instance.
  std::int64_t WorldSize() const { return tp_size * pp_size; }
};

using SglangRule = Rule<SglangArguments>;
std::span<const SglangRule> SglangRules();

/// SGLang's own split of layers over stages: what does not divide goes one each to the last stages (7 over 3: 2, 2, 3).
std::vector<std::int64_t> SglangLayerPartition(std::int64_t num_layers, std::int64_t stages);

}  // namespace shardscout::frameworks
