#pragma once

#include <optional>

#include "shardscout/model_spec.h"
#include "src/checked_int.h"

namespace shardscout::internal {

/// CountParameters, or nothing where a count overflows an int64.
std::optional<ParameterCount> TryCountParameters(const ModelSpec& model);

}  // namespace shardscout::internal
