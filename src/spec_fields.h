#pragma once

// The fields of the cluster and workload specs, for src/json/fields.h: reading, and writing what a plan records and
// digests.

#include <array>
#include <cstddef>
#include <string_view>

#include "shardscout/cluster_spec.h"
#include "shardscout/workload_spec.h"
#include "src/device_curve_fields.h"
#include "src/json/fields.h"

namespace shardscout {

/// The largest count or size in a spec, so that a product of two fits an int64.
inline constexpr double kMaxCount = 2147483648.0;
/// A count that must be there, and one that may be 0.
constexpr json::Field NeededCount(std::string_view doc) {
  return {.doc = doc, .min = 1, .max = kMaxCount, .required = true};
}
constexpr json::Field NeededSize(std::string_view doc) {
  return {.doc = doc, .min = 0, .max = kMaxCount, .required = true};
}

/// The least time, and (as 1) the least rate and memory, of a spec: what divides by them stays a number.
inline constexpr double kLeastSeconds = 1e-9;
inline constexpr double kMostSeconds = 1e9;
/// The most of one of a host's times.
inline constexpr double kMostHostSeconds = 1e3;

/// The most devices of a cluster: tables over the degrees have one entry a device, so that more would only run out of
/// memory.
inline constexpr std::int64_t kMaxDevices = 1048576;

inline constexpr std::array<TierKind, 5> EnumValues(TierKind) {
  return {TierKind::kSwitch, TierKind::kFullyConnected, TierKind::kRing, TierKind::kTorus2d, TierKind::kTorus3d};
}
std::string_view ToString(TierKind kind);

inline constexpr std::array<WorkloadKind, 4> EnumValues(WorkloadKind) {
  return {WorkloadKind::kPrefill, WorkloadKind::kDecode, WorkloadKind::kServe, WorkloadKind::kTrain};
}

inline constexpr std::array<ArrivalKind, 4> EnumValues(ArrivalKind) {
  return {ArrivalKind::kConcurrency, ArrivalKind::kPoisson, ArrivalKind::kGamma, ArrivalKind::kTrace};
}

inline constexpr std::array<BatchPolicy, 2> EnumValues(BatchPolicy) {
  return {BatchPolicy::kChunkedPrefill, BatchPolicy::kPrefillFirst};
}

inline constexpr std::array<Objective, 4> EnumValues(Objective) {
  return {Objective::kThroughputPerDevice, Objective::kLatency, Objective::kCostPerMillionTokens,
          Objective::kEnergyPerToken};
}

/// DeviceSpec::peak_flop_per_s as a JSON object keyed by data type.
struct PeakFlopFields {
  std::array<double, kNumDTypes>& by_dtype;
};

template <class V>
void VisitFields(V& visit, PeakFlopFields& peaks) {
  for (std::size_t i = 0; i < peaks.by_dtype.size(); ++i) {
    visit(ToString(static_cast<DType>(i)), peaks.by_dtype[i],
          {.doc = "Dense peak FLOP/s; 0: no such units, the next wider type is used.", .min = 0, .max = 1e21});
  }
}

template <class V>
void VisitFields(V& visit, DeviceSpec& device) {
  PeakFlopFields peaks{device.peak_flop_per_s};
  visit("name", device.name, {.doc = "The device as its vendor calls it.", .required = true});
  visit("measured_as", device.measured_as,
        {.doc = "What tables of measurements call the device, as in gemm_h100_sxm.csv; empty: there are none."});
  visit("peak_flop_per_s", peaks,
        {.doc = "Dense peak FLOP/s by the type of the inputs; bf16, fp16 or fp32 is needed.", .required = true});
  visit("hbm_bytes", device.hbm_bytes,
        {.doc = "Memory of one device, bytes.", .min = 1, .max = 1e18, .required = true});
  visit("hbm_bytes_per_s", device.hbm_bytes_per_s,
        {.doc = "Memory bandwidth of one device, bytes/s.", .min = 1, .max = 1e18, .required = true});
  visit("l2_cache_bytes", device.l2_cache_bytes,
        {.doc = "Last-level cache of one device, bytes.", .min = 0, .max = 1e15});
  visit("num_compute_units", device.num_compute_units,
        {.doc = "Streaming multiprocessors, or what works on one tile of a kernel at a time.",
         .min = 1,
         .max = kMaxCount});
  visit(
      "reserved_bytes", device.reserved_bytes,
      {.doc = "Memory taken by the runtime, the collective library and fragmentation, bytes.", .min = 0, .max = 1e18});
  visit("power_w", device.power_w,
        {.doc = "Power of one device, watts; prices the energy per token.", .min = 0, .max = 1e6});
  visit("price_usd_per_hour", device.price_usd_per_hour,
        {.doc = "Rent of one device, USD per hour; prices the tokens.", .min = 0, .max = 1e6});
  visit(
      "curves", device.curves,
      {.doc = "How well its kernels reach the peaks, as `shardscout calibrate` fits it; what is left out is an H100's, "
              "scaled."});
}

template <class V>
void VisitFields(V& visit, NetworkTier& tier) {
  visit("name", tier.name, {.doc = "As reports call it.", .required = true});
  visit("size", tier.size,
        {.doc = "Devices in one domain, a multiple of the tier inside; 0 on the outermost: the whole cluster.",
         .min = 0,
         .max = kMaxCount,
         .required = true});
  visit("kind", tier.kind, {.doc = "Topology that joins the domains of the tier inside."});
  visit("bytes_per_s", tier.bytes_per_s,
        {.doc = "Bandwidth of one device, one direction, over all its links of this tier, bytes/s.",
         .min = 1,
         .max = 1e18,
         .required = true});
  visit(
      "latency_s", tier.latency_s,
      {.doc = "Latency of one step between two devices of this tier, seconds.", .min = 0, .max = 1, .required = true});
  visit("achieved_fraction", tier.achieved_fraction,
        {.doc = "Fraction of bytes_per_s that a collective's wire sustains.", .min = kLeastFraction, .max = 1});
  visit("rails", tier.rails,
        {.doc = "NICs of a node, bytes_per_s each, that carry a collective at the same time; 0: one a device.",
         .min = 0,
         .max = kMaxCount});
  visit("oversubscription", tier.oversubscription,
        {.doc = "What the devices can send over what the tier's links carry; 1: not oversubscribed.",
         .min = 1,
         .max = 1000});
  visit("in_network_reduction", tier.in_network_reduction, {.doc = "Whether the switches add (NVLink SHARP)."});
  visit(
      "nccl", tier.nccl,
      {.doc = "Innermost tier: NCCL within a node, as `shardscout calibrate` fits it; null: by NCCL's own constants."});
  visit("engine_all_reduce", tier.engine_all_reduce,
        {.doc = "Innermost tier: the serving engine's own all-reduce within a node; null: it has none."});
}

template <class V>
void VisitFields(V& visit, ClusterSpec& cluster) {
  visit("name", cluster.name, {.doc = "As reports call it.", .required = true});
  visit("device", cluster.device, {.doc = "The accelerator.", .required = true});
  visit("tiers", cluster.tiers, {.doc = "The levels of the network, innermost first.", .required = true});
  visit("devices_per_node", cluster.devices_per_node,
        {.doc = "Devices of one host; tiers larger than a host lie behind its NICs, but for the innermost.",
         .min = 1,
         .max = kMaxCount,
         .required = true});
  visit("num_devices", cluster.num_devices,
        {.doc = "Devices of the cluster; --devices overrides it.", .min = 1, .max = static_cast<double>(kMaxDevices)});
}

template <class V>
void VisitFields(V& visit, TracedRequest& request) {
  visit("arrival_s", request.arrival_s, {.doc = "Since the trace began, seconds.", .min = 0, .max = 1e6});
  visit("input_tokens", request.input_tokens, {.doc = "Length of the prompt, tokens.", .min = 1, .max = kMaxCount});
  visit("output_tokens", request.output_tokens, {.doc = "Length of the output, tokens.", .min = 1, .max = kMaxCount});
}

template <class V>
void VisitFields(V& visit, RequestModel& requests) {
  const auto deviation = [](std::string_view doc) { return json::Field{.doc = doc, .min = 0, .max = 100}; };
  visit("arrivals", requests.arrivals,
        {.doc = "How requests come: as many as the concurrency are always in flight, at a rate, or as listed."});
  visit("rate_per_s", requests.rate_per_s,
        {.doc = "Poisson and gamma: requests a second, of the whole cluster.", .min = 1e-6, .max = 1e9});
  visit("arrival_cv", requests.arrival_cv,
        {.doc = "Gamma: standard deviation of the gaps between arrivals over their mean.", .min = 0.01, .max = 100});
  visit("input_cv", requests.input_cv,
        deviation("Standard deviation of the prompts' lengths over their mean, input_tokens (log-normal); 0: alike."));
  visit("output_cv", requests.output_cv, deviation("The same of the outputs' lengths."));
  visit("shortest_ratio", requests.shortest_ratio,
        {.doc = "Below 1, lengths are uniform from this share of input_tokens and output_tokens up to these, as a "
                "benchmark client's --random-range-ratio; not beside input_cv and output_cv.",
         .min = kLeastFraction,
         .max = 1});
  visit("trace", requests.trace,
        {.doc = "The requests in the order of their arrivals; by concurrency, of no arrival."});
  visit(
      "num_requests", requests.num_requests,
      {.doc =
           "Requests that are simulated, by concurrency those of one replica; null: eight times its concurrency, 1,000 "
           "at a rate, a trace's.",
       .min = 1,
       .max = 10000000});
  visit("warmup_requests", requests.warmup_requests,
        {.doc = "Of those, the first and as many of the last that statistics leave out; null: the concurrency, else 0.",
         .min = 0,
         .max = 10000000});
  visit("policy", requests.policy,
        {.doc = "What a step of the engine takes: chunks of prompts beside decodes (vLLM, TensorRT-LLM), or prompts "
                "alone as long as one can be taken (SGLang)."});
  visit("max_batched_tokens", requests.max_batched_tokens,
        {.doc = "Most tokens of a step, a data parallel rank.", .min = 1, .max = 1e9});
  visit("block_tokens", requests.block_tokens, {.doc = "Tokens of a block of the KV cache.", .min = 1, .max = 1e6});
  visit("poll_interval_steps", requests.poll_interval_steps,
        {.doc = "While it only decodes, the engine looks for new requests once in so many steps (SGLang's "
                "scheduler_recv_interval).",
         .min = 1,
         .max = 1e6});
  visit("reserves_output", requests.reserves_output,
        {.doc = "Whether an admitted request gets the cache of its whole output at once, so that none is pre-empted "
                "(TensorRT-LLM's GUARANTEED_NO_EVICT)."});
  visit("prompt_wait_steps", requests.prompt_wait_steps,
        {.doc = "Steps that new prompts wait beside decodes (TensorRT-LLM's batch_wait_timeout_iters), unless they "
                "make prompt_wait_ratio of a step; 0: none.",
         .min = 0,
         .max = 1e6});
  visit(
      "prompt_wait_ratio", requests.prompt_wait_ratio,
      {.doc = "Share of max_batched_tokens for which prompts wait (batch_wait_max_tokens_ratio).", .min = 0, .max = 1});
  visit("rank_wait_steps", requests.rank_wait_steps,
        {.doc = "Steps that ranks of attention data parallelism wait beside decodes until each has a prompt "
                "(TensorRT-LLM's attention_dp_config: enable_balance and timeout_iters); 0: none.",
         .min = 0,
         .max = 1e6});
  visit("seed", requests.seed, {.doc = "Of arrivals and lengths.", .min = 0, .max = 9e15});
  visit("ttft_p99_target_s", requests.ttft_p99_target_s,
        {.doc = "Limit of the 99th percentile of the time to first token, seconds; null: none.",
         .min = kLeastSeconds,
         .max = kMostSeconds});
  visit("tpot_p99_target_s", requests.tpot_p99_target_s,
        {.doc = "Limit of the 99th percentile of the time per output token, seconds; null: none.",
         .min = kLeastSeconds,
         .max = kMostSeconds});
}

template <class V>
void VisitFields(V& visit, EngineModel& engine) {
  const auto time = [](std::string_view doc) { return json::Field{.doc = doc, .min = 0, .max = kMostHostSeconds}; };
  visit("name", engine.name, {.doc = "As reports call it.", .required = true});
  visit(
      "overlaps", engine.overlaps,
      {.doc = "Whether the host plans a step while the devices run the one before, so that the slower of the two sets "
              "the pace; else they take turns."});
  visit("layer_gap_s", engine.layer_gap_s, time("Between the kernels of a layer, in each step, seconds."));
  visit("layer_launch_s", engine.layer_launch_s,
        time("Launching the kernels of a layer in a step with prompts, which is no CUDA graph, seconds."));
  visit("request_host_s", engine.request_host_s, time("The host's work for each request in a step, seconds."));
  visit("arrival_s", engine.arrival_s, time("From a request's arrival until the scheduler has it, seconds."));
}

inline std::array<TrainingPrecision, 2> EnumValues(TrainingPrecision) {
  return {TrainingPrecision::kBf16, TrainingPrecision::kFp8};
}
inline std::array<Optimizer, 2> EnumValues(Optimizer) { return {Optimizer::kAdam, Optimizer::kSgd}; }
inline std::array<ParameterExchange, 2> EnumValues(ParameterExchange) {
  return {ParameterExchange::kGather, ParameterExchange::kBroadcast};
}

template <class V>
void VisitFields(V& visit, TrainingSpec& training) {
  visit("global_batch_size", training.global_batch_size,
        {.doc = "Sequences of a step over the whole cluster.", .min = 1, .max = kMaxCount, .required = true});
  visit("precision", training.precision, {.doc = "What products are computed in."});
  visit("optimizer", training.optimizer, {.doc = "adam: 12 bytes of fp32 state a weight; sgd with momentum: 8."});
  visit("fp32_gradients", training.fp32_gradients,
        {.doc = "Whether gradients are summed and exchanged in 32 bits, else 16."});
  visit("keep_16_bit_gradients", training.keep_16_bit_gradients,
        {.doc = "Whether 16-bit gradients of the backward pass stay beside 32-bit sums (DeepSpeed's BF16 optimizer)."});
  visit("exchange_bucket_elements", training.exchange_bucket_elements,
        {.doc = "Elements of the buffers through which 16-bit gradients are exchanged and shared weights gathered "
                "(DeepSpeed: 5e8); 0: where they lie.",
         .min = 0,
         .max = kMaxCount});
  visit("keep_stage_outputs", training.keep_stage_outputs,
        {.doc = "Whether a pipeline stage's output stays in memory until its backward (DeepSpeed, torchtitan)."});
  visit("fused_attention", training.fused_attention,
        {.doc = "Whether attention is one kernel (FlashAttention); false: scores go through memory."});
  visit("dropout", training.dropout,
        {.doc = "Whether attention's weights and the residual stream's summands drop out."});
  visit(
      "host_task_s", training.host_task_s,
      {.doc = "Host's time to launch one task of the program, seconds; 0: as under CUDA graphs.", .min = 0, .max = 1});
  visit("blocking_launches", training.blocking_launches,
        {.doc = "Whether the host waits for each kernel before it launches the next (CUDA_LAUNCH_BLOCKING=1)."});
  visit("overlap_tensor", training.overlap_tensor,
        {.doc = "Whether the backward's collectives of tensor parallelism run beside products that do not need them."});
  visit("overlap_gradients", training.overlap_gradients,
        {.doc = "Whether gradients are exchanged beside the last micro-batch's backward."});
  visit("overlap_parameters", training.overlap_parameters,
        {.doc = "Whether ZeRO 1 and 2 gather parameters beside the next step's first forward."});
  visit("parameter_exchange", training.parameter_exchange,
        {.doc = "How ZeRO 1 and 2 share what ranks updated: one gather of equal parts, or a broadcast a rank of its "
                "whole tensors, as PyTorch's ZeroRedundancyOptimizer."});
}

template <class V>
void VisitFields(V& visit, WorkloadSpec& workload) {
  visit("name", workload.name, {.doc = "As reports call it.", .required = true});
  visit("kind", workload.kind,
        {.doc = "Which phases run: the prompt (prefill), the output (decode), or both on the same devices (serve); or "
                "train.",
         .required = true});
  visit("input_tokens", workload.input_tokens, {.doc = "Length of the prompt, tokens.", .min = 1, .max = kMaxCount});
  visit("output_tokens", workload.output_tokens, {.doc = "Length of the output, tokens.", .min = 1, .max = kMaxCount});
  visit("batch_size", workload.batch_size,
        {.doc = "Concurrent requests of one data parallel rank; null: searched. Not beside concurrency.",
         .min = 1,
         .max = kMaxCount});
  visit(
      "concurrency", workload.concurrency,
      {.doc = "Requests in flight over the whole cluster; null: follows from batch_size.", .min = 1, .max = kMaxCount});
  visit("max_batch_size", workload.max_batch_size,
        {.doc = "Upper end of the searched batch sizes 2^k and 3*2^k, requests.", .min = 1, .max = 1048576});
  visit("ttft_target_s", workload.ttft_target_s,
        {.doc = "Limit of the time to first token, seconds; null: none. Not for decode.",
         .min = kLeastSeconds,
         .max = kMostSeconds});
  visit("tpot_target_s", workload.tpot_target_s,
        {.doc = "Limit of the time per output token, seconds; null: none. Not for prefill.",
         .min = kLeastSeconds,
         .max = kMostSeconds});
  visit("objective", workload.objective, {.doc = "What is optimised."});
  visit("memory_fraction", workload.memory_fraction,
        {.doc = "Fraction of a device's memory that may be used.", .min = kLeastFraction, .max = 1});
  visit("expert_skew", workload.expert_skew,
        {.doc = "The simulator draws which experts tokens go to, the k-th most popular with weight k^-expert_skew (0: "
                "all alike); null: every layer as expected of even popularity.",
         .min = 0,
         .max = 10});
  visit("engine", workload.engine,
        {.doc = "What the serving engine's host adds to each step (--engine NAME takes a preset); null: nothing."});
  visit("requests", workload.requests,
        {.doc = "Serve: its requests one by one, for the simulator; null: as if all were in step."});
  visit("training", workload.training,
        {.doc = "Train, and only there: how a step goes.", .omitted = !workload.training});
}

namespace internal {

/// What the specs promise beyond the ranges of their fields. SpecError at a pointer under `place`.
void CheckCluster(const ClusterSpec& cluster, std::string_view place);
void CheckWorkload(const WorkloadSpec& workload, std::string_view place);

}  // namespace internal
}  // namespace shardscout
