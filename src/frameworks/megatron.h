#pragma once

// What Megatron-LM takes and refuses. Transcribed from Megatron-Core 0.20 (commit d98e8a64): megatron/training/
// arguments.py validate_args, megatron/core/parallel_state.py, transformer/transformer_config.py and
// transformer/pipeline_parallel_layer_layout.py; each rule has an id and a test that breaks it.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "src/frameworks/rule.h"

namespace shardscout::frameworks {

/// The arguments that a plan decides, by Megatron's own words and meanings. Data parallelism is not said: it is
/// world_size over the others, of attention by tp * pp * cp, of experts by etp * ep * pp.
struct MegatronArguments {
  std::int64_t tensor_model_parallel_size = 1;  ///< Of everything but the experts.
  std::int64_t pipeline_model_parallel_size = 1;
  std::int64_t context_parallel_size = 1;
  std::int64_t expert_model_parallel_size = 1;
  std::int64_t expert_tensor_parallel_size = 0;  ///< 0: tensor_model_parallel_size.
  bool sequence_parallel = false;
  std::string moe_token_dispatcher_type = "allgather";
  std::string pipeline_layout = {};  ///< pipeline-model-parallel-layout; empty: equal stages.
  std::int64_t world_size = 1;       ///< Not an argument: of the launch.
  std::int64_t micro_batch_size = 1;
  std::int64_t global_batch_size = 0;  ///< 0: not written.
  std::int64_t seq_length = 0;
  // Training's.
  std::int64_t virtual_stages = 1;         ///< num-virtual-stages-per-pipeline-rank.
  bool distributed_optimizer = false;      ///< use-distributed-optimizer
  std::string recompute_granularity = {};  ///< "": not written; "full" or "selective".
  std::int64_t recompute_layers = 0;  ///< 0: all, by method uniform; else of each (virtual) stage, by method block.
  bool operator==(const MegatronArguments&) const = default;

  std::int64_t ExpertTensorSize() const {
    return expert_tensor_parallel_size > 0 ? expert_tensor_parallel_size : tensor_model_parallel_size;
  }
  std::int64_t ModelRanks() const {
    return tensor_model_parallel_size * pipeline_model_parallel_size * context_parallel_size;
  }
  std::int64_t DataParallelSize() const { return world_size / ModelRanks(); }
};

using MegatronRule = Rule<MegatronArguments>;
std::span<const MegatronRule> MegatronRules();

/// One entry a (virtual) stage of a layout such as "Et*3|(tt|)*29,m|L": E embedding, t transformer layer, m layer of
/// multi-token prediction, L loss; "x*n" and "(...)*n" repeat, commas mean nothing. nullopt where it is no layout.
/// Worked example: "Et*2|(tt|)*2L" is {"Ett", "tt", "tt", "L"}.
std::optional<std::vector<std::string>> ExpandLayout(std::string_view layout);

/// The layout of these layers a stage: {15, 16, 15} is "Et*15|t*16|t*15L".
std::string LayoutOf(const std::vector<std::int64_t>& layers);

}  // namespace shardscout::frameworks
