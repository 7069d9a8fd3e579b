#include "src/frameworks/kubernetes.h"

#include <algorithm>
#include <cctype>

namespace shardscout::frameworks {

std::string LabelComplaint(const std::string& name) {
  constexpr std::size_t kLongest = 63;
  const auto inner = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; };
  const bool ends = !name.empty() && name.front() >= 'a' && name.front() <= 'z' && name.back() != '-';
  if (ends && name.size() <= kLongest && std::all_of(name.begin(), name.end(), inner)) return "";
  return "metadata.name \"" + name + "\" is no DNS label";
}

std::string LabelOf(const std::string& prefix, const std::string& name) {
  constexpr std::size_t kLongest = 40;
  std::string label = prefix + "-";
  for (const char c : name) {
    const auto u = static_cast<unsigned char>(c);
    label += std::isalnum(u) != 0 ? static_cast<char>(std::tolower(u)) : '-';
  }
  label.resize(std::min(label.size(), kLongest));
  while (label.back() == '-') label.pop_back();
  return label;
}

}  // namespace shardscout::frameworks
