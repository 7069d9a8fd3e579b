#include "src/frameworks/tensorrt_llm.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <string_view>

namespace shardscout::frameworks {
namespace {

std::string Text(std::int64_t value) { return std::to_string(value); }

std::string ExpertGrid(const TensorRtLlmArguments& a, const ModelSpec&) {
  const std::int64_t grid = a.ExpertTensorSize() * a.ExpertSize() * a.moe_cluster_parallel_size;
  if (grid == a.MoeWorldSize()) return "";
  return "moe_tensor_parallel_size * moe_expert_parallel_size * moe_cluster_parallel_size is " + Text(grid) +
         ", must equal " + Text(a.MoeWorldSize());
}

std::string ContextWithExperts(const TensorRtLlmArguments& a, const ModelSpec&) {
  if (a.context_parallel_size == 1 || a.ExpertSize() == 1 || a.Helix()) return "";
  return "context_parallel_size " + Text(a.context_parallel_size) + " with moe_expert_parallel_size " +
         Text(a.ExpertSize()) + " needs cp_config.cp_type HELIX";
}

std::string KnownContextKind(const TensorRtLlmArguments& a, const ModelSpec&) {
  static constexpr std::string_view kKinds[] = {"", "ULYSSES", "STAR", "RING", "HELIX"};
  if (std::find(std::begin(kKinds), std::end(kKinds), a.cp_type) != std::end(kKinds)) return "";
  return "unknown cp_config.cp_type \"" + a.cp_type + "\"";
}

std::string ClusterAlone(const TensorRtLlmArguments& a, const ModelSpec&) {
  if (a.moe_cluster_parallel_size == 1 || a.ExpertSize() == 1) return "";
  return "moe_cluster_parallel_size above 1 needs moe_expert_parallel_size 1";
}

std::string LmHead(const TensorRtLlmArguments& a, const ModelSpec&) {
  if (!a.enable_lm_head_tp_in_adp || a.enable_attention_dp) return "";
  return "enable_lm_head_tp_in_adp needs enable_attention_dp";
}

std::string HeadsSplit(const TensorRtLlmArguments& a, const ModelSpec& model) {
  const std::string heads =
      HeadsDivide(model.attention.num_heads, a.AttentionTensorSize(), "attention heads", "the attention's tp size");
  return heads.empty() ? KvHeadsDivide(model, a.AttentionTensorSize(), "the attention's tp size") : heads;
}

std::string ExpertsDivide(const TensorRtLlmArguments& a, const ModelSpec& model) {
  if (!model.HasMoe() || model.moe.num_experts % a.ExpertSize() == 0) return "";
  return Text(model.moe.num_experts) + " experts must be divisible by moe_expert_parallel_size " + Text(a.ExpertSize());
}

std::string Blocks(const TensorRtLlmArguments& a, const ModelSpec& model) {
  const std::int64_t ffn_parts = a.enable_attention_dp ? 1 : a.MoeWorldSize();
  for (const std::string& broken :
       {SplitsInBlocks(model.ffn_size, ffn_parts, model.DenseFfnQuantBlock(), "dense FFN"),
        SplitsInBlocks(model.moe.shared_ffn_size, ffn_parts, model.SharedExpertQuantBlock(), "shared expert"),
        SplitsInBlocks(model.moe.expert_ffn_size, a.ExpertTensorSize(), model.weight_quant_block, "experts")}) {
    if (!broken.empty()) return broken;
  }
  return "";
}

std::string KnownBackend(const TensorRtLlmArguments& a, const ModelSpec&) {
  static constexpr std::string_view kBackends[] = {"", "CUTLASS", "CUTEDSL", "WIDEEP", "TRTLLM", "VANILLA"};
  if (std::find(std::begin(kBackends), std::end(kBackends), a.moe_backend) != std::end(kBackends)) return "";
  return "unknown moe_config.backend \"" + a.moe_backend + "\"";
}

std::string LayersSum(const TensorRtLlmArguments& a, const ModelSpec& model) {
  return PartitionSums(a.pp_partition, a.pipeline_parallel_size, model.num_layers, "pp_partition");
}

std::string TokensCover(const TensorRtLlmArguments& a, const ModelSpec&) {
  if (a.max_num_tokens == 0 || a.max_num_tokens >= a.max_batch_size) return "";
  return "max_num_tokens " + Text(a.max_num_tokens) + " is below max_batch_size " + Text(a.max_batch_size);
}

constexpr const char* kMapping = "tensorrt_llm/mapping.py MappingBase.__init__";
constexpr const char* kLlmArgs = "tensorrt_llm/llmapi/llm_args.py";

constexpr std::array<TensorRtLlmRule, 11> kRules = {{
    {"trtllm.expert_grid",
     "moe_tensor * moe_expert * moe_cluster parallel size == tensor_parallel_size (HELIX: times cp)", kMapping,
     ExpertGrid},
    {"trtllm.cp_with_ep", "context_parallel_size > 1 with moe_expert_parallel_size > 1 only with HELIX", kMapping,
     ContextWithExperts},
    {"trtllm.cp_type", "cp_config.cp_type is ULYSSES, STAR, RING or HELIX", kLlmArgs, KnownContextKind},
    {"trtllm.cluster_alone", "moe_cluster_parallel_size > 1 with moe_expert_parallel_size 1", kMapping, ClusterAlone},
    {"trtllm.lm_head_tp_in_adp", "enable_lm_head_tp_in_adp needs enable_attention_dp", kMapping, LmHead},
    {"trtllm.heads_divide", "attention and KV heads over the attention's tp size",
     "tensorrt_llm/_torch/modules/attention.py", HeadsSplit},
    {"trtllm.experts_divide", "experts % moe_expert_parallel_size == 0", "tensorrt_llm/_torch/modules/fused_moe",
     ExpertsDivide},
    {"trtllm.fp8_blocks", "(FFN width / ranks) % quantisation block == 0",
     "tensorrt_llm/_torch/modules/linear.py and fused_moe", Blocks},
    {"trtllm.moe_backend", "moe_config.backend is CUTLASS, CUTEDSL, WIDEEP, TRTLLM or VANILLA", kLlmArgs, KnownBackend},
    {"trtllm.pp_partition", "pp_partition has one entry a stage and sums to the layers", kMapping, LayersSum},
    {"trtllm.num_tokens", "max_num_tokens >= max_batch_size", kLlmArgs, TokensCover},
}};

}  // namespace

std::int64_t TensorRtLlmArguments::ExpertSize() const {
  if (moe_expert_parallel_size > 0) return moe_expert_parallel_size;
  if (moe_tensor_parallel_size == 0) return 1;
  return std::max<std::int64_t>(1, MoeWorldSize() / (moe_tensor_parallel_size * moe_cluster_parallel_size));
}

std::int64_t TensorRtLlmArguments::ExpertTensorSize() const {
  if (moe_tensor_parallel_size > 0) return moe_tensor_parallel_size;
  return std::max<std::int64_t>(1, MoeWorldSize() / (ExpertSize() * moe_cluster_parallel_size));
}

std::int64_t TensorRtLlmArguments::AttentionTensorSize() const {
  if (enable_attention_dp) return 1;
  return tensor_parallel_size * (Helix() ? 1 : context_parallel_size);
}

std::span<const TensorRtLlmRule> TensorRtLlmRules() { return kRules; }

std::vector<std::int64_t> TensorRtLlmLayerPartition(std::int64_t num_layers, std::int64_t stages) {
  std::vector<std::int64_t> partition(static_cast<std::size_t>(stages), num_layers / stages);
  for (auto stage = partition.begin(); stage != partition.begin() + num_layers % stages; ++stage) ++*stage;
  return partition;
}

}  // namespace shardscout::frameworks
