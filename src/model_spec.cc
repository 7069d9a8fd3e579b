#include "shardscout/model_spec.h"

#include <algorithm>

#include "shardscout/error.h"
#include "src/model_counts.h"

namespace shardscout {
namespace {

using internal::CheckedInt;

/// Of one layer, its two block norms not included.
CheckedInt AttentionParameters(const ModelSpec& model) {
  const AttentionSpec& attention = model.attention;
  const CheckedInt hidden = model.hidden_size;
  const CheckedInt heads = attention.num_heads;
  if (attention.kind == AttentionKind::kMultiLatent) {
    const CheckedInt q_lora = attention.q_lora_rank;
    const CheckedInt kv_lora = attention.kv_lora_rank;
    const CheckedInt nope = attention.qk_nope_head_dim;
    const CheckedInt rope = attention.qk_rope_head_dim;
    const CheckedInt value = attention.v_head_dim;
    const CheckedInt query = attention.q_lora_rank == 0 ? hidden * heads * (nope + rope)
                                                        : hidden * q_lora + q_lora + q_lora * heads * (nope + rope);
    const CheckedInt key_value = hidden * (kv_lora + rope) + kv_lora + kv_lora * heads * (nope + value);
    CheckedInt count = query + key_value + heads * value * hidden;
    if (attention.HasIndexer()) {
      const CheckedInt index_heads = attention.index_heads;
      const CheckedInt index_dim = attention.index_head_dim;
      count = count + q_lora * index_heads * index_dim + hidden * (index_dim + index_heads) + CheckedInt(2) * index_dim;
    }
    return count;
  }
  const CheckedInt query_width = heads * attention.head_dim;
  const CheckedInt qkv_width = query_width + CheckedInt(2) * attention.num_kv_heads * attention.head_dim;
  const CheckedInt projected = attention.output_gate ? qkv_width + query_width : qkv_width;
  CheckedInt count = hidden * projected + query_width * hidden;
  if (attention.qkv_bias) count = count + projected;
  if (attention.output_bias) count = count + hidden;
  if (attention.qk_norm) count = count + CheckedInt(2) * attention.head_dim;
  if (attention.whole_qk_norm) count = count + (heads + attention.num_kv_heads) * attention.head_dim;
  if (attention.sinks) count = count + heads;
  return count;
}

CheckedInt LinearAttentionParameters(const ModelSpec& model) {
  const LinearAttentionSpec& linear = model.linear_attention;
  const CheckedInt hidden = model.hidden_size;
  const CheckedInt gates = CheckedInt(2) * linear.num_value_heads;
  const CheckedInt values = CheckedInt(linear.num_value_heads) * linear.value_head_dim;
  const CheckedInt channels = CheckedInt(2) * linear.num_key_heads * linear.key_head_dim + values;
  return hidden * (channels + values) + hidden * gates + channels * linear.conv_width + gates + linear.value_head_dim +
         values * hidden;
}

CheckedInt FfnWeights(const ModelSpec& model, std::int64_t width) {
  return CheckedInt(model.gated_ffn ? 3 : 2) * model.hidden_size * width;
}

/// A bias on each matrix of an FFN.
CheckedInt FfnBiases(const ModelSpec& model, std::int64_t width) {
  return CheckedInt(model.gated_ffn ? 2 : 1) * width + model.hidden_size;
}

CheckedInt DenseFfnParameters(const ModelSpec& model) {
  return FfnWeights(model, model.ffn_size) + (model.ffn_bias ? FfnBiases(model, model.ffn_size) : CheckedInt(0));
}

/// Router, shared expert and `num_routed` routed experts of one layer.
CheckedInt MoeParameters(const ModelSpec& model, std::int64_t num_routed) {
  const MoeSpec& moe = model.moe;
  CheckedInt count = FfnWeights(model, moe.expert_ffn_size) * num_routed + FfnWeights(model, moe.shared_ffn_size) +
                     CheckedInt(model.hidden_size) * moe.num_experts;
  if (moe.expert_bias) count = count + FfnBiases(model, moe.expert_ffn_size) * num_routed;
  if (moe.router_bias) count = count + moe.num_experts;
  if (moe.router_correction_bias) count = count + moe.num_experts;
  if (moe.shared_expert_gate) count = count + model.hidden_size;
  return count;
}

/// Of the whole model with `num_routed` routed experts a MoE layer.
CheckedInt ModelParameters(const ModelSpec& model, std::int64_t num_routed) {
  const CheckedInt hidden = model.hidden_size;
  const CheckedInt tables = CheckedInt(model.tie_word_embeddings ? 1 : 2) * model.vocab_size * hidden +
                            CheckedInt(model.learned_positions) * hidden;
  const CheckedInt norm = CheckedInt(model.norm_bias ? 2 : 1) * hidden;
  const auto linear_layers = static_cast<std::int64_t>(model.linear_attention_layers.size());
  CheckedInt attention = AttentionParameters(model) * (model.num_layers - linear_layers);
  if (linear_layers > 0) attention = attention + LinearAttentionParameters(model) * linear_layers;
  return tables + norm + attention + norm * model.norms_per_layer * model.num_layers +
         DenseFfnParameters(model) * model.NumLayers(LayerKind::kDense) +
         MoeParameters(model, num_routed) * model.NumLayers(LayerKind::kMoe);
}

}  // namespace

std::int64_t AttentionSpec::QkHeadDim() const {
  return kind == AttentionKind::kGrouped ? head_dim : qk_nope_head_dim + qk_rope_head_dim;
}

std::int64_t AttentionSpec::VHeadDim() const { return kind == AttentionKind::kGrouped ? head_dim : v_head_dim; }

std::int64_t ModelSpec::NumLayers(LayerKind kind) const { return std::count(layers.begin(), layers.end(), kind); }

std::int64_t ModelSpec::WindowOf(std::int64_t layer) const {
  const bool full = std::binary_search(full_attention_layers.begin(), full_attention_layers.end(), layer);
  return full ? 0 : attention.sliding_window;
}

bool ModelSpec::IsLinear(std::int64_t layer) const {
  return std::binary_search(linear_attention_layers.begin(), linear_attention_layers.end(), layer);
}

namespace internal {

std::optional<ParameterCount> TryCountParameters(const ModelSpec& model) {
  const auto total = ModelParameters(model, model.moe.num_experts).Value();
  const auto active = ModelParameters(model, model.moe.num_experts_per_token).Value();
  if (!total || !active) return std::nullopt;
  return ParameterCount{*total, *active};
}

}  // namespace internal

ParameterCount CountParameters(const ModelSpec& model) {
  const auto count = internal::TryCountParameters(model);
  SHARDSCOUT_CHECK(count.has_value());
  return *count;
}

std::int64_t KvElementsPerToken(const ModelSpec& model) {
  const AttentionSpec& attention = model.attention;
  const std::int64_t per_layer = attention.kind == AttentionKind::kMultiLatent
                                     ? attention.kv_lora_rank + attention.qk_rope_head_dim
                                     : 2 * attention.num_kv_heads * attention.head_dim;
  return (model.num_layers - static_cast<std::int64_t>(model.linear_attention_layers.size())) * per_layer;
}

double LinearStateBytes(const ModelSpec& model) {
  if (!model.HasLinearAttention()) return 0;
  const LinearAttentionSpec& linear = model.linear_attention;
  const auto kept = static_cast<double>(linear.conv_width - 1);
  return static_cast<double>(linear.ValueWidth()) * static_cast<double>(linear.key_head_dim) *
             BytesPerElement(linear.state_dtype) +
         static_cast<double>(linear.ConvChannels()) * kept * BytesPerElement(model.residual_dtype);
}

std::int64_t IndexCacheBytesPerToken(const ModelSpec& model) {
  constexpr std::int64_t kScaleBytes = 4;
  return model.attention.HasIndexer() ? model.attention.index_head_dim + kScaleBytes : 0;
}

}  // namespace shardscout
