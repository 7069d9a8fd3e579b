#pragma once

#include <cstddef>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace shardscout::json {

inline constexpr std::size_t kMaxTextBytes = std::size_t{16} << 20;
inline constexpr int kMaxDepth = 64;

/// Parses `text`. Throws SpecError at `file` with line and column for a syntax error, for more than kMaxDepth nested
/// objects and arrays and for a number beyond double; also for more than kMaxTextBytes and for a key that one object
/// holds twice.
nlohmann::json ParseText(std::string_view text, std::string_view file);

/// Whether more than kMaxDepth objects and arrays are nested in `text`. What is deeper must not be parsed: writing it
/// as part of an error would recurse as deep.
bool IsTooDeep(std::string_view text);

/// Where an error in `file` is: "file#/device/name". `pointer` is a JSON pointer, empty for the whole document. `file`
/// may be such a place itself, of the part that is read: Place("plan.json#/search", "/seed") is
/// "plan.json#/search/seed".
std::string Place(std::string_view file, std::string_view pointer);

/// `name` as one step of a JSON pointer in an error: "~" becomes "~0", "/" becomes "~1", cut after 60 characters.
std::string PointerStep(std::string_view name);

/// `value` as an error message quotes it: compact JSON, cut after 60 characters.
std::string Quoted(const nlohmann::json& value);

}  // namespace shardscout::json
