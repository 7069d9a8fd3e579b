#pragma once

// The visitors behind fields.h. JSON values pass through functions of fields.cc, so that a file which
// lists fields needs only json_fwd.hpp.

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "shardscout/error.h"
#include "src/choices.h"
#include "src/json/field.h"

namespace shardscout::json::internal {

struct ProbeVisitor {
  template <class T>
  void operator()(std::string_view, T&, const Field&) {}
};

template <class T>
concept FieldStruct = requires(ProbeVisitor& visit, T& object) {
  VisitFields(visit, object);
};

template <class T>
concept NamedEnum = std::is_enum_v<T> && requires(T value) {
  ToString(value);
  EnumValues(value);
};

template <class T>
inline constexpr bool kIsOptional = false;
template <class T>
inline constexpr bool kIsOptional<std::optional<T>> = true;

template <class T>
inline constexpr bool kIsVector = false;
template <class T>
inline constexpr bool kIsVector<std::vector<T>> = true;

/// A list or an optional of structs.
template <class T>
concept WrapsStruct = (kIsOptional<T> || kIsVector<T>)&&FieldStruct<typename T::value_type>;

/// Whether the text of a `--set` is taken as it is rather than read as JSON.
template <class T>
inline constexpr bool kIsText = std::same_as<T, std::string> || std::is_enum_v<T>;
template <class T>
inline constexpr bool kIsText<std::optional<T>> = kIsText<T>;

template <NamedEnum T>
std::vector<std::string> EnumNames() {
  std::vector<std::string> names;
  for (const T value : EnumValues(T{})) names.emplace_back(ToString(value));
  return names;
}

struct NameCollector {
  std::vector<std::string> names;
  template <class T>
  void operator()(std::string_view name, T&, const Field&) {
    names.emplace_back(name);
  }
};

template <FieldStruct T>
std::vector<std::string> FieldNames(T& object) {
  NameCollector collector;
  VisitFields(collector, object);
  return std::move(collector.names);
}

// ---- Reading ----

bool IsNull(const nlohmann::json& value);
const nlohmann::json* FindMember(const nlohmann::json& object, std::string_view name);
const nlohmann::json& Element(const nlohmann::json& array, std::size_t index);
std::size_t ArraySize(const nlohmann::json& value, const std::string& place);
bool ReadBool(const nlohmann::json& value, const std::string& place);
std::int64_t ReadInteger(const nlohmann::json& value, const std::string& place, const Field& field, std::int64_t lowest,
                         std::int64_t highest);
double ReadNumber(const nlohmann::json& value, const std::string& place, const Field& field);
std::string ReadString(const nlohmann::json& value, const std::string& place);
std::size_t ReadChoice(const nlohmann::json& value, const std::string& place, const std::vector<std::string>& names);
/// Throws unless `value` is an object whose keys are in `names` or begin with "_".
void CheckKeys(const nlohmann::json& value, const std::string& place, const std::vector<std::string>& names);
[[noreturn]] void ThrowMissing(const std::string& place, std::string_view name);

template <class T>
void ReadValue(const nlohmann::json& value, const std::string& place, const Field& field, T& out);

struct ObjectReader {
  const nlohmann::json& object;
  const std::string& place;

  template <class T>
  void operator()(std::string_view name, T& out, const Field& field) {
    if (const nlohmann::json* member = FindMember(object, name)) {
      ReadValue(*member, place + "/" + std::string(name), field, out);
    } else if (field.required) {
      ThrowMissing(place, name);
    }
  }
};

template <class T>
void ReadValue(const nlohmann::json& value, const std::string& place, const Field& field, T& out) {
  if constexpr (std::same_as<T, bool>) {
    out = ReadBool(value, place);
  } else if constexpr (std::integral<T>) {
    constexpr std::int64_t kHighest = std::in_range<std::int64_t>(std::numeric_limits<T>::max())
                                          ? static_cast<std::int64_t>(std::numeric_limits<T>::max())
                                          : std::numeric_limits<std::int64_t>::max();
    out = static_cast<T>(
        ReadInteger(value, place, field, static_cast<std::int64_t>(std::numeric_limits<T>::min()), kHighest));
  } else if constexpr (std::same_as<T, double>) {
    out = ReadNumber(value, place, field);
  } else if constexpr (std::same_as<T, std::string>) {
    out = ReadString(value, place);
  } else if constexpr (NamedEnum<T>) {
    out = EnumValues(T{})[ReadChoice(value, place, EnumNames<T>())];
  } else if constexpr (kIsOptional<T>) {
    out.reset();
    if (!IsNull(value)) ReadValue(value, place, field, out.emplace());
  } else if constexpr (kIsVector<T>) {
    out.assign(ArraySize(value, place), {});
    for (std::size_t i = 0; i < out.size(); ++i) {
      ReadValue(Element(value, i), place + "/" + std::to_string(i), field, out[i]);
    }
  } else {
    static_assert(FieldStruct<T>, "a field needs VisitFields (struct) or ToString and EnumValues (enum)");
    CheckKeys(value, place, FieldNames(out));
    ObjectReader reader{value, place};
    VisitFields(reader, out);
  }
}

// ---- Writing ----

void WriteNull(nlohmann::ordered_json& out);
void WriteBool(bool value, nlohmann::ordered_json& out);
void WriteInteger(std::int64_t value, nlohmann::ordered_json& out);
void WriteNumber(double value, nlohmann::ordered_json& out);
void WriteString(std::string_view value, nlohmann::ordered_json& out);
void WriteEmptyArray(nlohmann::ordered_json& out);
void WriteEmptyObject(nlohmann::ordered_json& out);
nlohmann::ordered_json& AddElement(nlohmann::ordered_json& array);
nlohmann::ordered_json& AddMember(nlohmann::ordered_json& object, std::string_view name);
std::string DumpText(const std::function<void(nlohmann::ordered_json&)>& write);

template <class T>
void WriteValue(T& value, nlohmann::ordered_json& out);

struct ObjectWriter {
  nlohmann::ordered_json& object;

  template <class T>
  void operator()(std::string_view name, T& value, const Field& field) {
    if (!field.omitted) WriteValue(value, AddMember(object, name));
  }
};

template <class T>
void WriteValue(T& value, nlohmann::ordered_json& out) {
  if constexpr (std::same_as<T, bool>) {
    WriteBool(value, out);
  } else if constexpr (std::integral<T>) {
    SHARDSCOUT_CHECK(std::in_range<std::int64_t>(value));
    WriteInteger(static_cast<std::int64_t>(value), out);
  } else if constexpr (std::same_as<T, double>) {
    WriteNumber(value, out);
  } else if constexpr (std::same_as<T, std::string>) {
    WriteString(value, out);
  } else if constexpr (NamedEnum<T>) {
    WriteString(ToString(value), out);
  } else if constexpr (kIsOptional<T>) {
    if (value) {
      WriteValue(*value, out);
    } else {
      WriteNull(out);
    }
  } else if constexpr (kIsVector<T>) {
    WriteEmptyArray(out);
    for (auto& element : value) WriteValue(element, AddElement(out));
  } else {
    WriteEmptyObject(out);
    ObjectWriter writer{out};
    VisitFields(writer, value);
  }
}

// ---- Setting ----

/// Calls `read` with the JSON string `text` if `quoted`, else with `text` read as JSON, or as a string where it isn't
/// JSON.
void WithTextValue(std::string_view text, bool quoted, const std::function<void(const nlohmann::json&)>& read);
/// Splits "a.b.c" into "a" and "b.c".
std::pair<std::string_view, std::string_view> SplitPath(std::string_view path);
std::size_t ParseIndex(std::string_view text, std::size_t size, const std::string& place);
[[noreturn]] void ThrowUnknownField(std::string_view name, const std::vector<std::string>& names,
                                    const std::string& place);
[[noreturn]] void ThrowNoFields(std::string_view name, const std::string& place);

template <class T>
void SetValue(T& target, std::string_view path, std::string_view text, const std::string& place, const Field& field);

struct FieldSetter {
  std::string_view head;
  std::string_view rest;
  std::string_view text;
  const std::string& place;
  bool found = false;

  template <class T>
  void operator()(std::string_view name, T& value, const Field& field) {
    if (name != head) return;
    found = true;
    SetValue(value, rest, text, place, field);
  }
};

template <class T>
void SetValue(T& target, std::string_view path, std::string_view text, const std::string& place, const Field& field) {
  if (path.empty()) {
    const bool quoted = kIsText<T> && !(kIsOptional<T> && text == "null");
    WithTextValue(text, quoted, [&](const nlohmann::json& value) { ReadValue(value, place, field, target); });
    return;
  }
  if constexpr (kIsOptional<T>) {
    if (!target) target.emplace();
    SetValue(*target, path, text, place, field);
  } else {
    const auto [head, rest] = SplitPath(path);
    if constexpr (kIsVector<T>) {
      SetValue(target[ParseIndex(head, target.size(), place)], rest, text, place, field);
    } else if constexpr (FieldStruct<T>) {
      FieldSetter setter{head, rest, text, place};
      VisitFields(setter, target);
      if (!setter.found) ThrowUnknownField(head, FieldNames(target), place);
    } else {
      ThrowNoFields(head, place);
    }
  }
}

// ---- Schemas ----

void WriteSchemaType(std::string_view type, nlohmann::ordered_json& out);
/// `lowest` and `highest`: what the type holds; the ends of int64 go without saying.
void WriteSchemaInteger(const Field& field, std::int64_t lowest, std::int64_t highest, nlohmann::ordered_json& out);
void WriteSchemaNumber(const Field& field, nlohmann::ordered_json& out);
void WriteSchemaChoice(const std::vector<std::string>& names, nlohmann::ordered_json& out);
void AllowSchemaNull(nlohmann::ordered_json& out);
nlohmann::ordered_json& AddSchemaItems(nlohmann::ordered_json& array);
void StartSchemaObject(nlohmann::ordered_json& out);
nlohmann::ordered_json& AddSchemaProperty(std::string_view name, nlohmann::ordered_json& object);
void WriteSchemaDescription(std::string_view doc, nlohmann::ordered_json& out);
/// Adds what is required, and that no other keys but comments are admitted.
void FinishSchemaObject(const std::vector<std::string>& required, nlohmann::ordered_json& object);
/// The "default" unless it is null.
void WriteSchemaDefault(const std::function<void(nlohmann::ordered_json&)>& write, nlohmann::ordered_json& out);

template <class T>
void WriteSchemaOf(T& value, const Field& field, nlohmann::ordered_json& out);

/// With its description and its default.
template <class T>
void WriteSchemaOfField(T& value, const Field& field, nlohmann::ordered_json& out) {
  WriteSchemaDescription(field.doc, out);
  WriteSchemaOf(value, field, out);
  if constexpr (!FieldStruct<T> && !WrapsStruct<T>) {
    if (!field.required) WriteSchemaDefault([&](nlohmann::ordered_json& json) { WriteValue(value, json); }, out);
  }
}

struct SchemaWriter {
  nlohmann::ordered_json& object;
  std::vector<std::string> required;

  template <class T>
  void operator()(std::string_view name, T& value, const Field& field) {
    WriteSchemaOfField(value, field, AddSchemaProperty(name, object));
    if (field.required) required.emplace_back(name);
  }
};

template <class T>
void WriteSchemaOf(T& value, const Field& field, nlohmann::ordered_json& out) {
  if constexpr (std::same_as<T, bool>) {
    WriteSchemaType("boolean", out);
  } else if constexpr (std::integral<T>) {
    constexpr std::int64_t kInt64Max = std::numeric_limits<std::int64_t>::max();
    constexpr bool kFits = std::in_range<std::int64_t>(std::numeric_limits<T>::max());
    WriteSchemaInteger(field, static_cast<std::int64_t>(std::numeric_limits<T>::min()),
                       kFits ? static_cast<std::int64_t>(std::numeric_limits<T>::max()) : kInt64Max, out);
  } else if constexpr (std::same_as<T, double>) {
    WriteSchemaNumber(field, out);
  } else if constexpr (std::same_as<T, std::string>) {
    WriteSchemaType("string", out);
  } else if constexpr (NamedEnum<T>) {
    WriteSchemaChoice(EnumNames<T>(), out);
  } else if constexpr (kIsOptional<T>) {
    typename T::value_type inner{};
    WriteSchemaOf(inner, field, out);
    AllowSchemaNull(out);
  } else if constexpr (kIsVector<T>) {
    typename T::value_type element{};
    WriteSchemaOf(element, field, AddSchemaItems(out));
  } else {
    StartSchemaObject(out);
    SchemaWriter writer{out, {}};
    VisitFields(writer, value);
    FinishSchemaObject(writer.required, out);
  }
}

// ---- Describing ----

std::string RangeText(const Field& field);

template <class T>
std::string TypeName() {
  if constexpr (std::same_as<T, bool>) {
    return "bool";
  } else if constexpr (std::integral<T>) {
    return "integer";
  } else if constexpr (std::same_as<T, double>) {
    return "number";
  } else if constexpr (NamedEnum<T>) {
    return ::shardscout::internal::JoinNames(EnumNames<T>(), "|");
  } else if constexpr (kIsOptional<T>) {
    return TypeName<typename T::value_type>() + " or null";
  } else if constexpr (kIsVector<T>) {
    return "list of " + TypeName<typename T::value_type>();
  } else {
    return "string";
  }
}

template <class T>
void DescribeValue(T& value, const std::string& name, const Field& field, std::vector<FieldRow>& rows);

struct RowCollector {
  const std::string& prefix;
  std::vector<FieldRow>& rows;

  template <class T>
  void operator()(std::string_view name, T& value, const Field& field) {
    DescribeValue(value, prefix.empty() ? std::string(name) : prefix + "." + std::string(name), field, rows);
  }
};

template <class T>
void DescribeValue(T& value, const std::string& name, const Field& field, std::vector<FieldRow>& rows) {
  if constexpr (FieldStruct<T>) {
    RowCollector collector{name, rows};
    VisitFields(collector, value);
  } else if constexpr (WrapsStruct<T>) {
    typename T::value_type element;
    DescribeValue(element, kIsVector<T> ? name + "[]" : name, field, rows);
  } else {
    rows.push_back({name, TypeName<T>(), DumpText([&](nlohmann::ordered_json& out) { WriteValue(value, out); }),
                    RangeText(field), std::string(field.doc),
                    DumpText([&](nlohmann::ordered_json& out) { WriteSchemaOfField(value, field, out); })});
  }
}

}  // namespace shardscout::json::internal
