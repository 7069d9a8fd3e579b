#include "src/export/kserve.h"

#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "shardscout/error.h"
#include "src/export/engine_pods.h"
#include "src/export/lowering.h"
#include "src/frameworks/hub_names.h"
#include "src/frameworks/kserve.h"

namespace shardscout::exporters {

using frameworks::KserveArguments;
using frameworks::KserveWorkload;

namespace {

constexpr const char* kFlag = "--to kserve";

KserveWorkload WorkloadOf(const EnginePods& pods) {
  KserveWorkload w;
  w.replicas = pods.replicas;
  w.tensor = pods.SizeOf("tensor-parallel-size");
  w.expert = pods.settings.contains("enable-expert-parallel");
  w.gpus_per_pod = pods.gpus_per_pod;
  w.instance_devices = pods.Devices();
  if (pods.ranks > 1) {
    w.data = pods.ranks;
    w.data_local = pods.ranks_per_pod;
  } else if (pods.size > 1) {
    const std::int64_t stages = pods.SizeOf("pipeline-parallel-size");
    if (pods.rank_devices / stages > pods.gpus_per_pod) {
      throw SpecError(kFlag, "a pipeline stage of this plan spans nodes, and KServe makes one pod of it");
    }
    w.pipeline = stages;
    w.gpus_per_pod = pods.rank_devices / stages;
  }
  w.has_worker = w.data || w.pipeline;
  return w;
}

/// What KServe's own command does not say.
std::string AdditionalArguments(const EnginePods& pods, const KserveWorkload& w) {
  EngineSettings rest = pods.settings;
  for (const char* said : {"model", "tensor-parallel-size", "data-parallel-size"}) rest.erase(said);
  if (w.pipeline || pods.SizeOf("pipeline-parallel-size") == 1) rest.erase("pipeline-parallel-size");
  if (w.data) rest.erase("enable-expert-parallel");
  std::string text;
  for (const std::string& word : Words(rest)) text += (text.empty() ? "" : " ") + word;
  if (!pods.role.empty()) text += " --kv-transfer-config '" + std::string(kVllmTransfer) + "'";
  return text;
}

/// `spec` or `spec.prefill`, each line after `indent`.
void WriteWorkload(std::ostream& out, const std::string& indent, const EnginePods& pods, const KserveWorkload& w) {
  out << indent << "replicas: " << w.replicas << "\n" << indent << "parallelism: {tensor: " << *w.tensor;
  if (w.data) out << ", data: " << *w.data << ", dataLocal: " << *w.data_local;
  if (w.pipeline) out << ", pipeline: " << *w.pipeline;
  if (w.expert) out << ", expert: true";
  out << "}\n";
  for (const char* const part : {"template", "worker"}) {
    if (part == std::string("worker") && !w.has_worker) continue;
    out << indent << part << ":\n" << indent << "  containers:\n" << indent << "    - name: main\n";
    out << indent << "      env:\n";
    const auto variable = [&](const std::string& name, const std::string& value) {
      out << indent << "        - {name: " << name << ", value: " << nlohmann::json(value).dump() << "}\n";
    };
    variable("VLLM_ADDITIONAL_ARGS", AdditionalArguments(pods, w));
    for (const auto& [name, value] : pods.environment) variable(name, value);
    if (!pods.role.empty()) {
      out << indent
          << "        - {name: VLLM_NIXL_SIDE_CHANNEL_HOST, valueFrom: {fieldRef: {fieldPath: status.podIP}}}\n";
    }
    out << indent << "      resources: {limits: {nvidia.com/gpu: \"" << w.gpus_per_pod << "\"}}\n";
  }
}

std::string WriteService(const Plan& plan, const KserveArguments& a, const std::vector<EnginePods>& all) {
  std::ostringstream out;
  for (const EnginePods& pods : all) {
    if (!pods.role.empty()) out << "# The pool for " << pods.role << ".\n";
    out << pods.comment;
  }
  const std::string model = frameworks::HubName(plan.model_name);
  out << "apiVersion: serving.kserve.io/" << frameworks::kKserveVersion
      << "\nkind: LLMInferenceService\nmetadata: {name: " << a.name << "}\nspec:\n  model: {uri: hf://" << model
      << ", name: " << model << "}\n  router: {route: {}, gateway: {}, scheduler: {}}\n";
  WriteWorkload(out, "  ", all.back(), a.workloads.front());
  if (all.size() == 1) return out.str();
  out << "  prefill:\n";
  WriteWorkload(out, "    ", all.front(), a.workloads.back());
  return out.str();
}

}  // namespace

ExportResult KserveExporter::Export(const Plan& plan, const Reevaluate& reevaluate) const {
  const std::vector<EnginePods> all = PodsOf(Framework::kVllm, plan, reevaluate, kFlag);
  KserveArguments a;
  a.name = ObjectName(Framework::kVllm, plan);
  a.workloads = {WorkloadOf(all.back())};
  if (all.size() > 1) a.workloads.push_back(WorkloadOf(all.front()));
  const Problem problem = ParseProblem(plan.problem_json, kFlag);
  ThrowIfBroken(kFlag, "KServe", CheckRules(frameworks::KserveRules(), a, problem.model()));

  ExportResult result = ResultOf(Name(), plan, all);
  result.command = "kubectl apply -f kserve.yaml";
  result.files = {{"kserve.yaml", WriteService(plan, a, all)}};
  result.notes = {
      "the cluster has KServe with its LLMInferenceService controller and configurations, whose image may have another "
      "vLLM than " +
      TargetName(Framework::kVllm)};
  for (const KserveWorkload& w : a.workloads) {
    if (!w.pipeline) continue;
    result.priced.push_back("a pod a pipeline stage: priced with " +
                            std::to_string(problem.cluster().devices_per_node / w.gpus_per_pod) +
                            " stages of an instance on a node, which is the scheduler's choice");
    break;
  }
  return result;
}

}  // namespace shardscout::exporters
