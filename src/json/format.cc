#include "src/json/format.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "shardscout/error.h"

namespace shardscout::json {
namespace {

using nlohmann::ordered_json;

constexpr std::size_t kColumns = 120;

std::string FormatScalar(const ordered_json& value) {
  if (!value.is_number_float()) return value.dump();
  std::array<char, 32> buffer{};
  const auto [end, error] = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value.get<double>());
  SHARDSCOUT_CHECK(error == std::errc());
  std::string text(buffer.data(), end);
  // "9.89e+14" and "2e-06" without what they do not need.
  const std::size_t e = text.find('e');
  if (e == std::string::npos) return text;
  std::size_t digits = e + 1;
  if (text[digits] == '+') text.erase(digits, 1);
  if (text[digits] == '-') ++digits;
  while (digits + 1 < text.size() && text[digits] == '0') text.erase(digits, 1);
  return text;
}

std::string NameOf(const ordered_json::const_iterator& member, bool in_object) {
  return in_object ? ordered_json(member.key()).dump() + ": " : "";
}

class Writer {
 public:
  std::string Take() { return std::move(out_); }

  void Write(const ordered_json& value, std::size_t indent, bool in_list) {
    if (!value.is_structured()) {
      out_ += FormatScalar(value);
      return;
    }
    const bool is_object = value.is_object();
    const bool flat = std::none_of(value.begin(), value.end(), [](const auto& v) { return v.is_structured(); });
    const bool numbers =
        is_object && std::all_of(value.begin(), value.end(), [](const auto& v) { return v.is_number(); });
    out_ += is_object ? '{' : '[';
    if (flat && !HasComments(value) && (in_list || !is_object || value.empty())) {
      WriteMembers(value, indent, " ");
    } else if (numbers) {
      Fill(value, indent + 2);
    } else {
      const std::string line = "\n" + std::string(indent + 2, ' ');
      out_ += line;
      WriteMembers(value, indent + 2, line);
      out_ += "\n" + std::string(indent, ' ');
    }
    out_ += is_object ? '}' : ']';
  }

 private:
  static bool HasComments(const ordered_json& value) {
    if (!value.is_object()) return false;
    for (const auto& member : value.items()) {
      if (member.key().starts_with("_")) return true;
    }
    return false;
  }

  void WriteMembers(const ordered_json& value, std::size_t indent, std::string_view between) {
    for (auto member = value.begin(); member != value.end(); ++member) {
      if (member != value.begin()) out_.append(",").append(between);
      out_ += NameOf(member, value.is_object());
      Write(*member, indent, !value.is_object());
    }
  }

  void Fill(const ordered_json& value, std::size_t indent) {
    for (auto member = value.begin(); member != value.end(); ++member) {
      const std::string text = NameOf(member, true) + FormatScalar(*member);
      const std::size_t column = out_.size() - (out_.rfind('\n') + 1);
      if (member != value.begin()) {
        out_ += column + text.size() + 3 > kColumns ? ",\n" + std::string(indent, ' ') : ", ";
      }
      out_ += text;
    }
  }

  std::string out_;
};

}  // namespace

std::string FormatDocument(const ordered_json& document) {
  Writer writer;
  writer.Write(document, 0, false);
  return writer.Take();
}

}  // namespace shardscout::json
