#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace shardscout::json {

/// A document's text, two spaces a level: lists of plain values and plain objects in a list on one line (but those with
/// comments), objects of nothing but numbers filled to 120 columns. Numbers are as short as they can be without losing
/// a bit (989e12 becomes 9.89e14). No line break at the end.
std::string FormatDocument(const nlohmann::ordered_json& document);

}  // namespace shardscout::json
