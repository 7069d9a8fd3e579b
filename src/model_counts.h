#pragma once

#include <cstdint>
#include <optional>

#include "shardscout/model_spec.h"
#include "src/checked_int.h"

namespace shardscout::internal {

/// The most of a model: counts up to here are exact as doubles.
inline constexpr std::int64_t kMaxParameters = std::int64_t{1} << 53;

/// CountParameters, or nothing where a count overflows an int64.
std::optional<ParameterCount> TryCountParameters(const ModelSpec& model);

}  // namespace shardscout::internal
