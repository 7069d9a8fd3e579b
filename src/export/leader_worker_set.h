#pragma once

#include "shardscout/exporter.h"

namespace shardscout::exporters {

/// lws@0.10: a LeaderWorkerSet of vLLM for Kubernetes, one group of pods an instance and a pod a node. What of a plan
/// is run is what vLLM runs (vllm.h), with its settings as flags. An instance over nodes is the ranks of one engine
/// (--nnodes) or whole data parallel ranks a node; one whose data parallel ranks each span nodes would need Ray, and is
/// refused.
class LeaderWorkerSetExporter final : public Exporter {
 public:
  std::string_view Name() const override { return "lws@0.10"; }
  ExportResult Export(const Plan& plan, const Reevaluate& reevaluate) const override;
};

}  // namespace shardscout::exporters
