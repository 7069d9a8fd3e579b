#pragma once

#include "shardscout/exporter.h"
#include "shardscout/problem.h"
#include "src/frameworks/shardy.h"

namespace shardscout::exporters {

/// The mesh of one pipeline stage, the sharding of every weight of a layer, and of every activation between operators,
/// a phase each. Activations are [requests, positions, ...], requests those of all dp ranks, positions of a decode step
/// one; caches are [requests, positions, KV heads, head size]. What an operator leaves as summands is not said: XLA
/// sums it into the layout that follows.
///
/// Worked example, tp 2 and dp 2 in decode: axes a1=2 (dp), a0=2 (tp); a residual in T is [{"a1", "a0"}, {}, {}], a
/// column-parallel up projection [{}, {"a0"}].
frameworks::ShardyArguments ShardyArgumentsOf(const Problem& problem, const Strategy& strategy);

/// shardy@a0277a8: shardings.mlir, a module of the sdy dialect that declares weights and activations with their
/// shardings, and jax_shardings.py, the same for JAX: Mesh and PartitionSpec's by name. Carries every sharding, layout
/// and exchange; pipelines and overlap it refuses.
class ShardyExporter final : public Exporter {
 public:
  std::string_view Name() const override { return "shardy@a0277a8"; }
  ExportResult Export(const Plan& plan, const Reevaluate& reevaluate) const override;
};

}  // namespace shardscout::exporters
