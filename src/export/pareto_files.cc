#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "shardscout/pareto.h"
#include "shardscout/strategy_space.h"
#include "src/evaluation_json.h"
#include "src/export/csv.h"
#include "src/strategy_json.h"

namespace shardscout {

std::string ParetoCsv(const Problem& problem, const ParetoFront& front) {
  using exporters::Shortest;
  std::string csv;
  std::vector<std::string> header = {"latency_s",
                                     "throughput_per_device",
                                     "ttft_s",
                                     "tpot_s",
                                     "concurrency",
                                     "replicas",
                                     "idle_devices",
                                     "memory_bytes",
                                     "memory_limit_bytes",
                                     "cost_usd_per_million_tokens",
                                     "energy_j_per_token",
                                     "keeps_targets"};
  for (int variable = 0; variable < kNumVariables; ++variable) header.push_back(VariableName(variable));
  exporters::AddRow(csv, header);
  for (const ParetoPoint& point : front.points) {
    const Metrics& metrics = point.evaluation.metrics;
    const MemoryUse& memory = point.evaluation.memory;
    std::vector<std::string> row = {Shortest(LatencyOf(point.evaluation, problem.workload())),
                                    Shortest(metrics.throughput_per_device),
                                    Shortest(metrics.ttft_s),
                                    Shortest(metrics.tpot_s),
                                    std::to_string(metrics.concurrency),
                                    std::to_string(metrics.replicas),
                                    std::to_string(metrics.idle_devices),
                                    Shortest(memory.TotalBytes()),
                                    Shortest(memory.limit_bytes),
                                    Shortest(metrics.cost_usd_per_million_tokens),
                                    Shortest(metrics.energy_j_per_token),
                                    point.evaluation.Feasible() ? "1" : "0"};
    for (int variable = 0; variable < kNumVariables; ++variable) {
      row.push_back(ValueName(variable, GetVariable(point.strategy, variable)));
    }
    exporters::AddRow(csv, row);
  }
  return csv;
}

std::string ParetoJson(const Problem& problem, const ParetoFront& front, int indent) {
  nlohmann::ordered_json json;
  json["evaluator"] = front.evaluator;
  json["proved"] = front.proved;
  json["latency"] = problem.workload().kind == WorkloadKind::kPrefill ? "ttft_s" : "tpot_s";
  json["points"] = nlohmann::ordered_json::array();
  for (const ParetoPoint& point : front.points) {
    json["points"].push_back({{"keeps_targets", point.evaluation.Feasible()},
                              {"strategy", StrategyJson(point.strategy)},
                              {"evaluation", EvaluationJson(point.evaluation)}});
  }
  return json.dump(indent);
}

}  // namespace shardscout
