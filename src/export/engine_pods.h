#pragma once

// A serving engine's instances as pods of Kubernetes: what exporters to its controllers (LeaderWorkerSet, Dynamo,
// KServe) share. The engine's own exporter says what is run; here it is laid over pods, a node each.

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "shardscout/exporter.h"

namespace shardscout::exporters {

/// Settings of an engine by the names of its flags.
using EngineSettings = std::map<std::string, std::string>;

/// Equal instances of one engine.
struct EnginePods {
  std::string role;         ///< "prefill" or "decode" of a plan of two pools, else "".
  ExportResult engine;      ///< What the engine's exporter wrote.
  std::string comment;      ///< Lines on where it comes from.
  EngineSettings settings;  ///< Of its file, without those that say how it lies on nodes (TensorRT-LLM: none).
  std::vector<std::pair<std::string, std::string>> environment;  ///< Variables that are set before it.
  std::int64_t replicas = 1;
  std::int64_t ranks = 1;  ///< vLLM's data parallel ranks; other engines count them into rank_devices.
  std::int64_t rank_devices = 1;
  std::int64_t ranks_per_pod = 1;  ///< Where a rank fits a pod.
  std::int64_t size = 1;           ///< Pods of an instance.
  std::int64_t gpus_per_pod = 1;

  std::int64_t Devices() const { return ranks * rank_devices; }
  /// A setting's number, 1 where it is not there.
  std::int64_t SizeOf(const std::string& name) const;
};

/// The plan's pools (one, or prefill and decode) as `framework` (vLLM, SGLang or TensorRT-LLM) runs them; `reevaluate`
/// is of the plan's own problem, and pools of two are weighed each by itself. SpecError at `flag` where the framework
/// runs nothing like it, and where a data parallel rank of vLLM spans nodes, which takes Ray.
std::vector<EnginePods> PodsOf(Framework framework, const Plan& plan, const Reevaluate& reevaluate,
                               std::string_view flag);

/// The result of all pools but for its files and command: what was dropped ("decode: ..."), what is left of it.
ExportResult ResultOf(std::string_view target, const Plan& plan, const std::vector<EnginePods>& pods);

/// "vllm-deepseek-v3": what the object is called.
std::string ObjectName(Framework framework, const Plan& plan);

/// The settings as words of a command, "--name" and value; switches have no value.
std::vector<std::string> Words(const EngineSettings& settings);

/// A list in YAML, each word quoted.
std::string QuotedList(const std::vector<std::string>& words);

/// How vLLM is told to send a request's cache from the one pool to the other.
inline constexpr const char* kVllmTransfer = R"({"kv_connector":"NixlConnector","kv_role":"kv_both"})";

}  // namespace shardscout::exporters
