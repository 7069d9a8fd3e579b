#include "src/frameworks/dynamo.h"

#include <array>
#include <set>

#include "src/frameworks/kubernetes.h"

namespace shardscout::frameworks {
namespace {

std::string Name(const DynamoArguments& a, const ModelSpec&) { return LabelComplaint(a.name); }

std::string Backend(const DynamoArguments& a, const ModelSpec&) {
  if (a.backend == "vllm" || a.backend == "sglang" || a.backend == "trtllm") return "";
  return "unknown backendFramework \"" + a.backend + "\"";
}

std::string Counts(const DynamoArguments& a, const ModelSpec&) {
  for (const DynamoWorker& worker : a.workers) {
    if (worker.replicas < 0) return "replicas must not be negative";
    if (worker.node_count < 1 || worker.gpus < 1) return "nodeCount and limits.gpu must be at least 1";
  }
  return "";
}

std::string Roles(const DynamoArguments& a, const ModelSpec&) {
  std::multiset<std::string> roles;
  for (const DynamoWorker& worker : a.workers) roles.insert(worker.role);
  if (roles == std::multiset<std::string>{""} || roles == std::multiset<std::string>{"decode", "prefill"}) return "";
  return "expected one worker, or one whose subComponentType is prefill and one whose is decode";
}

std::string Devices(const DynamoArguments& a, const ModelSpec&) {
  for (const DynamoWorker& worker : a.workers) {
    if (worker.node_count * worker.gpus == worker.ranks * worker.rank_devices) continue;
    return std::to_string(worker.node_count) + " nodes of " + std::to_string(worker.gpus) + " devices, for " +
           std::to_string(worker.ranks) + " ranks of " + std::to_string(worker.rank_devices);
  }
  return "";
}

std::string RanksOnANode(const DynamoArguments& a, const ModelSpec&) {
  for (const DynamoWorker& worker : a.workers) {
    if (worker.ranks == 1 || worker.node_count == 1) continue;
    if (worker.rank_devices > worker.gpus) {
      return "a data parallel rank of " + std::to_string(worker.rank_devices) + " devices spans nodes";
    }
    if (worker.gpus % worker.rank_devices != 0) {
      return std::to_string(worker.gpus) + " devices of a node hold no whole number of ranks of " +
             std::to_string(worker.rank_devices);
    }
  }
  return "";
}

constexpr const char* kTypes = "deploy/operator/api/v1alpha1/dynamocomponentdeployment_types.go";
constexpr const char* kVllm = "deploy/operator/internal/dynamo/backend_vllm.go";

constexpr std::array<DynamoRule, 6> kRules = {
    {{"dynamo.name", "a DNS label", "deploy/operator/api/v1alpha1/dynamographdeployment_types.go", Name},
     {"dynamo.backend", "backendFramework one of vllm, sglang, trtllm", kTypes, Backend},
     {"dynamo.counts", "replicas >= 0, nodeCount >= 1, limits.gpu >= 1", kTypes, Counts},
     {"dynamo.roles", "one worker, or a prefill and a decode worker", "examples/backends/vllm/deploy/disagg.yaml",
      Roles},
     {"dynamo.devices", "nodeCount * limits.gpu == the instance's devices", kTypes, Devices},
     {"dynamo.ranks_on_a_node", "over nodes, data-parallel-size-local = limits.gpu / (tp * pp) is whole", kVllm,
      RanksOnANode}}};

}  // namespace

std::span<const DynamoRule> DynamoRules() { return kRules; }

}  // namespace shardscout::frameworks
