#include "src/export/leader_worker_set.h"

#include <sstream>
#include <string>

#include "src/export/engine_pods.h"
#include "src/export/lowering.h"
#include "src/frameworks/leader_worker_set.h"

namespace shardscout::exporters {

using frameworks::LeaderWorkerSetArguments;

namespace {

/// What leader and workers add to the command.
struct Launch {
  std::string leader, worker;
};

Launch LaunchOf(const EnginePods& pods) {
  if (pods.size == 1) return {};
  if (pods.ranks == 1) {
    const std::string common = " --nnodes " + std::to_string(pods.size) + " --master-addr $LWS_LEADER_ADDRESS";
    return {common + " --node-rank 0", common + " --node-rank $LWS_WORKER_INDEX --headless"};
  }
  const std::string local = std::to_string(pods.ranks_per_pod);
  const std::string common = " --data-parallel-size-local " + local +
                             " --data-parallel-rpc-port 13345 --data-parallel-address $LWS_LEADER_ADDRESS";
  return {common, common + " --headless --data-parallel-start-rank $((LWS_WORKER_INDEX * " + local + "))"};
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
std::string CommandOf(const EnginePods& pods) {
  std::string command;
  for (const auto& [name, value] : pods.environment) command += name + "=" + value + " ";
  command += "vllm serve " + pods.settings.at("model");
  EngineSettings flags = pods.settings;
  flags.erase("model");
  for (const std::string& word : Words(flags)) command += " " + word;
  return command;
}

}  // namespace

ExportResult LeaderWorkerSetExporter::Export(const Plan& plan, const Reevaluate& reevaluate) const {
  const Problem problem = UnpinnedProblem(plan, Framework::kVllm, "--to lws");
  const std::vector<EnginePods> all = PodsOf(Framework::kVllm, plan, reevaluate, "--to lws");
  const EnginePods& pods = all.front();
  LeaderWorkerSetArguments a;
  a.name = ObjectName(Framework::kVllm, plan);
  a.replicas = pods.replicas;
  a.size = pods.size;
  a.gpus_per_pod = pods.gpus_per_pod;
  a.instance_devices = pods.Devices();
  ThrowIfBroken("--to lws", "LeaderWorkerSet", CheckRules(frameworks::LeaderWorkerSetRules(), a, problem.model()));

  ExportResult result = ResultOf(Name(), plan, all);
  result.command = "kubectl apply -f lws.yaml";
  result.files = {{"lws.yaml", WriteSet(pods.comment, a, CommandOf(pods), LaunchOf(pods))}};
  result.notes = {
      "the cluster has the LeaderWorkerSet controller; weights are fetched by each pod unless a volume holds "
      "them"};
  return result;
}

}  // namespace shardscout::exporters
