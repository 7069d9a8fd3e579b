#include <algorithm>
#include <numeric>
#include <span>
#include <string>

#include "shardscout/error.h"
#include "shardscout/strategy_space.h"
#include "src/export/lowering.h"
#include "src/export/vllm.h"

namespace shardscout::exporters {

using frameworks::VllmArguments;

namespace {

constexpr std::int64_t kDefaultBatchedTokens = 2048;  ///< The least of vLLM's defaults over its usage contexts.

bool OneKvHead(const ModelSpec& model) { return model.attention.num_kv_heads == 1; }

/// The degrees of `wanted` and the context-parallel arguments. All other variables follow in SetVllmRule.
void LowerContextParallelism(const Problem& problem, Strategy& wanted, VllmLowering& out) {
  const std::int64_t cp = wanted.context_parallel_size, tp = wanted.tensor_parallel_size;
  const bool sequence = wanted.ShardingOf(Operator::kAttention) == Sharding::kSequence && tp > 1;
  const WorkloadKind kind = problem.workload().kind;
  VllmArguments& arguments = out.arguments;
  arguments.tensor_parallel_size = tp;
  // The cache split by position over the whole tp group, where the group shares one KV head.
  const auto split_cache_over_tp = [&](std::int64_t ranks) {
    arguments.tensor_parallel_size = ranks;
    arguments.decode_context_parallel_size = ranks;
    wanted.tensor_parallel_size = ranks;
    wanted.context_parallel_size = 1;
    wanted.SetSharding(Operator::kAttention, Sharding::kSequence);
  };
  wanted.SetSharding(Operator::kAttention, Sharding::kHeads);
  if (cp == 1) {
    if (sequence && OneKvHead(problem.model()) && kind != WorkloadKind::kPrefill) split_cache_over_tp(tp);
    return;
  }
  if (kind == WorkloadKind::kDecode) {
    if (OneKvHead(problem.model()) && (sequence || tp == 1)) {
      split_cache_over_tp(tp * cp);
    } else if (AdmitsDecodeContextParallel(problem.model(), tp * cp, cp)) {
      arguments.tensor_parallel_size = tp * cp;
      arguments.decode_context_parallel_size = cp;
      out.approximate = true;
    } else {
      wanted.tensor_parallel_size = arguments.tensor_parallel_size = tp * cp;
      wanted.context_parallel_size = 1;
    }
    return;
  }
  const bool prefill = kind == WorkloadKind::kPrefill;
  if (wanted.data_parallel_size == 1 && (prefill || AdmitsDecodeContextParallel(problem.model(), tp, cp))) {
    arguments.prefill_context_parallel_size = cp;
    if (!prefill) arguments.decode_context_parallel_size = cp;
    return;
  }
  wanted.context_parallel_size = 1;
  if (problem.model().HasMoe()) {
    wanted.data_parallel_size *= cp;
  } else {
    wanted.tensor_parallel_size = arguments.tensor_parallel_size = tp * cp;
  }
}

/// Attention over whole requests is data parallelism by another name: tp ranks that each hold their own requests become
/// data parallel ranks with a tp-th of the batch. With experts only, where vLLM's data parallel ranks work together.
void LowerTokenAttention(const Problem& problem, Strategy& wanted) {
  const std::int64_t tp = wanted.tensor_parallel_size;
  if (!problem.model().HasMoe() || wanted.ShardingOf(Operator::kAttention) != Sharding::kToken) return;
  if (wanted.batch_size % tp != 0 || problem.workload().batch_size) return;
  wanted.data_parallel_size *= tp;
  wanted.batch_size /= tp;
  wanted.tensor_parallel_size = 1;
}

void LowerExperts(const Problem& problem, Strategy& wanted, VllmArguments& arguments) {
  if (!problem.model().HasMoe()) return;
  const std::int64_t stage = wanted.StageSize();
  const bool by_tensor = wanted.expert_parallel_size == 1 && wanted.expert_tensor_parallel_size == stage;
  const bool can_split_experts = problem.model().moe.num_experts % stage == 0;
  arguments.enable_expert_parallel = stage > 1 && !by_tensor && can_split_experts;
  wanted.expert_parallel_size = arguments.enable_expert_parallel ? stage : 1;
  wanted.expert_tensor_parallel_size = arguments.enable_expert_parallel ? 1 : stage;

  // Without data parallelism every rank has every token: experts' results are only added up.
  const bool tokens_everywhere = wanted.data_parallel_size == 1 && arguments.prefill_context_parallel_size == 1;
  if (tokens_everywhere) {
    wanted.expert_exchange = ExpertExchange::kGatherReduce;
  } else if (!arguments.enable_expert_parallel || wanted.expert_exchange == ExpertExchange::kGatherReduce) {
    wanted.expert_exchange = ExpertExchange::kGatherScatter;
  }
  if (!arguments.enable_expert_parallel || tokens_everywhere) return;
  if (wanted.expert_exchange == ExpertExchange::kGatherScatter) {
    arguments.all2all_backend = "allgather_reducescatter";
  } else {
    const bool decode = problem.workload().kind == WorkloadKind::kDecode;
    arguments.all2all_backend = decode ? "deepep_low_latency" : "deepep_high_throughput";
    arguments.enable_dbo = wanted.overlap == Overlap::kTwoBatch;
  }
}

/// vLLM's fixed choices. Attention's sharding is set already.
void SetVllmRule(Strategy& wanted, const VllmArguments& arguments) {
  const bool split = wanted.tensor_parallel_size > 1;
  const Sharding attention = wanted.ShardingOf(Operator::kAttention);
  const Sharding experts = wanted.expert_tensor_parallel_size > 1 ? Sharding::kFfn : Sharding::kNone;
  const auto set = [&](Operator op, Sharding sharding) { wanted.SetSharding(op, split ? sharding : Sharding::kNone); };
  set(Operator::kEmbedding, Sharding::kVocab);
  set(Operator::kQkv, Sharding::kHeads);
  set(Operator::kAttention, attention);
  set(Operator::kAttnOut, Sharding::kHeads);
  set(Operator::kRouter, Sharding::kNone);
  set(Operator::kFfnUp, Sharding::kFfn);
  set(Operator::kFfnDown, Sharding::kFfn);
  set(Operator::kLmHead, Sharding::kVocab);
  wanted.SetSharding(Operator::kExpertUp, experts);
  wanted.SetSharding(Operator::kExpertDown, experts);
  wanted.residual_layout = Layout::kReplicated;
  wanted.dense_ffn_group = DenseFfnGroup::kTp;
  wanted.overlap = arguments.enable_dbo ? Overlap::kTwoBatch : Overlap::kNone;
  // As many batches are in flight as there are stages.
  wanted.num_microbatches = std::gcd(wanted.batch_size, wanted.pipeline_parallel_size);
}

void SetLimits(const Problem& problem, VllmLowering& out) {
  const WorkloadSpec& workload = problem.workload();
  VllmArguments& arguments = out.arguments;
  const Strategy& s = out.lowered;
  arguments.max_num_seqs = s.batch_size;
  arguments.max_model_len = MaxPositions(workload);
  if (workload.HasPhase(Phase::kPrefill)) {
    const std::int64_t tokens = PrefillRequests(problem, s) * workload.input_tokens;
    arguments.max_num_batched_tokens = std::max({tokens, s.batch_size, kDefaultBatchedTokens});
  } else if (s.batch_size > kDefaultBatchedTokens) {
    arguments.max_num_batched_tokens = s.batch_size;
  }
  arguments.gpu_memory_utilization = workload.memory_fraction;
  const ModelSpec& model = problem.model();
  if (model.kv_dtype != model.residual_dtype) arguments.kv_cache_dtype = std::string(ToString(model.kv_dtype));
}

}  // namespace

VllmLowering LowerForVllm(const Problem& problem, const Strategy& strategy) {
  SHARDSCOUT_CHECK(problem.options().fixed.empty());
  VllmLowering out;
  Strategy wanted = strategy;
  if (!problem.model().HasMoe()) wanted.data_parallel_size = 1;  // Data parallel ranks are replicas there.
  LowerTokenAttention(problem, wanted);
  LowerContextParallelism(problem, wanted, out);
  LowerExperts(problem, wanted, out.arguments);
  SetVllmRule(wanted, out.arguments);
  out.arguments.pipeline_parallel_size = wanted.pipeline_parallel_size;
  out.arguments.data_parallel_size = wanted.data_parallel_size;

  out.lowered = StrategySpace(problem).Repair(wanted);
  for (int variable = 0; variable <= static_cast<int>(Variable::kExpertTensorParallelSize); ++variable) {
    if (GetVariable(out.lowered, variable) == GetVariable(wanted, variable)) continue;
    throw SpecError("--to vllm", "vLLM would run this plan with " + VariableName(variable) + " " +
                                     std::to_string(GetVariable(wanted, variable)) +
                                     ", which the model or the cluster does not admit; fix other degrees and search "
                                     "again");
  }
  SetLimits(problem, out);

  const std::int64_t stages = out.lowered.pipeline_parallel_size;
  out.arguments.layer_partition =
      PartitionUnless(problem, out.lowered, frameworks::VllmLayerPartition(problem.model().num_layers, stages));
  return out;
}

VllmLowering LowerFeasiblyForVllm(const Problem& problem, const Strategy& strategy, const Reevaluate& reevaluate) {
  VllmLowering whole = LowerForVllm(problem, strategy);
  if (whole.lowered == strategy || !reevaluate || reevaluate(whole.lowered).Feasible()) return whole;
  const StrategySpace space(problem);
  const std::span<const std::int64_t> batches = space.Values(static_cast<int>(Variable::kBatchSize));
  for (auto batch = batches.rbegin(); batch != batches.rend(); ++batch) {
    if (*batch >= whole.lowered.batch_size) continue;
    Strategy smaller = whole.lowered;
    smaller.batch_size = *batch;
    // Its own lowering again: the micro-batches and what needs divisible batches follow.
    VllmLowering lowering = LowerForVllm(problem, smaller);
    if (lowering.lowered.batch_size == *batch && reevaluate(lowering.lowered).Feasible()) {
      return lowering;
    }
  }
  return whole;
}

}  // namespace shardscout::exporters
