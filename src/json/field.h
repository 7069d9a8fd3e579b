#pragma once

#include <limits>
#include <string>
#include <string_view>

namespace shardscout::json {

/// What is known of a field besides its name and type. Bounds hold for numbers, also inside an optional or a vector.
struct Field {
  std::string_view doc{};                                   ///< One line: meaning, unit, source of the default.
  double above = -std::numeric_limits<double>::infinity();  ///< Exclusive lower bound.
  double min = -std::numeric_limits<double>::infinity();    ///< Inclusive lower bound.
  double max = std::numeric_limits<double>::infinity();     ///< Inclusive upper bound.
  bool required = false;                                    ///< ReadJson refuses an object without this key.
  bool omitted = false;                                     ///< WriteJson leaves this key out: it has its default.
};

/// A field that must be there.
constexpr Field Needed(std::string_view doc) { return {.doc = doc, .required = true}; }

/// One row of an option table. `name` is the path that SetField takes; elements of a list are written "tiers[].size".
struct FieldRow {
  std::string name;
  std::string type;
  std::string default_value;
  std::string range;
  std::string doc;
  std::string schema;  ///< The field's JSON Schema as text.
};

}  // namespace shardscout::json
