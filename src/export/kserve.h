#pragma once

#include "shardscout/exporter.h"

namespace shardscout::exporters {

/// kserve@v1alpha2: an LLMInferenceService of vLLM for KServe; of a plan of two pools, one with spec.prefill that hands
/// caches over by NIXL. What of a plan is run is what vLLM runs (vllm.h). Degrees are in spec.parallelism where KServe
/// makes pods of them: data parallel ranks, dataLocal of them a pod, or pipeline stages, a pod each; what lies inside a
/// pod is in VLLM_ADDITIONAL_ARGS, with every other setting. Refused: ranks that span pods, other than by stages.
class KserveExporter final : public Exporter {
 public:
  std::string_view Name() const override { return "kserve@v1alpha2"; }
  ExportResult Export(const Plan& plan, const Reevaluate& reevaluate) const override;
};

}  // namespace shardscout::exporters
