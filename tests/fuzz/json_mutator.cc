// Changes JSON as JSON, three times out of four: bytes changed blindly rarely leave a document that a parser looks
// into. Numbers become those at which counts overflow, values and keys wander, members and elements come and go. Works
// on the text, so that it is quick, takes several documents in one file (a journal), and needs no whole document.

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <string_view>
#include <vector>

// NOLINTNEXTLINE(readability-identifier-naming): libFuzzer's
extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

namespace shardscout::fuzz {
namespace {

using Random = std::minstd_rand;

std::size_t Below(Random& random, std::size_t n) { return random() % n; }

enum class Kind : std::uint8_t { kNumber, kText, kKey, kLiteral, kContainer };

struct Span {
  std::size_t begin = 0, end = 0;
  Kind kind = Kind::kNumber;
};

bool IsNumberLetter(char c) {
  return (c >= '0' && c <= '9') || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E';
}

/// Values and keys, as far as the text is JSON.
std::vector<Span> Scan(std::string_view text) {
  std::vector<Span> spans;
  std::vector<std::size_t> open;
  for (std::size_t i = 0; i < text.size();) {
    const char c = text[i];
    const std::size_t begin = i++;
    if (c == '"') {
      while (i < text.size() && text[i] != '"') i += text[i] == '\\' ? 2 : 1;
      i = std::min(i + 1, text.size());
      const std::size_t next = text.find_first_not_of(" \t\r\n", i);
      spans.push_back({begin, i, next != std::string_view::npos && text[next] == ':' ? Kind::kKey : Kind::kText});
    } else if ((c >= '0' && c <= '9') || c == '-') {
      while (i < text.size() && IsNumberLetter(text[i])) ++i;
      spans.push_back({begin, i, Kind::kNumber});
    } else if (c >= 'a' && c <= 'z') {
      while (i < text.size() && text[i] >= 'a' && text[i] <= 'z') ++i;
      spans.push_back({begin, i, Kind::kLiteral});
    } else if (c == '{' || c == '[') {
      open.push_back(begin);
    } else if ((c == '}' || c == ']') && !open.empty()) {
      spans.push_back({open.back(), i, Kind::kContainer});
      open.pop_back();
    }
  }
  return spans;
}

std::string InterestingNumber(std::string_view before, Random& random) {
  static constexpr std::array<std::string_view, 44> kNumbers = {"0",
                                                                "1",
                                                                "-1",
                                                                "2",
                                                                "3",
                                                                "4",
                                                                "7",
                                                                "8",
                                                                "16",
                                                                "64",
                                                                "127",
                                                                "128",
                                                                "255",
                                                                "1000",
                                                                "65536",
                                                                "100000",
                                                                "1048576",
                                                                "1048577",
                                                                "1073741824",
                                                                "2147483647",
                                                                "2147483648",
                                                                "2147483649",
                                                                "1099511627776",
                                                                "9007199254740992",
                                                                "9007199254740993",
                                                                "9223372036854775807",
                                                                "-9223372036854775808",
                                                                "18446744073709551615",
                                                                "99999999999999999999",
                                                                "0.0",
                                                                "-0.0",
                                                                "0.5",
                                                                "1.0",
                                                                "1.5",
                                                                "1e-300",
                                                                "5e-324",
                                                                "1e-12",
                                                                "1e-9",
                                                                "1e-6",
                                                                "1e9",
                                                                "1e15",
                                                                "1e18",
                                                                "1e300",
                                                                "1e999"};
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(before.data(), before.data() + before.size(), value);
  if (error == std::errc() && end == before.data() + before.size()) {
    const auto bits = static_cast<std::uint64_t>(value);
    switch (Below(random, 8)) {
      case 0:
        return std::to_string(static_cast<std::int64_t>(bits + 1));
      case 1:
        return std::to_string(static_cast<std::int64_t>(bits - 1));
      case 2:
        return std::to_string(static_cast<std::int64_t>(bits * 2));
      case 3:
        return std::to_string(value / 2);
      default:
        break;
    }
  }
  return std::string(kNumbers[Below(random, kNumbers.size())]);
}

std::string MutatedText(std::string_view quoted) {
  std::string text(quoted.size() < 2 ? std::string_view() : quoted.substr(1, quoted.size() - 2));
  const std::size_t size = text.size();
  text.resize(size + 16);
  text.resize(LLVMFuzzerMutate(reinterpret_cast<std::uint8_t*>(text.data()), size, text.size()));
  return '"' + text + '"';
}

const Span* Another(const std::vector<Span>& spans, bool key, Random& random) {
  for (int tries = 0; tries < 8; ++tries) {
    const Span& span = spans[Below(random, spans.size())];
    if ((span.kind == Kind::kKey) == key) return &span;
  }
  return nullptr;
}

/// Takes out the value and its key, and one comma beside it.
void Remove(std::string& text, Span span, const std::vector<Span>& spans) {
  for (const Span& key : spans) {
    const bool before = key.kind == Kind::kKey && key.end <= span.begin;
    if (before && text.find_first_not_of(" \t\r\n:", key.end) == span.begin) span.begin = key.begin;
  }
  const std::size_t next = text.find_first_not_of(" \t\r\n", span.end);
  const std::size_t last = span.begin == 0 ? std::string::npos : text.find_last_not_of(" \t\r\n", span.begin - 1);
  if (next != std::string::npos && text[next] == ',') {
    span.end = next + 1;
  } else if (last != std::string::npos && text[last] == ',') {
    span.begin = last;
  }
  text.erase(span.begin, span.end - span.begin);
}

void Change(std::string& text, Random& random) {
  const std::vector<Span> spans = Scan(text);
  if (spans.empty()) return;
  const Span span = spans[Below(random, spans.size())];
  const std::string_view old = std::string_view(text).substr(span.begin, span.end - span.begin);
  std::string changed;
  if (span.kind == Kind::kKey) {
    const Span* other = Another(spans, true, random);
    if (other == nullptr) return;
    changed = text.substr(other->begin, other->end - other->begin);
    if (Below(random, 4) == 0) changed = MutatedText(old);
  } else if (Below(random, 8) == 0) {
    Remove(text, span, spans);
    return;
  } else if (Below(random, 8) == 0) {
    static constexpr std::array<std::string_view, 9> kAnything = {"null", "true",     "false", "0", "1",
                                                                  "\"\"", "\"none\"", "[]",    "{}"};
    changed = kAnything[Below(random, kAnything.size())];
  } else if (Below(random, 8) == 0) {
    const Span* other = Another(spans, false, random);
    if (other == nullptr) return;
    changed = text.substr(other->begin, other->end - other->begin);
  } else if (span.kind == Kind::kNumber) {
    changed = InterestingNumber(old, random);
  } else if (span.kind == Kind::kText) {
    changed = MutatedText(old);
  } else if (span.kind == Kind::kContainer) {
    changed = std::string(old) + "," + std::string(old);  // an element twice
  } else {
    changed = old == "true" ? "false" : "true";
  }
  text.replace(span.begin, span.end - span.begin, changed);
}

}  // namespace
}  // namespace shardscout::fuzz

// NOLINTNEXTLINE(readability-identifier-naming): libFuzzer's
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size,
                                               unsigned int seed) {
  shardscout::fuzz::Random random(seed);
  if (random() % 4 != 0) {
    std::string text(reinterpret_cast<const char*>(data), size);
    for (std::size_t changes = 1 + random() % 3; changes > 0; --changes) shardscout::fuzz::Change(text, random);
    if (!text.empty() && text.size() <= max_size) {
      std::memcpy(data, text.data(), text.size());
      return text.size();
    }
  }
  return LLVMFuzzerMutate(data, size, max_size);
}
