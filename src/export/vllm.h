#pragma once

#include "shardscout/exporter.h"
#include "shardscout/problem.h"
#include "src/frameworks/vllm.h"

namespace shardscout::exporters {

/// A strategy brought down to what vLLM runs.
///
/// vLLM takes degrees and fixes the rest: operators column then row over tp, the residual stream replicated, dense and
/// shared FFNs over tp, experts over all ranks of a stage either by expert (--enable-expert-parallel) or each one cut,
/// as many micro-batches as stages. Lowering sets these, then takes the nearest member of the space; what differs from
/// the plan is what the exporter lists as dropped.
///
/// Attention sharded by `token` with experts: its tp ranks hold requests of their own, as data parallel ranks do, and
/// become such with a tp-th of the batch.
///
/// Context parallelism. Prefill: --prefill-context-parallel-size, which vLLM admits without data parallelism; else its
/// ranks become data parallel ones. Decode: vLLM's --decode-context-parallel-size lies inside tp, so cp ranks become tp
/// ranks and share the cache by position: exactly this space's attention `sequence` where the whole tp group shares one
/// KV head (MLA, MQA), otherwise priced as the plan's own cp (`approximate`: the QKV and output projections are then
/// 1/(tp * cp) in vLLM but 1/tp in the price).
///
/// Worked examples, DeepSeek-V3, decode. tp 4, dp 8, ep 32, batch 256 with attention `token` becomes -dp 32
/// --enable-expert-parallel --max-num-seqs 64. tp 1, cp 4, dp 8, ep 32 becomes -tp 4 -dp 8 -dcp 4
/// --enable-expert-parallel, priced as tp 4, attention `sequence`.
struct VllmLowering {
  frameworks::VllmArguments arguments;
  Strategy lowered;
  bool approximate = false;
};

/// `problem` without anything fixed: vLLM's choices may contradict what the user pinned. SpecError where no member of
/// the space has vLLM's degrees.
VllmLowering LowerForVllm(const Problem& problem, const Strategy& strategy);

/// The same with the largest batch that keeps the limits, where the plan's own does not when lowered (and the workload
/// leaves the batch open); `strategy`'s batch where none does.
VllmLowering LowerFeasiblyForVllm(const Problem& problem, const Strategy& strategy, const Reevaluate& reevaluate);

/// vllm@0.24: a file for `vllm serve --config` and the command.
class VllmExporter final : public Exporter {
 public:
  std::string_view Name() const override { return "vllm@0.24"; }
  ExportResult Export(const Plan& plan, const Reevaluate& reevaluate) const override;
};

}  // namespace shardscout::exporters
