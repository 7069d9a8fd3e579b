#pragma once

// What torchtitan takes and refuses. Transcribed from commit b5bcd76: torchtitan/config/configs.py,
// distributed/parallel_dims.py, distributed/pipeline_parallel.py, distributed/fsdp.py, models/common/decoder.py, and
// torch/distributed/pipelining/schedules.py for its pipeline schedules; each rule has an id and a test that breaks it.

#include <cstdint>
#include <span>
#include <string>

#include "src/frameworks/rule.h"

namespace shardscout::frameworks {

/// The flags that a plan decides, by torchtitan's own names and meanings.
struct TorchtitanArguments {
  std::int64_t world_size = 1;  ///< Not a flag: of the launch.
  std::int64_t data_parallel_replicate_degree = 1;
  std::int64_t data_parallel_shard_degree = 1;
  std::string fsdp_reshard_after_forward = "default";
  std::int64_t context_parallel_degree = 1;
  std::int64_t tensor_parallel_degree = 1;
  std::int64_t pipeline_parallel_degree = 1;
  std::int64_t expert_parallel_degree = 1;
  std::string pipeline_parallel_schedule = "1F1B";
  std::int64_t pipeline_parallel_layers_per_stage = 0;  ///< Of a virtual stage; 0: not written.
  std::int64_t pipeline_parallel_microbatch_size = 1;
  std::int64_t local_batch_size = 1;
  std::int64_t global_batch_size = 1;
  std::int64_t seq_len = 2048;
  std::string activation_checkpoint_mode = "none";
  bool operator==(const TorchtitanArguments&) const = default;

  std::int64_t DataParallelSize() const { return data_parallel_replicate_degree * data_parallel_shard_degree; }
  bool ShardsParameters() const { return data_parallel_shard_degree * context_parallel_degree > 1; }
  /// As pipeline_parallel.py counts them, with no layers taken off the ends.
  std::int64_t VirtualStages(const ModelSpec& model) const;
  std::int64_t Microbatches() const { return local_batch_size / pipeline_parallel_microbatch_size; }
};

using TorchtitanRule = Rule<TorchtitanArguments>;
std::span<const TorchtitanRule> TorchtitanRules();

}  // namespace shardscout::frameworks
