#include "src/strategy_json.h"

#include <nlohmann/json.hpp>
#include <string>

#include "src/json/fields.h"
#include "src/json/json_text.h"

namespace shardscout {

nlohmann::ordered_json StrategyJson(const Strategy& strategy) { return json::WriteJson(strategy); }

Strategy ReadStrategy(const nlohmann::json& value, std::string_view file) {
  return json::ReadJson<Strategy>(value, file);
}

std::string ToJson(const Strategy& strategy, int indent) { return StrategyJson(strategy).dump(indent); }

Strategy ParseStrategy(std::string_view json, std::string_view place) {
  return ReadStrategy(json::ParseText(json, place), place);
}

}  // namespace shardscout
