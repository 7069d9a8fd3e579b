#include "src/json/json_text.h"

#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <set>
#include <vector>

#include "shardscout/error.h"

namespace shardscout::json {
namespace {

constexpr std::size_t kMaxQuoted = 60;
constexpr std::size_t kMaxSyntaxMessage = 160;

/// "line 3, column 7" of the byte at `offset`, both counted from 1.
std::string LineAndColumn(std::string_view text, std::size_t offset) {
  const std::string_view before = text.substr(0, std::min(offset, text.size()));
  const auto line = 1 + std::count(before.begin(), before.end(), '\n');
  const std::size_t newline = before.rfind('\n');
  const std::size_t column = before.size() - (newline == std::string_view::npos ? 0 : newline + 1) + 1;
  return "line " + std::to_string(line) + ", column " + std::to_string(column);
}

/// Where more than kMaxDepth are nested first; npos where nowhere. The parser reports events without positions, so
/// nesting is measured on the text beforehand.
std::size_t FindTooDeep(std::string_view text) {
  int depth = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') {
        ++i;
      } else if (c == '"') {
        in_string = false;
      }
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > kMaxDepth) return i;
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return std::string_view::npos;
}

/// What is left of nlohmann's "[json.exception...] parse error at line 1, column 2: syntax error while ...".
std::string SyntaxMessage(std::string_view what) {
  const std::size_t start = what.find("syntax error");
  std::string message(start == std::string_view::npos ? what : what.substr(start));
  if (message.size() > kMaxSyntaxMessage) message = message.substr(0, kMaxSyntaxMessage) + "...";
  return message;
}

}  // namespace

nlohmann::json ParseText(std::string_view text, std::string_view file) {
  if (text.size() > kMaxTextBytes) {
    throw SpecError(file, "larger than " + std::to_string(kMaxTextBytes >> 20) + " MiB");
  }
  if (const std::size_t deep = FindTooDeep(text); deep != std::string_view::npos) {
    throw SpecError(file, "nested more than " + std::to_string(kMaxDepth) + " deep at " + LineAndColumn(text, deep));
  }
  using Event = nlohmann::json::parse_event_t;
  std::vector<std::set<std::string>> keys;
  const auto refuse_duplicate_keys = [&](int, Event event, const nlohmann::json& parsed) {
    if (event == Event::object_start) {
      keys.emplace_back();
    } else if (event == Event::object_end) {
      keys.pop_back();
    } else if (event == Event::key && !keys.back().insert(parsed.get<std::string>()).second) {
      throw SpecError(file, "key " + Quoted(parsed) + " appears twice in one object");
    }
    return true;
  };
  try {
    return nlohmann::json::parse(text, refuse_duplicate_keys);
  } catch (const nlohmann::json::parse_error& error) {
    const std::size_t offset = error.byte > 0 ? error.byte - 1 : 0;
    throw SpecError(file, "not JSON at " + LineAndColumn(text, offset) + ": " + SyntaxMessage(error.what()));
  } catch (const nlohmann::json::out_of_range&) {
    throw SpecError(file, "a number is too large to represent");
  }
}

bool IsTooDeep(std::string_view text) { return FindTooDeep(text) != std::string_view::npos; }

std::string Place(std::string_view file, std::string_view pointer) {
  const bool is_place = file.find("#/") != std::string_view::npos || file.ends_with('#');
  return std::string(file) + (is_place ? "" : "#") + std::string(pointer);
}

std::string PointerStep(std::string_view name) {
  std::string step;
  const bool cut = name.size() > kMaxQuoted;
  for (const char c : name.substr(0, kMaxQuoted)) {
    if (c == '~') {
      step += "~0";
    } else if (c == '/') {
      step += "~1";
    } else {
      step += c;
    }
  }
  return cut ? step + "..." : step;
}

std::string Quoted(const nlohmann::json& value) {
  std::string text = value.dump(-1, ' ', /*ensure_ascii=*/true, nlohmann::json::error_handler_t::replace);
  if (text.size() > kMaxQuoted) text = text.substr(0, kMaxQuoted) + "...";
  return text;
}

}  // namespace shardscout::json
