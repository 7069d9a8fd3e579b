#include "src/frameworks/sglang.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <string_view>

namespace shardscout::frameworks {
namespace {

std::string Text(std::int64_t value) { return std::to_string(value); }

std::string AttentionDivides(const SglangArguments& a, const ModelSpec&) {
  const std::int64_t parts = (a.enable_dp_attention ? a.dp_size : 1) * a.attn_cp_size;
  if (a.tp_size % parts == 0) return "";
  return "tp-size " + Text(a.tp_size) + " must be divisible by dp-size * attn-cp-size, " + Text(parts);
}

std::string NodesDivide(const SglangArguments& a, const ModelSpec&) {
  if (a.WorldSize() % a.nnodes != 0) {
    return "tp-size * pp-size " + Text(a.WorldSize()) + " must be divisible by nnodes " + Text(a.nnodes);
  }
  if (a.nnodes == 1 || a.dp_size == 1 || a.enable_dp_attention) return "";
  return "data parallelism over nodes is supported with enable-dp-attention only";
}

std::string AttentionDataParallelNeedsExperts(const SglangArguments& a, const ModelSpec& model) {
  if (!a.enable_dp_attention || a.dp_size == 1 || model.HasMoe()) return "";
  return "data parallel attention shares the experts of its ranks; the model has none (dp-size without "
         "enable-dp-attention starts replicas)";
}

std::string HeadsSplit(const SglangArguments& a, const ModelSpec& model) {
  const std::string heads =
      HeadsDivide(model.attention.num_heads, a.AttentionTensorSize(), "attention heads", "the attention's tp size");
  return heads.empty() ? KvHeadsDivide(model, a.AttentionTensorSize(), "the attention's tp size") : heads;
}

std::string ExpertsSplit(const SglangArguments& a, const ModelSpec& model) {
  if (a.tp_size % a.ep_size != 0) {
    return "tp-size " + Text(a.tp_size) + " must be divisible by ep-size " + Text(a.ep_size);
  }
  if (!model.HasMoe()) return a.ep_size == 1 ? "" : "ep-size " + Text(a.ep_size) + " in a model without experts";
  const std::int64_t experts = model.moe.num_experts + a.ep_num_redundant_experts;
  if (experts % a.ep_size == 0) return "";
  return Text(experts) + " experts (with the redundant ones) must be divisible by ep-size " + Text(a.ep_size);
}

std::string Blocks(const SglangArguments& a, const ModelSpec& model) {
  const bool dense_whole = a.moe_dense_tp_size == 1;
  for (const std::string& broken :
       {SplitsInBlocks(model.ffn_size, dense_whole ? 1 : a.tp_size, model.DenseFfnQuantBlock(), "dense FFN"),
        SplitsInBlocks(model.moe.expert_ffn_size, a.tp_size / a.ep_size, model.weight_quant_block, "experts")}) {
    if (!broken.empty()) return broken;
  }
  return "";
}

std::string DenseTensorSize(const SglangArguments& a, const ModelSpec& model) {
  if (a.moe_dense_tp_size != 0 && a.moe_dense_tp_size != 1) {
    return "moe-dense-tp-size is 1 or not given, found " + Text(a.moe_dense_tp_size);
  }
  if (a.moe_dense_tp_size == 1 && !model.HasMoe()) return "moe-dense-tp-size is for models with experts";
  return "";
}

std::string BackendTakesAllRanks(const SglangArguments& a, const ModelSpec&) {
  if (a.moe_a2a_backend == "none" || a.ep_size == a.tp_size) return "";
  return "moe-a2a-backend " + a.moe_a2a_backend + " sets ep-size to tp-size " + Text(a.tp_size) + ", found ep-size " +
         Text(a.ep_size);
}

std::string KnownBackend(const SglangArguments& a, const ModelSpec&) {
  static constexpr std::string_view kBackends[] = {"none",      "deepep",        "mooncake",   "nixl",
                                                   "mori",      "ascend_fuseep", "flashinfer", "megamoe",
                                                   "deepep_v2", "pplx",          "ascend_tp"};
  if (std::find(std::begin(kBackends), std::end(kBackends), a.moe_a2a_backend) != std::end(kBackends)) return "";
  return "unknown moe-a2a-backend \"" + a.moe_a2a_backend + "\"";
}

std::string Balancer(const SglangArguments& a, const ModelSpec&) {
  if (!a.enable_eplb || a.ep_size > 1) return "";
  return "enable-eplb needs ep-size above 1";
}

std::string LmHead(const SglangArguments& a, const ModelSpec&) {
  if (!a.enable_dp_lm_head || a.enable_dp_attention) return "";
  return "enable-dp-lm-head needs enable-dp-attention";
}

std::string LayersSum(const SglangArguments& a, const ModelSpec& model) {
  return PartitionSums(a.layer_partition, a.pp_size, model.num_layers, "SGLANG_PP_LAYER_PARTITION");
}

std::string RequestsReachRanks(const SglangArguments& a, const ModelSpec&) {
  if (a.max_running_requests == 0 || a.max_running_requests >= a.dp_size) return "";
  return "max-running-requests " + Text(a.max_running_requests) + " leaves some of " + Text(a.dp_size) +
         " data parallel ranks without a request";
}

constexpr const char* kServerArgs = "python/sglang/srt/server_args.py";

constexpr std::array<SglangRule, 13> kRules = {{
    {"sglang.attention_divides", "tp-size % (dp-size * attn-cp-size) == 0 with enable-dp-attention",
     "python/sglang/srt/layers/dp_attention.py", AttentionDivides},
    {"sglang.nodes_divide", "tp-size * pp-size % nnodes == 0; dp-size over nodes needs enable-dp-attention",
     "python/sglang/srt/server_args.py check_server_args", NodesDivide},
    {"sglang.dp_attention_needs_moe", "enable-dp-attention with dp-size above 1 in a model with experts",
     "python/sglang/srt/layers/dp_attention.py", AttentionDataParallelNeedsExperts},
    {"sglang.heads_divide", "attention and KV heads over tp-size / dp-size / attn-cp-size",
     "python/sglang/srt/models and layers/linear.py", HeadsSplit},
    {"sglang.experts_divide", "tp-size % ep-size == 0 and (experts + redundant) % ep-size == 0", kServerArgs,
     ExpertsSplit},
    {"sglang.fp8_blocks", "(FFN width / ranks) % quantisation block == 0",
     "python/sglang/srt/layers/quantization/fp8.py", Blocks},
    {"sglang.moe_dense_tp", "moe-dense-tp-size is 1 or not given", kServerArgs, DenseTensorSize},
    {"sglang.a2a_takes_all_ranks", "a moe-a2a-backend other than none has ep-size = tp-size", kServerArgs,
     BackendTakesAllRanks},
    {"sglang.a2a_backend", "moe-a2a-backend is a known one", kServerArgs, KnownBackend},
    {"sglang.eplb", "enable-eplb needs ep-size above 1", kServerArgs, Balancer},
    {"sglang.layer_partition", "SGLANG_PP_LAYER_PARTITION has one entry a stage and sums to the layers",
     "python/sglang/srt/distributed/utils.py get_pp_indices", LayersSum},
    {"sglang.dp_lm_head", "enable-dp-lm-head needs enable-dp-attention", kServerArgs, LmHead},
    {"sglang.running_requests", "max-running-requests >= dp-size", kServerArgs, RequestsReachRanks},
}};

}  // namespace

std::span<const SglangRule> SglangRules() { return kRules; }

std::vector<std::int64_t> SglangLayerPartition(std::int64_t num_layers, std::int64_t stages) {
  std::vector<std::int64_t> partition(static_cast<std::size_t>(stages), num_layers / stages);
  for (auto stage = partition.rbegin(); stage != partition.rbegin() + num_layers % stages; ++stage) ++*stage;
  return partition;
}

}  // namespace shardscout::frameworks
