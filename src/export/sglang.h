#pragma once

#include <optional>

#include "shardscout/evaluation.h"
#include "shardscout/exporter.h"
#include "shardscout/problem.h"
#include "src/frameworks/sglang.h"

namespace shardscout::exporters {

/// What SGLang is started with to run `strategy`, a member of its space. `evaluation`, where there is one, gives the
/// part of the memory that weights and KV cache may take (SGLang's mem-fraction-static leaves out activations).
frameworks::SglangArguments SglangArgumentsOf(const Problem& problem, const Strategy& strategy,
                                              const std::optional<Evaluation>& evaluation);

/// sglang@001067ff: a file for `python -m sglang.launch_server --config` and the command.
class SglangExporter final : public Exporter {
 public:
  std::string_view Name() const override { return "sglang@001067ff"; }
  ExportResult Export(const Plan& plan, const Reevaluate& reevaluate) const override;
};

}  // namespace shardscout::exporters
