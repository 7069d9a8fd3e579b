#include "src/cli/flag_values.h"

#include <charconv>
#include <system_error>
#include <vector>

#include "shardscout/error.h"
#include "src/choices.h"
#include "src/spec_fields.h"

namespace shardscout::cli {

std::optional<double> ParseTarget(std::string_view text, const std::string& flag) {
  if (text == "none") return std::nullopt;
  const std::string place = flag + " " + std::string(text);
  double unit = 1;
  if (text.ends_with("ms")) {
    unit = 1e-3;
    text.remove_suffix(2);
  } else if (text.ends_with("s")) {
    text.remove_suffix(1);
  }
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  value *= unit;
  if (error != std::errc() || end != text.data() + text.size() || !(value >= kLeastSeconds && value <= kMostSeconds)) {
    throw SpecError(place, "expected a time such as 2s or 50ms, from 1e-9s to 1e9s, or none");
  }
  return value;
}

double ParseShare(std::string_view text, const std::string& flag) {
  const std::string place = flag + " " + std::string(text);
  double unit = 1;
  if (text.ends_with("%")) {
    unit = 1e-2;
    text.remove_suffix(1);
  }
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  value *= unit;
  if (error != std::errc() || end != text.data() + text.size() || !(value > 0 && value <= 1e6)) {
    throw SpecError(place, "expected a share above 0 such as 1% or 0.01");
  }
  return value;
}

Objective ParseObjective(const std::string& text) {
  std::vector<std::string> names;
  for (const Objective objective : {Objective::kThroughputPerDevice, Objective::kLatency,
                                    Objective::kCostPerMillionTokens, Objective::kEnergyPerToken}) {
    if (text == ToString(objective)) return objective;
    names.emplace_back(ToString(objective));
  }
  throw SpecError("--objective " + text, "expected one of " + internal::Choices(text, names));
}

std::pair<std::string, std::string> ParseFix(const std::string& text) {
  const std::size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0) {
    throw SpecError("--fix " + text, "expected a decision variable and its value, such as tensor_parallel_size=8");
  }
  return {text.substr(0, equals), text.substr(equals + 1)};
}

}  // namespace shardscout::cli
