#include "src/export/leader_worker_set.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <sstream>
#include <string>

#include "shardscout/error.h"
#include "src/export/lowering.h"
#include "src/export/vllm.h"
#include "src/frameworks/leader_worker_set.h"

namespace shardscout::exporters {

using frameworks::LeaderWorkerSetArguments;

namespace {

/// The settings of a file for `vllm serve --config`, one "name: value" a line.
using Settings = std::map<std::string, std::string>;

Settings SettingsOf(const std::string& yaml) {
  Settings settings;
  std::istringstream lines(yaml);
  for (std::string line; std::getline(lines, line);) {
    const std::size_t colon = line.find(": ");
    if (!line.starts_with('#') && colon != std::string::npos) settings[line.substr(0, colon)] = line.substr(colon + 2);
  }
  return settings;
}

std::int64_t SizeOf(const Settings& settings, const char* name) {
  const auto found = settings.find(name);
  return found == settings.end() ? 1 : std::stoll(found->second);
}

/// What leader and workers add to the command.
struct Launch {
  std::string leader, worker;
};

Launch LaunchOf(const Settings& settings, const LeaderWorkerSetArguments& a) {
  if (a.size == 1) return {};
  if (settings.contains("data-parallel-backend")) {
    throw SpecError("--to lws", "a data parallel rank of this plan spans nodes, which vLLM runs by Ray alone");
  }
  const std::string size = std::to_string(a.size);
  if (SizeOf(settings, "data-parallel-size") == 1) {
    const std::string common = " --nnodes " + size + " --master-addr $LWS_LEADER_ADDRESS";
    return {common + " --node-rank 0", common + " --node-rank $LWS_WORKER_INDEX --headless"};
  }
  const std::string local = settings.at("data-parallel-size-local");
  const std::string address = " --data-parallel-address $LWS_LEADER_ADDRESS";
  return {address, address + " --headless --data-parallel-start-rank $((LWS_WORKER_INDEX * " + local + "))"};
}

/// "llama-3-1-8b" of "Llama_3.1-8B".
std::string LabelOf(const std::string& name) {
  std::string label = "vllm-";
  for (const char c : name) {
    const auto u = static_cast<unsigned char>(c);
    label += std::isalnum(u) != 0 ? static_cast<char>(std::tolower(u)) : '-';
  }
  constexpr std::size_t kLongest = 40;
  label.resize(std::min(label.size(), kLongest));
  while (label.back() == '-') label.pop_back();
  return label;
}

void WriteTemplate(std::ostream& out, const char* role, const std::string& command, std::int64_t gpus) {
  out << "    " << role << "Template:\n      spec:\n        containers:\n          - name: " << role
      << "\n            image: vllm/vllm-openai:v0.24.0\n            command: [sh, -c, \"" << command
      << "\"]\n            resources: {limits: {nvidia.com/gpu: \"" << gpus << "\"}}\n";
}

std::string WriteSet(const std::string& head, const LeaderWorkerSetArguments& a, const std::string& command,
                     const Launch& launch) {
  std::ostringstream out;
  out << head << "apiVersion: leaderworkerset.x-k8s.io/v1\nkind: LeaderWorkerSet\nmetadata: {name: " << a.name
      << "}\nspec:\n  replicas: " << a.replicas << "\n  startupPolicy: " << a.startup_policy
      << "\n  leaderWorkerTemplate:\n    size: " << a.size << "\n    restartPolicy: " << a.restart_policy << "\n";
  WriteTemplate(out, "leader", command + launch.leader, a.gpus_per_pod);
  WriteTemplate(out, "worker", command + launch.worker, a.gpus_per_pod);
  return out.str();
}

/// "vllm serve MODEL --tensor-parallel-size 8 ...".
std::string CommandOf(const ExportResult& engine, const Settings& settings) {
  // What stands before the program: variables of its environment.
  std::string command =
      engine.command.substr(0, engine.command.find("vllm serve")) + "vllm serve " + settings.at("model");
  for (const auto& [name, value] : settings) {
    if (name != "model") command += " --" + name + (value == "true" ? "" : " " + value);
  }
  return command;
}

}  // namespace

ExportResult LeaderWorkerSetExporter::Export(const Plan& plan, const Reevaluate& reevaluate) const {
  const Problem problem = UnpinnedProblem(plan, Framework::kVllm, "--to lws");
  ExportResult result = VllmExporter().Export(plan, reevaluate);
  const Settings settings = SettingsOf(result.files.front().text);
  LeaderWorkerSetArguments a;
  a.name = LabelOf(plan.model_name);
  a.replicas = problem.Replicas(result.lowered);
  const std::int64_t per_node = problem.cluster().devices_per_node;
  a.instance_devices = SizeOf(settings, "tensor-parallel-size") * SizeOf(settings, "pipeline-parallel-size") *
                       SizeOf(settings, "prefill-context-parallel-size") * SizeOf(settings, "data-parallel-size");
  a.gpus_per_pod = std::min(per_node, a.instance_devices);
  a.size = (a.instance_devices + a.gpus_per_pod - 1) / a.gpus_per_pod;
  ThrowIfBroken("--to lws", "LeaderWorkerSet", CheckRules(frameworks::LeaderWorkerSetRules(), a, problem.model()));

  const std::string head = Preamble(Framework::kVllm, plan, problem, result.lowered);
  const std::string text = WriteSet(head, a, CommandOf(result, settings), LaunchOf(settings, a));
  result.target = std::string(Name());
  result.command = "kubectl apply -f lws.yaml";
  result.files = {{"lws.yaml", text}};
  result.notes = {
      "the cluster has the LeaderWorkerSet controller; weights are fetched by each pod unless a volume holds "
      "them"};
  return result;
}

}  // namespace shardscout::exporters
