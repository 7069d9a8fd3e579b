#pragma once

// What a LeaderWorkerSet takes and refuses. Transcribed from LeaderWorkerSet v0.10 (commit 060ab4d):
// config/crd/bases/leaderworkerset.x-k8s.io_leaderworkersets.yaml and pkg/webhooks/leaderworkerset_webhook.go; each
// rule has an id and a test that breaks it.

#include <cstdint>
#include <span>
#include <string>

#include "src/frameworks/rule.h"

namespace shardscout::frameworks {

inline constexpr const char* kLeaderWorkerSetVersion = "0.10";

/// A group of pods is one instance of the model: a leader and its workers, a node each.
struct LeaderWorkerSetArguments {
  std::string name = "plan";
  std::int64_t replicas = 1;
  std::int64_t size = 1;          ///< Pods of a group.
  std::int64_t gpus_per_pod = 1;  ///< Limit nvidia.com/gpu of each.
  std::int64_t instance_devices = 1;
  std::string restart_policy = "RecreateGroupOnPodRestart";
  std::string startup_policy = "LeaderCreated";
  bool operator==(const LeaderWorkerSetArguments&) const = default;
};

using LeaderWorkerSetRule = Rule<LeaderWorkerSetArguments>;
std::span<const LeaderWorkerSetRule> LeaderWorkerSetRules();

}  // namespace shardscout::frameworks
