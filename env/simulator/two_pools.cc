#include "shardscout/two_pools.h"

#include <algorithm>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "env/simulator/request_stream.h"
#include "env/simulator/serving_simulation.h"
#include "env/simulator/simulator_evaluator.h"
#include "shardscout/collective_time.h"
#include "shardscout/error.h"
#include "shardscout/searcher.h"
#include "shardscout/strategy_space.h"

namespace shardscout {
namespace {

/// A pool by itself: its phase on its own devices.
Problem ProblemOf(const Problem& problem, const Pool& pool, WorkloadKind kind) {
  ClusterSpec cluster = problem.cluster();
  cluster.num_devices = pool.replicas * pool.strategy.InstanceSize();
  WorkloadSpec workload = problem.workload();
  workload.kind = kind;
  workload.requests.reset();
  workload.concurrency.reset();
  workload.batch_size = pool.strategy.batch_size;
  workload.ttft_target_s = workload.tpot_target_s = std::nullopt;
  const ProblemOptions options{.fixed = {},
                               .admitted_overlaps = {Overlap::kNone, Overlap::kTwoBatch, Overlap::kChunked}};
  return Problem(problem.model(), cluster, workload, options);
}

struct PoolEngine {
  PoolEngine(const Problem& problem, const Pool& pool, WorkloadKind kind)
      : own(ProblemOf(problem, pool, kind)), strategy(pool.strategy), variants(own) {
    const std::string broken = StrategySpace(own).WhyNot(strategy);
    if (!broken.empty()) throw SpecError("the pool for " + std::string(ToString(kind)), broken);
    alone = env::SimulatorEvaluator(own).Evaluate(strategy);
    options = env::EngineOf(own, strategy, *problem.workload().requests, alone);
    timer = std::make_unique<env::StepTimer>(variants, strategy, env::SimulatorOptions{});
  }
  env::StepPrice Price() { return env::PriceOf(own, *timer); }
  std::int64_t HoldersOfARequest() const { return strategy.InstanceSize() / strategy.data_parallel_size; }

  Problem own;
  const Strategy& strategy;
  env::LengthVariants variants;
  Evaluation alone;
  env::EngineOptions options;
  std::unique_ptr<env::StepTimer> timer;
};

/// What a request has whatever its length.
double StateBytes(const ModelSpec& model) {
  return LinearStateBytes(model) * static_cast<double>(model.linear_attention_layers.size());
}

double CacheBytesPerToken(const ModelSpec& model) {
  return static_cast<double>(KvElementsPerToken(model)) * BytesPerElement(model.kv_dtype) +
         static_cast<double>(IndexCacheBytesPerToken(model)) * static_cast<double>(model.layers.size());
}

/// Where the second pool's devices begin.
std::int64_t FirstDecodeDevice(const ClusterSpec& cluster, const Pool& prefill, const Pool& decode) {
  const std::int64_t used = prefill.replicas * prefill.strategy.InstanceSize();
  const std::int64_t instance = decode.strategy.InstanceSize();
  const std::int64_t unit = cluster.devices_per_node % instance == 0 ? instance : cluster.devices_per_node;
  return (used + unit - 1) / unit * unit;
}

std::int64_t DevicesOf(const ClusterSpec& cluster, const Pool& prefill, const Pool& decode) {
  return FirstDecodeDevice(cluster, prefill, decode) + decode.replicas * decode.strategy.InstanceSize();
}

/// The problem of a plan that has one pool.
Problem ProblemOf(const Plan& plan, Phase phase) {
  const std::string place = "the plan for " + std::string(ToString(phase));
  if (plan.pools.size() != 1) {
    throw SpecError(place, "has " + std::to_string(plan.pools.size()) + " pools, expected one");
  }
  Problem problem = ParseProblem(plan.problem_json, place);
  if (!problem.workload().HasPhase(phase)) {
    throw SpecError(place, "is for " + std::string(ToString(problem.workload().kind)) + ", expected " +
                               std::string(ToString(phase)) + " or serve");
  }
  return problem;
}

/// The cluster but for its size and name.
ClusterSpec KindOf(ClusterSpec cluster) {
  cluster.name.clear();
  cluster.num_devices = 0;
  return cluster;
}

}  // namespace

Evaluation EvaluateTwoPools(const Problem& problem, const Pool& prefill, const Pool& decode) {
  const WorkloadSpec& workload = problem.workload();
  if (!workload.requests) {
    throw SpecError("workload " + workload.name,
                    "describes no requests, by which two pools are simulated: give it \"requests\"");
  }
  const ClusterSpec& cluster = problem.cluster();
  if (DevicesOf(cluster, prefill, decode) > cluster.num_devices) {
    throw SpecError("cluster " + cluster.name, "found " + std::to_string(cluster.num_devices) +
                                                   " devices, the two pools need " +
                                                   std::to_string(DevicesOf(cluster, prefill, decode)));
  }
  PoolEngine first(problem, prefill, WorkloadKind::kPrefill), second(problem, decode, WorkloadKind::kDecode);

  const std::int64_t apart = FirstDecodeDevice(cluster, prefill, decode);
  const std::vector<GroupSpan> way = SpansOf(cluster, {2, apart}, apart, 2);
  const double holders = static_cast<double>(std::min(first.HoldersOfARequest(), second.HoldersOfARequest()));
  const double bytes_per_token = CacheBytesPerToken(problem.model()) / holders;
  const double state_bytes = StateBytes(problem.model()) / holders;
  const env::TwoPools pools{.prefill = first.options,
                            .decode = second.options,
                            .prefill_price = first.Price(),
                            .decode_price = second.Price(),
                            .transfer = [&](std::int64_t tokens) {
                              const double bytes = bytes_per_token * static_cast<double>(tokens) + state_bytes;
                              return env::ToPicoseconds(CollectiveTime(cluster, Collective::kSendRecv, bytes, way));
                            }};

  Evaluation evaluation;
  evaluation.memory = std::max(first.alone.memory, second.alone.memory, [](const MemoryUse& a, const MemoryUse& b) {
    return a.TotalBytes() / a.limit_bytes < b.TotalBytes() / b.limit_bytes;
  });
  Metrics& metrics = evaluation.metrics;
  metrics.replicas = prefill.replicas + decode.replicas;
  metrics.idle_devices = cluster.num_devices - prefill.replicas * prefill.strategy.InstanceSize() -
                         decode.replicas * decode.strategy.InstanceSize();
  metrics.concurrency =
      workload.concurrency.value_or(first.alone.metrics.concurrency + second.alone.metrics.concurrency);
  const bool closed = workload.requests->arrivals == ArrivalKind::kConcurrency;
  const std::vector<env::Request> requests = env::MakeRequests(workload, metrics.concurrency);
  env::ServingRun serving;
  serving.run = env::SimulateTwoPools(requests, closed ? std::optional(metrics.concurrency) : std::nullopt, pools);
  serving.warmup = env::WarmupRequests(workload, metrics.concurrency, static_cast<std::int64_t>(requests.size()));
  env::PutRequests(problem, serving, evaluation);
  return evaluation;
}

Plan JoinPools(const Plan& prefill, const Plan& decode, const WorkloadSpec& workload) {
  const Problem first = ProblemOf(prefill, Phase::kPrefill), second = ProblemOf(decode, Phase::kDecode);
  if (!(first.model() == second.model())) {
    throw SpecError("the plan for decode", "is of the model " + second.model().name + ", and the one for prefill of " +
                                               first.model().name + " or of other data types; expected one model");
  }
  if (!(KindOf(first.cluster()) == KindOf(second.cluster()))) {
    throw SpecError("the plan for decode", "is for the cluster " + second.cluster().name +
                                               ", and the one for prefill for " + first.cluster().name +
                                               " or another version of it; expected one kind of cluster");
  }
  Pool prefill_pool = prefill.pools.front(), decode_pool = decode.pools.front();
  prefill_pool.role = ToString(WorkloadKind::kPrefill);
  decode_pool.role = ToString(WorkloadKind::kDecode);
  ClusterSpec cluster = first.cluster();
  cluster.num_devices = DevicesOf(cluster, prefill_pool, decode_pool);
  const std::int64_t first_device = FirstDecodeDevice(cluster, prefill_pool, decode_pool);
  for (RankPlacement& rank : decode_pool.placement) {
    rank.node = (first_device + rank.rank) / cluster.devices_per_node;
    rank.device = (first_device + rank.rank) % cluster.devices_per_node;
  }
  const Problem problem(first.model(), cluster, workload);

  Plan plan = PlanOf(problem, {std::move(prefill_pool), std::move(decode_pool)});
  plan.evaluation = EvaluateTwoPools(problem, plan.pools[0], plan.pools[1]);
  plan.search.searcher = "join";
  plan.search.evaluator = "simulator";
  plan.search.status = ToString(SearchStatus::kFinished);
  plan.search.version = std::string(Version());
  return plan;
}

}  // namespace shardscout
