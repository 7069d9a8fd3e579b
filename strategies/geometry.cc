#include <algorithm>
#include <cmath>

#include "shardscout/error.h"
#include "strategies/block_builder.h"

namespace shardscout::strategies {

Geometry::Geometry(const Problem& problem, const Strategy& s, Phase p)
    : model(problem.model()),
      strategy(s),
      phase(p),
      tp(static_cast<double>(s.tensor_parallel_size)),
      cp(static_cast<double>(s.context_parallel_size)),
      dp(static_cast<double>(s.data_parallel_size)),
      ep(static_cast<double>(s.expert_parallel_size)),
      etp(static_cast<double>(s.expert_tensor_parallel_size)),
      block(static_cast<double>(s.BlockSize())),
      multi_latent(model.attention.kind == AttentionKind::kMultiLatent) {
  const WorkloadSpec& workload = problem.workload();
  if (phase == Phase::kDecode) {
    requests = s.batch_size / s.num_microbatches;
    context = workload.DecodeContext();
    cell_rows_ = static_cast<double>(requests) / cp;
    return;
  }
  requests = PrefillRequests(problem, s);
  context = workload.input_tokens;
  by_request = s.ShardingOf(Operator::kAttention) == Sharding::kToken;
  padded_input = PaddedInputTokens(problem, s);
  cell_rows_ = static_cast<double>(requests) * static_cast<double>(padded_input) / cp;
}

double Geometry::Rows(const Value& v) const {
  double rows = cell_rows_;
  if (v.last_only) {
    // The cp rank that holds the last position has them all.
    rows = static_cast<double>(requests);
    return v.tokens == TokenSplit::kTensor && !v.at_owner ? rows / tp : rows;
  }
  if (v.ffn == FfnKind::kExpert) return ExpertPairs();
  switch (v.tokens) {
    case TokenSplit::kCell:
      break;
    case TokenSplit::kTensor:
      rows /= tp;
      break;
    case TokenSplit::kStage:
      rows *= cp * dp;
      break;
    case TokenSplit::kStageTensor:
      rows *= cp * dp / tp;
      break;
    case TokenSplit::kContext:
      rows *= cp;
      break;
    case TokenSplit::kContextTensor:
      rows *= cp / tp;
      break;
    case TokenSplit::kBlock:
      rows *= block / tp;
      break;
    case TokenSplit::kExpertTensor:
      rows *= etp / tp;
      break;
    case TokenSplit::kRouted:
      rows *= ep / tp * RankHit();
      break;
    case TokenSplit::kRoutedBlock:
      rows *= block / tp * RankHit();
      break;
  }
  return v.interleaved ? rows / tp : rows;
}

std::int64_t Geometry::Parts(FeatureSplit split) const {
  switch (split) {
    case FeatureSplit::kNone:
      return 1;
    case FeatureSplit::kTensor:
      return strategy.tensor_parallel_size;
    case FeatureSplit::kStage:
      return strategy.StageSize();
    case FeatureSplit::kExpertTensor:
      return strategy.expert_tensor_parallel_size;
  }
  return 1;
}

std::int64_t Geometry::LocalHeads(FeatureSplit split) const { return model.attention.num_heads / Parts(split); }

std::int64_t Geometry::LocalKvHeads(FeatureSplit split) const {
  return std::max<std::int64_t>(1, model.attention.num_kv_heads / Parts(split));
}

std::int64_t Geometry::LocalLinearHeads(FeatureSplit split) const {
  return model.linear_attention.num_value_heads / Parts(split);
}

std::int64_t Geometry::LocalLinearKeyHeads(FeatureSplit split) const {
  return std::max<std::int64_t>(1, model.linear_attention.num_key_heads / Parts(split));
}

std::int64_t Geometry::FfnSize(FfnKind kind) const {
  if (kind == FfnKind::kDense) return model.ffn_size;
  return kind == FfnKind::kShared ? model.moe.shared_ffn_size : model.moe.expert_ffn_size;
}

double Geometry::Width(const Value& v) const {
  const AttentionSpec& a = model.attention;
  const auto heads = static_cast<double>(LocalHeads(v.features));
  const auto kv_heads = static_cast<double>(LocalKvHeads(v.features));
  const auto parts = static_cast<double>(Parts(v.features));
  auto d = [](std::int64_t n) { return static_cast<double>(n); };
  const LinearAttentionSpec& linear = model.linear_attention;
  const double linear_heads = d(LocalLinearHeads(v.features));
  switch (v.kind) {
    case TensorKind::kIds:
    case TensorKind::kStatistic:
      return 1;
    case TensorKind::kQkStatistic:
      return 2;
    case TensorKind::kHidden:
    case TensorKind::kRouted:
      return d(model.hidden_size) / parts;
    case TensorKind::kQkv:
      if (!multi_latent) return (heads + 2 * kv_heads) * d(a.head_dim);
      if (phase == Phase::kDecode) return heads * d(a.kv_lora_rank + a.qk_rope_head_dim);
      return heads * d(a.QkHeadDim() + a.qk_nope_head_dim + a.v_head_dim);
    case TensorKind::kGatedQkv:
      return 2 * (heads + kv_heads) * d(a.head_dim);
    case TensorKind::kOutputGate:
      return heads * d(a.head_dim);
    case TensorKind::kLinearQkv:
      return 2 * (d(LocalLinearKeyHeads(v.features) * linear.key_head_dim) + linear_heads * d(linear.value_head_dim));
    case TensorKind::kLinearGates:
      return 2 * linear_heads;
    case TensorKind::kLinearAttended:
      return linear_heads * d(linear.value_head_dim);
    case TensorKind::kQueryLatent:
      return d(a.q_lora_rank);
    case TensorKind::kQuery:
      return heads * d(a.QkHeadDim());
    case TensorKind::kLatent:
      return d(a.kv_lora_rank + a.qk_rope_head_dim);
    case TensorKind::kIndexQuery:
      return d(a.index_heads * a.index_head_dim);
    case TensorKind::kIndexKey:
      return d(a.index_head_dim + a.index_heads);
    case TensorKind::kSelection:
      return d(a.index_topk);
    case TensorKind::kKeyValue:
      return multi_latent ? heads * d(a.qk_nope_head_dim + a.v_head_dim) : 2 * kv_heads * d(a.head_dim);
    case TensorKind::kAttended:
      return heads * d(v.absorbed ? a.kv_lora_rank : a.VHeadDim());
    case TensorKind::kLse:
      return heads;
    case TensorKind::kGate:
      return d(FfnSize(v.ffn)) * (model.gated_ffn ? 2 : 1) / parts;
    case TensorKind::kFfn:
      return d(FfnSize(v.ffn)) / parts;
    case TensorKind::kScores:
      return d(model.moe.num_experts);
    case TensorKind::kLogits:
      return d(model.vocab_size) / parts;
  }
  return 0;
}

double Geometry::ExpertPairs() const {
  return BlockTokens() * static_cast<double>(model.moe.num_experts_per_token) / ep;
}

double Geometry::FullestExpertPairs() const {
  const double mean = ExpertPairs();
  const double local = static_cast<double>(model.moe.num_experts) / ep;
  const double most = BlockTokens() * std::min(static_cast<double>(model.moe.num_experts_per_token), local);
  return std::min(most, mean + std::sqrt(2 * mean * std::log(ep)));
}

double Geometry::DistinctExperts() const {
  const auto experts = static_cast<double>(model.moe.num_experts);
  const double miss = 1 - static_cast<double>(model.moe.num_experts_per_token) / experts;
  return experts / ep * (1 - std::pow(miss, BlockTokens()));
}

double Geometry::RankHit() const {
  const auto experts = static_cast<double>(model.moe.num_experts);
  const double elsewhere = experts - experts / ep;
  double miss = 1;
  for (std::int64_t i = 0; i < model.moe.num_experts_per_token; ++i) {
    const auto drawn = static_cast<double>(i);
    miss *= std::max(0.0, elsewhere - drawn) / (experts - drawn);
  }
  return 1 - miss;
}

}  // namespace shardscout::strategies
