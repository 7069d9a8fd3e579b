#include "env/simulator/request_stream.h"

#include <algorithm>
#include <cmath>

#include "shardscout/error.h"
#include "shardscout/random.h"

namespace shardscout::env {
namespace {

constexpr std::int64_t kConcurrencies = 8;  // Of requests, where the workload says nothing.
constexpr std::int64_t kRequestsAtARate = 1000;
constexpr double kMostTokens = 1e9;

double Exponential(Rng& rng) { return -std::log1p(-rng.Uniform()); }

/// Mean `shape`.
double Gamma(Rng& rng, double shape) {
  if (shape < 1) {
    const double power = std::pow(1 - rng.Uniform(), 1 / shape);
    return Gamma(rng, shape + 1) * power;
  }
  const double d = shape - 1.0 / 3, c = 1 / std::sqrt(9 * d);
  while (true) {
    const double x = rng.Normal();
    const double v = std::pow(1 + c * x, 3);
    if (v <= 0) continue;
    if (std::log1p(-rng.Uniform()) < 0.5 * x * x + d - d * v + d * std::log(v)) return d * v;
  }
}

std::int64_t Length(Rng& rng, std::int64_t of_workload, double cv, double shortest_ratio) {
  const auto mean = static_cast<double>(of_workload);
  if (shortest_ratio < 1) {
    const std::int64_t shortest = std::max<std::int64_t>(1, static_cast<std::int64_t>(mean * shortest_ratio));
    return shortest + static_cast<std::int64_t>(rng.Below(static_cast<std::size_t>(of_workload - shortest + 1)));
  }
  if (cv == 0) return of_workload;
  const double variance = std::log1p(cv * cv);
  const double length = std::exp(std::log(mean) - variance / 2 + std::sqrt(variance) * rng.Normal());
  return std::max<std::int64_t>(1, std::llround(std::min(length, kMostTokens)));
}

}  // namespace

std::vector<Request> MakeRequests(const WorkloadSpec& workload, std::int64_t concurrency) {
  SHARDSCOUT_CHECK_OP(workload.requests.has_value(), ==, true);
  const RequestModel& model = *workload.requests;
  std::vector<Request> requests;
  if (model.arrivals == ArrivalKind::kTrace) {
    const std::size_t count =
        std::min(model.trace.size(), static_cast<std::size_t>(model.num_requests.value_or(INT64_MAX)));
    for (std::size_t i = 0; i < count; ++i) {
      const TracedRequest& traced = model.trace[i];
      requests.push_back({.arrival = ToPicoseconds(traced.arrival_s),
                          .input_tokens = traced.input_tokens,
                          .output_tokens = traced.output_tokens});
    }
    return requests;
  }
  const bool closed = model.arrivals == ArrivalKind::kConcurrency;
  const std::int64_t count = model.num_requests.value_or(closed ? kConcurrencies * concurrency : kRequestsAtARate);
  const auto seed = static_cast<std::uint64_t>(model.seed);
  Rng gaps = Rng::Stream(seed, "arrivals"), inputs = Rng::Stream(seed, "inputs"),
      outputs = Rng::Stream(seed, "outputs");
  const double shape = 1 / (model.arrival_cv * model.arrival_cv);
  double now_s = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    if (!closed) {
      const bool gamma = model.arrivals == ArrivalKind::kGamma;
      now_s += (gamma ? Gamma(gaps, shape) / shape : Exponential(gaps)) / *model.rate_per_s;
    }
    requests.push_back(
        {.arrival = ToPicoseconds(now_s),
         .input_tokens = Length(inputs, workload.input_tokens, model.input_cv, model.shortest_ratio),
         .output_tokens = Length(outputs, workload.output_tokens, model.output_cv, model.shortest_ratio)});
  }
  return requests;
}

std::int64_t WarmupRequests(const WorkloadSpec& workload, std::int64_t concurrency, std::int64_t num_requests) {
  SHARDSCOUT_CHECK_OP(workload.requests.has_value(), ==, true);
  const RequestModel& model = *workload.requests;
  const std::int64_t asked =
      model.warmup_requests.value_or(model.arrivals == ArrivalKind::kConcurrency ? concurrency : 0);
  return std::min(asked, (num_requests - 1) / 2);
}

}  // namespace shardscout::env
