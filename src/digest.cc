#include "src/digest.h"

namespace shardscout {

std::uint64_t Fnv1a(std::string_view text) {
  std::uint64_t hash = 14695981039346656037U;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211U;
  return hash;
}

std::string Digest(std::string_view text) {
  static constexpr std::string_view kDigits = "0123456789abcdef";
  std::string digest(16, '0');
  std::uint64_t hash = Fnv1a(text);
  for (std::size_t i = 16; i-- > 0; hash >>= 4) digest[i] = kDigits[hash & 15];
  return digest;
}

}  // namespace shardscout
