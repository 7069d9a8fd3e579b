#include "src/choices.h"

#include "shardscout/error.h"

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

}  // namespace shardscout::internal
