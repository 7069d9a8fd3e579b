#pragma once

#include <optional>

#include "shardscout/evaluation.h"
#include "shardscout/exporter.h"
#include "shardscout/problem.h"
#include "src/frameworks/tensorrt_llm.h"

namespace shardscout::exporters {

/// What TensorRT-LLM is started with to run `strategy`, a member of its space. `evaluation`, where there is one, gives
/// the part of the memory beside the weights that the KV cache may take.
frameworks::TensorRtLlmArguments TensorRtLlmArgumentsOf(const Problem& problem, const Strategy& strategy,
                                                        const std::optional<Evaluation>& evaluation);

/// tensorrt-llm@00043967: LlmArgs as YAML for `trtllm-serve MODEL --config` and the command.
class TensorRtLlmExporter final : public Exporter {
 public:
  std::string_view Name() const override { return "tensorrt-llm@00043967"; }
  ExportResult Export(const Plan& plan, const Reevaluate& reevaluate) const override;
};

}  // namespace shardscout::exporters
