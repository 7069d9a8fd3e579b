#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace shardscout {

/// FNV-1a, 64 bits. Tells texts apart; no protection against intent.
std::uint64_t Fnv1a(std::string_view text);

/// The same as 16 hexadecimal digits.
std::string Digest(std::string_view text);

}  // namespace shardscout
