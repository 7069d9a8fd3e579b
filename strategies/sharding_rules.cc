#include "strategies/sharding_rules.h"

#include <algorithm>

#include "shardscout/program.h"
#include "strategies/framework_rules.h"

namespace shardscout::strategies {

bool ShardingRules::BatchSplits(const Strategy& s) const {
  if (s.batch_size % s.num_microbatches != 0) return false;
  if (!problem_.workload().HasPhase(Phase::kDecode)) return true;
  return (s.batch_size / s.num_microbatches) % s.context_parallel_size == 0;
}

bool ShardingRules::TokensSplit(const Strategy& s) const {
  if (!problem_.workload().HasPhase(Phase::kDecode)) return true;
  return (s.batch_size / s.num_microbatches / s.context_parallel_size) % s.tensor_parallel_size == 0;
}

bool ShardingRules::RequestsSplit(const Strategy& s) const {
  if (problem_.workload().HasPhase(Phase::kDecode)) return TokensSplit(s);
  return (s.batch_size / s.num_microbatches) % s.tensor_parallel_size == 0;
}

bool ShardingRules::ResidualIsPossible(const Strategy& s, Layout layout) const {
  switch (layout) {
    case Layout::kReplicated:
      return true;
    case Layout::kTokenSharded:
      return s.tensor_parallel_size > 1 && TokensSplit(s);
    case Layout::kFeatureSharded:
      return s.tensor_parallel_size > 1 && model_.hidden_size % s.tensor_parallel_size == 0;
    case Layout::kPartial:
      break;
  }
  return false;
}

bool ShardingRules::FfnGroupIsPossible(const Strategy& s, DenseFfnGroup group) const {
  if (group == DenseFfnGroup::kStage && problem_.workload().IsTraining()) return false;
  const bool stage_differs = model_.HasDense() && s.context_parallel_size * s.data_parallel_size > 1;
  if (group == DenseFfnGroup::kStage) return stage_differs;
  if (problem_.workload().IsTraining()) return true;
  // Without experts, dp inside an instance does something only where the FFN spans it; else it equals replicas.
  return model_.HasMoe() || s.data_parallel_size == 1;
}

bool ShardingRules::ExchangeIsPossible(const Strategy& s, ExpertExchange exchange) const {
  const ExpertExchange first = ExpertExchange::kAllToAll;
  if (!model_.HasMoe()) return exchange == first;
  if (s.BlockSize() == 1) return exchange == first && TokensSplit(s);
  if (exchange == ExpertExchange::kGatherReduce) return s.BlockSize() % s.tensor_parallel_size == 0;
  return TokensSplit(s);
}

bool ShardingRules::HeadsSplit(std::int64_t tp) const {
  const AttentionSpec& a = model_.attention;
  if (a.num_heads % tp != 0) return false;
  if (a.kind == AttentionKind::kMultiLatent) return true;
  const auto splits_or_copies = [&](std::int64_t heads) { return heads % tp == 0 || tp % heads == 0; };
  const LinearAttentionSpec& linear = model_.linear_attention;
  if (model_.HasLinearAttention() && (linear.num_value_heads % tp != 0 || !splits_or_copies(linear.num_key_heads))) {
    return false;
  }
  return splits_or_copies(a.num_kv_heads);
}

bool ShardingRules::LinearBlocksSplit(std::int64_t tp) const {
  const std::int64_t block = model_.AttentionQuantBlock();
  if (!model_.HasLinearAttention() || block == 0) return true;
  const LinearAttentionSpec& linear = model_.linear_attention;
  const std::int64_t key_heads = std::max<std::int64_t>(1, linear.num_key_heads / tp);
  return Splits(linear.ValueWidth(), tp, block) && key_heads * linear.key_head_dim % block == 0;
}

std::string ShardingRules::WhyPositionsAreWhole() const {
  if (model_.attention.HasIndexer()) return "the indexer chooses positions over the whole context, which is not split";
  if (model_.HasLinearAttention()) {
    return "the state of linear attention runs through all positions in order, which are not split";
  }
  return "";
}

bool ShardingRules::ExpertTensorSplits(std::int64_t etp) const {
  return Splits(model_.moe.expert_ffn_size, etp, model_.weight_quant_block);
}

std::int64_t ShardingRules::GroupOf(const Strategy& s, Operator op) const {
  const bool stage = s.dense_ffn_group == DenseFfnGroup::kStage;
  switch (op) {
    case Operator::kExpertUp:
    case Operator::kExpertDown:
      return s.expert_tensor_parallel_size;
    case Operator::kFfnUp:
    case Operator::kFfnDown:
      return std::max(model_.HasDense() ? (stage ? s.StageSize() : s.tensor_parallel_size) : 1,
                      model_.HasSharedExpert() ? s.tensor_parallel_size : 1);
    case Operator::kRouter:
      return model_.HasMoe() ? s.tensor_parallel_size : 1;
    default:
      return s.tensor_parallel_size;
  }
}

bool ShardingRules::FfnAdmits(const Strategy& s, Operator op, Sharding sharding) const {
  const std::int64_t dense_block = model_.DenseFfnQuantBlock();
  const std::int64_t shared_block = model_.SharedExpertQuantBlock();
  const std::int64_t tp = s.tensor_parallel_size;
  const bool stage = s.dense_ffn_group == DenseFfnGroup::kStage;
  const std::int64_t dense_parts = model_.HasDense() ? (stage ? s.StageSize() : tp) : 1;
  const std::int64_t shared_parts = model_.HasSharedExpert() ? tp : 1;
  if (GroupOf(s, op) == 1) return false;
  if (sharding == Sharding::kToken) return !stage && TokensSplit(s);
  const bool ffn_splits = Splits(std::max<std::int64_t>(model_.ffn_size, 1), dense_parts, dense_block) &&
                          Splits(std::max<std::int64_t>(model_.moe.shared_ffn_size, 1), shared_parts, shared_block);
  if (sharding == Sharding::kFfn) return ffn_splits;
  if (sharding != Sharding::kHidden) return false;
  const bool hidden_splits =
      Splits(model_.hidden_size, dense_parts, dense_block) && Splits(model_.hidden_size, shared_parts, shared_block);
  // A row-parallel up projection leaves its output split by ffn.
  return hidden_splits && (op == Operator::kFfnDown || ffn_splits);
}

bool ShardingRules::IsPossible(const Strategy& s, Operator op, Sharding sharding) const {
  const std::int64_t tp = s.tensor_parallel_size;
  const std::int64_t etp = s.expert_tensor_parallel_size;
  const std::int64_t block = model_.AttentionQuantBlock();
  const std::int64_t hidden = model_.hidden_size;
  const AttentionSpec& a = model_.attention;
  const bool expert = op == Operator::kExpertUp || op == Operator::kExpertDown;
  if (sharding == Sharding::kNone) return !expert || etp == 1;
  switch (op) {
    case Operator::kEmbedding:
      if (tp == 1) return false;
      if (sharding == Sharding::kVocab) return model_.vocab_size % tp == 0;
      return sharding == Sharding::kHidden && hidden % tp == 0;
    case Operator::kQkv: {
      if (tp == 1) return false;
      if (sharding == Sharding::kToken) return TokensSplit(s);
      if (sharding != Sharding::kHeads && sharding != Sharding::kHidden) return false;
      if (!HeadsSplit(tp)) return false;
      if (a.kind == AttentionKind::kMultiLatent) {
        const std::int64_t heads = a.num_heads / tp;
        return sharding == Sharding::kHeads &&
               (block == 0 ||
                (heads * a.QkHeadDim() % block == 0 && heads * (a.qk_nope_head_dim + a.v_head_dim) % block == 0));
      }
      if (sharding == Sharding::kHidden) return Splits(hidden, tp, block);
      const std::int64_t kv_heads = std::max<std::int64_t>(1, a.num_kv_heads / tp);
      return Splits(a.num_heads * a.head_dim, tp, block) && (block == 0 || kv_heads * a.head_dim % block == 0) &&
             LinearBlocksSplit(tp);
    }
    case Operator::kAttention:
      if (tp == 1) return false;
      if (sharding == Sharding::kToken) return RequestsSplit(s);
      if (sharding == Sharding::kHeads) return HeadsSplit(tp);
      return sharding == Sharding::kSequence && !problem_.workload().IsTraining() && a.num_heads % tp == 0 &&
             model_.PositionsSplit();
    case Operator::kAttnOut:
      if (tp == 1) return false;
      if (sharding == Sharding::kToken) return TokensSplit(s);
      if (sharding == Sharding::kHeads) {
        return a.num_heads % tp == 0 && Splits(a.num_heads * a.VHeadDim(), tp, block) &&
               model_.linear_attention.num_value_heads % tp == 0 &&
               Splits(model_.linear_attention.ValueWidth(), tp, block);
      }
      return sharding == Sharding::kHidden && Splits(hidden, tp, block);
    case Operator::kRouter:
      return model_.HasMoe() && tp > 1 && sharding == Sharding::kToken && TokensSplit(s);
    case Operator::kFfnUp:
    case Operator::kFfnDown:
      return FfnAdmits(s, op, sharding);
    case Operator::kExpertUp:
    case Operator::kExpertDown:
      if (etp == 1 || !ExpertTensorSplits(etp)) return false;
      return sharding == Sharding::kFfn ||
             (sharding == Sharding::kHidden && Splits(hidden, etp, model_.weight_quant_block));
    case Operator::kLmHead:
      if (tp == 1) return false;
      if (sharding == Sharding::kToken) return RequestsSplit(s);
      if (sharding == Sharding::kVocab) return model_.vocab_size % tp == 0;
      return sharding == Sharding::kHidden && hidden % tp == 0;
    default:
      return false;
  }
}

bool ShardingRules::Degrees(const Strategy& s) const { return !framework_ || TakesDegrees(*framework_, problem_, s); }

bool ShardingRules::ExpertMesh(const Strategy& s) const {
  if (s.StageSize() % s.BlockSize() != 0) return false;
  return !framework_ || !model_.HasMoe() || TakesExpertMesh(*framework_, problem_, s);
}

bool ShardingRules::Microbatches(const Strategy& s) const {
  if (s.num_microbatches > 1 && s.pipeline_parallel_size == 1 && !problem_.workload().IsTraining()) return false;
  return !framework_ || TakesMicrobatches(*framework_, s);
}

bool ShardingRules::Training(const Strategy& s, Variable variable, std::int64_t value) const {
  const std::optional<TrainingSpec>& training = problem_.workload().training;
  const std::int64_t first = variable == Variable::kVirtualPipelineParallelSize ? 1 : 0;
  const std::int64_t layers = model_.num_layers, pp = s.pipeline_parallel_size;
  if (!training) return value == first;
  if (framework_ && !TakesTraining(*framework_, s, variable, value)) return false;
  if (value == first) return true;
  switch (variable) {
    case Variable::kVirtualPipelineParallelSize:
      if (pp == 1 || s.num_microbatches % pp != 0) return false;
      return layers % (pp * value) == 0 || (layers % pp != 0 && pp * value <= layers);
    case Variable::kHeadLayers: {
      // One layer fewer would split them alike where the parts but the last are just filled.
      const std::int64_t chunks = pp * s.virtual_pipeline_parallel_size, parts = layers + value;
      return pp > 1 && parts % chunks != 0 && parts / chunks > value;
    }
    case Variable::kZeroStage:
      return value <= 3 && s.context_parallel_size * s.data_parallel_size > 1;
    case Variable::kRecomputation:
      return static_cast<Recomputation>(value) == Recomputation::kFull || !training->fused_attention;
    case Variable::kRecomputedLayers:
      return s.recomputation == Recomputation::kFull && value < MostLayersOfAChunk(model_, s);
    default:
      return false;
  }
}

bool ShardingRules::MicrobatchesFollow() const { return framework_ && FixesMicrobatches(*framework_); }

bool ShardingRules::Residual(const Strategy& s, Layout layout) const {
  return ResidualIsPossible(s, layout) && (!framework_ || TakesResidual(*framework_, problem_, s, layout));
}

bool ShardingRules::FfnGroup(const Strategy& s, DenseFfnGroup group) const {
  return FfnGroupIsPossible(s, group) && (!framework_ || TakesFfnGroup(*framework_, model_, s, group));
}

bool ShardingRules::Exchange(const Strategy& s, ExpertExchange exchange) const {
  if (!ExchangeIsPossible(s, exchange)) return false;
  return !framework_ || s.BlockSize() == 1 || TakesExchange(*framework_, problem_, s, exchange);
}

bool ShardingRules::Admits(const Strategy& s, Operator op, Sharding sharding) const {
  if (!IsPossible(s, op, sharding)) return false;
  if (!framework_ || GroupOf(s, op) == 1) return true;
  return TakesSharding(*framework_, problem_, s, op, sharding,
                       [&](Sharding other) { return IsPossible(s, op, other); });
}

std::string ShardingRules::Why(const Strategy& s, Operator op, Sharding sharding) const {
  if (framework_ && IsPossible(s, op, sharding)) {
    return std::string(ToString(*framework_)) + " does not shard it so over these ranks";
  }
  const std::string tp = std::to_string(s.tensor_parallel_size);
  const AttentionSpec& a = model_.attention;
  if (sharding == Sharding::kToken) {
    if (s.tensor_parallel_size == 1) return "a group of size 1 admits only \"none\"";
    return "the requests of a micro-batch and rank (batch_size " + std::to_string(s.batch_size) +
           " / num_microbatches " + std::to_string(s.num_microbatches) + " / cp) must divide by tensor_parallel_size " +
           tp;
  }
  if (op == Operator::kExpertUp || op == Operator::kExpertDown) {
    if (sharding == Sharding::kNone) return "the experts' width is split over expert_tensor_parallel_size";
    if (s.expert_tensor_parallel_size == 1) return "a group of size 1 admits only \"none\"";
    return "the experts' matrices must split into whole parts and quantisation blocks";
  }
  if (op == Operator::kFfnUp || op == Operator::kFfnDown) {
    return "ffn " + std::to_string(model_.ffn_size) + " (shared " + std::to_string(model_.moe.shared_ffn_size) +
           ") and hidden " + std::to_string(model_.hidden_size) +
           " must split over the group into whole parts and quantisation blocks of " +
           std::to_string(model_.weight_quant_block) + ", and the group must have two ranks or more";
  }
  if (s.tensor_parallel_size == 1) return "a group of size 1 admits only \"none\"";
  if (sharding == Sharding::kSequence && !model_.PositionsSplit()) return WhyPositionsAreWhole();
  if (sharding == Sharding::kHeads || sharding == Sharding::kSequence || op == Operator::kQkv) {
    const LinearAttentionSpec& linear = model_.linear_attention;
    const std::string of_linear = model_.HasLinearAttention()
                                      ? ", and linear attention's " + std::to_string(linear.num_value_heads) +
                                            " value heads and " + std::to_string(linear.num_key_heads) + " key heads,"
                                      : std::string();
    return std::to_string(a.num_heads) + " heads and " + std::to_string(a.num_kv_heads) + " KV heads" + of_linear +
           " must split over tensor_parallel_size " + tp + " (in whole quantisation blocks)";
  }
  if (sharding == Sharding::kVocab) {
    return "vocab_size " + std::to_string(model_.vocab_size) + " must divide by tensor_parallel_size " + tp;
  }
  return "hidden_size " + std::to_string(model_.hidden_size) + " must split over tensor_parallel_size " + tp +
         " in whole quantisation blocks";
}

}  // namespace shardscout::strategies
