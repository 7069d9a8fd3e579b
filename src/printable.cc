#include "src/printable.h"

#include <cstddef>
#include <cstdint>

namespace shardscout::internal {
namespace {

/// Bytes of the UTF-8 sequence that `text` begins with; 0 where it begins with none (RFC 3629: no overlong forms, no
/// surrogates, nothing above U+10FFFF).
std::size_t SequenceLength(std::string_view text) {
  const auto byte = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U; };
  const auto follows = [&](std::size_t i) { return byte(i) >= 0x80 && byte(i) <= 0xbf; };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xc2 && first <= 0xdf) return follows(1) ? 2 : 0;
  if (first >= 0xe0 && first <= 0xef) {
    const bool narrow = (first == 0xe0 && byte(1) < 0xa0) || (first == 0xed && byte(1) > 0x9f);
    return follows(1) && follows(2) && !narrow ? 3 : 0;
  }
  if (first >= 0xf0 && first <= 0xf4) {
    const bool narrow = (first == 0xf0 && byte(1) < 0x90) || (first == 0xf4 && byte(1) > 0x8f);
    return follows(1) && follows(2) && follows(3) && !narrow ? 4 : 0;
  }
  return 0;
}

}  // namespace

std::string Printable(std::string_view text) {
  static constexpr std::string_view kHexDigits = "0123456789abcdef";
  std::string line;
  while (!text.empty()) {
    const std::size_t length = SequenceLength(text);
    const auto code = static_cast<unsigned char>(text[0]);
    if (length == 0 || code < 0x20 || code == 0x7f) {
      line += {'\\', 'x', kHexDigits[code >> 4], kHexDigits[code & 15]};
      text.remove_prefix(1);
    } else {
      line += text.substr(0, length);
      text.remove_prefix(length);
    }
  }
  return line;
}

}  // namespace shardscout::internal
