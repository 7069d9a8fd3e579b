// Changes JSON as JSON, three times out of four: bytes changed blindly rarely leave a document that a parser looks
// into. Numbers become those at which counts overflow, values and keys wander, members and elements come and go. A
// journal's lines are documents of their own.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <string_view>
#include <vector>

// NOLINTNEXTLINE(readability-identifier-naming): libFuzzer's
extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

namespace shardscout::fuzz {
namespace {

using nlohmann::ordered_json;
using Random = std::minstd_rand;

constexpr int kMaxDepth = 66;  // A little more than what the library takes.

std::size_t Below(Random& random, std::size_t n) { return random() % n; }

/// Brackets within strings count too, which only errs to the safe side.
bool TooDeep(std::string_view text) {
  int depth = 0, deepest = 0;
  for (const char c : text) {
    if (c == '{' || c == '[') deepest = std::max(deepest, ++depth);
    if (c == '}' || c == ']') --depth;
  }
  return deepest > kMaxDepth;
}

void Collect(ordered_json& node, std::vector<ordered_json*>& nodes) {
  nodes.push_back(&node);
  if (!node.is_structured()) return;
  for (auto& child : node) Collect(child, nodes);
}

ordered_json InterestingNumber(const ordered_json& before, Random& random) {
  static const std::vector<ordered_json> kNumbers = {0,
                                                     1,
                                                     -1,
                                                     2,
                                                     3,
                                                     4,
                                                     7,
                                                     8,
                                                     16,
                                                     64,
                                                     127,
                                                     128,
                                                     255,
                                                     1000,
                                                     65536,
                                                     100000,
                                                     1048576,
                                                     1048577,
                                                     std::int64_t{1} << 30,
                                                     (std::int64_t{1} << 31) - 1,
                                                     std::int64_t{1} << 31,
                                                     (std::int64_t{1} << 31) + 1,
                                                     std::int64_t{1} << 40,
                                                     std::int64_t{1} << 53,
                                                     std::numeric_limits<std::int64_t>::max(),
                                                     std::numeric_limits<std::int64_t>::min(),
                                                     std::numeric_limits<std::uint64_t>::max(),
                                                     0.0,
                                                     -0.0,
                                                     0.5,
                                                     1.0,
                                                     1.5,
                                                     1e-300,
                                                     5e-324,
                                                     1e-12,
                                                     1e-6,
                                                     1e9,
                                                     1e15,
                                                     1e18,
                                                     1e21,
                                                     1e300};
  if (before.is_number_integer()) {
    const auto value = static_cast<std::uint64_t>(before.get<std::int64_t>());
    switch (Below(random, 8)) {
      case 0:
        return static_cast<std::int64_t>(value + 1);
      case 1:
        return static_cast<std::int64_t>(value - 1);
      case 2:
        return static_cast<std::int64_t>(value * 2);
      case 3:
        return static_cast<std::int64_t>(value) / 2;
      default:
        break;
    }
  } else if (before.is_number_float() && Below(random, 3) == 0) {
    return before.get<double>() * (Below(random, 2) == 0 ? 2.0 : 0.5);
  }
  return kNumbers[Below(random, kNumbers.size())];
}

std::string MutatedText(std::string text, Random& random) {
  const std::size_t size = text.size();
  text.resize(size + 16);
  text.resize(LLVMFuzzerMutate(reinterpret_cast<std::uint8_t*>(text.data()), size, text.size()));
  static_cast<void>(random);
  return text;
}

/// Any key or text of the document.
std::string SomeWord(const std::vector<ordered_json*>& nodes, Random& random) {
  for (int tries = 0; tries < 8; ++tries) {
    const ordered_json& node = *nodes[Below(random, nodes.size())];
    if (node.is_string()) return node.get<std::string>();
    if (node.is_object() && !node.empty()) {
      return std::next(node.items().begin(), static_cast<std::ptrdiff_t>(Below(random, node.size()))).key();
    }
  }
  return "name";
}

void ChangeObject(ordered_json& object, const std::vector<ordered_json*>& nodes, Random& random) {
  const auto member =
      std::next(object.begin(), static_cast<std::ptrdiff_t>(object.empty() ? 0 : Below(random, object.size())));
  switch (Below(random, 3)) {
    case 0:
      if (!object.empty()) object.erase(member.key());
      return;
    case 1: {
      const ordered_json value = object.empty() ? ordered_json(1) : ordered_json(*member);
      object[SomeWord(nodes, random)] = value;
      return;
    }
    default: {
      const ordered_json value = *nodes[Below(random, nodes.size())];
      object[object.empty() ? SomeWord(nodes, random) : member.key()] = value;
      return;
    }
  }
}

void ChangeArray(ordered_json& array, const std::vector<ordered_json*>& nodes, Random& random) {
  if (array.empty()) {
    array.push_back(ordered_json(*nodes[Below(random, nodes.size())]));
    return;
  }
  const std::size_t index = Below(random, array.size());
  switch (Below(random, 3)) {
    case 0:
      array.erase(index);
      return;
    case 1: {
      const ordered_json copy = array[index];
      array.push_back(copy);
      return;
    }
    default: {
      const std::size_t other = Below(random, array.size());
      std::swap(array[index], array[other]);
      return;
    }
  }
}

void Change(ordered_json& document, Random& random) {
  std::vector<ordered_json*> nodes;
  Collect(document, nodes);
  ordered_json& node = *nodes[Below(random, nodes.size())];
  if (Below(random, 8) == 0) {
    static const std::vector<ordered_json> kAnything = {
        nullptr, true, false, 0, 1, "", "none", ordered_json::array(), ordered_json::object()};
    node = kAnything[Below(random, kAnything.size())];
  } else if (Below(random, 8) == 0) {
    const ordered_json other = *nodes[Below(random, nodes.size())];
    node = other;
  } else if (node.is_number()) {
    node = InterestingNumber(node, random);
  } else if (node.is_boolean()) {
    node = !node.get<bool>();
  } else if (node.is_string()) {
    node = Below(random, 2) == 0 ? SomeWord(nodes, random) : MutatedText(node.get<std::string>(), random);
  } else if (node.is_object()) {
    ChangeObject(node, nodes, random);
  } else if (node.is_array()) {
    ChangeArray(node, nodes, random);
  } else {
    node = InterestingNumber(node, random);
  }
}

/// "" where `text` is no JSON that may be looked into.
std::string ChangedDocument(std::string_view text, Random& random) {
  if (TooDeep(text)) return "";
  ordered_json document = ordered_json::parse(text, /*cb=*/nullptr, /*allow_exceptions=*/false);
  if (document.is_discarded()) return "";
  for (std::size_t changes = 1 + Below(random, 3); changes > 0; --changes) Change(document, random);
  return document.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

std::string Changed(std::string_view text, Random& random) {
  const std::string whole = ChangedDocument(text, random);
  if (!whole.empty()) {
    static constexpr std::string_view kEnds[] = {"", "", "", " ", "\t"};
    return whole + std::string(kEnds[Below(random, std::size(kEnds))]);
  }
  // Lines: one of them.
  const auto lines = static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n')) + 1;
  std::size_t begin = 0;
  for (std::size_t line = Below(random, lines); line > 0; --line) begin = text.find('\n', begin) + 1;
  const std::size_t end = std::min(text.find('\n', begin), text.size());
  const std::string middle = ChangedDocument(text.substr(begin, end - begin), random);
  if (middle.empty()) return "";
  return std::string(text.substr(0, begin)) + middle + std::string(text.substr(end));
}

}  // namespace
}  // namespace shardscout::fuzz

// NOLINTNEXTLINE(readability-identifier-naming): libFuzzer's
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size,
                                               unsigned int seed) {
  shardscout::fuzz::Random random(seed);
  if (random() % 4 != 0) {
    const std::string changed = shardscout::fuzz::Changed({reinterpret_cast<const char*>(data), size}, random);
    if (!changed.empty() && changed.size() <= max_size) {
      std::memcpy(data, changed.data(), changed.size());
      return changed.size();
    }
  }
  return LLVMFuzzerMutate(data, size, max_size);
}
