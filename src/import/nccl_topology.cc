// A reader of the XML that NCCL writes: elements with attributes, comments, a declaration; nothing else of XML.

#include <algorithm>
#include <cctype>
#include <charconv>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "shardscout/error.h"
#include "src/import/link_matrix.h"

namespace shardscout::importers {
namespace {

constexpr std::size_t kDeepest = 64;
constexpr std::size_t kMostElements = 100000;

struct Tag {
  std::string name;
  std::map<std::string, std::string> attributes;
  bool opens = true, closes = false;  ///< Both: <name/>.
};

class Reader {
 public:
  Reader(std::string_view text, std::string_view place) : text_(text), place_(place) {}

  /// The next tag; nullopt at the end.
  std::optional<Tag> Next() {
    while (true) {
      at_ = std::min(text_.find('<', at_), text_.size());
      if (at_ == text_.size()) return std::nullopt;
      if (text_.substr(at_).starts_with("<!--")) {
        Skip("-->");
      } else if (text_.substr(at_).starts_with("<?")) {
        Skip("?>");
      } else {
        ++at_;
        return ReadTag();
      }
    }
  }

  [[noreturn]] void Fail(const std::string& message) const {
    const auto line = 1 + std::count(text_.begin(), text_.begin() + static_cast<std::ptrdiff_t>(at_), '\n');
    throw SpecError(std::string(place_) + " line " + std::to_string(line), message);
  }

 private:
  void Skip(std::string_view end) {
    const std::size_t found = text_.find(end, at_);
    if (found == std::string_view::npos) Fail("a comment or declaration is not closed");
    at_ = found + end.size();
  }

  char Peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  void SkipSpaces() {
    while (std::isspace(static_cast<unsigned char>(Peek())) != 0) ++at_;
  }
  std::string ReadName() {
    const std::size_t begin = at_;
    while (std::isalnum(static_cast<unsigned char>(Peek())) != 0 || Peek() == '_' || Peek() == '-') ++at_;
    if (at_ == begin) Fail("expected a name");
    return std::string(text_.substr(begin, at_ - begin));
  }
  void Expect(char c) {
    if (Peek() != c) Fail(std::string("expected ") + c);
    ++at_;
  }

  Tag ReadTag() {
    Tag tag;
    if (Peek() == '/') {
      ++at_;
      tag.opens = false;
      tag.closes = true;
    }
    tag.name = ReadName();
    for (SkipSpaces(); Peek() != '>' && Peek() != '/'; SkipSpaces()) {
      const std::string name = ReadName();
      Expect('=');
      Expect('"');
      const std::size_t end = text_.find('"', at_);
      if (end == std::string_view::npos) Fail("an attribute is not closed");
      tag.attributes[name] = std::string(text_.substr(at_, end - at_));
      at_ = end + 1;
    }
    if (Peek() == '/') {
      ++at_;
      tag.closes = true;
    }
    Expect('>');
    return tag;
  }

  std::string_view text_, place_;
  std::size_t at_ = 0;
};

struct Link {
  std::string target;
  std::int64_t count = 0;
};

struct Device {
  std::int64_t dev = 0;
  std::size_t cpu = 0;
  std::string bridge;  ///< The outermost pci element around it that is not its own; "" directly below the CPU.
  std::string bus;     ///< Its own pci element.
  std::vector<Link> nvlinks;
};

std::string Lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

/// What the elements say.
struct Machine {
  std::vector<Device> devices;
  std::size_t nics = 0;
  std::int64_t slowest_megabits = 0;
};

class Walk {
 public:
  Walk(std::string_view text, std::string_view place) : reader_(text, place) {}

  Machine Run() {
    std::size_t elements = 0;
    while (const std::optional<Tag> tag = reader_.Next()) {
      if (++elements > kMostElements) reader_.Fail("has too many elements");
      if (tag->opens) {
        if (open_.size() >= kDeepest) reader_.Fail("is nested too deeply");
        open_.push_back(*tag);
        Enter(*tag);
      }
      if (!tag->closes) continue;
      if (open_.empty() || open_.back().name != tag->name) reader_.Fail("</" + tag->name + "> closes nothing");
      open_.pop_back();
    }
    if (!open_.empty()) reader_.Fail("<" + open_.back().name + "> is not closed");
    return std::move(machine_);
  }

 private:
  void Enter(const Tag& tag) {
    if (tag.name == "cpu") ++cpus_;
    if (tag.name == "gpu") EnterDevice(tag);
    if (tag.name == "nvlink" && !machine_.devices.empty() && open_.size() > 1 &&
        open_[open_.size() - 2].name == "gpu") {
      machine_.devices.back().nvlinks.push_back({Lower(Attribute(tag, "target")), Number(tag, "count")});
    }
    if (tag.name == "net") {
      ++machine_.nics;
      const std::int64_t speed = Number(tag, "speed");
      machine_.slowest_megabits = machine_.nics == 1 ? speed : std::min(machine_.slowest_megabits, speed);
    }
  }

  void EnterDevice(const Tag& tag) {
    if (machine_.devices.size() >= kMostDevices) reader_.Fail("has more devices than a node can");
    Device device{.dev = Number(tag, "dev"), .cpu = cpus_, .bridge = "", .bus = "", .nvlinks = {}};
    std::vector<std::string> buses;
    for (const Tag& around : open_) {
      if (around.name == "pci") buses.push_back(Lower(Attribute(around, "busid")));
    }
    if (!buses.empty()) device.bus = buses.back();
    if (buses.size() > 1) device.bridge = buses.front();
    machine_.devices.push_back(std::move(device));
  }

  std::string Attribute(const Tag& tag, const char* name) const {
    const auto found = tag.attributes.find(name);
    if (found == tag.attributes.end()) reader_.Fail("<" + tag.name + "> has no " + name);
    return found->second;
  }

  std::int64_t Number(const Tag& tag, const char* name) const {
    const std::string text = Attribute(tag, name);
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || value < 0 || value > 1000000000) {
      reader_.Fail("<" + tag.name + "> has " + name + " \"" + text + "\", expected a whole number");
    }
    return value;
  }

  Reader reader_;
  std::vector<Tag> open_;
  std::size_t cpus_ = 0;
  Machine machine_;
};

/// Between two devices: direct links, or those to switches, as many as the one with fewer has.
std::int64_t LinksBetween(const std::vector<Device>& devices, const Device& a, const Device& b) {
  std::int64_t direct = 0, a_to_switches = 0, b_to_switches = 0;
  const auto is_device = [&](const std::string& bus) {
    return std::any_of(devices.begin(), devices.end(), [&](const Device& d) { return d.bus == bus; });
  };
  for (const Link& link : a.nvlinks) {
    if (link.target == b.bus) direct += link.count;
    if (!is_device(link.target)) a_to_switches += link.count;
  }
  for (const Link& link : b.nvlinks) {
    if (!is_device(link.target)) b_to_switches += link.count;
  }
  return direct > 0 ? direct : std::min(a_to_switches, b_to_switches);
}

}  // namespace

LinkMatrix ParseNcclTopology(std::string_view text, std::string_view place) {
  Machine machine = Walk(text, place).Run();
  std::vector<Device>& devices = machine.devices;
  if (devices.empty()) throw SpecError(place, "has no <gpu>");
  std::stable_sort(devices.begin(), devices.end(), [](const Device& a, const Device& b) { return a.dev < b.dev; });
  LinkMatrix matrix;
  matrix.devices = devices.size();
  matrix.nics = machine.nics;
  matrix.nic_bytes_per_s = static_cast<double>(machine.slowest_megabits) * 1e6 / 8;
  for (const Device& a : devices) {
    for (const Device& b : devices) {
      const std::int64_t links = &a == &b ? 0 : LinksBetween(devices, a, b);
      const bool bridge = !a.bridge.empty() && a.bridge == b.bridge;
      matrix.links.push_back(links);
      matrix.near.push_back(links > 0            ? Near::kNvlink
                            : bridge || &a == &b ? Near::kBridge
                            : a.cpu == b.cpu     ? Near::kNode
                                                 : Near::kSystem);
    }
  }
  return matrix;
}

}  // namespace shardscout::importers
