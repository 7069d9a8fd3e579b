#include "src/frameworks/leader_worker_set.h"

#include <array>

#include "src/frameworks/kubernetes.h"

namespace shardscout::frameworks {
namespace {

std::string Name(const LeaderWorkerSetArguments& a, const ModelSpec&) { return LabelComplaint(a.name); }

std::string Counts(const LeaderWorkerSetArguments& a, const ModelSpec&) {
  if (a.replicas < 0) return "replicas must not be negative";
  return a.size >= 1 ? "" : "leaderWorkerTemplate.size must be at least 1";
}

std::string DevicesMatch(const LeaderWorkerSetArguments& a, const ModelSpec&) {
  if (a.size * a.gpus_per_pod == a.instance_devices) return "";
  return std::to_string(a.size) + " pods of " + std::to_string(a.gpus_per_pod) + " devices, for an instance of " +
         std::to_string(a.instance_devices);
}

std::string Policies(const LeaderWorkerSetArguments& a, const ModelSpec&) {
  const auto& restart = a.restart_policy;
  if (restart != "RecreateGroupOnPodRestart" && restart != "RecreateGroupAfterStart" && restart != "None") {
    return "unknown restartPolicy \"" + restart + "\"";
  }
  if (a.startup_policy == "LeaderCreated" || a.startup_policy == "LeaderReady") return "";
  return "unknown startupPolicy \"" + a.startup_policy + "\"";
}

constexpr const char* kCrd = "config/crd/bases/leaderworkerset.x-k8s.io_leaderworkersets.yaml";

constexpr std::array<LeaderWorkerSetRule, 4> kRules = {{
    {"lws.name", "a DNS label", "pkg/webhooks/leaderworkerset_webhook.go", Name},
    {"lws.counts", "replicas >= 0, size >= 1", kCrd, Counts},
    {"lws.devices", "size * GPUs of a pod == the instance's devices", "docs/examples/vllm/GPU/lws.yaml", DevicesMatch},
    {"lws.policies", "known restartPolicy and startupPolicy", kCrd, Policies},
}};

}  // namespace

std::span<const LeaderWorkerSetRule> LeaderWorkerSetRules() { return kRules; }

}  // namespace shardscout::frameworks
