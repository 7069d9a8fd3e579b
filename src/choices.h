#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace shardscout::internal {

std::string JoinNames(const std::vector<std::string>& names, std::string_view separator);

/// For error messages: "a, b, c", and the nearest to the `word` found: "a, b, c; did you mean \"b\"?".
std::string Choices(std::string_view word, const std::vector<std::string>& names);

}  // namespace shardscout::internal
