#pragma once

// What a tp_plan of Hugging Face's transformers takes and refuses. Transcribed from transformers 5:
// src/transformers/integrations/tensor_parallel.py (the styles) and the plans of models/*/configuration_*.py; each rule
// has an id and a test that breaks it.

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "src/frameworks/rule.h"

namespace shardscout::frameworks {

struct TransformersArguments {
  std::int64_t tp_size = 1;
  /// Module or parameter, with * for a layer's number, and its style: {"model.layers.*.mlp.down_proj", "rowwise"}. What
  /// is not named is whole on every rank.
  std::vector<std::pair<std::string, std::string>> tp_plan = {};
  bool operator==(const TransformersArguments&) const = default;

  /// "" where the plan does not name it.
  std::string StyleOf(const std::string& name) const;
};

using TransformersRule = Rule<TransformersArguments>;
std::span<const TransformersRule> TransformersRules();

}  // namespace shardscout::frameworks
