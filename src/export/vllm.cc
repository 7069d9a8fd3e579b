#include "src/export/vllm.h"

#include <sstream>
#include <string>
#include <string_view>

#include "shardscout/strategy_space.h"
#include "src/export/lowering.h"
#include "src/frameworks/hub_names.h"

namespace shardscout::exporters {

using frameworks::VllmArguments;

namespace {

std::string_view Reason(int variable, const Strategy& lowered) {
  if (IsSharding(variable)) {
    if (lowered.tensor_parallel_size == 1) return "tp is 1 there: nothing to shard over";
    return "vLLM's shardings are fixed: column, then row, over tp";
  }
  switch (static_cast<Variable>(variable)) {
    case Variable::kTensorParallelSize:
    case Variable::kContextParallelSize:
      return "vLLM's tp ranks share their requests, its context parallelism lies inside tp or needs data-parallel-size "
             "1";
    case Variable::kDataParallelSize:
      return "ranks with requests of their own are vLLM's data parallel ranks; those of a dense model are replicas";
    case Variable::kExpertParallelSize:
    case Variable::kExpertTensorParallelSize:
      return "vLLM splits experts over all ranks of a stage, by expert or each one, never both";
    case Variable::kBatchSize:
      return "a data parallel rank's share, and no more than keeps the limits";
    case Variable::kNumMicrobatches:
      return "vLLM keeps as many batches in flight as there are stages";
    case Variable::kResidualLayout:
      return "vLLM's residual stream is replicated";
    case Variable::kDenseFfnGroup:
      return "vLLM's dense FFNs use the tp group";
    case Variable::kExpertExchange:
      return "vLLM exchanges tokens only between data parallel ranks, by gather and scatter or all-to-all";
    default:
      return "vLLM overlaps two batches only with all-to-all between data parallel ranks";
  }
}

std::vector<Dropped> WhatIsDropped(const Problem& problem, const Strategy& plan, const VllmLowering& lowering) {
  std::vector<Dropped> dropped = Differences(
      plan, lowering.lowered, [&](int variable) { return std::string(Reason(variable, lowering.lowered)); });
  const VllmArguments& arguments = lowering.arguments;
  if (lowering.approximate) {
    dropped.push_back({"context_parallel_size = " + std::to_string(plan.context_parallel_size),
                       "decode-context-parallel-size " + std::to_string(arguments.decode_context_parallel_size) +
                           " inside tensor-parallel-size " + std::to_string(arguments.tensor_parallel_size) +
                           ": QKV and output projections are split over both, requests over neither (priced as the "
                           "plan's own context parallelism)"});
  }
  if (lowering.lowered.ShardingOf(Operator::kAttention) == Sharding::kSequence &&
      problem.workload().HasPhase(Phase::kPrefill)) {
    dropped.push_back({"shardings.attention = sequence in prefill",
                       "heads in prefill, with the cache split by position (priced as sequence in both phases)"});
  }
  if (arguments.pipeline_parallel_size > 1 && arguments.data_parallel_size > 1 &&
      lowering.lowered.InstanceSize() > problem.cluster().devices_per_node) {
    dropped.push_back({"rank order tp, cp, dp, pp (innermost first)",
                       "tp, pp, dp: a data parallel rank's stages are neighbours and expert groups reach further (not "
                       "priced)"});
  }
  return dropped;
}

/// How the instance is started on its nodes.
struct Launch {
  std::string settings;   ///< Lines of the file.
  std::string arguments;  ///< Of the command on the first node.
  std::string note;       ///< What to start elsewhere.
};

Launch PlanLaunch(const VllmArguments& arguments, std::int64_t per_node) {
  const std::int64_t world = arguments.WorldSize();
  const std::int64_t devices = world * arguments.data_parallel_size;
  Launch launch;
  if (devices <= per_node) return launch;
  if (world <= per_node) {
    const std::int64_t local = per_node / world;
    const std::int64_t nodes = (arguments.data_parallel_size + local - 1) / local;
    launch.settings = "data-parallel-size-local: " + std::to_string(local) + "\ndata-parallel-rpc-port: 13345\n";
    launch.arguments = " --data-parallel-address $HEAD_ADDRESS";
    launch.note = "on node k of 1 to " + std::to_string(nodes - 1) +
                  " the same command with --headless --data-parallel-start-rank $((k * " + std::to_string(local) + "))";
    if (const std::int64_t last = arguments.data_parallel_size % local; last != 0) {
      launch.note += ", on the last with --data-parallel-size-local " + std::to_string(last);
    }
    return launch;
  }
  const std::int64_t nodes = (devices + per_node - 1) / per_node;
  if (arguments.data_parallel_size == 1) {
    launch.arguments = " --nnodes " + std::to_string(nodes) + " --node-rank 0 --master-addr $HEAD_ADDRESS";
    launch.note = "on node k of 1 to " + std::to_string(nodes - 1) + " the same command with --node-rank k --headless";
    return launch;
  }
  launch.settings = "data-parallel-backend: ray\ndistributed-executor-backend: ray\n";
  launch.note = "one data parallel rank spans nodes: start a Ray cluster of " + std::to_string(nodes) +
                " nodes and run the command on its head";
  return launch;
}

std::string WriteSettings(const Plan& plan, const Problem& problem, const VllmLowering& lowering,
                          const Launch& launch) {
  const VllmArguments& a = lowering.arguments;
  std::ostringstream out;
  out << "# vllm serve --config vllm.yaml\n"
      << Preamble(Framework::kVllm, plan, problem, lowering.lowered)
      << "model: " << frameworks::HubName(plan.model_name) << "\n"
      << "tensor-parallel-size: " << a.tensor_parallel_size << "\n"
      << "pipeline-parallel-size: " << a.pipeline_parallel_size << "\n"
      << "data-parallel-size: " << a.data_parallel_size << "\n"
      << launch.settings;
  if (a.prefill_context_parallel_size > 1) {
    out << "prefill-context-parallel-size: " << a.prefill_context_parallel_size << "\n";
  }
  if (a.decode_context_parallel_size > 1) {
    out << "decode-context-parallel-size: " << a.decode_context_parallel_size << "\n";
  }
  if (a.enable_expert_parallel) out << "enable-expert-parallel: true\n";
  if (!a.all2all_backend.empty()) out << "all2all-backend: " << a.all2all_backend << "\n";
  if (a.enable_dbo) out << "enable-dbo: true\n";
  out << "kv-cache-dtype: " << a.kv_cache_dtype << "\n"
      << "max-model-len: " << a.max_model_len << "\n"
      << "max-num-seqs: " << a.max_num_seqs << "\n";
  if (a.max_num_batched_tokens > 0) out << "max-num-batched-tokens: " << a.max_num_batched_tokens << "\n";
  out << "gpu-memory-utilization: " << FractionText(a.gpu_memory_utilization) << "\n";
  return out.str();
}

std::string PartitionPrefix(const VllmArguments& arguments) {
  if (arguments.layer_partition.empty()) return "";
  return "VLLM_PP_LAYER_PARTITION=" + Joined(arguments.layer_partition) + " ";
}

}  // namespace

ExportResult VllmExporter::Export(const Plan& plan, const Reevaluate& reevaluate) const {
  const Problem problem = UnpinnedProblem(plan, Framework::kVllm);
  const Strategy& strategy = plan.pools.front().strategy;
  const VllmLowering lowering = LowerFeasiblyForVllm(problem, strategy, reevaluate);
  ThrowIfBroken(Framework::kVllm, CheckRules(frameworks::VllmRules(), lowering.arguments, problem.model()));

  Lowered lowered{lowering.lowered, WhatIsDropped(problem, strategy, lowering), {}};
  if (reevaluate && !lowered.dropped.empty()) lowered.evaluation = reevaluate(lowered.strategy);
  ExportResult result = ResultOf(Framework::kVllm, problem, lowered);
  const Launch launch = PlanLaunch(lowering.arguments, problem.cluster().devices_per_node);
  result.command = PartitionPrefix(lowering.arguments) + "vllm serve --config vllm.yaml" + launch.arguments;
  result.files.push_back({"vllm.yaml", WriteSettings(plan, problem, lowering, launch)});
  if (!launch.note.empty()) result.notes.push_back(launch.note);
  return result;
}

}  // namespace shardscout::exporters
