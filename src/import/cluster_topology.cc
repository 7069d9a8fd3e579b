#include "shardscout/cluster_topology.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <sstream>
#include <utility>

#include "shardscout/error.h"
#include "src/import/link_matrix.h"
#include "src/spec_fields.h"

namespace shardscout {
namespace {

using importers::kMostDevices;
using importers::LinkMatrix;
using importers::Near;

std::vector<std::string> Words(const std::string& line) {
  std::istringstream in(line);
  std::vector<std::string> words;
  for (std::string word; in >> word;) words.push_back(word);
  return words;
}

/// Without what terminals are told: ESC [ ... letter.
std::string WithoutEscapes(std::string_view text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\x1b') {
      plain += text[i];
      continue;
    }
    while (i < text.size() && !(text[i] >= '@' && text[i] <= 'Z' && text[i] != '[') &&
           !(text[i] >= 'a' && text[i] <= 'z'))
      ++i;
  }
  return plain;
}

bool IsDevice(const std::string& word) {
  return word.size() > 3 && word.starts_with("GPU") &&
         std::all_of(word.begin() + 3, word.end(), [](char c) { return c >= '0' && c <= '9'; });
}

Near ParseNear(const std::string& word, std::int64_t& links, const std::string& place) {
  links = 0;
  if (word.starts_with("NV") && word.size() > 2) {
    const auto [end, error] = std::from_chars(word.data() + 2, word.data() + word.size(), links);
    if (error == std::errc() && end == word.data() + word.size() && links > 0 && links < 1000) return Near::kNvlink;
  }
  if (word == "X" || word == "PIX" || word == "PXB" || word == "PHB") return Near::kBridge;
  if (word == "NODE") return Near::kNode;
  if (word == "SYS" || word == "SOC") return Near::kSystem;
  throw SpecError(place, "found \"" + word + "\", expected X, NV#, PIX, PXB, PHB, NODE or SYS");
}

LinkMatrix ParseMatrix(const std::string& text, std::string_view place) {
  LinkMatrix matrix;
  std::istringstream in(text);
  std::size_t number = 0, rows = 0;
  for (std::string line; std::getline(in, line);) {
    ++number;
    const std::vector<std::string> words = Words(line);
    if (words.empty() || !IsDevice(words.front())) continue;
    if (matrix.devices == 0) {
      // The header names the columns: devices first.
      matrix.devices = static_cast<std::size_t>(std::count_if(words.begin(), words.end(), IsDevice));
      matrix.nics = static_cast<std::size_t>(std::count_if(words.begin(), words.end(), [](const std::string& word) {
        return word.starts_with("NIC") || word.starts_with("mlx");
      }));
      if (matrix.devices > kMostDevices) throw SpecError(place, "has more devices than a node can");
      continue;
    }
    const std::string here = std::string(place) + " line " + std::to_string(number);
    if (words.size() < matrix.devices + 1) {
      throw SpecError(here, "expected a word for each of " + std::to_string(matrix.devices) + " devices");
    }
    if (++rows > matrix.devices) throw SpecError(here, "has more rows than columns");
    for (std::size_t i = 1; i <= matrix.devices; ++i) {
      std::int64_t links = 0;
      matrix.near.push_back(ParseNear(words[i], links, here));
      matrix.links.push_back(links);
    }
  }
  if (rows != matrix.devices)
    throw SpecError(place,
                    "has " + std::to_string(rows) + " rows of devices, expected " + std::to_string(matrix.devices));
  return matrix;
}

using Groups = std::vector<std::vector<std::size_t>>;

/// Devices within reach of one another; nullopt where they form no equal cliques.
std::optional<Groups> GroupsWithin(const LinkMatrix& matrix, Near reach) {
  Groups groups;
  std::vector<bool> seen(matrix.devices, false);
  for (std::size_t i = 0; i < matrix.devices; ++i) {
    if (seen[i]) continue;
    std::vector<std::size_t> group;
    for (std::size_t j = 0; j < matrix.devices; ++j) {
      if (i == j || matrix.near[i * matrix.devices + j] <= reach) group.push_back(j);
    }
    for (const std::size_t a : group) {
      for (const std::size_t b : group) {
        if (a != b && matrix.near[a * matrix.devices + b] > reach) return std::nullopt;
      }
      if (seen[a]) return std::nullopt;
      seen[a] = true;
    }
    groups.push_back(std::move(group));
  }
  for (const auto& group : groups) {
    if (group.size() != groups.front().size()) return std::nullopt;
  }
  return groups;
}

ClusterTopology OfMatrix(const LinkMatrix& matrix, const char* source, std::string_view place) {
  ClusterTopology topology;
  topology.source = source;
  topology.devices_per_node = static_cast<std::int64_t>(matrix.devices);
  std::size_t inside = 1;
  std::vector<Groups> levels;
  for (const Near reach : {Near::kNvlink, Near::kBridge, Near::kNode, Near::kSystem}) {
    const std::optional<Groups> groups = GroupsWithin(matrix, reach);
    if (!groups) {
      if (reach != Near::kNvlink) continue;  // Bridges that share unequally count as the level around them.
      throw SpecError(place,
                      "NVLink joins some devices to others that are not joined to each other, or groups of "
                      "different sizes: no tiers of equal groups");
    }
    const std::size_t size = groups->front().size();
    if (size == inside || size % inside != 0) continue;
    TopologyLevel level{.name = reach == Near::kBridge ? "pcie-bridge"
                                : reach == Near::kNode ? "pcie-cpu"
                                                       : "pcie",
                        .size = static_cast<std::int64_t>(size)};
    if (reach == Near::kNvlink) {
      level.nvlinks = *std::max_element(matrix.links.begin(), matrix.links.end());
      level.name = "nvlink-" + std::to_string(level.nvlinks);
    }
    topology.inner.push_back(std::move(level));
    levels.push_back(*groups);
    inside = size;
  }
  // Devices of the innermost groups side by side, and so outwards: by the first device of each group around one.
  std::vector<std::vector<std::size_t>> keys(matrix.devices);
  for (auto level = levels.rbegin(); level != levels.rend(); ++level) {
    for (const auto& group : *level) {
      for (const std::size_t device : group) keys[device].push_back(group.front());
    }
  }
  std::vector<std::int64_t> order(matrix.devices);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
    return keys[static_cast<std::size_t>(a)] < keys[static_cast<std::size_t>(b)];
  });
  topology.device_order = std::move(order);
  if (matrix.nic_bytes_per_s > 0) {
    topology.nics = static_cast<std::int64_t>(matrix.nics);
    topology.nic_bytes_per_s = matrix.nic_bytes_per_s;
  } else if (matrix.nics > 0) {
    topology.notes.push_back(std::to_string(matrix.nics) +
                             " NICs, whose speed the matrix does not say: the network "
                             "beyond a node is that of the cluster it is like");
  }
  return topology;
}

/// How many hosts a list names: "node[01-32],login" is 33.
std::int64_t CountHosts(const std::string& list, const std::string& place) {
  std::int64_t count = 0;
  std::size_t i = 0;
  while (i < list.size()) {
    std::int64_t here = 1;
    for (; i < list.size() && list[i] != ','; ++i) {
      if (list[i] != '[') continue;
      const std::size_t end = list.find(']', i);
      if (end == std::string::npos) throw SpecError(place, "found \"" + list + "\": a [ is not closed");
      std::int64_t inside = 0;
      std::istringstream ranges(list.substr(i + 1, end - i - 1));
      for (std::string range; std::getline(ranges, range, ',');) {
        std::int64_t first = 0, last = 0;
        const std::size_t dash = range.find('-');
        const auto number = [&](std::string_view text, std::int64_t& value) {
          const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
          return error == std::errc() && stop == text.data() + text.size() && value >= 0 && value < (1 << 24);
        };
        const std::string_view view = range;
        const bool good = number(view.substr(0, dash), first) &&
                          (dash == std::string::npos ? number(view, last) : number(view.substr(dash + 1), last));
        if (!good || last < first) throw SpecError(place, "found \"" + list + "\", expected ranges such as [01-32]");
        inside += last - first + 1;
      }
      here *= inside;
      i = end;
    }
    count += here;
    ++i;
    if (count > (1 << 24)) throw SpecError(place, "names too many nodes");
  }
  return count;
}

ClusterTopology OfSlurm(const std::string& text, std::string_view place) {
  ClusterTopology topology;
  topology.source = "Slurm topology";
  std::vector<std::int64_t> leaves;
  std::int64_t nodes = 0, number = 0;
  bool blocks = false;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    ++number;
    line = line.substr(0, line.find('#'));
    const std::string here = std::string(place) + " line " + std::to_string(number);
    std::map<std::string, std::string> values;
    for (const std::string& word : Words(line)) {
      const std::size_t equals = word.find('=');
      if (equals == std::string::npos) throw SpecError(here, "found \"" + word + "\", expected Name=value");
      values[word.substr(0, equals)] = word.substr(equals + 1);
    }
    if (values.contains("BlockName")) blocks = true;
    if (!values.contains("Nodes")) continue;
    leaves.push_back(CountHosts(values["Nodes"], here));
    nodes += leaves.back();
  }
  if (leaves.empty()) throw SpecError(place, "no switch or block has Nodes=");
  const auto [least, most] = std::minmax_element(leaves.begin(), leaves.end());
  if (*least != *most) {
    topology.notes.push_back("switches of " + std::to_string(*least) + " to " + std::to_string(*most) +
                             " nodes: taken as of " + std::to_string(*least) + " each");
  }
  topology.num_nodes = nodes;
  if (leaves.size() > 1 && *least > 0) topology.nodes_per_switch.push_back(*least);
  if (blocks)
    topology.notes.push_back("blocks are taken as switches; where they are NVLink domains, use --like gb200-nvl72");
  return topology;
}

bool HasAny(std::string_view name, std::initializer_list<std::string_view> parts) {
  return std::any_of(parts.begin(), parts.end(),
                     [&](std::string_view part) { return name.find(part) != std::string_view::npos; });
}

/// One NVLink, one direction: 25 GB/s of the third and fourth generation, 50 GB/s of the fifth (NVIDIA's datasheets).
double NvlinkBytesPerS(const DeviceSpec& device) {
  return HasAny(device.name, {"B200", "B300", "GB200", "GB300"}) ? 50e9 : 25e9;
}

/// x16, one direction: PCIe 4 or 5.
double PcieBytesPerS(const DeviceSpec& device) { return HasAny(device.name, {"A100", "L40"}) ? 32e9 : 64e9; }

/// Latencies and fractions as in the presets: what NCCL 2.30 plans with (src/graph/topo.h, tuning.cc).
NetworkTier TierOf(const TopologyLevel& level, const ClusterSpec& like) {
  const double bytes_per_s = level.nvlinks > 0 ? static_cast<double>(level.nvlinks) * NvlinkBytesPerS(like.device)
                                               : PcieBytesPerS(like.device);
  const NetworkTier& own = like.tiers.front();
  if (own.size == level.size && own.bytes_per_s == bytes_per_s) return own;
  NetworkTier tier;
  tier.name = level.name;
  tier.size = level.size;
  tier.kind = level.nvlinks > 0 && level.size == 2 ? TierKind::kFullyConnected : TierKind::kSwitch;
  tier.bytes_per_s = bytes_per_s;
  tier.latency_s = level.nvlinks > 0 ? 0.6e-6 : 1e-6;
  tier.achieved_fraction = level.nvlinks > 0 ? 0.824 : 0.75;
  return tier;
}

}  // namespace

ClusterTopology ReadClusterTopology(std::string_view text, std::string_view place) {
  const std::string plain = WithoutEscapes(text);
  if (plain.find("SwitchName=") != std::string::npos || plain.find("BlockName=") != std::string::npos) {
    return OfSlurm(plain, place);
  }
  if (plain.find("<system") != std::string::npos) {
    return OfMatrix(importers::ParseNcclTopology(plain, place), "NCCL topology", place);
  }
  const LinkMatrix matrix = ParseMatrix(plain, place);
  if (matrix.devices == 0) {
    throw SpecError(
        place,
        "is no topology that can be read: expected the text of nvidia-smi topo -m, NCCL's topology (XML), or "
        "Slurm's topology.conf");
  }
  return OfMatrix(matrix, "nvidia-smi topo -m", place);
}

ClusterSpec ClusterOf(const ClusterTopology& topology, const ClusterSpec& like, std::int64_t nodes) {
  ClusterSpec cluster = like;
  const std::int64_t num_nodes = nodes > 0 ? nodes : topology.num_nodes;
  NetworkTier network = like.tiers.back();
  if (topology.nics > 0) {
    network.bytes_per_s = topology.nic_bytes_per_s;
    network.rails = topology.nics == topology.devices_per_node ? 0 : topology.nics;
  }
  if (topology.devices_per_node > 0) {
    cluster.name = like.name + "-imported";
    cluster.devices_per_node = topology.devices_per_node;
    cluster.tiers.clear();
    for (const TopologyLevel& level : topology.inner) cluster.tiers.push_back(TierOf(level, like));
  } else {
    std::erase_if(cluster.tiers,
                  [&](const NetworkTier& tier) { return tier.size == 0 || tier.size > cluster.devices_per_node; });
  }
  for (const std::int64_t per_switch : topology.nodes_per_switch) {
    NetworkTier leaf = network;
    leaf.name = "leaf";
    leaf.size = per_switch * cluster.devices_per_node;
    if (leaf.size > (cluster.tiers.empty() ? 0 : cluster.tiers.back().size)) cluster.tiers.push_back(leaf);
  }
  cluster.num_devices = num_nodes * cluster.devices_per_node;
  if (cluster.tiers.empty() || cluster.tiers.back().size < cluster.num_devices) {
    cluster.tiers.push_back(network);
    cluster.tiers.back().size = 0;
  }
  internal::CheckCluster(cluster, topology.source);
  return cluster;
}

std::string ToJson(const ClusterSpec& cluster, int indent) { return json::WriteJson(cluster).dump(indent) + "\n"; }

}  // namespace shardscout
