#include "src/cli/describe.h"

#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>
#include <ostream>
#include <utility>
#include <vector>

#include "shardscout/plan.h"
#include "src/cli/output.h"

namespace shardscout::cli {
namespace {

using nlohmann::ordered_json;

std::string CountText(double count) {
  if (count >= 1e12) return Number(count / 1e12) + " trillion";
  return count >= 1e9 ? Number(count / 1e9) + " billion" : Number(count / 1e6) + " million";
}

std::string LimitText(const std::optional<double>& target) {
  return target ? " (limit " + Duration(*target) + ")" : "";
}

}  // namespace

std::string SpaceText(const SpaceSize& space) {
  const std::string count =
      space.strategies < 1e15 ? Grouped(static_cast<std::int64_t>(space.strategies)) : Number(space.strategies);
  return std::string(space.exact ? "" : "at least ") + count + " strategies";
}

void PrintProblem(std::ostream& out, const Problem& problem) {
  const ModelSpec& model = problem.model();
  const ClusterSpec& cluster = problem.cluster();
  const WorkloadSpec& workload = problem.workload();
  const ParameterCount parameters = CountParameters(model);
  out << "model     " << model.name << ": " << CountText(static_cast<double>(parameters.total)) << " parameters";
  if (model.HasMoe()) out << ", " << CountText(static_cast<double>(parameters.active)) << " active";
  if (model.HasLinearAttention()) {
    out << ", linear attention in " << model.linear_attention_layers.size() << " of " << model.num_layers << " layers";
  }
  if (!workload.IsTraining()) {
    out << "; weights " << ToString(model.weight_dtype) << ", KV cache " << ToString(model.kv_dtype);
  }
  out << "\n";
  out << "cluster   " << cluster.name << ": " << Grouped(cluster.num_devices) << " x " << cluster.device.name << ", "
      << cluster.devices_per_node << " a node\n";
  out << "workload  " << workload.name << ": " << exporters::WorkloadText(workload) << "; objective "
      << ToString(workload.objective) << "\n";
  if (const std::optional<Framework>& framework = problem.options().framework) {
    out << "for       " << ToString(*framework) << "@" << VersionOf(*framework) << ": what it runs as it is priced\n";
  }
}

namespace {

void PrintRequests(std::ostream& out, const RequestStatistics& requests) {
  const auto print = [&](const char* what, const LatencyStatistics& latency) {
    out << what << "p50 " << Duration(latency.p50_s) << ", p90 " << Duration(latency.p90_s) << ", p99 "
        << Duration(latency.p99_s) << "\n";
  };
  print("  TTFT        ", requests.ttft);
  print("  TPOT        ", requests.tpot);
  print("  latency     ", requests.latency);
  out << "  requests    " << Grouped(requests.num_requests) << " counted, " << Number(requests.requests_per_s)
      << " a second, " << Number(requests.goodput_requests_per_s) << " within the targets; waiting "
      << Number(requests.mean_waiting) << ", at most " << Grouped(requests.most_waiting) << ", running "
      << Number(requests.mean_running) << "; " << Grouped(requests.preemptions) << " made room, "
      << Grouped(requests.rejected) << " rejected\n";
}

void PrintTraining(std::ostream& out, const Problem& problem, const Evaluation& evaluation) {
  const Metrics& metrics = evaluation.metrics;
  const MemoryUse& memory = evaluation.memory;
  out << "  step        " << Duration(metrics.step_time_s) << " for " << Grouped(metrics.concurrency) << " sequences\n"
      << "  throughput  " << Number(metrics.throughput_tokens_per_s) << " tokens/s, "
      << Number(metrics.throughput_per_device) << " a device; model FLOP utilisation "
      << Percent(metrics.model_flops_utilisation) << "; " << Grouped(metrics.idle_devices) << " idle devices\n"
      << "  memory      " << Bytes(memory.TotalBytes()) << " a device (limit " << Bytes(memory.limit_bytes)
      << "): weights " << Bytes(memory.weight_bytes) << ", gradients " << Bytes(memory.gradient_bytes) << ", optimizer "
      << Bytes(memory.optimizer_bytes) << ", activations " << Bytes(memory.activation_bytes) << ", communication "
      << Bytes(memory.communication_bytes) << ", reserve " << Bytes(memory.reserved_bytes) << "\n";
  if (metrics.cost_usd_per_million_tokens > 0) {
    out << "  cost        " << Number(metrics.cost_usd_per_million_tokens) << " USD and "
        << Number(metrics.energy_j_per_token * 1e6 / 3.6e6) << " kWh per million tokens\n";
  }
  if (!evaluation.Feasible()) out << "  breaks      " << DescribeViolations(evaluation, problem.workload()) << "\n";
}

}  // namespace

void PrintEvaluation(std::ostream& out, const Problem& problem, const Evaluation& evaluation) {
  const Metrics& metrics = evaluation.metrics;
  const MemoryUse& memory = evaluation.memory;
  const WorkloadSpec& workload = problem.workload();
  if (workload.IsTraining()) {
    PrintTraining(out, problem, evaluation);
    return;
  }
  if (workload.HasPhase(Phase::kPrefill)) {
    out << "  TTFT        " << Duration(metrics.ttft_s) << LimitText(workload.ttft_target_s) << "\n";
  }
  if (workload.HasPhase(Phase::kDecode)) {
    out << "  TPOT        " << Duration(metrics.tpot_s) << LimitText(workload.tpot_target_s) << "\n";
  }
  out << "  throughput  " << Number(metrics.throughput_tokens_per_s) << " tokens/s, "
      << Number(metrics.throughput_per_device) << " a device, " << Grouped(metrics.concurrency)
      << " requests at a time\n"
      << "  instances   " << Grouped(metrics.replicas) << ", " << Grouped(metrics.idle_devices) << " idle devices\n"
      << "  memory      " << Bytes(memory.TotalBytes()) << " a device (limit " << Bytes(memory.limit_bytes)
      << "): weights " << Bytes(memory.weight_bytes) << ", KV cache " << Bytes(memory.kv_cache_bytes);
  if (memory.linear_state_bytes > 0) out << ", linear attention's states " << Bytes(memory.linear_state_bytes);
  out << ", activations " << Bytes(memory.activation_bytes) << ", communication " << Bytes(memory.communication_bytes)
      << ", reserve " << Bytes(memory.reserved_bytes) << "\n";
  if (evaluation.requests) PrintRequests(out, *evaluation.requests);
  if (metrics.cost_usd_per_million_tokens > 0) {
    out << "  cost        " << Number(metrics.cost_usd_per_million_tokens) << " USD and "
        << Number(metrics.energy_j_per_token * 1e6 / 3.6e6) << " kWh per million tokens\n";
  }
  if (!evaluation.Feasible()) out << "  breaks      " << DescribeViolations(evaluation, workload) << "\n";
}

void PrintPools(std::ostream& out, const Problem& problem, const std::vector<Pool>& pools,
                const Evaluation& evaluation) {
  PrintProblem(out, problem);
  for (const Pool& pool : pools) {
    out << "pool      " << pool.role << ", " << Grouped(pool.replicas) << " x " << Grouped(pool.strategy.InstanceSize())
        << " devices\n          " << ToShortString(pool.strategy) << "\n";
  }
  out << "together  " << ObjectiveText(problem, evaluation) << "\n";
  PrintEvaluation(out, problem, evaluation);
}

void PrintMegatron(std::ostream& out, const Problem& problem, const MegatronAnswer& megatron) {
  out << "Megatron  " << ObjectiveText(problem, megatron.evaluation);
  if (!megatron.feasible)
    out << ", limits ignored (" << DescribeViolations(megatron.evaluation, problem.workload()) << ")";
  out << "\n          " << ToShortString(megatron.strategy) << "\n";
}

void PrintDocument(const ordered_json& json) {
  std::cout << json.dump(2, ' ', /*ensure_ascii=*/false, ordered_json::error_handler_t::replace) << "\n";
}

ordered_json PoolsJson(const Problem& problem, const std::vector<Pool>& pools, const Evaluation& evaluation) {
  ordered_json json;
  json["problem"] = ProblemSummaryJson(problem);
  json["pools"] = ordered_json::array();
  for (const Pool& pool : pools) {
    json["pools"].push_back(
        {{"role", pool.role}, {"replicas", pool.replicas}, {"strategy", ordered_json::parse(ToJson(pool.strategy))}});
  }
  json["evaluation"] = ordered_json::parse(ToJson(evaluation));
  return json;
}

ordered_json ProblemSummaryJson(const Problem& problem) {
  const ParameterCount parameters = CountParameters(problem.model());
  ordered_json out;
  out["model"] = problem.model().name;
  out["parameters"] = parameters.total;
  out["active_parameters"] = parameters.active;
  out["cluster"] = problem.cluster().name;
  out["devices"] = problem.cluster().num_devices;
  out["workload"] = problem.workload().name;
  out["objective"] = ToString(problem.workload().objective);
  if (problem.options().framework) out["framework"] = ToString(*problem.options().framework);
  out["digest"] = problem.Digest();
  return out;
}

ordered_json SpaceJson(const SpaceSize& space) {
  ordered_json out;
  out["strategies"] = space.strategies;
  out["degree_tuples"] = space.degree_tuples;
  out["exact"] = space.exact;
  return out;
}

ordered_json ScoredJson(const Scored& scored) {
  ordered_json out;
  out["reward"] = scored.reward;
  out["feasible"] = scored.evaluation.Feasible();
  out["strategy"] = ordered_json::parse(ToJson(scored.strategy));
  out["evaluation"] = ordered_json::parse(ToJson(scored.evaluation));
  return out;
}

ordered_json MegatronJson(const MegatronAnswer& megatron, double objective) {
  ordered_json out;
  out["objective"] = objective;
  out["feasible"] = megatron.feasible;
  out["strategy"] = ordered_json::parse(ToJson(megatron.strategy));
  out["evaluation"] = ordered_json::parse(ToJson(megatron.evaluation));
  return out;
}

}  // namespace shardscout::cli
