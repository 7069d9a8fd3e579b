#pragma once

// What KServe's LLMInferenceService (serving.kserve.io/v1alpha2) takes and refuses. Transcribed from KServe, commit
// aaac4e2: pkg/apis/serving/v1alpha2/llm_inference_service_validation.go and llm_inference_service_types_func.go, and
// from the commands that its controller fills in (config/llmisvcconfig); each rule has an id and a test that breaks it.
//
// KServe starts vLLM: on one pod with --tensor-parallel-size; with `data`, data / dataLocal pods of dataLocal ranks
// each; with `pipeline`, a pod a stage (--nnodes). What else vLLM is to be told is in VLLM_ADDITIONAL_ARGS.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "src/frameworks/rule.h"

namespace shardscout::frameworks {

inline constexpr const char* kKserveVersion = "v1alpha2";

/// spec, or spec.prefill.
struct KserveWorkload {
  std::int64_t replicas = 1;
  std::optional<std::int64_t> tensor = {}, pipeline = {}, data = {}, data_local = {};  ///< As in parallelism.
  bool expert = false;
  bool has_worker = false;
  std::int64_t gpus_per_pod = 1;
  std::int64_t instance_devices = 1;
  bool operator==(const KserveWorkload&) const = default;

  /// Pods of an instance.
  std::int64_t Size() const;
};

struct KserveArguments {
  std::string name = "plan";
  std::vector<KserveWorkload> workloads = {KserveWorkload{}};  ///< spec, then spec.prefill where there is one.
  bool operator==(const KserveArguments&) const = default;
};

using KserveRule = Rule<KserveArguments>;
std::span<const KserveRule> KserveRules();

}  // namespace shardscout::frameworks
