#include "experiments/validation/published_prediction.h"

#include <algorithm>
#include <cmath>

#include "env/analytical/analytical_evaluator.h"
#include "env/simulator/simulator_evaluator.h"
#include "experiments/validation/serving_prediction.h"
#include "shardscout/error.h"
#include "shardscout/strategy_space.h"

namespace shardscout::validation {
namespace {

std::int64_t CeilDiv(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

std::int64_t Replicas(const PublishedSetup& setup) {
  return setup.cluster.num_devices / setup.layout.DevicesOfAWorker();
}

/// Ranks of attention over all replicas: each has its own requests.
std::int64_t Ranks(const PublishedSetup& setup) { return Replicas(setup) * setup.layout.attention_data_parallel; }

Strategy PublishedStrategy(const PublishedSetup& setup) {
  Strategy s = StrategyOf(setup.layout, setup.model);
  const bool several_nodes = s.StageSize() > setup.cluster.devices_per_node;
  if (setup.model.HasMoe() && several_nodes && s.expert_parallel_size == s.StageSize()) {
    s.expert_exchange = ExpertExchange::kAllToAll;
  }
  return s;
}

WorkloadSpec WorkloadOf(const PublishedSetup& setup, WorkloadKind kind) {
  WorkloadSpec workload;
  workload.kind = kind;
  workload.input_tokens = setup.input_tokens;
  workload.output_tokens = setup.output_tokens;
  workload.memory_fraction = 1;
  return workload;
}

/// A pass of a static batch, all of its requests.
std::optional<Evaluation> PassOf(const PublishedSetup& setup, WorkloadKind kind, std::int64_t batch,
                                 std::int64_t microbatches, std::string& why_not) {
  WorkloadSpec workload = WorkloadOf(setup, kind);
  workload.batch_size = batch;
  const Problem problem(setup.model, setup.cluster, workload);
  Strategy s = PublishedStrategy(setup);
  s.batch_size = batch;
  s.num_microbatches = microbatches;
  const std::string broken = StrategySpace(problem).WhyNot(s);
  if (!broken.empty()) {
    why_not = "layout: " + broken;
    return std::nullopt;
  }
  return env::AnalyticalEvaluator(problem).Evaluate(s);
}

RequestModel RequestsOf(const PublishedSetup& setup, const EngineLimits& limits) {
  RequestModel requests;
  requests.policy = limits.policy;
  requests.max_batched_tokens = limits.max_batched_tokens;
  const std::int64_t each = CeilDiv(setup.load.requests, Ranks(setup));
  if (setup.load.kind == LoadKind::kAtOnce) {
    requests.num_requests = each;
    requests.warmup_requests = 0;
  } else if (setup.load.kind == LoadKind::kRate) {
    requests.arrivals = ArrivalKind::kPoisson;
    requests.rate_per_s = setup.load.rate_per_s;
    requests.num_requests = setup.load.requests;
  }
  return requests;
}

}  // namespace

bool IsTime(const std::string& metric) {
  for (const char* part : {"latency", "ttft", "tpot", "itl", "ms_per_token"}) {
    if (metric.find(part) != std::string::npos) return true;
  }
  return false;
}

std::optional<double> MetricOf(const PublishedRecord& record, const PublishedSetup& setup,
                               const PublishedFigures& figures) {
  const std::string& metric = record.metric;
  const auto gpus = static_cast<double>(setup.cluster.num_devices);
  const auto input = static_cast<double>(setup.input_tokens), output = static_cast<double>(setup.output_tokens);
  const double tokens_per_s = figures.output_tokens_per_s, requests_per_s = tokens_per_s / output;
  if (metric == "output_tokens_per_s_total") return tokens_per_s;
  if (metric == "output_tokens_per_s_per_gpu") return tokens_per_s / gpus;
  if (metric == "total_tokens_per_s_total") return requests_per_s * (input + output);
  if (metric == "total_tokens_per_s_per_gpu") return requests_per_s * (input + output) / gpus;
  if (metric == "tokens_per_s_per_gpu") {
    return (record.phase == "prefill" ? requests_per_s * input : tokens_per_s) / gpus;
  }
  if (metric == "requests_per_s") return requests_per_s;
  if (metric == "ms_per_token_over_batch") return 1e3 * figures.tpot_s / static_cast<double>(setup.load.requests);
  if (metric == "ttft_s") return figures.ttft_s;
  if (metric == "ttft_ms" || metric == "ttft_ms_mean") return 1e3 * figures.ttft_s;
  if (metric == "tpot_s") return figures.tpot_s;
  if (metric == "mean_itl_ms" || metric == "tpot_ms_mean") return 1e3 * figures.tpot_s;
  if (metric == "latency_s") return figures.latency_s;
  if (metric == "latency_ms" || metric == "latency_ms_mean") return 1e3 * figures.latency_s;
  return std::nullopt;
}

std::optional<PublishedFigures> PredictStaticBatch(const PublishedRecord& record, const PublishedSetup& setup,
                                                   const EngineModel& engine, std::string& why_not) {
  const std::int64_t batch = CeilDiv(setup.load.requests, Ranks(setup)), stages = setup.layout.pipeline_parallel;
  const bool faster_transformer = record.framework.starts_with("FasterTransformer");
  const std::int64_t prompt_parts =
                         faster_transformer ? FasterTransformerMicrobatches(batch, setup.input_tokens, stages) : 1,
                     step_parts = faster_transformer ? FasterTransformerMicrobatches(batch, 1, stages) : 1;
  const auto prefill = PassOf(setup, WorkloadKind::kPrefill, batch, prompt_parts, why_not);
  const auto decode = prefill ? PassOf(setup, WorkloadKind::kDecode, batch, step_parts, why_not) : std::nullopt;
  if (!decode) return std::nullopt;
  PublishedFigures figures;
  // One after another, a stage's layers once for each micro-batch and each other stage.
  const auto layers_in_turn = [&](std::int64_t parts) {
    return CeilDiv(setup.model.num_layers, stages) * (parts + stages - 1);
  };
  figures.ttft_s = engine.StepTime(prefill->metrics.ttft_s, batch, layers_in_turn(prompt_parts), true);
  figures.tpot_s = engine.StepTime(decode->metrics.tpot_s, batch, layers_in_turn(step_parts), false);
  figures.latency_s = figures.ttft_s + static_cast<double>(setup.output_tokens - 1) * figures.tpot_s;
  const auto requests = static_cast<double>(setup.load.requests), output = static_cast<double>(setup.output_tokens);
  const bool decodes_only = record.phase == "decode";
  figures.output_tokens_per_s = decodes_only ? requests / figures.tpot_s : requests * output / figures.latency_s;
  const MemoryUse &prompts = prefill->memory, &steps = decode->memory;
  const double most_bytes =
      std::max(steps.TotalBytes(), prompts.TotalBytes() - prompts.kv_cache_bytes + steps.kv_cache_bytes);
  const double engine_bytes =
      faster_transformer ? FasterTransformerTableBytes(setup.model, setup.layout.tensor_parallel) : 0;
  figures.fits = most_bytes + engine_bytes <= setup.cluster.device.hbm_bytes;
  return figures;
}

std::optional<PublishedFigures> PredictEngine(const PublishedRecord& record, const PublishedSetup& setup,
                                              std::string& why_not) {
  const PoolLayout& layout = setup.layout;
  // The tables of trtllm-bench; runs of other engines, and of TensorRT-LLM's server.
  const bool bench = record.framework.starts_with("TensorRT-LLM") && record.load.starts_with("max throughput");
  const auto limits = bench ? TrtllmBenchLimits(setup.model, setup.cluster.device,
                                                layout.tensor_parallel * layout.attention_data_parallel,
                                                layout.pipeline_parallel, setup.input_tokens, setup.output_tokens)
                            : ServingLimits(record, setup.cluster.device);
  if (!limits) {
    why_not = "engine \"" + record.framework + "\"";
    return std::nullopt;
  }
  const std::int64_t each = CeilDiv(setup.load.requests, Ranks(setup)), stages = layout.pipeline_parallel;
  const auto in_stages = [&](std::int64_t requests) { return std::max<std::int64_t>(1, requests / stages) * stages; };
  WorkloadSpec workload = WorkloadOf(setup, WorkloadKind::kServe);
  workload.requests = RequestsOf(setup, *limits);
  if (const auto engine = EnginePresetOf(record.framework)) workload.engine = LoadEngine(*engine);
  Strategy s = PublishedStrategy(setup);
  s.batch_size =
      in_stages(setup.load.kind == LoadKind::kRate ? limits->max_running
                                                   : std::min(limits->max_running, CeilDiv(each, stages) * stages));
  s.num_microbatches = stages;
  if (setup.load.kind == LoadKind::kRate) {
    workload.batch_size = s.batch_size;
  } else {
    workload.concurrency = setup.load.requests;
  }
  const Problem unlimited(setup.model, setup.cluster, workload);
  Strategy whole = s;
  whole.num_microbatches = 1;
  if (workload.concurrency) whole.batch_size = each;
  const std::string broken = StrategySpace(unlimited).WhyNot(whole);
  if (!broken.empty()) {
    why_not = "layout: " + broken;
    return std::nullopt;
  }
  const MemoryUse most = env::AnalyticalEvaluator(unlimited).Evaluate(s).memory;
  const double request_bytes = most.kv_cache_bytes / static_cast<double>(s.batch_size);
  const double step_bytes =
      PromptStepBytes(setup.model, setup.cluster, s, setup.input_tokens, limits->max_batched_tokens);
  const double cache_bytes = CacheBytes(setup.cluster.device, limits->cache, most, step_bytes);
  PublishedFigures figures;
  figures.fits = cache_bytes >= request_bytes;
  if (!figures.fits) return figures;
  if (limits->whole_requests) {
    const double held = std::min(cache_bytes / request_bytes, static_cast<double>(s.batch_size));
    s.batch_size = in_stages(static_cast<std::int64_t>(held));
  }
  // The simulator's cache is what is left of a fraction of the memory.
  const MemoryUse memory = env::AnalyticalEvaluator(unlimited).Evaluate(s).memory;
  workload.memory_fraction = MemoryFractionFor(setup.cluster.device, memory, cache_bytes);
  const Problem problem(setup.model, setup.cluster, workload);
  const Evaluation evaluation = env::SimulatorEvaluator(problem).Evaluate(s);
  figures.ttft_s = evaluation.metrics.ttft_s;
  figures.tpot_s = evaluation.metrics.tpot_s;
  figures.output_tokens_per_s = evaluation.metrics.throughput_tokens_per_s;
  if (evaluation.requests) figures.latency_s = evaluation.requests->latency.mean_s;
  return figures;
}

PublishedPrediction Predict(const PublishedRecord& record) {
  PublishedPrediction prediction;
  try {
    const auto setup = SetupOf(record, prediction.reason);
    if (!setup) return prediction;
    prediction.unstated = setup->unstated;
    const bool memory_only = record.metric == "out_of_memory";
    if (!memory_only && !MetricOf(record, *setup, {})) {
      prediction.reason = "metric " + record.metric;
      return prediction;
    }
    const bool together = setup->load.kind == LoadKind::kStaticBatch;
    const auto figures = together
                             ? PredictStaticBatch(record, *setup, BatchEngineOf(record.framework), prediction.reason)
                             : PredictEngine(record, *setup, prediction.reason);
    if (!figures) return prediction;
    prediction.fits = figures->fits;
    // An engine that has no room for a request says nothing of its speed.
    const bool timed = figures->tpot_s > 0 || figures->ttft_s > 0;
    if (!memory_only && timed) prediction.value = MetricOf(record, *setup, *figures);
    if (!memory_only && !timed) prediction.reason = "predicted not to fit";
  } catch (const SpecError& error) {
    prediction.reason = error.what();
  }
  return prediction;
}

}  // namespace shardscout::validation
