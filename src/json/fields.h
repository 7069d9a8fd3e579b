#pragma once

// One list of a struct's fields gives JSON in, JSON out, `--set path=value`, range checks and the rows of the option
// tables.
//
// A struct takes part through a function that argument-dependent lookup finds, an enum through ToString and EnumValues:
//
//   namespace shardscout::agents {
//   enum class Schedule : std::uint8_t { kConstant, kLinear };
//   std::string_view ToString(Schedule schedule);
//   inline std::array<Schedule, 2> EnumValues(Schedule) { return {Schedule::kConstant, Schedule::kLinear}; }
//
//   struct PpoConfig {
//     double clip_range = 0.2;
//     Schedule ent_schedule = Schedule::kLinear;
//     std::optional<double> target_kl;
//   };
//
//   template <class V>
//   void VisitFields(V& visit, PpoConfig& config) {
//     visit("clip_range", config.clip_range, {.doc = "Clip range of the surrogate.", .above = 0, .max = 1});
//     visit("ent_schedule", config.ent_schedule, {.doc = "Decay of ent_coef over the budget."});
//     visit("target_kl", config.target_kl, {.doc = "Ends an update early; unset: never.", .above = 0});
//   }
//   }  // namespace shardscout::agents
//
// and then, with `file` the path as errors name it:
//
//   PpoConfig config = json::ReadJson<PpoConfig>(json::ParseText(text, file), file);
//   json::SetField(config, "clip_range", "0.1", "--set");
//   nlohmann::ordered_json out = json::WriteJson(config);
//
// leaves {"clip_range":0.1,"ent_schedule":"linear","target_kl":null} in `out`. WriteSchema<PpoConfig>() is the JSON
// Schema of such an object, with each `doc` as a description.
//
// A field is a bool, an integer, a double, a std::string, an enum, a struct with VisitFields, a std::optional of one of
// these (null in JSON when unset) or a std::vector of one. Keys that begin with "_" are comments. What ranges can't
// express (invariants over several fields) is checked by the owner of the struct after reading.

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "src/json/field.h"
#include "src/json/fields_internal.h"
#include "src/json/json_text.h"

namespace shardscout::json {

/// `defaults` overwritten by what `value` holds. Throws SpecError naming `file`, the JSON pointer, the value found and
/// those allowed for an unknown key (with the nearest name), a missing required key, a wrong type, and a number out of
/// range or not an integer.
template <class T>
T ReadJson(const nlohmann::json& value, std::string_view file, T defaults = {}) {
  internal::ReadValue(value, Place(file, ""), Field{}, defaults);
  return defaults;
}

/// The same for one value that isn't part of such a struct; `place` names it in errors and `field` bounds it.
template <class T>
T ReadValue(const nlohmann::json& value, const std::string& place, const Field& field = {}) {
  T out{};
  internal::ReadValue(value, place, field, out);
  return out;
}

/// Every field in the order of VisitFields. ReadJson of the result gives an equal struct, whatever its defaults. Json
/// is a parameter only so that json_fwd.hpp suffices here.
template <class T, class Json = nlohmann::ordered_json>
Json WriteJson(T object) {
  Json out;
  internal::WriteValue(object, out);
  return out;
}

/// Sets the field at a dotted path ("ppo.clip_range", "tiers.0.latency_s") from text. Strings and enums are taken as
/// they are, everything else is read as JSON ("0.1", "true", "null", "[1, 2]"). Throws SpecError at "`flag` `path`" and
/// then leaves `object` unchanged.
template <class T>
void SetField(T& object, std::string_view path, std::string_view text, std::string_view flag) {
  T changed = object;
  internal::SetValue(changed, path, text, std::string(flag) + " " + std::string(path), Field{});
  object = std::move(changed);
}

/// One row for each leaf, nested structs flattened, defaults as in `defaults`.
template <class T>
std::vector<FieldRow> DescribeFields(T defaults = {}) {
  std::vector<FieldRow> rows;
  internal::DescribeValue(defaults, "", Field{}, rows);
  return rows;
}

/// JSON Schema (draft 7) of what ReadJson takes: types, ranges, names, required keys, defaults as in `defaults`, no
/// other keys but comments. What the owner of the struct checks after reading is for him to add.
template <class T, class Json = nlohmann::ordered_json>
Json WriteSchema(T defaults = {}) {
  Json out;
  internal::WriteSchemaOf(defaults, Field{}, out);
  return out;
}

}  // namespace shardscout::json
