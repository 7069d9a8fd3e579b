#include "env/simulator/serving_simulation.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <utility>
#include <vector>

#include "env/simulator/request_stream.h"

namespace shardscout::env {
namespace {

LatencyStatistics Summarise(std::vector<double> seconds) {
  if (seconds.empty()) return {};
  std::sort(seconds.begin(), seconds.end());
  const auto percentile = [&](std::size_t p) { return seconds[(p * seconds.size() + 99) / 100 - 1]; };
  const double sum = std::accumulate(seconds.begin(), seconds.end(), 0.0);
  return {.mean_s = sum / static_cast<double>(seconds.size()),
          .p50_s = percentile(50),
          .p90_s = percentile(90),
          .p99_s = percentile(99)};
}

/// So that what is divided by a throughput stays a number where every request is rejected.
constexpr double kLeastTokens = 1e-6;
constexpr double kLeastSeconds = 1e-9;

struct Window {
  std::size_t begin = 0, end = 0;  ///< Requests that count.
  double from_s = 0, to_s = 0;     ///< From the first one's arrival to the last one's.
};

/// Where all that count arrive at once, their time ends with the last of them.
Window WindowOf(const RequestRun& run, std::int64_t warmup) {
  Window window{.begin = static_cast<std::size_t>(warmup),
                .end = run.outcomes.size() - static_cast<std::size_t>(warmup)};
  window.from_s = ToSeconds(run.outcomes[window.begin].request.arrival);
  window.to_s = ToSeconds(run.outcomes[window.end - 1].request.arrival);
  if (window.to_s <= window.from_s) window.to_s = ToSeconds(run.end);
  return window;
}

/// The part of [begin, end] in the window.
double Overlap(const Window& window, double begin_s, double end_s) {
  return std::max(0.0, std::min(end_s, window.to_s) - std::max(begin_s, window.from_s));
}

std::int64_t CacheBlocks(const Problem& problem, const Strategy& s, const MemoryUse& memory, std::int64_t block) {
  const std::int64_t positions = problem.workload().CachePositions();
  const double bytes_per_position =
      memory.kv_cache_bytes / (static_cast<double>(s.batch_size) * static_cast<double>(positions));
  const double room = memory.limit_bytes - (memory.TotalBytes() - memory.kv_cache_bytes);
  const double held = bytes_per_position > 0 ? room / bytes_per_position : 1e15;
  const double kept = std::clamp(held, static_cast<double>(positions), 1e15);
  return std::max<std::int64_t>((positions + block - 1) / block, static_cast<std::int64_t>(kept) / block);
}

/// Leaves one of the replicas and ranks that behave alike; how many it stands for.
double Fold(const RequestModel& model, EngineOptions& engine, std::int64_t& concurrency) {
  if (model.arrivals != ArrivalKind::kConcurrency) return 1;
  std::int64_t times = std::exchange(engine.replicas, 1);
  const bool equal_lengths = model.input_cv == 0 && model.output_cv == 0 && model.shortest_ratio == 1;
  if (equal_lengths) times *= std::exchange(engine.ranks, 1);
  concurrency = (concurrency + times - 1) / times;
  return static_cast<double>(times);
}

}  // namespace

RequestStatistics StatisticsOf(const RequestRun& run, std::int64_t warmup, const WorkloadSpec& workload) {
  RequestStatistics statistics;
  statistics.steps = run.steps;
  const Window window = WindowOf(run, warmup);
  const double window_s = window.to_s - window.from_s;
  std::vector<double> ttft_s, tpot_s, latency_s;
  std::int64_t left = 0, kept = 0;  // In the window.
  for (std::size_t i = 0; i < run.outcomes.size(); ++i) {
    const RequestOutcome& outcome = run.outcomes[i];
    statistics.rejected += outcome.rejected ? 1 : 0;
    statistics.preemptions += outcome.preemptions;
    if (outcome.rejected) continue;
    const double ttft = ToSeconds(outcome.Ttft()), tpot = outcome.TpotS(), finish_s = ToSeconds(outcome.finish);
    if (finish_s > window.from_s && finish_s <= window.to_s) {
      ++left;
      kept += ttft <= workload.ttft_target_s.value_or(ttft) && tpot <= workload.tpot_target_s.value_or(tpot) ? 1 : 0;
    }
    if (i < window.begin || i >= window.end) continue;
    ttft_s.push_back(ttft);
    latency_s.push_back(ToSeconds(outcome.Latency()));
    if (outcome.request.output_tokens > 1) tpot_s.push_back(tpot);
  }
  statistics.num_requests = static_cast<std::int64_t>(ttft_s.size());
  statistics.ttft = Summarise(std::move(ttft_s));
  statistics.tpot = Summarise(std::move(tpot_s));
  statistics.latency = Summarise(std::move(latency_s));
  if (window_s <= 0) return statistics;
  statistics.requests_per_s = static_cast<double>(left) / window_s;
  statistics.goodput_requests_per_s = static_cast<double>(kept) / window_s;
  for (std::size_t i = 0; i < run.queue.size(); ++i) {
    const QueueSample& sample = run.queue[i];
    const Picoseconds until = i + 1 < run.queue.size() ? run.queue[i + 1].time : run.end;
    const double seconds = Overlap(window, ToSeconds(sample.time), ToSeconds(until));
    statistics.mean_waiting += static_cast<double>(sample.waiting) * seconds / window_s;
    statistics.mean_running += static_cast<double>(sample.running) * seconds / window_s;
    if (seconds > 0) statistics.most_waiting = std::max(statistics.most_waiting, sample.waiting);
  }
  return statistics;
}

double OutputTokensPerS(const RequestRun& run, std::int64_t warmup) {
  const Window window = WindowOf(run, warmup);
  double tokens = 0;
  for (const RequestOutcome& outcome : run.outcomes) {
    if (outcome.rejected) continue;
    const double first_s = ToSeconds(outcome.first_token), finish_s = ToSeconds(outcome.finish);
    if (first_s > window.from_s && first_s <= window.to_s) tokens += 1;
    if (finish_s <= first_s) continue;
    tokens += static_cast<double>(outcome.request.output_tokens - 1) * Overlap(window, first_s, finish_s) /
              (finish_s - first_s);
  }
  return std::max(kLeastTokens, tokens) / std::max(kLeastSeconds, window.to_s - window.from_s);
}

EngineOptions EngineOf(const Problem& problem, const Strategy& s, const RequestModel& model,
                       const Evaluation& closed_form) {
  return {.policy = model.policy,
          .max_running = s.batch_size,
          .max_batched_tokens = model.max_batched_tokens,
          .block_tokens = model.block_tokens,
          .cache_blocks = CacheBlocks(problem, s, closed_form.memory, model.block_tokens),
          .poll_interval_steps = model.poll_interval_steps,
          .arrival_delay = ToPicoseconds(problem.workload().engine.value_or(EngineModel{}).arrival_s),
          .reserves_output = model.reserves_output,
          .prompt_wait_steps = model.prompt_wait_steps,
          .prompt_wait_tokens = std::llround(model.prompt_wait_ratio * static_cast<double>(model.max_batched_tokens)),
          .rank_wait_steps = model.rank_wait_steps,
          .replicas = closed_form.metrics.replicas,
          .ranks = s.data_parallel_size};
}

StepPrice PriceOf(const Problem& problem, StepTimer& timer) {
  const std::optional<EngineModel>& engine = problem.workload().engine;
  if (!engine) return [&timer](std::span<const RankBatch> ranks) { return timer(ranks); };
  return [&timer, host = *engine, layers = problem.model().num_layers](std::span<const RankBatch> ranks) {
    std::int64_t requests = 0;
    bool prompts = false;
    for (const RankBatch& rank : ranks) {
      requests = std::max(requests, rank.decodes + static_cast<std::int64_t>(rank.chunks.size()));
      prompts = prompts || !rank.chunks.empty();
    }
    return ToPicoseconds(host.StepTime(ToSeconds(timer(ranks)), requests, layers, prompts));
  };
}

ServingRun RunRequests(const Problem& problem, const Strategy& s, SimulatorOptions options, LengthVariants& variants,
                       const Evaluation& closed_form) {
  const WorkloadSpec& workload = problem.workload();
  const RequestModel& model = *workload.requests;
  EngineOptions engine = EngineOf(problem, s, model, closed_form);
  std::int64_t concurrency = workload.concurrency.value_or(closed_form.metrics.concurrency);
  ServingRun serving;
  serving.times = Fold(model, engine, concurrency);
  const std::vector<Request> requests = MakeRequests(workload, concurrency);
  StepTimer timer(variants, s, options);
  const StepPrice price = PriceOf(problem, timer);
  serving.run = model.arrivals == ArrivalKind::kConcurrency ? SimulateConcurrency(requests, concurrency, engine, price)
                                                            : SimulateRequests(requests, engine, price);
  serving.warmup = WarmupRequests(workload, concurrency, static_cast<std::int64_t>(requests.size()));
  return serving;
}

void EvaluateRequests(const Problem& problem, const Strategy& s, SimulatorOptions options, LengthVariants& variants,
                      Evaluation& evaluation) {
  PutRequests(problem, RunRequests(problem, s, options, variants, evaluation), evaluation);
}

void PutRequests(const Problem& problem, const ServingRun& serving, Evaluation& evaluation) {
  const RequestModel& model = *problem.workload().requests;
  Metrics& metrics = evaluation.metrics;
  RequestStatistics statistics = StatisticsOf(serving.run, serving.warmup, problem.workload());
  for (double* figure : {&statistics.requests_per_s, &statistics.goodput_requests_per_s, &statistics.mean_waiting,
                         &statistics.mean_running}) {
    *figure *= serving.times;
  }
  metrics.ttft_s = statistics.ttft.mean_s;
  metrics.tpot_s = statistics.tpot.mean_s;
  metrics.throughput_tokens_per_s = serving.times * OutputTokensPerS(serving.run, serving.warmup);
  evaluation.requests = statistics;
  DeriveMetrics(problem, evaluation);
  const auto limit = [](double& excess, double value_s, const std::optional<double>& target_s) {
    if (target_s) excess = std::max(excess, value_s / *target_s - 1);
  };
  limit(evaluation.excess.ttft, statistics.ttft.p99_s, model.ttft_p99_target_s);
  limit(evaluation.excess.tpot, statistics.tpot.p99_s, model.tpot_p99_target_s);
}

}  // namespace shardscout::env
