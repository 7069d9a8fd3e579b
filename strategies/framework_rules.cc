#include "strategies/framework_rules.h"

#include <numeric>

#include "src/frameworks/shardy.h"
#include "strategies/training_frameworks.h"

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

/// Grouped heads split whole, and nothing spans positions: what plans by modules' names can say.
bool PlainHeads(const ModelSpec& model, std::int64_t tp) {
  if (model.HasLinearAttention() || model.attention.HasIndexer()) return false;
  if (model.attention.whole_qk_norm && tp > 1) return false;  // A norm over what would be split.
  return model.attention.kind == AttentionKind::kMultiLatent || model.attention.num_kv_heads % tp == 0;
}

bool TransformersTakesSharding(const ModelSpec& model, Operator op, Sharding sharding,
                               const std::function<bool(Sharding)>& possible) {
  switch (op) {
    case Operator::kEmbedding:
    case Operator::kLmHead: {
      const bool splits = possible(Sharding::kVocab);
      if (sharding == Sharding::kVocab) return true;
      // Tied, the two are one parameter.
      return sharding == Sharding::kNone && (!splits || !model.tie_word_embeddings);
    }
    case Operator::kAttention:
      if (sharding == Sharding::kNone) return model.attention.kind != AttentionKind::kMultiLatent;
      return sharding == Sharding::kHeads;
    case Operator::kQkv:
    case Operator::kAttnOut:
      return sharding == Sharding::kHeads;
    case Operator::kRouter:
      return sharding == Sharding::kNone;
    case Operator::kFfnUp:
      return sharding == Sharding::kFfn || sharding == Sharding::kNone;
    default:
      return sharding == Sharding::kFfn;
  }
}

bool DtensorTakesSharding(const ModelSpec& model, Operator op, Sharding sharding,
                          const std::function<bool(Sharding)>& possible) {
  switch (op) {
    case Operator::kEmbedding:
    case Operator::kLmHead:
      if (!model.tie_word_embeddings) return sharding != Sharding::kToken;
      return sharding == (possible(Sharding::kVocab) ? Sharding::kVocab : Sharding::kNone);
    case Operator::kQkv:
      return sharding == Sharding::kHeads || sharding == Sharding::kHidden;
    case Operator::kAttention:
      return sharding == Sharding::kHeads;
    default:
      return true;
  }
}

}  // namespace

bool TakesDegrees(Framework framework, const Problem& problem, const Strategy& s) {
  const ModelSpec& model = problem.model();
  const std::int64_t tp = s.tensor_parallel_size, cp = s.context_parallel_size, dp = s.data_parallel_size;
  if (problem.workload().IsTraining()) return TrainsWithDegrees(framework, problem, s);
  if (framework == Framework::kShardy) {
    return s.pipeline_parallel_size == 1 && !model.HasLinearAttention() && !model.attention.HasIndexer();
  }
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
    case Framework::kTransformers:
      return s.InstanceSize() == tp && PlainHeads(model, tp);
    case Framework::kDtensor:
      return s.InstanceSize() == tp && PlainHeads(model, tp) && !model.HasMoe() &&
             model.attention.kind != AttentionKind::kMultiLatent;
    case Framework::kTorchtitan:
    case Framework::kMaxText:
    case Framework::kShardy:
      break;
  }
  return false;
}

bool TakesExpertMesh(Framework framework, const Problem& problem, const Strategy& s) {
  if (problem.workload().IsTraining()) return TrainsWithExpertMesh(framework, s);
  const bool whole_stage = s.BlockSize() == s.StageSize();
  switch (framework) {
    case Framework::kTransformers:
      if (problem.model().moe.expert_bias && s.expert_tensor_parallel_size > 1) return false;
      [[fallthrough]];
    case Framework::kVllm:
      return whole_stage && (s.expert_parallel_size == 1 || s.expert_tensor_parallel_size == 1);
    case Framework::kSglang:
    case Framework::kTensorRtLlm:
      return whole_stage;
    case Framework::kMegatron:
      return true;
    case Framework::kShardy:
      return frameworks::StageMesh::Of(s, problem.model()).has_value();
    default:
      return whole_stage && s.expert_parallel_size == 1;
  }
}

bool FixesMicrobatches(Framework framework) {
  return framework == Framework::kVllm || framework == Framework::kSglang || framework == Framework::kTensorRtLlm;
}

bool TakesMicrobatches(Framework framework, const Strategy& s) {
  switch (framework) {
    case Framework::kVllm:
    case Framework::kSglang:
      return AsManyAsStages(s);
    case Framework::kTensorRtLlm:
      return s.num_microbatches == s.pipeline_parallel_size;
    case Framework::kTorchtitan:
      return s.num_microbatches >= s.pipeline_parallel_size || s.pipeline_parallel_size == 1;
    default:
      return true;
  }
}

bool TakesTraining(Framework framework, const Strategy& s, Variable variable, std::int64_t value) {
  switch (variable) {
    case Variable::kZeroStage:
      return TrainsWithZero(framework, s, value);
    case Variable::kVirtualPipelineParallelSize:
      return value == 1 || framework == Framework::kMegatron || framework == Framework::kTorchtitan;
    case Variable::kHeadLayers:
    case Variable::kRecomputedLayers:
      return value == 0 || framework == Framework::kMegatron;
    default:
      return static_cast<Recomputation>(value) != Recomputation::kSelective || framework == Framework::kMegatron;
  }
}

bool TakesResidual(Framework framework, const Problem& problem, const Strategy& s, Layout layout) {
  if (framework == Framework::kShardy) return true;
  if (s.tensor_parallel_size == 1) return layout == Layout::kReplicated;
  switch (framework) {
    case Framework::kTorchtitan:
    case Framework::kMaxText:
      return layout == Layout::kTokenSharded;
    case Framework::kMegatron:
      return layout == Layout::kTokenSharded || (layout == Layout::kReplicated && !problem.model().HasMoe());
    case Framework::kDtensor:
      // Tokens are positions in one phase and requests in the other; a plan has one of them.
      return layout == Layout::kReplicated ||
             (layout == Layout::kTokenSharded && problem.workload().kind != WorkloadKind::kServe);
    default:
      return layout == Layout::kReplicated;
  }
}

bool TakesFfnGroup(Framework framework, const ModelSpec& model, const Strategy& s, DenseFfnGroup group) {
  if (framework == Framework::kShardy) return true;
  if (framework != Framework::kSglang) return group == DenseFfnGroup::kTp;
  const bool attention_data_parallel = s.data_parallel_size > 1;
  if (group == DenseFfnGroup::kStage) return attention_data_parallel;
  return !attention_data_parallel || s.tensor_parallel_size == 1 || !model.HasDense();
}

bool TakesExchange(Framework framework, const Problem& problem, const Strategy& s, ExpertExchange exchange) {
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
    case Framework::kShardy:
      return true;
    case Framework::kTorchtitan:
    case Framework::kMaxText:
      return exchange == ExpertExchange::kAllToAll;
    case Framework::kDeepSpeed:
      if (problem.workload().IsTraining()) return exchange == ExpertExchange::kAllToAll;
      return exchange == ExpertExchange::kGatherReduce;
    case Framework::kTransformers:
    case Framework::kDtensor:
      return exchange == ExpertExchange::kGatherReduce;
  }
  return exchange == ExpertExchange::kGatherScatter || (whole_experts && exchange == ExpertExchange::kAllToAll);
}

bool TakesSharding(Framework framework, const Problem& problem, const Strategy& s, Operator op, Sharding sharding,
                   const std::function<bool(Sharding)>& possible) {
  if (framework == Framework::kShardy) return true;
  if (framework == Framework::kTransformers) return TransformersTakesSharding(problem.model(), op, sharding, possible);
  if (framework == Framework::kDtensor) {
    if (sharding == Sharding::kToken && problem.workload().kind == WorkloadKind::kServe) return false;
    return DtensorTakesSharding(problem.model(), op, sharding, possible);
  }
  const bool deep_speed = framework == Framework::kDeepSpeed;
  const bool training = problem.workload().IsTraining();
  switch (op) {
    case Operator::kEmbedding:
      if (deep_speed) return sharding == Sharding::kNone;
      return sharding == (possible(Sharding::kVocab) ? Sharding::kVocab : Sharding::kNone);
    case Operator::kLmHead:
      if (deep_speed && (training || sharding == Sharding::kNone)) return sharding == Sharding::kNone;
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
      const bool of_local_tokens =
          (framework == Framework::kMegatron || framework == Framework::kMaxText) && problem.model().HasMoe();
      return sharding == (of_local_tokens ? Sharding::kToken : Sharding::kNone);
    }
    case Operator::kFfnUp:
    case Operator::kExpertUp:
    case Operator::kExpertDown:
      return sharding == Sharding::kFfn;
    case Operator::kFfnDown:
      if (deep_speed && !training) return sharding != Sharding::kToken;
      return sharding == Sharding::kFfn;
    default:
      return false;
  }
}

}  // namespace shardscout::strategies
