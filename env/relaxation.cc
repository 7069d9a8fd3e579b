// What to say when nothing is feasible.

#include <algorithm>
#include <memory>

#include "shardscout/error.h"
#include "shardscout/run_search.h"

namespace shardscout {
namespace {

/// Whether megatron-tuned finds a feasible strategy on `devices` within `budget` evaluations.
bool FeasibleOn(std::int64_t devices, const Problem& problem, const std::string& evaluator_name,
                const EvaluatorRegistry& evaluators, std::int64_t budget, const std::atomic<bool>* stop) {
  ClusterSpec cluster = problem.cluster();
  cluster.num_devices = devices;
  const Problem resized(problem.model(), cluster, problem.workload(), problem.options());
  std::unique_ptr<StrategySpace> space;
  try {
    space = std::make_unique<StrategySpace>(resized);
  } catch (const SpecError&) {
    return false;  // What is fixed in the options admits no strategy on so few devices.
  }
  const std::unique_ptr<Evaluator> evaluator = evaluators.Make(evaluator_name, resized);
  bool found = false;
  std::int64_t left = budget;
  ForEachMegatronStrategy(*space, [&](const Strategy& strategy) {
    found = evaluator->Evaluate(strategy).Feasible();
    return !found && --left > 0 && (stop == nullptr || !stop->load());
  });
  return found;
}

}  // namespace

Relaxation RelaxationFor(const Problem& problem, const Evaluation& nearest) {
  Relaxation relaxation;
  if (nearest.excess.memory > 0) {
    relaxation.memory_fraction = nearest.memory.TotalBytes() / problem.cluster().device.hbm_bytes;
  }
  if (nearest.excess.ttft > 0) relaxation.ttft_target_s = nearest.metrics.ttft_s;
  if (nearest.excess.tpot > 0) relaxation.tpot_target_s = nearest.metrics.tpot_s;
  return relaxation;
}

std::optional<std::int64_t> SufficientDevices(const Problem& problem, const std::string& evaluator,
                                              const EvaluatorRegistry& evaluators, std::int64_t budget,
                                              std::int64_t max_devices, const std::atomic<bool>* stop) {
  const std::int64_t per_node = problem.cluster().devices_per_node;
  const std::int64_t outermost = problem.cluster().tiers.back().size;
  if (outermost > 0) max_devices = std::min(max_devices, outermost);
  const std::int64_t most = max_devices / per_node;
  const auto feasible = [&](std::int64_t nodes) {
    return FeasibleOn(nodes * per_node, problem, evaluator, evaluators, budget, stop);
  };
  std::int64_t infeasible = 0, nodes = std::min<std::int64_t>(1, most);
  while (nodes > infeasible && !feasible(nodes)) {
    if (stop != nullptr && stop->load()) return std::nullopt;
    infeasible = nodes;
    nodes = std::min(2 * nodes, most);
  }
  if (nodes <= infeasible) return std::nullopt;
  while (nodes - infeasible > 1) {
    const std::int64_t middle = infeasible + (nodes - infeasible) / 2;
    (feasible(middle) ? nodes : infeasible) = middle;
  }
  if (stop != nullptr && stop->load()) return std::nullopt;
  return nodes * per_node;
}

}  // namespace shardscout
