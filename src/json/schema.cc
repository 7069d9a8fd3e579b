// JSON Schema, draft 7, of the fields that src/json/fields.h lists.

#include <cmath>
#include <nlohmann/json.hpp>

#include "src/json/fields_internal.h"

namespace shardscout::json::internal {
namespace {

/// Counts as integers, so that a bound reads 100000 and not 100000.0.
nlohmann::ordered_json BoundJson(double value) {
  constexpr double kExact = 9007199254740992.0;  // 2^53
  if (std::abs(value) <= kExact && value == std::trunc(value)) return static_cast<std::int64_t>(value);
  return value;
}

void WriteRange(const Field& field, nlohmann::ordered_json& out) {
  if (std::isfinite(field.min) && field.min > field.above) {
    out["minimum"] = BoundJson(field.min);
  } else if (std::isfinite(field.above)) {
    out["exclusiveMinimum"] = BoundJson(field.above);
  }
  if (std::isfinite(field.max)) out["maximum"] = BoundJson(field.max);
}

}  // namespace

void WriteSchemaType(std::string_view type, nlohmann::ordered_json& out) { out["type"] = type; }

void WriteSchemaInteger(const Field& field, std::int64_t lowest, std::int64_t highest, nlohmann::ordered_json& out) {
  out["type"] = "integer";
  WriteRange(field, out);
  const bool has_lower_end = out.contains("minimum") || out.contains("exclusiveMinimum");
  if (!has_lower_end && lowest > std::numeric_limits<std::int64_t>::min()) out["minimum"] = lowest;
  if (!out.contains("maximum") && highest < std::numeric_limits<std::int64_t>::max()) out["maximum"] = highest;
}

void WriteSchemaNumber(const Field& field, nlohmann::ordered_json& out) {
  out["type"] = "number";
  WriteRange(field, out);
}

void WriteSchemaChoice(const std::vector<std::string>& names, nlohmann::ordered_json& out) { out["enum"] = names; }

void AllowSchemaNull(nlohmann::ordered_json& out) {
  if (out.contains("enum")) {
    out["enum"].push_back(nullptr);
  } else {
    out["type"] = nlohmann::ordered_json::array({out["type"], "null"});
  }
}

nlohmann::ordered_json& AddSchemaItems(nlohmann::ordered_json& array) {
  array["type"] = "array";
  return array["items"];
}

void StartSchemaObject(nlohmann::ordered_json& out) {
  out["type"] = "object";
  out["properties"] = nlohmann::ordered_json::object();
}

nlohmann::ordered_json& AddSchemaProperty(std::string_view name, nlohmann::ordered_json& object) {
  return object["properties"][std::string(name)];
}

void WriteSchemaDescription(std::string_view doc, nlohmann::ordered_json& out) {
  if (!doc.empty()) out["description"] = doc;
}

void FinishSchemaObject(const std::vector<std::string>& required, nlohmann::ordered_json& object) {
  if (!required.empty()) object["required"] = required;
  object["patternProperties"]["^_"]["description"] = "A comment.";
  object["additionalProperties"] = false;
}

void WriteSchemaDefault(const std::function<void(nlohmann::ordered_json&)>& write, nlohmann::ordered_json& out) {
  nlohmann::ordered_json value;
  write(value);
  if (!value.is_null()) out["default"] = std::move(value);
}

}  // namespace shardscout::json::internal
