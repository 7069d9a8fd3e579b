#pragma once

#include "shardscout/exporter.h"
#include "shardscout/problem.h"
#include "src/frameworks/maxtext.h"

namespace shardscout::exporters {

/// What MaxText trains with by `strategy`, a member of its space. tp is tensor_sequence (the residual stream by
/// positions), ep the expert axis, which MaxText counts apart from the data parallel ranks that it is part of; the rest
/// of dp is fsdp (ZeRO 3) or data (ZeRO 0; 1 with shard_optimizer_over_data). A slice is a node: axes fill it from the
/// innermost, tensor_sequence, expert, context, fsdp or data, and what is left of them lies between slices.
///
/// Worked example: tp 4, dp 16, ep 8, ZeRO 3 on nodes of 8: ici tensor_sequence 4 and expert 2, dcn expert 4 and
/// fsdp 2.
frameworks::MaxTextArguments MaxTextArgumentsOf(const Problem& problem, const Strategy& strategy);

/// maxtext@e591f30: a configuration over base.yml, with the mesh and the model's sizes. Training plans alone.
class MaxTextExporter final : public Exporter {
 public:
  std::string_view Name() const override { return "maxtext@e591f30"; }
  ExportResult Export(const Plan& plan, const Reevaluate& reevaluate) const override;
};

}  // namespace shardscout::exporters
