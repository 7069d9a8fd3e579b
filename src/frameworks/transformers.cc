#include "src/frameworks/transformers.h"

#include <algorithm>
#include <array>
#include <string_view>

namespace shardscout::frameworks {
namespace {

constexpr std::string_view kLayer = "model.layers.*.";

std::string OfLayer(const TransformersArguments& a, const std::string& name) {
  return a.StyleOf(std::string(kLayer) + name);
}

std::string KnownStyles(const TransformersArguments& a, const ModelSpec&) {
  static constexpr std::string_view kStyles[] = {"colwise",
                                                 "colwise_gather_output",
                                                 "rowwise",
                                                 "rowwise_split_input",
                                                 "packed_colwise",
                                                 "embedding_rowwise",
                                                 "grouped_gemm",
                                                 "ep_router",
                                                 "moe_tp_experts",
                                                 "mla_kv_a_proj",
                                                 "packed_rowwise",
                                                 "sequence_parallel",
                                                 "moe_identity_expert",
                                                 "replicated_with_grad_allreduce"};
  for (const auto& [name, style] : a.tp_plan) {
    if (std::find(std::begin(kStyles), std::end(kStyles), style) == std::end(kStyles)) {
      return "unknown style \"" + style + "\" of " + name;
    }
  }
  return "";
}

bool SplitsHeads(const TransformersArguments& a) {
  return OfLayer(a, "self_attn.k_proj") == "colwise" || OfLayer(a, "self_attn.kv_b_proj") == "colwise";
}

std::string HeadsSplit(const TransformersArguments& a, const ModelSpec& model) {
  if (!SplitsHeads(a)) return "";
  std::string heads = HeadsDivide(model.attention.num_heads, a.tp_size, "num_attention_heads", "tp_size");
  if (!heads.empty() || model.attention.kind == AttentionKind::kMultiLatent) return heads;
  return HeadsDivide(model.attention.num_kv_heads, a.tp_size, "num_key_value_heads", "tp_size");
}

std::string SizesDivide(const TransformersArguments& a, const ModelSpec& model) {
  const auto divides = [&](bool split, std::int64_t size, const char* what) -> std::string {
    if (!split || size % a.tp_size == 0) return "";
    return std::string(what) + ", " + std::to_string(size) + ", does not divide by tp_size " +
           std::to_string(a.tp_size);
  };
  const std::string experts = OfLayer(a, "mlp.experts.gate_up_proj");
  for (const std::string& broken :
       {divides(!a.StyleOf("model.embed_tokens").empty() || !a.StyleOf("lm_head").empty(), model.vocab_size,
                "vocab_size"),
        divides(!OfLayer(a, "mlp.down_proj").empty(), model.ffn_size, "intermediate_size"),
        divides(experts == "packed_colwise", model.moe.expert_ffn_size, "moe_intermediate_size"),
        divides(experts == "grouped_gemm", model.moe.num_experts, "the number of experts")}) {
    if (!broken.empty()) return broken;
  }
  return "";
}

/// A matrix by rows takes what those before it leave: split, or whole.
std::string RowsTakeWhatColumnsLeave(const TransformersArguments& a, const ModelSpec&) {
  for (const auto& [name, style] : a.tp_plan) {
    const bool down = name.ends_with(".down_proj") && name.find(".experts.") == std::string::npos;
    if (!down && !name.ends_with(".o_proj")) continue;
    const std::string up =
        down ? name.substr(0, name.rfind('.')) + ".up_proj"
             : std::string(kLayer) +
                   (OfLayer(a, "self_attn.kv_b_proj").empty() ? "self_attn.v_proj" : "self_attn.kv_b_proj");
    const bool split = a.StyleOf(up) == "colwise";
    if (style != (split ? "rowwise" : "rowwise_split_input")) {
      return name + " is " + style + " after " + up + (split ? ", which leaves its output split" : ", which is whole");
    }
  }
  return "";
}

std::string SplitOutputsAreTaken(const TransformersArguments& a, const ModelSpec&) {
  for (const auto& [name, style] : a.tp_plan) {
    if (style != "colwise" || name.ends_with("sinks")) continue;
    const bool up = name.ends_with(".up_proj") || name.ends_with(".gate_proj");
    const std::string after =
        up ? name.substr(0, name.rfind('.')) + ".down_proj" : std::string(kLayer) + "self_attn.o_proj";
    if (a.StyleOf(after) != "rowwise") return name + " leaves its output split, and " + after + " is not rowwise";
  }
  return "";
}

std::string ExpertsAreReduced(const TransformersArguments& a, const ModelSpec&) {
  const bool split = !OfLayer(a, "mlp.experts.down_proj").empty();
  const bool reduced = OfLayer(a, "mlp.experts") == "moe_tp_experts";
  return split == reduced ? "" : "the experts' results are summed (moe_tp_experts) exactly where experts are split";
}

std::string RouterFollowsExperts(const TransformersArguments& a, const ModelSpec&) {
  const bool dealt = OfLayer(a, "mlp.experts.down_proj") == "grouped_gemm";
  const bool router = OfLayer(a, "mlp.gate") == "ep_router" || OfLayer(a, "mlp.router") == "ep_router";
  return dealt == router ? "" : "ep_router and grouped_gemm go together";
}

std::string TiedAlike(const TransformersArguments& a, const ModelSpec& model) {
  const bool alike = a.StyleOf("model.embed_tokens").empty() == a.StyleOf("lm_head").empty();
  return alike || !model.tie_word_embeddings ? "" : "embed_tokens and lm_head are one parameter, and split otherwise";
}

constexpr const char* kTensorParallel = "src/transformers/integrations/tensor_parallel.py";

constexpr std::array<TransformersRule, 8> kRules = {{
    {"transformers.style", "a style of ParallelInterface", kTensorParallel, KnownStyles},
    {"transformers.heads_divide", "heads % tp_size == 0; KV heads % tp_size == 0", kTensorParallel, HeadsSplit},
    {"transformers.sizes_divide", "what is split divides by tp_size", kTensorParallel, SizesDivide},
    {"transformers.rows", "rowwise after a split output, rowwise_split_input after a whole one", kTensorParallel,
     RowsTakeWhatColumnsLeave},
    {"transformers.columns", "a colwise output goes to a rowwise matrix", kTensorParallel, SplitOutputsAreTaken},
    {"transformers.experts", "split experts and moe_tp_experts go together", kTensorParallel, ExpertsAreReduced},
    {"transformers.router", "grouped_gemm and ep_router go together", kTensorParallel, RouterFollowsExperts},
    {"transformers.tied", "tied embeddings are split alike", "src/transformers/modeling_utils.py", TiedAlike},
}};

}  // namespace

std::string TransformersArguments::StyleOf(const std::string& name) const {
  const auto found =
      std::find_if(tp_plan.begin(), tp_plan.end(), [&](const auto& entry) { return entry.first == name; });
  return found == tp_plan.end() ? "" : found->second;
}

std::span<const TransformersRule> TransformersRules() { return kRules; }

}  // namespace shardscout::frameworks
