#include "src/choices.h"

namespace shardscout::internal {

std::string JoinNames(const std::vector<std::string>& names, std::string_view separator) {
  std::string joined;
  for (const std::string& name : names) {
    if (!joined.empty()) joined += separator;
    joined += name;
  }
  return joined;
}

std::string Choices(std::string_view word, const std::vector<std::string>& names) {
  if (names.empty()) return "nothing";
  const std::string nearest = NearestName(word, names);
  return JoinNames(names, ", ") + (nearest.empty() ? "" : "; did you mean \"" + nearest + "\"?");
}

SpecError UnknownName(const std::string& place, std::string_view name, std::string_view kind,
                      const std::vector<std::string>& names) {
  constexpr std::size_t kMaxName = 60;
  const std::string shown = std::string(name.substr(0, kMaxName)) + (name.size() > kMaxName ? "..." : "");
  return SpecError(place, "\"" + shown + "\" is not " + std::string(kind) + "; expected " + Choices(name, names));
}

}  // namespace shardscout::internal
