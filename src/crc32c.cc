#include "src/crc32c.h"

#include <array>

namespace shardscout::internal {
namespace {

constexpr std::uint32_t kReflectedPolynomial = 0x82f63b78u;

/// What a byte leaves, for each byte.
constexpr std::array<std::uint32_t, 256> kTable = [] {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1u) != 0 ? kReflectedPolynomial : 0u);
    table[byte] = crc;
  }
  return table;
}();

}  // namespace

std::uint32_t Crc32c(std::string_view bytes) {
  std::uint32_t crc = 0xffffffffu;
  for (const char c : bytes) crc = (crc >> 8) ^ kTable[(crc ^ static_cast<unsigned char>(c)) & 0xffu];
  return ~crc;
}

}  // namespace shardscout::internal
