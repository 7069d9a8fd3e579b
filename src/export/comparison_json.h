#pragma once

#include <nlohmann/json_fwd.hpp>

#include "shardscout/comparison.h"

namespace shardscout::exporters {

/// `curves`: with curves and profiles, as the page needs them.
nlohmann::ordered_json ComparisonDocument(const Comparison& comparison, bool curves);

}  // namespace shardscout::exporters
