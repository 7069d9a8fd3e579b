#pragma once

// Evaluations as part of larger JSON documents: with this header an Evaluation is a field like any other of
// src/json/fields.h. All keys are required; doubles are written so that they read back bit for bit.

#include <nlohmann/json_fwd.hpp>
#include <string_view>

#include "shardscout/evaluation.h"
#include "src/json/field.h"

namespace shardscout {

template <class V>
void VisitFields(V& visit, Metrics& metrics) {
  const json::Field field = {.min = 0, .required = true};
  visit("ttft_s", metrics.ttft_s, field);
  visit("tpot_s", metrics.tpot_s, field);
  visit("throughput_tokens_per_s", metrics.throughput_tokens_per_s, field);
  visit("throughput_per_device", metrics.throughput_per_device, field);
  visit("cost_usd_per_million_tokens", metrics.cost_usd_per_million_tokens, field);
  visit("energy_j_per_token", metrics.energy_j_per_token, field);
  visit("replicas", metrics.replicas, field);
  visit("idle_devices", metrics.idle_devices, field);
  visit("concurrency", metrics.concurrency, field);
}

template <class V>
void VisitFields(V& visit, MemoryUse& memory) {
  const json::Field field = {.min = 0, .required = true};
  visit("weight_bytes", memory.weight_bytes, field);
  visit("kv_cache_bytes", memory.kv_cache_bytes, field);
  visit("activation_bytes", memory.activation_bytes, field);
  visit("communication_bytes", memory.communication_bytes, field);
  visit("reserved_bytes", memory.reserved_bytes, field);
  visit("limit_bytes", memory.limit_bytes, field);
}

template <class V>
void VisitFields(V& visit, LimitExcess& excess) {
  const json::Field field = {.required = true};
  visit("memory", excess.memory, field);
  visit("ttft", excess.ttft, field);
  visit("tpot", excess.tpot, field);
}

template <class V>
void VisitFields(V& visit, Evaluation& evaluation) {
  const json::Field field = {.required = true};
  visit("metrics", evaluation.metrics, field);
  visit("memory", evaluation.memory, field);
  visit("excess", evaluation.excess, field);
}

nlohmann::ordered_json EvaluationJson(const Evaluation& evaluation);

/// Strict, as ParseEvaluation. `file`: what errors name before "#/pointer".
Evaluation ReadEvaluation(const nlohmann::json& value, std::string_view file);

}  // namespace shardscout
