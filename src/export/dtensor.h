#pragma once

#include "shardscout/exporter.h"
#include "shardscout/problem.h"
#include "src/frameworks/dtensor.h"

namespace shardscout::exporters {

/// The plan for parallelize_module by which a Llama runs `strategy`, a member of the space, with modules named as in
/// PyTorch's tutorial on tensor parallelism and in torchtitan.
///
/// A matrix says what reaches it (input_layouts), so that a column-parallel one after a split input gathers, and a
/// row-parallel one after a whole input takes its slice; matrices that are whole have a Prepare... for what they want
/// and leave. Worked example, tp over Shard(-1) features, residual by positions: ffn_up `ffn`, ffn_down `hidden` is
/// feed_forward: Shard(1) to Replicate(), w1 and w3 ColwiseParallel, w2 ColwiseParallel(input_layouts=Shard(-1),
/// output_layouts=Shard(1)).
frameworks::DtensorArguments DtensorArgumentsOf(const Problem& problem, const Strategy& strategy);

/// dtensor@2.8: dtensor_plan.json (module, style, placements) and dtensor_plan.py, which applies it.
class DtensorExporter final : public Exporter {
 public:
  std::string_view Name() const override { return "dtensor@2.8"; }
  ExportResult Export(const Plan& plan, const Reevaluate& reevaluate) const override;
};

}  // namespace shardscout::exporters
