#pragma once

#include <string>

#include "shardscout/exporter.h"

namespace shardscout::exporters {

/// dynamo-vllm, dynamo-sglang and dynamo-trtllm @1.3: a DynamoGraphDeployment for NVIDIA Dynamo's operator, a frontend
/// and one kind of worker; of a plan of two pools, one for prefill and one for decode that hands caches over by NIXL.
/// What of a plan is run is what the engine runs (its own exporter). The operator tells the engine where its nodes are
/// and starts as many data parallel ranks on each as fit; TensorRT-LLM's settings are a ConfigMap in the same file.
/// Instances that do not fill their nodes evenly are refused, and data parallel ranks of vLLM that span nodes.
class DynamoExporter final : public Exporter {
 public:
  explicit DynamoExporter(Framework engine);
  std::string_view Name() const override { return name_; }
  ExportResult Export(const Plan& plan, const Reevaluate& reevaluate) const override;

 private:
  Framework engine_;
  std::string name_;
};

}  // namespace shardscout::exporters
