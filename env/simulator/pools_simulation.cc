#include "env/simulator/pools_simulation.h"

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "env/pools.h"
#include "env/simulator/request_stream.h"
#include "env/simulator/serving_simulation.h"
#include "env/simulator/simulator_evaluator.h"

namespace shardscout::env {
namespace {

struct PoolEngine {
  PoolEngine(const Problem& problem, const Pool& pool, WorkloadKind kind)
      : own(PoolProblem(problem, pool, kind)), strategy(pool.strategy), variants(own) {
    CheckPool(own, strategy, kind);
    alone = SimulatorEvaluator(own).Evaluate(strategy);
    options = EngineOf(own, strategy, *problem.workload().requests, alone);
    timer = std::make_unique<StepTimer>(variants, strategy, SimulatorOptions{});
  }
  StepPrice Price() { return PriceOf(own, *timer); }

  Problem own;
  const Strategy& strategy;
  LengthVariants variants;
  Evaluation alone;
  EngineOptions options;
  std::unique_ptr<StepTimer> timer;
};

}  // namespace

Evaluation SimulatePools(const Problem& problem, const Pool& prefill, const Pool& decode) {
  const WorkloadSpec& workload = problem.workload();
  PoolEngine first(problem, prefill, WorkloadKind::kPrefill), second(problem, decode, WorkloadKind::kDecode);

  const std::int64_t apart = FirstDecodeDevice(problem.cluster(), prefill, decode);
  const TwoPools pools{.prefill = first.options,
                       .decode = second.options,
                       .prefill_price = first.Price(),
                       .decode_price = second.Price(),
                       .transfer = [&](std::int64_t tokens) {
                         return ToPicoseconds(TransferTime(problem, prefill.strategy, decode.strategy, apart, tokens));
                       }};

  Evaluation evaluation;
  PutPools(problem, {prefill, first.alone}, {decode, second.alone}, evaluation);
  Metrics& metrics = evaluation.metrics;
  metrics.concurrency =
      workload.concurrency.value_or(first.alone.metrics.concurrency + second.alone.metrics.concurrency);
  const bool closed = workload.requests->arrivals == ArrivalKind::kConcurrency;
  const std::vector<Request> requests = MakeRequests(workload, metrics.concurrency);
  ServingRun serving;
  serving.run = SimulateTwoPools(requests, closed ? std::optional(metrics.concurrency) : std::nullopt, pools);
  serving.warmup = WarmupRequests(workload, metrics.concurrency, static_cast<std::int64_t>(requests.size()));
  PutRequests(problem, serving, evaluation);
  return evaluation;
}

}  // namespace shardscout::env
