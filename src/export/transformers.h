#pragma once

#include "shardscout/exporter.h"
#include "shardscout/problem.h"
#include "src/frameworks/transformers.h"

namespace shardscout::exporters {

/// The tp_plan by which transformers runs `strategy`, a member of its space.
///
/// Attention that is whole after heads were projected by columns is colwise_gather_output; a row-parallel matrix whose
/// input is whole is rowwise_split_input. Experts cut over etp are packed_colwise and rowwise, experts dealt over ep
/// grouped_gemm behind an ep_router.
frameworks::TransformersArguments TransformersArgumentsOf(const Problem& problem, const Strategy& strategy);

/// transformers@5: tp_plan.json for from_pretrained(tp_plan=...), and a script that loads the model by it. Modules are
/// named as in Llama and what follows its names; of shared experts both names in use are given, of which transformers
/// reports the one that the model does not have.
class TransformersExporter final : public Exporter {
 public:
  std::string_view Name() const override { return "transformers@5"; }
  ExportResult Export(const Plan& plan, const Reevaluate& reevaluate) const override;
};

}  // namespace shardscout::exporters
