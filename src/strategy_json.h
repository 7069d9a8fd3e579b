#pragma once

// Strategies as part of larger JSON documents: with this header a Strategy is a field like any other of
// src/json/fields.h, with the keys of docs/strategy_space.md in emission order, all of them required.

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

/// What each of them does, in the order of Operator.
inline constexpr std::array<std::string_view, kNumShardedOperators> kShardingDocs = {
    "Token embedding: none, vocab or hidden.",
    "Norm and the query, key and value projections: none, token, heads (columns) or hidden (rows).",
    "Attention core and KV cache: none, token, heads or sequence.",
    "Output projection of attention: none, token, heads (rows) or hidden (columns).",
    "Norm and gate of a MoE layer: none or token.",
    "Norm, gate and up projection of a dense FFN or shared expert: none, token, ffn (columns) or hidden (rows).",
    "Down projection of a dense FFN or shared expert: none, token, ffn (rows) or hidden (columns).",
    "Gate and up projection of the routed experts, over etp: none, ffn (columns) or hidden (rows).",
    "Down projection of the routed experts, over etp: none, ffn (rows) or hidden (columns).",
    "Norm and output head: none, token, vocab (columns) or hidden (rows)."};

template <class V>
void VisitFields(V& visit, ShardingFields& fields) {
  for (std::size_t i = 0; i < kNumShardedOperators; ++i) {
    visit(ToString(static_cast<Operator>(i)), fields.values[i], {.doc = kShardingDocs[i], .required = true});
  }
}

inline std::array<Recomputation, 3> EnumValues(Recomputation) {
  return {Recomputation::kNone, Recomputation::kSelective, Recomputation::kFull};
}

/// The "training" object: a view of a strategy's fields.
struct TrainingFields {
  Strategy& strategy;
  bool AtFirstValues() const {
    return strategy.virtual_pipeline_parallel_size == 1 && strategy.zero_stage == 0 &&
           strategy.recomputation == Recomputation::kNone && strategy.head_layers == 0;
  }
};

template <class V>
void VisitFields(V& visit, TrainingFields& fields) {
  visit("virtual_pipeline_parallel_size", fields.strategy.virtual_pipeline_parallel_size,
        {.doc = "Chunks of layers that each stage holds, interleaved.", .min = 1});
  visit("head_layers", fields.strategy.head_layers,
        {.doc = "Layers that the head counts as where the layers are split over the stages.",
         .min = 0,
         .omitted = fields.strategy.head_layers == 0});
  visit("zero_stage", fields.strategy.zero_stage,
        {.doc = "What data parallel ranks share: 0 nothing, 1 optimizer states, 2 gradients too, 3 weights too.",
         .min = 0,
         .max = 3});
  visit("recomputation", fields.strategy.recomputation,
        {.doc = "What the backward pass computes again: none, selective (the core of attention) or full (layers)."});
  visit("recomputed_layers", fields.strategy.recomputed_layers,
        {.doc = "With full recomputation: of each chunk of a stage, the first so many layers; 0: all.",
         .min = 0,
         .omitted = fields.strategy.recomputed_layers == 0});
}

template <class V>
void VisitFields(V& visit, Strategy& strategy) {
  const auto size = [](std::string_view doc) { return json::Field{.doc = doc, .min = 1, .required = true}; };
  visit("pipeline_parallel_size", strategy.pipeline_parallel_size, size("Pipeline stages (pp)."));
  visit("tensor_parallel_size", strategy.tensor_parallel_size, size("Ranks that share each operator (tp)."));
  visit("context_parallel_size", strategy.context_parallel_size,
        size("Ranks that share the positions of a request (cp)."));
  visit("data_parallel_size", strategy.data_parallel_size,
        size("Ranks of one instance that hold different requests in attention (dp)."));
  visit("expert_parallel_size", strategy.expert_parallel_size, size("Ranks among which the experts are dealt (ep)."));
  visit("expert_tensor_parallel_size", strategy.expert_tensor_parallel_size,
        size("Ranks that share each expert (etp)."));
  visit("batch_size", strategy.batch_size, size("Concurrent requests of one data parallel rank."));
  visit("num_microbatches", strategy.num_microbatches,
        size("Parts of the batch that follow one another through the stages; divides batch_size."));
  visit("residual_layout", strategy.residual_layout, json::Needed("Layout of the residual stream over the tp ranks."));
  visit("dense_ffn_group", strategy.dense_ffn_group,
        json::Needed("Ranks that share a dense FFN: tp, or all of the stage."));
  visit("expert_exchange", strategy.expert_exchange,
        json::Needed("How tokens reach their experts and results come back."));
  visit("overlap", strategy.overlap, json::Needed("Overlap of compute and communication."));
  ShardingFields shardings{strategy.shardings};
  visit("shardings", shardings, json::Needed("The axis along which each operator is split over its group."));
  TrainingFields training{strategy};
  visit("training", training,
        {.doc = "Training's own decisions; absent: the first value of each, as in inference.",
         .omitted = training.AtFirstValues()});
}

nlohmann::ordered_json StrategyJson(const Strategy& strategy);

/// Strict, as ParseStrategy. `file`: what errors name before "#/pointer".
Strategy ReadStrategy(const nlohmann::json& value, std::string_view file);

}  // namespace shardscout
