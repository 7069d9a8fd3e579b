#include "src/frameworks/kserve.h"

#include <algorithm>
#include <array>

#include "src/frameworks/kubernetes.h"

namespace shardscout::frameworks {
namespace {

std::string Name(const KserveArguments& a, const ModelSpec&) { return LabelComplaint(a.name); }

/// What the check says of the first workload that it finds at fault.
template <class Check>
std::string OfEach(const KserveArguments& a, const Check& check) {
  for (const KserveWorkload& workload : a.workloads) {
    if (std::string fault = check(workload); !fault.empty()) return fault;
  }
  return "";
}

std::string PipelineOrData(const KserveArguments& a, const ModelSpec&) {
  return OfEach(a, [](const KserveWorkload& w) -> std::string {
    if (!w.pipeline || (!w.data && !w.data_local)) return "";
    return "cannot set both pipeline parallelism and data parallelism";
  });
}

std::string DataWithLocal(const KserveArguments& a, const ModelSpec&) {
  return OfEach(a, [](const KserveWorkload& w) -> std::string {
    return w.data.has_value() == w.data_local.has_value() ? "" : "data and dataLocal must be set together";
  });
}

std::string Positive(const KserveArguments& a, const ModelSpec&) {
  return OfEach(a, [](const KserveWorkload& w) -> std::string {
    for (const auto& size : {w.tensor, w.pipeline, w.data, w.data_local}) {
      if (size.value_or(1) < 1) return "parallelism must be greater than 0";
    }
    return w.replicas < 0 ? "replicas must not be negative" : "";
  });
}

std::string Worker(const KserveArguments& a, const ModelSpec&) {
  return OfEach(a, [](const KserveWorkload& w) -> std::string {
    if (!w.has_worker || w.pipeline || w.data) return "";
    return "when worker is specified, parallelism must be configured for either data or pipeline parallelism";
  });
}

std::string Devices(const KserveArguments& a, const ModelSpec&) {
  return OfEach(a, [](const KserveWorkload& w) -> std::string {
    const bool whole = w.data.value_or(1) % std::max<std::int64_t>(1, w.data_local.value_or(1)) == 0;
    if (whole && w.Size() * w.gpus_per_pod == w.instance_devices) return "";
    return std::to_string(w.Size()) + " pods of " + std::to_string(w.gpus_per_pod) + " devices, for an instance of " +
           std::to_string(w.instance_devices);
  });
}

constexpr const char* kValidation = "pkg/apis/serving/v1alpha2/llm_inference_service_validation.go";

constexpr std::array<KserveRule, 6> kRules = {
    {{"kserve.name", "a DNS label", "pkg/apis/serving/v1alpha2/llm_inference_service_types.go", Name},
     {"kserve.pipeline_or_data", "pipeline or data, not both", kValidation, PipelineOrData},
     {"kserve.data_with_local", "data and dataLocal together", kValidation, DataWithLocal},
     {"kserve.positive", "sizes > 0, replicas >= 0", kValidation, Positive},
     {"kserve.worker", "a worker with data or pipeline alone", kValidation, Worker},
     {"kserve.devices", "pods (data / dataLocal, or pipeline) * GPUs of a pod == the instance's devices",
      "pkg/apis/serving/v1alpha2/llm_inference_service_types_func.go", Devices}}};

}  // namespace

std::int64_t KserveWorkload::Size() const {
  if (data) return std::max<std::int64_t>(1, *data / std::max<std::int64_t>(1, data_local.value_or(1)));
  return pipeline.value_or(1);
}

std::span<const KserveRule> KserveRules() { return kRules; }

}  // namespace shardscout::frameworks
