#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "shardscout/error.h"

namespace shardscout::internal {

std::string JoinNames(const std::vector<std::string>& names, std::string_view separator);

/// For error messages: "a, b, c", and the nearest to the `word` found: "a, b, c; did you mean \"b\"?".
std::string Choices(std::string_view word, const std::vector<std::string>& names);

/// What to throw for a name that a registry does not hold: `"anealing" is not a searcher; expected ...`. `kind` comes
/// with its article.
SpecError UnknownName(const std::string& place, std::string_view name, std::string_view kind,
                      const std::vector<std::string>& names);

}  // namespace shardscout::internal
