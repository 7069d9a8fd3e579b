#include "src/json/fields.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#include "shardscout/error.h"
#include "src/choices.h"
#include "src/json/json_text.h"

namespace shardscout::json::internal {

using ::shardscout::internal::Choices;
using ::shardscout::internal::JoinNames;

namespace {

/// Counts in full ("100000"), everything else as short as reads back.
std::string NumberText(double value) {
  if (std::abs(value) < 1e15 && value == std::trunc(value)) return std::to_string(static_cast<std::int64_t>(value));
  char buffer[32];
  const auto [end, error] = std::to_chars(std::begin(buffer), std::end(buffer), value);
  SHARDSCOUT_CHECK(error == std::errc());
  return {buffer, end};
}

bool InRange(double value, const Field& field) {
  return value > field.above && value >= field.min && value <= field.max;
}

[[noreturn]] void ThrowExpected(const nlohmann::json& value, const std::string& place, const std::string& expected) {
  throw SpecError(place, "found " + Quoted(value) + ", expected " + expected);
}

std::string ExpectedNumber(std::string_view kind, const Field& field) {
  const std::string range = RangeText(field);
  return std::string(kind) + (range.empty() ? "" : " " + range);
}

}  // namespace

bool IsNull(const nlohmann::json& value) { return value.is_null(); }

const nlohmann::json* FindMember(const nlohmann::json& object, std::string_view name) {
  const auto member = object.find(name);
  return member == object.end() ? nullptr : &*member;
}

const nlohmann::json& Element(const nlohmann::json& array, std::size_t index) { return array[index]; }

std::size_t ArraySize(const nlohmann::json& value, const std::string& place) {
  if (!value.is_array()) ThrowExpected(value, place, "a list");
  return value.size();
}

bool ReadBool(const nlohmann::json& value, const std::string& place) {
  if (!value.is_boolean()) ThrowExpected(value, place, "true or false");
  return value.get<bool>();
}

std::int64_t ReadInteger(const nlohmann::json& value, const std::string& place, const Field& field, std::int64_t lowest,
                         std::int64_t highest) {
  const bool fits =
      value.is_number_unsigned() ? std::in_range<std::int64_t>(value.get<std::uint64_t>()) : value.is_number_integer();
  const std::int64_t number = fits ? value.get<std::int64_t>() : 0;
  if (!fits || number < lowest || number > highest || !InRange(static_cast<double>(number), field)) {
    const bool unbounded = RangeText(field).empty();
    ThrowExpected(value, place,
                  unbounded ? "an integer from " + std::to_string(lowest) + " to " + std::to_string(highest)
                            : ExpectedNumber("an integer", field));
  }
  return number;
}

double ReadNumber(const nlohmann::json& value, const std::string& place, const Field& field) {
  if (!value.is_number() || !std::isfinite(value.get<double>()) || !InRange(value.get<double>(), field)) {
    ThrowExpected(value, place, ExpectedNumber("a number", field));
  }
  return value.get<double>();
}

std::string ReadString(const nlohmann::json& value, const std::string& place) {
  if (!value.is_string()) ThrowExpected(value, place, "a string");
  return value.get<std::string>();
}

std::size_t ReadChoice(const nlohmann::json& value, const std::string& place, const std::vector<std::string>& names) {
  const auto found =
      value.is_string() ? std::find(names.begin(), names.end(), value.get_ref<const std::string&>()) : names.end();
  if (found == names.end()) {
    ThrowExpected(value, place, "one of " + Choices(value.is_string() ? value.get<std::string>() : "", names));
  }
  return static_cast<std::size_t>(found - names.begin());
}

void CheckKeys(const nlohmann::json& value, const std::string& place, const std::vector<std::string>& names) {
  if (!value.is_object()) ThrowExpected(value, place, "an object with the keys " + JoinNames(names, ", "));
  for (const auto& item : value.items()) {
    const std::string& key = item.key();
    if (key.starts_with('_') || std::find(names.begin(), names.end(), key) != names.end()) continue;
    throw SpecError(place + "/" + PointerStep(key), "unknown key, expected one of " + Choices(key, names));
  }
}

void ThrowMissing(const std::string& place, std::string_view name) {
  throw SpecError(place, "missing key \"" + std::string(name) + "\"");
}

void WriteNull(nlohmann::ordered_json& out) { out = nullptr; }
void WriteBool(bool value, nlohmann::ordered_json& out) { out = value; }
void WriteInteger(std::int64_t value, nlohmann::ordered_json& out) { out = value; }
void WriteNumber(double value, nlohmann::ordered_json& out) {
  SHARDSCOUT_CHECK(std::isfinite(value));
  out = value;
}
void WriteString(std::string_view value, nlohmann::ordered_json& out) { out = value; }
void WriteEmptyArray(nlohmann::ordered_json& out) { out = nlohmann::ordered_json::array(); }
void WriteEmptyObject(nlohmann::ordered_json& out) { out = nlohmann::ordered_json::object(); }
nlohmann::ordered_json& AddElement(nlohmann::ordered_json& array) { return array.emplace_back(nullptr); }
nlohmann::ordered_json& AddMember(nlohmann::ordered_json& object, std::string_view name) {
  return object[std::string(name)];
}

std::string DumpText(const std::function<void(nlohmann::ordered_json&)>& write) {
  nlohmann::ordered_json value;
  write(value);
  return value.is_string() ? value.get<std::string>() : value.dump();
}

void WithTextValue(std::string_view text, bool quoted, const std::function<void(const nlohmann::json&)>& read) {
  nlohmann::json value = text;
  if (!quoted && !IsTooDeep(text)) {
    nlohmann::json parsed = nlohmann::json::parse(text, /*cb=*/nullptr, /*allow_exceptions=*/false);
    if (!parsed.is_discarded()) value = std::move(parsed);
  }
  read(value);
}

std::pair<std::string_view, std::string_view> SplitPath(std::string_view path) {
  const std::size_t dot = path.find('.');
  if (dot == std::string_view::npos) return {path, {}};
  return {path.substr(0, dot), path.substr(dot + 1)};
}

std::size_t ParseIndex(std::string_view text, std::size_t size, const std::string& place) {
  std::size_t index = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), index);
  if (error != std::errc() || end != text.data() + text.size() || index >= size) {
    throw SpecError(place, "found \"" + std::string(text) + "\" as the index into a list of " + std::to_string(size));
  }
  return index;
}

void ThrowUnknownField(std::string_view name, const std::vector<std::string>& names, const std::string& place) {
  throw SpecError(place, "\"" + std::string(name) + "\": " + "unknown key, expected one of " + Choices(name, names));
}

void ThrowNoFields(std::string_view name, const std::string& place) {
  throw SpecError(place, "\"" + std::string(name) + "\": what is before it has no fields");
}

std::string RangeText(const Field& field) {
  const bool has_above = std::isfinite(field.above);
  const bool has_min = std::isfinite(field.min) && field.min > field.above;
  const bool has_max = std::isfinite(field.max);
  if (has_max && (has_min || has_above)) {
    return std::string("in ") + (has_min ? "[" + NumberText(field.min) : "(" + NumberText(field.above)) + ", " +
           NumberText(field.max) + "]";
  }
  if (has_max) return "<= " + NumberText(field.max);
  if (has_min) return ">= " + NumberText(field.min);
  if (has_above) return "> " + NumberText(field.above);
  return "";
}

}  // namespace shardscout::json::internal
