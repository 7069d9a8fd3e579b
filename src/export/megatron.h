#pragma once

#include "shardscout/exporter.h"
#include "shardscout/problem.h"
#include "src/frameworks/megatron.h"

namespace shardscout::exporters {

/// What Megatron-LM is started with to run `strategy`, a member of its space.
frameworks::MegatronArguments MegatronArgumentsOf(const Problem& problem, const Strategy& strategy);

/// megatron@0.20: a file of arguments, one a line, for `torchrun ... $(cat megatron.args)`: the parallelism, the layout
/// of uneven pipelines and the model's structure.
class MegatronExporter final : public Exporter {
 public:
  std::string_view Name() const override { return "megatron@0.20"; }
  ExportResult Export(const Plan& plan, const Reevaluate& reevaluate) const override;
};

}  // namespace shardscout::exporters
