#pragma once

// What PyTorch's parallelize_module takes and refuses. Transcribed from PyTorch 2.8: torch/distributed/tensor/parallel/
// api.py and style.py; each rule has an id and a test that breaks it.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "src/frameworks/rule.h"

namespace shardscout::frameworks {

/// What a module of the plan gets. Placements are PyTorch's words: "Replicate()", "Shard(0)" tokens by request,
/// "Shard(1)" by position, "Shard(-1)" features.
struct ModuleStyle {
  std::string module;  ///< "layers.*.attention.wq"
  std::string style;   ///< "ColwiseParallel"
  std::string input;   ///< What reaches it.
  std::string wanted;  ///< What a Prepare... brings that to; "" for other styles.
  std::string output;  ///< What leaves it.
  std::string given;   ///< PrepareModuleOutput and ...InputOutput: what the module itself leaves; else "".
  bool operator==(const ModuleStyle&) const = default;
};

struct DtensorArguments {
  std::int64_t tp_size = 1;
  std::vector<ModuleStyle> plan = {};
  bool operator==(const DtensorArguments&) const = default;

  /// nullptr where the plan does not name it.
  const ModuleStyle* Find(const std::string& module) const;
};

using DtensorRule = Rule<DtensorArguments>;
std::span<const DtensorRule> DtensorRules();

}  // namespace shardscout::frameworks
