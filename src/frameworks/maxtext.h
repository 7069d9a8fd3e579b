#pragma once

// What MaxText takes and refuses. Transcribed from commit e591f30: src/maxtext/configs/base.yml (keys, mesh axes and
// logical_axis_rules), configs/types.py and configs/pyconfig.py; each rule has an id and a test that breaks it.

#include <cstdint>
#include <span>
#include <string>

#include "src/frameworks/rule.h"

namespace shardscout::frameworks {

/// Sizes of the mesh's axes within a slice (ici) or between slices (dcn).
struct MaxTextAxes {
  std::int64_t data = 1, fsdp = 1, context = 1, tensor_sequence = 1, expert = 1;
  bool operator==(const MaxTextAxes&) const = default;

  std::int64_t Product() const { return data * fsdp * context * tensor_sequence * expert; }
};

/// The keys that a plan decides. A slice is a node's devices, or all where they are one node's.
struct MaxTextArguments {
  std::int64_t devices_per_slice = 1, slices = 1;  ///< Of the launch.
  MaxTextAxes ici = {}, dcn = {};
  bool shard_optimizer_over_data = false;
  double per_device_batch_size = 1;  ///< Sequences of an accumulation step over devices.
  std::int64_t gradient_accumulation_steps = 1;
  std::int64_t max_target_length = 2048;
  std::string remat_policy = "full";
  bool operator==(const MaxTextArguments&) const = default;

  MaxTextAxes Whole() const {
    return {ici.data * dcn.data, ici.fsdp * dcn.fsdp, ici.context * dcn.context,
            ici.tensor_sequence * dcn.tensor_sequence, ici.expert * dcn.expert};
  }
};

using MaxTextRule = Rule<MaxTextArguments>;
std::span<const MaxTextRule> MaxTextRules();

}  // namespace shardscout::frameworks
