#pragma once

#include <cstdint>
#include <string_view>

namespace shardscout::internal {

/// CRC-32C (Castagnoli, polynomial 0x1edc6f41, reflected), as in RFC 3720, appendix B.4: of "123456789" 0xe3069283.
std::uint32_t Crc32c(std::string_view bytes);

/// As TFRecords carry it: a checksum of data that holds checksums would be weak.
inline std::uint32_t MaskedCrc32c(std::string_view bytes) {
  const std::uint32_t crc = Crc32c(bytes);
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

}  // namespace shardscout::internal
