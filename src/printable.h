#pragma once

#include <string>
#include <string_view>

namespace shardscout::internal {

/// `text` as one line of UTF-8, whatever bytes it has: control characters and bytes that are no UTF-8 become \x0a and
/// the like. For what a user gave (a file's name, a flag) where it is printed or written as JSON.
std::string Printable(std::string_view text);

}  // namespace shardscout::internal
