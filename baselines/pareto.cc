#include "shardscout/pareto.h"

#include <omp.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <utility>

#include "baselines/exact/solver.h"
#include "shardscout/error.h"
#include "shardscout/reward.h"

namespace shardscout {
namespace {

constexpr int kNodesAtATime = 64;

/// The problem whose front is the one that was asked for: throughput per device, with no target of the latency.
Problem FrontProblem(const Problem& problem) {
  WorkloadSpec workload = problem.workload();
  workload.objective = Objective::kThroughputPerDevice;
  (workload.kind == WorkloadKind::kPrefill ? workload.ttft_target_s : workload.tpot_target_s).reset();
  return Problem(problem.model(), problem.cluster(), std::move(workload), problem.options());
}

/// Feasible but for the target that the front ignores.
bool IsPossible(const Evaluation& evaluation, const WorkloadSpec& workload) {
  const LimitExcess& excess = evaluation.excess;
  return excess.memory <= 0 && (workload.kind == WorkloadKind::kPrefill ? excess.tpot : excess.ttft) <= 0;
}

}  // namespace

double LatencyOf(const Evaluation& evaluation, const WorkloadSpec& workload) {
  return ObjectiveOf(evaluation, Objective::kLatency, workload.kind).value;
}

bool Dominates(const Evaluation& a, const Evaluation& b, const WorkloadSpec& workload) {
  const double a_rate = a.metrics.throughput_per_device, b_rate = b.metrics.throughput_per_device;
  const double a_latency_s = LatencyOf(a, workload), b_latency_s = LatencyOf(b, workload);
  return a_rate >= b_rate && a_latency_s <= b_latency_s && (a_rate > b_rate || a_latency_s < b_latency_s);
}

void KeepNonDominated(std::vector<ParetoPoint>& points, const WorkloadSpec& workload) {
  std::stable_sort(points.begin(), points.end(), [&](const ParetoPoint& a, const ParetoPoint& b) {
    const double a_latency_s = LatencyOf(a.evaluation, workload), b_latency_s = LatencyOf(b.evaluation, workload);
    if (a_latency_s != b_latency_s) return a_latency_s < b_latency_s;
    return a.evaluation.metrics.throughput_per_device > b.evaluation.metrics.throughput_per_device;
  });
  // Of those before, none is slower: only what has more throughput than all of them is not dominated.
  double most = 0;
  std::erase_if(points, [&](const ParetoPoint& point) {
    const double rate = point.evaluation.metrics.throughput_per_device;
    if (rate <= most) return true;
    most = rate;
    return false;
  });
}

ParetoFront FindParetoFront(const Problem& problem, const ParetoRequest& request, const EvaluatorRegistry& evaluators) {
  const auto started = std::chrono::steady_clock::now();
  const auto elapsed_s = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  };
  const auto stopped = [&] {
    return (request.stop != nullptr && request.stop->load()) ||
           (request.time_limit_s > 0 && elapsed_s() >= request.time_limit_s);
  };
  const std::unique_ptr<Evaluator> evaluator = evaluators.Make(request.evaluator, problem);
  const Problem unlimited = FrontProblem(problem);
  const StrategySpace space(unlimited);
  const int threads = request.threads > 0 ? request.threads : omp_get_max_threads();
  const baselines::exact::FrontAnswer answer =
      baselines::exact::SolveFront(space, threads, kNodesAtATime, [&] { return !stopped(); });

  const bool analytical = request.evaluator == "analytical";
  ParetoFront front{.points = {}, .evaluator = request.evaluator, .proved = answer.proved && analytical};
  for (const baselines::exact::Candidate& candidate : answer.front) {
    if (!analytical && stopped()) break;
    const Evaluation evaluation = evaluator->Evaluate(candidate.strategy);
    // The solver is right about the evaluator, or the proof is worth nothing.
    if (analytical) SHARDSCOUT_CHECK(evaluation.metrics == candidate.evaluation.metrics);
    if (IsPossible(evaluation, problem.workload())) front.points.push_back({candidate.strategy, evaluation});
  }
  if (!analytical) KeepNonDominated(front.points, problem.workload());
  front.wall_s = elapsed_s();
  return front;
}

}  // namespace shardscout
