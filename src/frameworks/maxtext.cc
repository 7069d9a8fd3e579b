#include "src/frameworks/maxtext.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

namespace shardscout::frameworks {
namespace {

std::string Text(std::int64_t value) { return std::to_string(value); }

std::string IciProduct(const MaxTextArguments& a, const ModelSpec&) {
  if (a.ici.Product() == a.devices_per_slice) return "";
  return "the product of the ici axes, " + Text(a.ici.Product()) + ", is not the devices of a slice, " +
         Text(a.devices_per_slice);
}

std::string DcnProduct(const MaxTextArguments& a, const ModelSpec&) {
  if (a.dcn.Product() == a.slices) return "";
  return "the product of the dcn axes, " + Text(a.dcn.Product()) + ", is not the number of slices, " + Text(a.slices);
}

std::string HeadsSplit(const MaxTextArguments& a, const ModelSpec& model) {
  const std::int64_t tp = a.Whole().tensor_sequence;
  std::string heads = HeadsDivide(model.attention.num_heads, tp, "query heads", "tensor_sequence");
  if (!heads.empty() || model.attention.kind == AttentionKind::kMultiLatent) return heads;
  return HeadsDivide(model.attention.num_kv_heads, tp, "KV heads", "tensor_sequence");
}

std::string SizesDivide(const MaxTextArguments& a, const ModelSpec& model) {
  const MaxTextAxes axes = a.Whole();
  const std::int64_t shards = axes.fsdp * axes.context * axes.expert;
  if (model.hidden_size % shards != 0) {
    return "emb_dim " + Text(model.hidden_size) + " does not divide by fsdp * context * expert, " + Text(shards);
  }
  for (const std::int64_t size : {model.vocab_size, model.ffn_size, model.moe.expert_ffn_size}) {
    if (size % axes.tensor_sequence != 0) {
      return Text(size) + " does not divide by tensor_sequence " + Text(axes.tensor_sequence);
    }
  }
  return "";
}

std::string ExpertsDivide(const MaxTextArguments& a, const ModelSpec& model) {
  const std::int64_t ep = a.Whole().expert;
  if (ep == 1) return "";
  if (!model.HasMoe()) return "expert parallelism in a model without experts";
  return model.moe.num_experts % ep == 0 ? "" : Text(model.moe.num_experts) + " experts over " + Text(ep) + " ranks";
}

std::string SequenceDivides(const MaxTextArguments& a, const ModelSpec&) {
  const MaxTextAxes axes = a.Whole();
  const std::int64_t parts = (axes.context > 1 ? 2 * axes.context : 1) * axes.tensor_sequence;
  if (a.max_target_length % parts == 0) return "";
  return "max_target_length " + Text(a.max_target_length) + " does not divide by " + Text(parts);
}

std::string BatchDivides(const MaxTextArguments& a, const ModelSpec&) {
  const MaxTextAxes axes = a.Whole();
  const double batch = a.per_device_batch_size * static_cast<double>(axes.Product());
  const std::int64_t ranks = axes.data * axes.fsdp * axes.expert;
  const auto sequences = static_cast<std::int64_t>(std::llround(batch));
  if (std::abs(batch - static_cast<double>(sequences)) < 1e-6 && sequences > 0 && sequences % ranks == 0) return "";
  return "per_device_batch_size * devices, " + std::to_string(batch) + ", is no multiple of data * fsdp * expert, " +
         Text(ranks);
}

std::string KnownPolicy(const MaxTextArguments& a, const ModelSpec&) {
  for (const std::string_view known :
       {"minimal_with_context", "minimal", "save_dot_with_context_except_mlp", "save_dot_except_mlpwi",
        "save_dot_except_mlp", "save_qkv_proj", "custom", "save_out_proj", "full"}) {
    if (a.remat_policy == known) return "";
  }
  return "unknown remat_policy \"" + a.remat_policy + "\"";
}

std::string OptimizerOverData(const MaxTextArguments& a, const ModelSpec&) {
  if (!a.shard_optimizer_over_data || a.Whole().data > 1) return "";
  return "shard_optimizer_over_data without a data axis";
}

std::string PlainAttention(const MaxTextArguments&, const ModelSpec& model) {
  return model.HasLinearAttention() || model.attention.HasIndexer() ? "attention's sizes have no keys in this export"
                                                                    : "";
}

std::string DenseLayersFirst(const MaxTextArguments&, const ModelSpec& model) {
  const auto dense = static_cast<std::size_t>(model.NumLayers(LayerKind::kDense));
  for (std::size_t i = 0; i < model.layers.size(); ++i) {
    if ((model.layers[i] == LayerKind::kDense) != (i < dense)) return "dense layers between layers with experts";
  }
  return "";
}

constexpr const char* kBase = "src/maxtext/configs/base.yml";
constexpr const char* kTypes = "src/maxtext/configs/types.py";

constexpr std::array<MaxTextRule, 11> kRules = {{
    {"maxtext.ici_product", "product of the ici axes == devices of a slice", kBase, IciProduct},
    {"maxtext.dcn_product", "product of the dcn axes == slices", kBase, DcnProduct},
    {"maxtext.heads_divide", "heads % tensor_sequence == 0; KV heads % tensor_sequence == 0", kBase, HeadsSplit},
    {"maxtext.sizes_divide", "what logical_axis_rules split divides by its axes", kBase, SizesDivide},
    {"maxtext.experts_divide", "experts % expert == 0", kTypes, ExpertsDivide},
    {"maxtext.sequence_divides", "max_target_length % (2 * context * tensor_sequence) == 0", kTypes, SequenceDivides},
    {"maxtext.batch_divides", "per_device_batch_size * devices % (data * fsdp * expert) == 0", kTypes, BatchDivides},
    {"maxtext.remat_policy", "a known remat_policy", kBase, KnownPolicy},
    {"maxtext.optimizer_over_data", "shard_optimizer_over_data with a data axis", kBase, OptimizerOverData},
    {"maxtext.layers", "dense layers come first (first_num_dense_layers)", kBase, DenseLayersFirst},
    {"maxtext.attention", "softmax attention over all positions", kBase, PlainAttention},
}};

}  // namespace

std::span<const MaxTextRule> MaxTextRules() { return kRules; }

}  // namespace shardscout::frameworks
