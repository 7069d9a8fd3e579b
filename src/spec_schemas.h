#pragma once

// JSON Schemas (draft 7) of the files that do not depend on what is registered, generated from the same visitors that
// read them. A schema is a little weaker than its reader: what several fields must be together (tiers that nest,
// experts that divide) only the reader checks.

#include <nlohmann/json_fwd.hpp>
#include <string_view>

namespace shardscout::internal {

/// {"$schema": draft 7, "title", "description"}, to which a schema is added.
nlohmann::ordered_json SchemaHeader(std::string_view title, std::string_view description);

nlohmann::ordered_json ModelSchema();
nlohmann::ordered_json ClusterSchema();
nlohmann::ordered_json WorkloadSchema();
nlohmann::ordered_json StrategySchema();
nlohmann::ordered_json PlanSchema();
nlohmann::ordered_json SuiteSchema();

}  // namespace shardscout::internal
