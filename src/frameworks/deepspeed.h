#pragma once

// What DeepSpeed takes and refuses. Transcribed from DeepSpeed 0.19.6 (commit edaa7221): deepspeed/runtime/config.py,
// runtime/engine.py, runtime/pipe/engine.py, module_inject/auto_ep_config.py and module_inject/autotp_config.py; each
// rule has an id and a test that breaks it.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "src/frameworks/rule.h"

namespace shardscout::frameworks {

/// What a plan decides of a configuration, and of the call that starts it.
struct DeepSpeedArguments {
  std::int64_t world_size = 1;   ///< Of the launch.
  std::int64_t num_stages = 1;   ///< Of PipelineModule.
  std::int64_t autotp_size = 1;  ///< tensor_parallel
  std::int64_t autoep_size = 1;  ///< expert_parallel
  std::string autoep_preset = {};
  std::int64_t zero_stage = 0;
  std::int64_t train_micro_batch_size_per_gpu = 1;
  std::int64_t gradient_accumulation_steps = 1;
  std::int64_t train_batch_size = 0;  ///< 0: not written.
  bool operator==(const DeepSpeedArguments&) const = default;

  std::int64_t DataParallelSize() const { return world_size / (num_stages * autotp_size); }
};

using DeepSpeedRule = Rule<DeepSpeedArguments>;
std::span<const DeepSpeedRule> DeepSpeedRules();

/// AutoEP's preset for a model by its name on the hub: "qwen3_moe"; "" where it has none.
std::string AutoEpPresetOf(std::string_view hub_name);

}  // namespace shardscout::frameworks
