#include "src/frameworks/rule.h"

#include <numeric>

namespace shardscout::frameworks {

std::string SplitsInBlocks(std::int64_t size, std::int64_t parts, std::int64_t block, const char* what) {
  if (size == 0 || parts <= 1) return "";
  const std::string split =
      std::string(what) + ", " + std::to_string(size) + " over " + std::to_string(parts) + " ranks";
  if (size % parts != 0) return split + ", does not divide";
  const std::int64_t part = size / parts;
  if (block <= 1 || part % block == 0) return "";
  return std::to_string(part) + " (" + split + ") is not a multiple of the quantisation block " + std::to_string(block);
}

std::string PartitionSums(const std::vector<std::int64_t>& partition, std::int64_t stages, std::int64_t layers,
                          const char* name) {
  if (partition.empty()) return "";
  if (partition.size() != static_cast<std::size_t>(stages)) {
    return std::string(name) + " has " + std::to_string(partition.size()) + " entries, expected one a stage, " +
           std::to_string(stages);
  }
  const std::int64_t sum = std::accumulate(partition.begin(), partition.end(), std::int64_t{0});
  if (sum == layers) return "";
  return std::string(name) + " sums to " + std::to_string(sum) + ", expected the " + std::to_string(layers) + " layers";
}

std::string HeadsDivide(std::int64_t heads, std::int64_t ranks, const char* what, const char* over) {
  if (heads % ranks == 0) return "";
  return std::string(what) + " (" + std::to_string(heads) + ") must be divisible by " + over + " (" +
         std::to_string(ranks) + ")";
}

std::string KvHeadsDivide(const ModelSpec& model, std::int64_t ranks, const char* over) {
  if (model.attention.kind == AttentionKind::kMultiLatent) return "";
  const std::int64_t heads = model.attention.num_kv_heads;
  if (heads % ranks == 0 || ranks % heads == 0) return "";
  return "KV heads (" + std::to_string(heads) + ") must divide by " + over + " (" + std::to_string(ranks) +
         ") or into it";
}

}  // namespace shardscout::frameworks
