#include "src/export/aiconfigurator.h"

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>

#include "shardscout/error.h"
#include "src/export/lowering.h"
#include "src/frameworks/hub_names.h"

namespace shardscout::exporters {
namespace {

using nlohmann::ordered_json;

/// Its name for a cluster's devices; those that it has measured.
std::string SystemOf(const std::string& cluster) {
  static constexpr std::pair<std::string_view, std::string_view> kSystems[] = {
      {"h100", "h100_sxm"}, {"h200", "h200_sxm"}, {"gb200", "gb200_sxm"}, {"gb300", "gb300_sxm"},
      {"b200", "b200_sxm"}, {"b300", "b300_sxm"}, {"a100", "a100_sxm"},   {"l40s", "l40s"}};
  for (const auto& [begin, system] : kSystems) {
    if (cluster.starts_with(begin)) return std::string(system);
  }
  throw SpecError("--to aiconfigurator", "has no system for the cluster " + cluster +
                                             "; it has h100_sxm, h200_sxm, "
                                             "b200_sxm, b300_sxm, gb200_sxm, gb300_sxm, a100_sxm and l40s");
}

}  // namespace

ExportResult AiConfiguratorExporter::Export(const Plan& plan, const Reevaluate& reevaluate) const {
  const Problem problem = UnpinnedProblem(plan, Framework::kSglang, "--to aiconfigurator");
  const Lowered lowered = Lower(Framework::kSglang, problem, plan.pools.front().strategy, reevaluate);
  const Strategy& s = lowered.strategy;
  const WorkloadSpec& workload = problem.workload();
  const std::int64_t replicas = problem.Replicas(s);
  ordered_json request;
  request["schema_version"] = "aic-estimate-request/1.0.0";
  request["model"]["path"] = frameworks::HubName(plan.model_name);
  request["backend"]["name"] = "sglang";
  request["systems"]["prefill"] = SystemOf(plan.cluster_name);
  request["workload"] = {{"isl", workload.input_tokens},
                         {"osl", workload.output_tokens},
                         {"concurrency", s.batch_size * s.data_parallel_size * replicas}};
  request["topology"]["kind"] = "agg";
  request["topology"]["worker"] = {{"replicas", replicas},
                                   {"gpus_per_replica", s.InstanceSize()},
                                   {"batch_size", s.batch_size},
                                   {"tp_size", s.tensor_parallel_size},
                                   {"pp_size", s.pipeline_parallel_size},
                                   {"attention_dp_size", s.data_parallel_size},
                                   {"moe_tp_size", s.expert_tensor_parallel_size},
                                   {"moe_ep_size", s.expert_parallel_size}};
  request["provenance"]["source_type"] = "custom";

  ExportResult result = ResultOf(Framework::kSglang, problem, lowered);
  result.target = std::string(Name());
  result.notes.clear();
  result.files.push_back({"aic_estimate_request.json", request.dump(2) + "\n"});
  return result;
}

}  // namespace shardscout::exporters
