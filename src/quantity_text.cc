#include "src/quantity_text.h"

#include <array>
#include <cmath>
#include <cstdio>
#include <utility>
#include <vector>

namespace shardscout::text {
namespace {

std::string Fixed(double value, int decimals) {
  std::array<char, 64> buffer{};
  std::snprintf(buffer.data(), buffer.size(), "%.*f", decimals, value);
  return buffer.data();
}

/// The largest unit that leaves 1 or more.
std::string WithUnit(double value, const std::vector<std::pair<double, const char*>>& units) {
  if (value == 0) return "0";
  for (const auto& [size, name] : units) {
    if (value >= size * 0.9995) return Number(value / size) + " " + name;
  }
  return Number(value / units.back().first) + " " + units.back().second;
}

}  // namespace

std::string Grouped(std::int64_t value) {
  std::string digits = std::to_string(value);
  const std::size_t first = digits[0] == '-' ? 1 : 0;
  for (std::size_t at = digits.size(); at > first + 3;) {
    at -= 3;
    digits.insert(at, ",");
  }
  return digits;
}

std::string Number(double value) {
  const double size = std::abs(value);
  if (size == 0) return "0";
  if (size >= 1e15 || size < 1e-4) {
    std::array<char, 64> buffer{};
    std::snprintf(buffer.data(), buffer.size(), "%.2e", value);
    return buffer.data();
  }
  if (size >= 99.95) return Grouped(std::llround(value));
  if (size >= 9.995) return Fixed(value, 1);
  if (size >= 0.9995) return Fixed(value, 2);
  return Fixed(value, 2 - static_cast<int>(std::floor(std::log10(size))));
}

std::string Duration(double seconds) { return WithUnit(seconds, {{1, "s"}, {1e-3, "ms"}, {1e-6, "us"}}); }

std::string Bytes(double bytes) {
  return WithUnit(bytes, {{1e12, "TB"}, {1e9, "GB"}, {1e6, "MB"}, {1e3, "KB"}, {1, "B"}});
}

std::string Percent(double share) { return Fixed(100 * share, 1) + " %"; }

}  // namespace shardscout::text
