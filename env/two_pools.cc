#include "shardscout/two_pools.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "env/analytical/analytical_evaluator.h"
#include "env/analytical/block_cost.h"
#include "env/pools.h"
#include "env/simulator/pools_simulation.h"
#include "shardscout/error.h"
#include "shardscout/searcher.h"

namespace shardscout {
namespace {

Evaluation EvaluateAlone(const Problem& problem, const Pool& pool, WorkloadKind kind) {
  const Problem own = env::PoolProblem(problem, pool, kind);
  env::CheckPool(own, pool.strategy, kind);
  return EvaluatePool(own, pool.strategy);
}

Evaluation InClosedForm(const Problem& problem, const Pool& prefill, const Pool& decode) {
  const WorkloadSpec& workload = problem.workload();
  const Evaluation first = EvaluateAlone(problem, prefill, WorkloadKind::kPrefill),
                   second = EvaluateAlone(problem, decode, WorkloadKind::kDecode);
  const auto decoded = static_cast<double>(workload.output_tokens - 1);
  Evaluation evaluation;
  env::PutPools(problem, {prefill, first}, {decode, second}, evaluation);
  Metrics& metrics = evaluation.metrics;
  metrics.ttft_s = first.metrics.ttft_s;
  metrics.tpot_s = second.metrics.tpot_s + env::TransferTime(problem, prefill.strategy, decode.strategy,
                                                             env::FirstDecodeDevice(problem.cluster(), prefill, decode),
                                                             workload.input_tokens) /
                                               decoded;
  const double latency_s = metrics.ttft_s + decoded * metrics.tpot_s;
  double requests_per_s = std::min(RequestsPerS(workload, first.metrics, Phase::kPrefill),
                                   RequestsPerS(workload, second.metrics, Phase::kDecode));
  if (workload.concurrency) {
    requests_per_s = std::min(requests_per_s, static_cast<double>(*workload.concurrency) / latency_s);
  }
  metrics.throughput_tokens_per_s = requests_per_s * static_cast<double>(workload.output_tokens);
  metrics.concurrency = std::max<std::int64_t>(1, std::llround(requests_per_s * latency_s));
  env::DeriveMetrics(problem, evaluation);
  return evaluation;
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

double RequestsPerS(const WorkloadSpec& workload, const Metrics& pool, Phase phase) {
  const std::int64_t tokens = phase == Phase::kPrefill ? workload.input_tokens : workload.output_tokens - 1;
  return pool.throughput_tokens_per_s / static_cast<double>(tokens);
}

Evaluation EvaluateTwoPools(const Problem& problem, const Pool& prefill, const Pool& decode) {
  const WorkloadSpec& workload = problem.workload();
  const ClusterSpec& cluster = problem.cluster();
  if (workload.output_tokens < 2) {
    throw SpecError(
        "workload " + workload.name,
        "has one output token, which the pool for prefill gives; two pools need output_tokens of 2 or more");
  }
  const std::int64_t devices = env::DevicesOf(cluster, prefill, decode);
  if (devices > cluster.num_devices) {
    throw SpecError("cluster " + cluster.name, "found " + std::to_string(cluster.num_devices) +
                                                   " devices, the two pools need " + std::to_string(devices));
  }
  return workload.requests ? env::SimulatePools(problem, prefill, decode) : InClosedForm(problem, prefill, decode);
}

Plan PlanOfPools(const Problem& problem, Pool prefill, Pool decode) {
  const ClusterSpec& cluster = problem.cluster();
  prefill.role = ToString(WorkloadKind::kPrefill);
  decode.role = ToString(WorkloadKind::kDecode);
  const std::int64_t first_device = env::FirstDecodeDevice(cluster, prefill, decode);
  for (RankPlacement& rank : decode.placement) {
    rank.node = (first_device + rank.rank) / cluster.devices_per_node;
    rank.device = (first_device + rank.rank) % cluster.devices_per_node;
  }
  Plan plan = PlanOf(problem, {std::move(prefill), std::move(decode)});
  plan.evaluation = EvaluateTwoPools(problem, plan.pools[0], plan.pools[1]);
  plan.search.evaluator = problem.workload().requests ? "simulator" : "analytical";
  plan.search.version = std::string(Version());
  return plan;
}

Plan PlanOfPool(const Plan& plan, Phase phase) {
  const WorkloadKind kind = phase == Phase::kPrefill ? WorkloadKind::kPrefill : WorkloadKind::kDecode;
  const auto pool =
      std::find_if(plan.pools.begin(), plan.pools.end(), [&](const Pool& one) { return one.role == ToString(kind); });
  if (pool == plan.pools.end()) throw SpecError("the plan", "has no pool for " + std::string(ToString(kind)));
  const Problem own = env::PoolProblem(ParseProblem(plan.problem_json, "the plan"), *pool, kind);
  env::CheckPool(own, pool->strategy, kind);
  Plan alone = PlanOf(own, {MakePool(own, pool->strategy)});
  alone.evaluation = EvaluatePool(own, pool->strategy);
  return alone;
}

Evaluation EvaluatePool(const Problem& problem, const Strategy& strategy) {
  return env::AnalyticalEvaluator(problem).Evaluate(strategy);
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
  ClusterSpec cluster = first.cluster();
  cluster.num_devices = env::DevicesOf(cluster, prefill.pools.front(), decode.pools.front());
  Plan plan = PlanOfPools(Problem(first.model(), cluster, workload), prefill.pools.front(), decode.pools.front());
  plan.search.searcher = "join";
  plan.search.status = ToString(SearchStatus::kFinished);
  return plan;
}

}  // namespace shardscout
