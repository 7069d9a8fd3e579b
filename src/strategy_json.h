#pragma once

// Strategies as part of larger JSON documents: with this header a Strategy is a field like any other of
// src/json/fields.h, with the keys of DESIGN.md section 5 in emission order, all of them required.

#include <array>
#include <cstddef>
#include <nlohmann/json_fwd.hpp>
#include <string_view>

#include "shardscout/strategy.h"
#include "src/json/field.h"

namespace shardscout {

/// The layouts that a residual stream takes, and so those that a strategy's JSON may name: all but kPartial.
inline std::array<Layout, 3> EnumValues(Layout) {
  return {Layout::kReplicated, Layout::kTokenSharded, Layout::kFeatureSharded};
}
inline std::array<DenseFfnGroup, 2> EnumValues(DenseFfnGroup) { return {DenseFfnGroup::kTp, DenseFfnGroup::kStage}; }
inline std::array<ExpertExchange, 3> EnumValues(ExpertExchange) {
  return {ExpertExchange::kAllToAll, ExpertExchange::kGatherScatter, ExpertExchange::kGatherReduce};
}
inline std::array<Overlap, 3> EnumValues(Overlap) { return {Overlap::kNone, Overlap::kTwoBatch, Overlap::kChunked}; }
inline std::array<Operator, kNumOperators> EnumValues(Operator) {
  std::array<Operator, kNumOperators> values{};
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<Operator>(i);
  return values;
}
inline std::array<Sharding, 7> EnumValues(Sharding) {
  return {Sharding::kNone,     Sharding::kToken, Sharding::kHeads, Sharding::kHidden,
          Sharding::kSequence, Sharding::kFfn,   Sharding::kVocab};
}

/// The "shardings" object: a view of a strategy's array.
struct ShardingFields {
  std::array<Sharding, kNumShardedOperators>& values;
};

template <class V>
void VisitFields(V& visit, ShardingFields& fields) {
  for (std::size_t i = 0; i < kNumShardedOperators; ++i) {
    visit(ToString(static_cast<Operator>(i)), fields.values[i], {.required = true});
  }
}

template <class V>
void VisitFields(V& visit, Strategy& strategy) {
  const json::Field size = {.min = 1, .required = true};
  const json::Field choice = {.required = true};
  visit("pipeline_parallel_size", strategy.pipeline_parallel_size, size);
  visit("tensor_parallel_size", strategy.tensor_parallel_size, size);
  visit("context_parallel_size", strategy.context_parallel_size, size);
  visit("data_parallel_size", strategy.data_parallel_size, size);
  visit("expert_parallel_size", strategy.expert_parallel_size, size);
  visit("expert_tensor_parallel_size", strategy.expert_tensor_parallel_size, size);
  visit("batch_size", strategy.batch_size, size);
  visit("num_microbatches", strategy.num_microbatches, size);
  visit("residual_layout", strategy.residual_layout, choice);
  visit("dense_ffn_group", strategy.dense_ffn_group, choice);
  visit("expert_exchange", strategy.expert_exchange, choice);
  visit("overlap", strategy.overlap, choice);
  ShardingFields shardings{strategy.shardings};
  visit("shardings", shardings, choice);
}

nlohmann::ordered_json StrategyJson(const Strategy& strategy);

/// Strict, as ParseStrategy. `file`: what errors name before "#/pointer".
Strategy ReadStrategy(const nlohmann::json& value, std::string_view file);

}  // namespace shardscout
