#include "src/export/dynamo.h"

#include <sstream>
#include <string>
#include <vector>

#include "src/export/engine_pods.h"
#include "src/export/lowering.h"
#include "src/frameworks/dynamo.h"
#include "src/frameworks/hub_names.h"

namespace shardscout::exporters {

using frameworks::DynamoArguments;
using frameworks::DynamoWorker;

namespace {

/// spec.backendFramework, and dynamo.NAME of the worker's module.
std::string BackendOf(Framework engine) {
  return engine == Framework::kTensorRtLlm ? "trtllm" : std::string(ToString(engine));
}

std::string ImageOf(const std::string& backend) {
  return "nvcr.io/nvidia/ai-dynamo/" + (backend == "trtllm" ? "tensorrtllm" : backend) + "-runtime:1.3.1";
}

DynamoWorker WorkerOf(const EnginePods& pods) {
  return {.role = pods.role,
          .replicas = pods.replicas,
          .node_count = pods.size,
          .gpus = pods.gpus_per_pod,
          .ranks = pods.ranks,
          .rank_devices = pods.rank_devices};
}

std::string ServiceName(const EnginePods& pods) { return pods.role.empty() ? "worker" : pods.role; }

/// Where a worker of TensorRT-LLM finds its settings.
constexpr const char* kMount = "/etc/shardscout";

std::vector<std::string> ArgumentsOf(Framework engine, const Plan& plan, const EnginePods& pods) {
  std::vector<std::string> words = Words(pods.settings);
  const auto add = [&](std::initializer_list<std::string> more) { words.insert(words.end(), more); };
  const std::string model = frameworks::HubName(plan.model_name);
  if (engine == Framework::kSglang) add({"--served-model-name", model});
  if (engine == Framework::kTensorRtLlm) {
    add({"--model-path", model, "--served-model-name", model, "--extra-engine-args",
         std::string(kMount) + "/" + ServiceName(pods) + ".yaml"});
  }
  if (pods.role.empty()) return words;
  add({"--disaggregation-mode", pods.role});
  if (engine == Framework::kVllm) add({"--kv-transfer-config", kVllmTransfer});
  if (engine == Framework::kSglang) {
    add({"--disaggregation-transfer-backend", "nixl", "--disaggregation-bootstrap-port", "30001", "--host", "0.0.0.0"});
  }
  return words;
}

void WriteWorker(std::ostream& out, Framework engine, const Plan& plan, const DynamoArguments& a,
                 const EnginePods& pods) {
  out << "    " << ServiceName(pods) << ":\n      componentType: worker\n";
  if (!pods.role.empty()) out << "      subComponentType: " << pods.role << "\n";
  out << "      replicas: " << pods.replicas << "\n";
  if (pods.size > 1) out << "      multinode: {nodeCount: " << pods.size << "}\n";
  out << "      resources: {limits: {gpu: \"" << pods.gpus_per_pod << "\"}}\n      envFromSecret: hf-token-secret\n"
      << "      extraPodSpec:\n";
  if (engine == Framework::kTensorRtLlm) {
    out << "        volumes: [{name: engine, configMap: {name: " << a.name << "-engine}}]\n";
  }
  out << "        mainContainer:\n          image: " << ImageOf(a.backend)
      << "\n          command: [python3, -m, dynamo." << a.backend
      << "]\n          args: " << QuotedList(ArgumentsOf(engine, plan, pods)) << "\n";
  if (engine == Framework::kTensorRtLlm) {
    out << "          volumeMounts: [{name: engine, mountPath: " << kMount << ", readOnly: true}]\n";
  }
  if (pods.environment.empty()) return;
  out << "          env:\n";
  for (const auto& [name, value] : pods.environment) {
    out << "            - {name: " << name << ", value: \"" << value << "\"}\n";
  }
}

/// TensorRT-LLM's own file with what two pools need beside it, as a ConfigMap's entry.
void WriteEngineFile(std::ostream& out, const EnginePods& pods) {
  out << "  " << ServiceName(pods) << ".yaml: |\n";
  std::istringstream lines(pods.engine.files.front().text);
  for (std::string line; std::getline(lines, line);) out << "    " << line << "\n";
  if (pods.role.empty()) return;
  out << "    cache_transceiver_config: {backend: DEFAULT}\n";
  // A worker that only prefills has no next step to overlap with.
  if (pods.role == "prefill") out << "    disable_overlap_scheduler: true\n";
}

std::string WriteDeployment(Framework engine, const Plan& plan, const DynamoArguments& a,
                            const std::vector<EnginePods>& all) {
  std::ostringstream out;
  for (const EnginePods& pods : all) {
    if (!pods.role.empty()) out << "# The pool for " << pods.role << ".\n";
    out << pods.comment;
  }
  if (engine == Framework::kTensorRtLlm) {
    out << "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " << a.name << "-engine}\ndata:\n";
    for (const EnginePods& pods : all) WriteEngineFile(out, pods);
    out << "---\n";
  }
  out << "apiVersion: nvidia.com/v1alpha1\nkind: DynamoGraphDeployment\nmetadata: {name: " << a.name
      << "}\nspec:\n  backendFramework: " << a.backend
      << "\n  services:\n    Frontend:\n      componentType: frontend\n      replicas: 1\n      extraPodSpec: "
      << "{mainContainer: {image: " << ImageOf(a.backend) << "}}\n";
  for (const EnginePods& pods : all) WriteWorker(out, engine, plan, a, pods);
  return out.str();
}

}  // namespace

DynamoExporter::DynamoExporter(Framework engine)
    : engine_(engine), name_("dynamo-" + BackendOf(engine) + "@" + frameworks::kDynamoVersion) {}

ExportResult DynamoExporter::Export(const Plan& plan, const Reevaluate& reevaluate) const {
  const std::string flag = "--to dynamo-" + BackendOf(engine_);
  const std::vector<EnginePods> all = PodsOf(engine_, plan, reevaluate, flag);
  DynamoArguments a;
  a.name = ObjectName(engine_, plan);
  a.backend = BackendOf(engine_);
  a.workers.clear();
  for (const EnginePods& pods : all) a.workers.push_back(WorkerOf(pods));
  const Problem problem = ParseProblem(plan.problem_json, flag);
  ThrowIfBroken(flag, "Dynamo", CheckRules(frameworks::DynamoRules(), a, problem.model()));

  ExportResult result = ResultOf(Name(), plan, all);
  result.command = "kubectl apply -f dynamo.yaml";
  result.files = {{"dynamo.yaml", WriteDeployment(engine_, plan, a, all)}};
  result.notes = {
      "the cluster has Dynamo's operator, and a secret hf-token-secret with HF_TOKEN; weights are fetched by each pod "
      "unless a volume holds them",
      "the image's engine is Dynamo's own build of it, which may not be " + TargetName(engine_)};
  return result;
}

}  // namespace shardscout::exporters
