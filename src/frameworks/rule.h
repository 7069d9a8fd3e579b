#pragma once

// A framework's validity rules as data. Each has a test that breaks it.

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "shardscout/model_spec.h"

namespace shardscout::frameworks {

template <class Arguments>
struct Rule {
  const char* id;         ///< "vllm.heads_divide_tp"
  const char* condition;  ///< What has to hold, in the framework's words.
  const char* source;     ///< The file of the framework's repository that says so.
  /// "" when kept, else what the framework would say.
  std::string (*broken)(const Arguments& arguments, const ModelSpec& model);
};

struct BrokenRule {
  std::string id;
  std::string message;
};

/// Every rule that the arguments break, in the table's order.
template <class Arguments>
std::vector<BrokenRule> CheckRules(std::span<const Rule<Arguments>> rules, const Arguments& arguments,
                                   const ModelSpec& model) {
  std::vector<BrokenRule> broken;
  for (const Rule<Arguments>& rule : rules) {
    std::string message = rule.broken(arguments, model);
    if (!message.empty()) broken.push_back({rule.id, std::move(message)});
  }
  return broken;
}

// What several frameworks ask, each in its own words.

/// "" where `size` splits over `parts` ranks, in whole blocks of `block` where that is above 1; else "192 (experts,
/// 1536 over 8 ranks) is not a multiple of the quantisation block 128".
std::string SplitsInBlocks(std::int64_t size, std::int64_t parts, std::int64_t block, const char* what);

/// "" where the partition is empty (the framework's own), or has one entry a stage and adds up to the layers.
std::string PartitionSums(const std::vector<std::int64_t>& partition, std::int64_t stages, std::int64_t layers,
                          const char* name);

/// "" where `heads` divides over `ranks`.
std::string HeadsDivide(std::int64_t heads, std::int64_t ranks, const char* what, const char* over);

/// "" where KV heads split over the ranks or are copied whole.
std::string KvHeadsDivide(const ModelSpec& model, std::int64_t ranks, const char* over);

}  // namespace shardscout::frameworks
