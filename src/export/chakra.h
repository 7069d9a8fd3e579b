#pragma once

#include "shardscout/exporter.h"

namespace shardscout::exporters {

struct ChakraOptions {
  double max_bytes = 2.0 * 1024 * 1024 * 1024;  ///< Of all traces together; more is refused. > 0.
};

/// chakra@0.0.4: execution traces of MLCommons Chakra, one a rank, with what ASTRA-sim needs to replay them.
///
/// Files. PHASE.RANK.et for each phase of the workload and each rank of one instance, ranks in the plan's order (tp,
/// cp, dp, pp, innermost first); comm_groups.json, the ranks of each group by the number that pg_name says;
/// network.yml, system.json and remote_memory.json for ASTRA-sim's analytical backend, where it can describe the
/// instance's network (astra_sim.h), and then the command that replays the first phase.
///
/// What a trace holds. The tasks of the program as the simulator schedules them (env/simulator/pass_simulation.h, not
/// in reference mode), of one pass of all micro-batches in prefill (of one in `serve`), and of one token of each in
/// decode, kDecodeRounds of them where there is a pipeline. Its nodes and their times: chakra_trace.h; attributes:
/// chakra_file.h. Tasks without a duration (views, and what is fused into another's kernel and costs nothing) are no
/// nodes. Every rank has the work of the fullest one, as the simulator has it.
///
/// Source of the format: the schema's field numbers and the attributes that ASTRA-sim reads (astra-sim, workload/
/// Workload.cc and the feeder's et_feeder_node_attr.h).
///
/// Not handled: two pools; the requests of a `serve` workload, of which a trace has the two kinds of pass only; memory
/// nodes (weights and cache are in a node's tensor_size); launches, whose time is in the durations but not in num_ops.
/// What a strategy does is expressed whole: nothing is dropped.
class ChakraExporter final : public Exporter {
 public:
  explicit ChakraExporter(ChakraOptions options = {}) : options_(options) {}
  std::string_view Name() const override { return "chakra@0.0.4"; }
  /// SpecError where the plan has two pools, or where the traces would take more than the options allow.
  ExportResult Export(const Plan& plan, const Reevaluate& reevaluate) const override;

 private:
  ChakraOptions options_;
};

}  // namespace shardscout::exporters
