#pragma once

// A reader of TensorBoard's event files of the tests' own, from the format's description in event_file.h: checksums bit
// by bit, protobuf's encoding by hand.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace shardscout::test {

struct ReadEvent {
  double wall_time = 0;
  std::int64_t step = 0;
  std::string file_version;
  std::map<std::string, float> scalars;
};

inline std::uint32_t BitwiseCrc32c(std::string_view bytes) {
  std::uint32_t crc = 0xffffffffu;
  for (const char c : bytes) {
    crc ^= static_cast<unsigned char>(c);
    for (int bit = 0; bit < 8; ++bit) crc = (crc & 1u) != 0 ? (crc >> 1) ^ 0x82f63b78u : crc >> 1;
  }
  return ~crc;
}

inline std::uint64_t LittleEndian(std::string_view bytes) {
  std::uint64_t number = 0;
  for (std::size_t i = bytes.size(); i-- > 0;) number = number << 8 | static_cast<unsigned char>(bytes[i]);
  return number;
}

/// One field after another of a message; bytes for wire type 2, else the number's bits.
class FieldReader {
 public:
  explicit FieldReader(std::string_view message) : rest_(message) {}

  bool Next() {
    if (rest_.empty()) return false;
    const std::uint64_t key = Varint();
    number = static_cast<int>(key >> 3);
    switch (key & 7) {
      case 0:
        bits = Varint();
        break;
      case 1:
        bits = LittleEndian(Take(8));
        break;
      case 2:
        bytes = Take(static_cast<std::size_t>(Varint()));
        break;
      case 5:
        bits = LittleEndian(Take(4));
        break;
      default:
        throw std::runtime_error("a wire type that protobuf has not");
    }
    return true;
  }

  int number = 0;
  std::uint64_t bits = 0;
  std::string_view bytes;

 private:
  std::string_view Take(std::size_t count) {
    if (count > rest_.size()) throw std::runtime_error("a message that ends too early");
    const std::string_view taken = rest_.substr(0, count);
    rest_.remove_prefix(count);
    return taken;
  }
  std::uint64_t Varint() {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(Take(1).front());
      value |= static_cast<std::uint64_t>(byte & 0x7fu) << shift;
      if (byte < 0x80) return value;
    }
    throw std::runtime_error("a number of more than ten bytes");
  }

  std::string_view rest_;
};

template <class To, class From>
To SameBits(From bits) {
  To value;
  static_assert(sizeof(To) == sizeof(From));
  std::memcpy(&value, &bits, sizeof(To));
  return value;
}

inline ReadEvent ParseEvent(std::string_view message) {
  ReadEvent event;
  for (FieldReader field(message); field.Next();) {
    if (field.number == 1) event.wall_time = SameBits<double>(field.bits);
    if (field.number == 2) event.step = static_cast<std::int64_t>(field.bits);
    if (field.number == 3) event.file_version = field.bytes;
    if (field.number != 5) continue;
    for (FieldReader value(field.bytes); value.Next();) {
      std::string tag;
      float number = 0;
      for (FieldReader part(value.bytes); part.Next();) {
        if (part.number == 1) tag = part.bytes;
        if (part.number == 2) number = SameBits<float>(static_cast<std::uint32_t>(part.bits));
      }
      event.scalars[tag] = number;
    }
  }
  return event;
}

/// Every record of a file's bytes; throws where a length or a checksum is wrong.
inline std::vector<ReadEvent> ReadEvents(std::string_view file) {
  const auto check = [](std::string_view bytes, std::string_view masked) {
    const std::uint32_t crc = BitwiseCrc32c(bytes);
    const std::uint32_t expected = ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
    if (LittleEndian(masked) != expected) throw std::runtime_error("a checksum that is wrong");
  };
  std::vector<ReadEvent> events;
  while (!file.empty()) {
    if (file.size() < 16) throw std::runtime_error("a record that ends too early");
    check(file.substr(0, 8), file.substr(8, 4));
    const auto length = static_cast<std::size_t>(LittleEndian(file.substr(0, 8)));
    if (file.size() - 16 < length) throw std::runtime_error("a record that ends too early");
    check(file.substr(12, length), file.substr(12 + length, 4));
    events.push_back(ParseEvent(file.substr(12, length)));
    file.remove_prefix(16 + length);
  }
  return events;
}

}  // namespace shardscout::test
