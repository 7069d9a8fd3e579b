#include "strategies/framework_rules.h"

#include <numeric>

namespace shardscout::strategies {
namespace {

bool VllmTakesDegrees(const Problem& problem, const Strategy& s) {
  const std::int64_t tp = s.tensor_parallel_size, cp = s.context_parallel_size, dp = s.data_parallel_size;
  const LinearAttentionSpec& linear = problem.model().linear_attention;
  if (linear.num_key_heads % tp != 0) return false;  // It makes no copies of them.
  const std::int64_t per_node = problem.cluster().devices_per_node;
  if (s.pipeline_parallel_size > 1 && dp > 1 && s.InstanceSize() > per_node) return false;
  if (cp == 1) return true;
  if (dp > 1) return false;
  switch (problem.workload().kind) {
    case WorkloadKind::kPrefill:
      return true;
    case WorkloadKind::kServe:
      return AdmitsDecodeContextParallel(problem.model(), tp, cp);
    case WorkloadKind::kDecode:
    case WorkloadKind::kTrain:
      break;
  }
  return false;
}

/// As many batches in flight as there are stages, as far as the batch divides.
bool AsManyAsStages(const Strategy& s) {
  return s.num_microbatches == std::gcd(s.batch_size, s.pipeline_parallel_size);
}

}  // namespace

bool TakesDegrees(Framework framework, const Problem& problem, const Strategy& s) {
  const ModelSpec& model = problem.model();
  const std::int64_t tp = s.tensor_parallel_size, cp = s.context_parallel_size, dp = s.data_parallel_size;
  // Of those that train, Megatron-LM is known.
  if (problem.workload().IsTraining()) return framework == Framework::kMegatron;
  if (dp > 1 && !model.HasMoe()) return false;
  switch (framework) {
    case Framework::kVllm:
      return VllmTakesDegrees(problem, s);
    case Framework::kSglang: {
      const std::int64_t per_node = problem.cluster().devices_per_node;
      if (s.InstanceSize() > per_node && s.InstanceSize() % per_node != 0) return false;
      // The shared expert would span the stage, where a strategy has it over tp.
      const bool shared_spans = tp > 1 && dp > 1 && model.HasSharedExpert() && !model.HasDense();
      return cp == 1 && !shared_spans;
    }
    case Framework::kTensorRtLlm:
      return cp == 1 && (tp == 1 || dp == 1);
    case Framework::kMegatron:
      return cp == 1 || problem.workload().kind == WorkloadKind::kPrefill;
    case Framework::kDeepSpeed:
      break;
  }
  return s.InstanceSize() == tp;
}

bool TakesExpertMesh(Framework framework, const Strategy& s) {
  const bool whole_stage = s.BlockSize() == s.StageSize();
  switch (framework) {
    case Framework::kVllm:
      return whole_stage && (s.expert_parallel_size == 1 || s.expert_tensor_parallel_size == 1);
    case Framework::kSglang:
    case Framework::kTensorRtLlm:
      return whole_stage;
    case Framework::kMegatron:
      return true;
    case Framework::kDeepSpeed:
      break;
  }
  return whole_stage && s.expert_parallel_size == 1;
}

bool FixesMicrobatches(Framework framework) {
  return framework != Framework::kMegatron && framework != Framework::kDeepSpeed;
}

bool TakesMicrobatches(Framework framework, const Strategy& s) {
  switch (framework) {
    case Framework::kVllm:
    case Framework::kSglang:
      return AsManyAsStages(s);
    case Framework::kTensorRtLlm:
      return s.num_microbatches == s.pipeline_parallel_size;
    case Framework::kMegatron:
    case Framework::kDeepSpeed:
      break;
  }
  return true;
}

bool TakesTraining(Framework framework, Variable variable, std::int64_t value) {
  if (framework != Framework::kMegatron) return false;
  // Its distributed optimizer shares the optimizer's states; gradients and weights only its FSDP would.
  return variable != Variable::kZeroStage || value <= 1;
}

bool TakesResidual(Framework framework, const ModelSpec& model, const Strategy& s, Layout layout) {
  const bool sequence_parallel = framework == Framework::kMegatron && s.tensor_parallel_size > 1;
  if (!sequence_parallel) return layout == Layout::kReplicated;
  if (model.HasMoe()) return layout == Layout::kTokenSharded;
  return layout == Layout::kReplicated || layout == Layout::kTokenSharded;
}

bool TakesFfnGroup(Framework framework, const ModelSpec& model, const Strategy& s, DenseFfnGroup group) {
  if (framework != Framework::kSglang) return group == DenseFfnGroup::kTp;
  const bool attention_data_parallel = s.data_parallel_size > 1;
  if (group == DenseFfnGroup::kStage) return attention_data_parallel;
  return !attention_data_parallel || s.tensor_parallel_size == 1 || !model.HasDense();
}

bool TakesExchange(Framework framework, const Strategy& s, ExpertExchange exchange) {
  const bool whole_experts = s.expert_tensor_parallel_size == 1;
  const bool of_tp_group = s.BlockSize() == s.tensor_parallel_size;
  switch (framework) {
    case Framework::kVllm:
    case Framework::kTensorRtLlm:
      if (of_tp_group) return exchange == ExpertExchange::kGatherReduce;
      break;
    case Framework::kSglang:
      if (!of_tp_group) break;
      return exchange == ExpertExchange::kGatherReduce || (whole_experts && exchange == ExpertExchange::kAllToAll);
    case Framework::kMegatron:
      return exchange != ExpertExchange::kGatherReduce;
    case Framework::kDeepSpeed:
      return exchange == ExpertExchange::kGatherReduce;
  }
  return exchange == ExpertExchange::kGatherScatter || (whole_experts && exchange == ExpertExchange::kAllToAll);
}

bool TakesSharding(Framework framework, const Problem& problem, const Strategy& s, Operator op, Sharding sharding,
                   const std::function<bool(Sharding)>& possible) {
  const bool deep_speed = framework == Framework::kDeepSpeed;
  switch (op) {
    case Operator::kEmbedding:
      if (deep_speed) return sharding == Sharding::kNone;
      return sharding == (possible(Sharding::kVocab) ? Sharding::kVocab : Sharding::kNone);
    case Operator::kLmHead:
      if (deep_speed && sharding == Sharding::kNone) return true;
      return sharding == (possible(Sharding::kVocab) ? Sharding::kVocab : Sharding::kNone);
    case Operator::kQkv:
    case Operator::kAttnOut:
      return sharding == Sharding::kHeads;
    case Operator::kAttention: {
      if (sharding == Sharding::kHeads) return true;
      const bool one_kv_head = problem.model().attention.num_kv_heads == 1;
      return framework == Framework::kVllm && sharding == Sharding::kSequence && one_kv_head &&
             s.context_parallel_size == 1 && problem.workload().kind == WorkloadKind::kDecode;
    }
    case Operator::kRouter: {
      const bool of_local_tokens = framework == Framework::kMegatron && problem.model().HasMoe();
      return sharding == (of_local_tokens ? Sharding::kToken : Sharding::kNone);
    }
    case Operator::kFfnUp:
    case Operator::kExpertUp:
    case Operator::kExpertDown:
      return sharding == Sharding::kFfn;
    case Operator::kFfnDown:
      if (deep_speed) return sharding != Sharding::kToken;
      return sharding == Sharding::kFfn;
    default:
      return false;
  }
}

}  // namespace shardscout::strategies
