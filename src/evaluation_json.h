#pragma once

// Evaluations as part of larger JSON documents: with this header an Evaluation is a field like any other of
// src/json/fields.h. Keys that came after the first plans are optional, all others required; doubles are written so
// that they read back bit for bit.

#include <nlohmann/json_fwd.hpp>
#include <string_view>

#include "shardscout/evaluation.h"
#include "src/json/field.h"

namespace shardscout {

template <class V>
void VisitFields(V& visit, Metrics& metrics) {
  const auto field = [](std::string_view doc) { return json::Field{.doc = doc, .min = 0, .required = true}; };
  visit("step_time_s", metrics.step_time_s,
        {.doc = "Training: one step, seconds.", .min = 0, .omitted = metrics.step_time_s == 0});
  visit("model_flops_utilisation", metrics.model_flops_utilisation,
        {.doc = "Training: the model's FLOP of a step over what all devices could do in it.",
         .min = 0,
         .omitted = metrics.step_time_s == 0});
  visit("ttft_s", metrics.ttft_s, field("Time to first token, seconds; 0 in decode."));
  visit("tpot_s", metrics.tpot_s, field("Time per output token, seconds; 0 in prefill."));
  visit("throughput_tokens_per_s", metrics.throughput_tokens_per_s,
        field("Of the whole cluster, tokens/s: input tokens in prefill, else output tokens."));
  visit("throughput_per_device", metrics.throughput_per_device,
        field("Tokens/s of one device, idle devices included."));
  visit("cost_usd_per_million_tokens", metrics.cost_usd_per_million_tokens,
        field("USD per million tokens, of all devices."));
  visit("energy_j_per_token", metrics.energy_j_per_token, field("Joule per token, of all devices."));
  visit("replicas", metrics.replicas, field("Instances of the model on the cluster."));
  visit("idle_devices", metrics.idle_devices, field("Devices that no instance uses."));
  visit("concurrency", metrics.concurrency, field("Requests in flight: batch_size * data_parallel_size * replicas."));
}

template <class V>
void VisitFields(V& visit, MemoryUse& memory) {
  const auto field = [](std::string_view doc) { return json::Field{.doc = doc, .min = 0, .required = true}; };
  visit("weight_bytes", memory.weight_bytes, field("Weights and their scales, bytes."));
  visit("kv_cache_bytes", memory.kv_cache_bytes, field("KV cache at the last position, bytes."));
  visit("linear_state_bytes", memory.linear_state_bytes,
        {.doc = "States of linear attention, whatever the context, bytes.", .min = 0});
  visit("gradient_bytes", memory.gradient_bytes,
        {.doc = "Training: gradients, bytes.", .min = 0, .omitted = memory.gradient_bytes == 0});
  visit("optimizer_bytes", memory.optimizer_bytes,
        {.doc = "Training: the optimizer's states, bytes.", .min = 0, .omitted = memory.optimizer_bytes == 0});
  visit("activation_bytes", memory.activation_bytes, field("Activations at their peak, bytes."));
  visit("communication_bytes", memory.communication_bytes, field("Staging of the largest collective, bytes."));
  visit("reserved_bytes", memory.reserved_bytes, field("Taken by the runtime, bytes."));
  visit("limit_bytes", memory.limit_bytes, field("What may be used, bytes."));
}

template <class V>
void VisitFields(V& visit, LimitExcess& excess) {
  visit("memory", excess.memory, json::Needed("Relative excess over limit_bytes; 0 or less: kept."));
  visit("ttft", excess.ttft, json::Needed("Relative excess over the limit of the time to first token."));
  visit("tpot", excess.tpot, json::Needed("Relative excess over the limit of the time per output token."));
}

template <class V>
void VisitFields(V& visit, LatencyStatistics& latency) {
  const auto field = [](std::string_view doc) { return json::Field{.doc = doc, .min = 0, .required = true}; };
  visit("mean_s", latency.mean_s, field("Mean, seconds."));
  visit("p50_s", latency.p50_s, field("Median, seconds."));
  visit("p90_s", latency.p90_s, field("90th percentile, seconds."));
  visit("p99_s", latency.p99_s, field("99th percentile, seconds."));
}

template <class V>
void VisitFields(V& visit, RequestStatistics& requests) {
  const auto field = [](std::string_view doc) { return json::Field{.doc = doc, .min = 0, .required = true}; };
  visit("ttft", requests.ttft, field("Time to first token."));
  visit("tpot", requests.tpot, field("Time per output token."));
  visit("latency", requests.latency, field("From arrival to the last token."));
  visit("requests_per_s", requests.requests_per_s, field("Requests that left a second."));
  visit("goodput_requests_per_s", requests.goodput_requests_per_s,
        field("Of those, the ones that kept the workload's targets."));
  visit("mean_waiting", requests.mean_waiting, field("Requests that wait, over time."));
  visit("mean_running", requests.mean_running, field("Requests that run, over time."));
  visit("most_waiting", requests.most_waiting, field("The most requests that waited."));
  visit("num_requests", requests.num_requests, field("Requests that the figures are of."));
  visit("rejected", requests.rejected, field("Requests that no cache could hold."));
  visit("preemptions", requests.preemptions, field("How often a request made room for another."));
  visit("steps", requests.steps, field("Steps of all engines."));
}

template <class V>
void VisitFields(V& visit, Evaluation& evaluation) {
  visit("metrics", evaluation.metrics, json::Needed("What is achieved."));
  visit("memory", evaluation.memory, json::Needed("Memory of the device of the fullest stage, by part."));
  visit("excess", evaluation.excess, json::Needed("How far each limit is exceeded."));
  visit("requests", evaluation.requests, {.doc = "Of requests simulated one by one; null where they were not."});
}

nlohmann::ordered_json EvaluationJson(const Evaluation& evaluation);

/// Strict, as ParseEvaluation. `file`: what errors name before "#/pointer".
Evaluation ReadEvaluation(const nlohmann::json& value, std::string_view file);

}  // namespace shardscout
