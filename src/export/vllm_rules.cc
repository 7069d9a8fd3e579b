#include "src/export/vllm_rules.h"

#include <array>
#include <numeric>

namespace shardscout::exporters {
namespace {

std::string Text(std::int64_t value) { return std::to_string(value); }

std::string HeadsDivide(const VllmArguments& arguments, const ModelSpec& model) {
  const std::int64_t heads = model.attention.num_heads, tp = arguments.tensor_parallel_size;
  if (heads % tp == 0) return "";
  return "Total number of attention heads (" + Text(heads) + ") must be divisible by tensor parallel size (" +
         Text(tp) + ")";
}

/// Of linear attention's key heads vLLM makes no copies.
std::string LinearHeadsDivide(const VllmArguments& arguments, const ModelSpec& model) {
  const LinearAttentionSpec& linear = model.linear_attention;
  const std::int64_t tp = arguments.tensor_parallel_size;
  if (linear.num_key_heads % tp == 0 && linear.num_value_heads % tp == 0) return "";
  return "linear_num_key_heads (" + Text(linear.num_key_heads) + ") and linear_num_value_heads (" +
         Text(linear.num_value_heads) + ") must be divisible by tensor parallel size (" + Text(tp) + ")";
}

std::string DataParallelNeedsExperts(const VllmArguments& arguments, const ModelSpec& model) {
  if (arguments.data_parallel_size == 1 || model.HasMoe()) return "";
  return "data parallel ranks of a dense model are independent replicas; found data-parallel-size " +
         Text(arguments.data_parallel_size);
}

std::string PrefillContextAlone(const VllmArguments& arguments, const ModelSpec&) {
  const std::int64_t pcp = arguments.prefill_context_parallel_size, dcp = arguments.decode_context_parallel_size;
  if (pcp == 1) return "";
  if (arguments.data_parallel_size > 1) {
    return "prefill-context-parallel-size " + Text(pcp) + " needs data-parallel-size 1, found " +
           Text(arguments.data_parallel_size);
  }
  if (dcp == 1 || dcp == pcp || dcp == arguments.tensor_parallel_size * pcp) return "";
  return "decode-context-parallel-size " + Text(dcp) + " must be 1, prefill-context-parallel-size " + Text(pcp) +
         " or that times tensor-parallel-size";
}

std::string DecodeContextDivides(const VllmArguments& arguments, const ModelSpec&) {
  const std::int64_t dcp = arguments.decode_context_parallel_size;
  if (arguments.prefill_context_parallel_size > 1 || arguments.tensor_parallel_size % dcp == 0) return "";
  return "tensor-parallel-size " + Text(arguments.tensor_parallel_size) +
         " must be divisible by decode-context-parallel-size " + Text(dcp);
}

std::string DecodeContextHeads(const VllmArguments& arguments, const ModelSpec& model) {
  const std::int64_t dcp = arguments.decode_context_parallel_size;
  const std::int64_t tp = arguments.tensor_parallel_size;
  if (dcp == 1 || AdmitsDecodeContextParallel(model, tp, dcp)) return "";
  return "decode-context-parallel-size " + Text(dcp) + " needs tensor-parallel-size " + Text(tp) + " above the " +
         Text(model.attention.num_kv_heads) +
         " KV heads, at most tensor-parallel-size / KV heads, and a divisor of the heads a KV head";
}

/// One FFN's column and row matrices over `parts` ranks.
std::string BlocksDivide(std::int64_t width, std::int64_t parts, std::int64_t block, const char* what) {
  if (width == 0 || parts == 1 || block <= 1) return "";
  if (width % parts == 0 && width / parts % block == 0) return "";
  return std::string("The output_size of gate's and up's weight = ") + Text(width / parts) + " (" + what + ", " +
         Text(width) + " over " + Text(parts) +
         " ranks) is not divisible by weight quantization block_n = " + Text(block);
}

std::string QuantisationBlocks(const VllmArguments& arguments, const ModelSpec& model) {
  const std::int64_t tp = arguments.tensor_parallel_size;
  const std::int64_t expert_parts = arguments.enable_expert_parallel ? 1 : arguments.ExpertGroupSize();
  for (const std::string& broken :
       {BlocksDivide(model.ffn_size, tp, model.DenseFfnQuantBlock(), "dense FFN"),
        BlocksDivide(model.moe.shared_ffn_size, tp, model.SharedExpertQuantBlock(), "shared expert"),
        BlocksDivide(model.moe.expert_ffn_size, expert_parts, model.weight_quant_block, "experts")}) {
    if (!broken.empty()) return broken;
  }
  return "";
}

std::string ExpertWidthDivides(const VllmArguments& arguments, const ModelSpec& model) {
  if (!model.HasMoe() || arguments.enable_expert_parallel) return "";
  if (model.moe.expert_ffn_size % arguments.ExpertGroupSize() == 0) return "";
  return "experts of width " + Text(model.moe.expert_ffn_size) + " do not divide over " +
         Text(arguments.ExpertGroupSize()) + " tensor parallel ranks";
}

std::string PartitionSums(const VllmArguments& arguments, const ModelSpec& model) {
  const auto& partition = arguments.layer_partition;
  if (partition.empty()) return "";
  if (partition.size() != static_cast<std::size_t>(arguments.pipeline_parallel_size)) {
    return "VLLM_PP_LAYER_PARTITION has " + std::to_string(partition.size()) + " entries, expected one a stage, " +
           Text(arguments.pipeline_parallel_size);
  }
  const std::int64_t sum = std::accumulate(partition.begin(), partition.end(), std::int64_t{0});
  if (sum == model.num_layers) return "";
  return "VLLM_PP_LAYER_PARTITION sums to " + Text(sum) + ", expected the " + Text(model.num_layers) + " layers";
}

std::string BatchedTokensCover(const VllmArguments& arguments, const ModelSpec&) {
  if (arguments.max_num_batched_tokens == 0 || arguments.max_num_batched_tokens >= arguments.max_num_seqs) return "";
  return "max-num-batched-tokens " + Text(arguments.max_num_batched_tokens) + " is below max-num-seqs " +
         Text(arguments.max_num_seqs);
}

constexpr std::array<VllmRule, 10> kRules = {{
    {"vllm.heads_divide_tp", "vllm/config/model.py verify_with_parallel_config", HeadsDivide},
    {"vllm.linear_heads_divide_tp", "vllm/model_executor/layers/mamba/gdn_linear_attn.py", LinearHeadsDivide},
    {"vllm.dp_needs_moe", "vllm/config/parallel.py ParallelConfig", DataParallelNeedsExperts},
    {"vllm.pcp_alone", "vllm/config/parallel.py ParallelConfig", PrefillContextAlone},
    {"vllm.dcp_divides_tp", "vllm/config/parallel.py ParallelConfig", DecodeContextDivides},
    {"vllm.dcp_kv_heads", "vllm/config/model.py verify_with_parallel_config", DecodeContextHeads},
    {"vllm.fp8_blocks", "vllm/model_executor/layers/fused_moe and the FP8 linear layers", QuantisationBlocks},
    {"vllm.experts_divide_tp", "vllm/model_executor/layers/fused_moe", ExpertWidthDivides},
    {"vllm.layer_partition", "VLLM_PP_LAYER_PARTITION, vllm/distributed/utils.py get_pp_indices", PartitionSums},
    {"vllm.batched_tokens", "vllm/config/scheduler.py SchedulerConfig", BatchedTokensCover},
}};

}  // namespace

std::span<const VllmRule> VllmRules() { return kRules; }

std::vector<BrokenRule> CheckVllmRules(const VllmArguments& arguments, const ModelSpec& model) {
  std::vector<BrokenRule> broken;
  for (const VllmRule& rule : kRules) {
    std::string message = rule.broken(arguments, model);
    if (!message.empty()) broken.push_back({rule.id, std::move(message)});
  }
  return broken;
}

bool AdmitsDecodeContextParallel(const ModelSpec& model, std::int64_t tp, std::int64_t dcp) {
  const AttentionSpec& attention = model.attention;
  if (attention.kind == AttentionKind::kMultiLatent) return true;
  const std::int64_t kv_heads = attention.num_kv_heads;
  return tp > kv_heads && dcp <= tp / kv_heads && attention.num_heads / kv_heads % dcp == 0;
}

std::vector<std::int64_t> VllmLayerPartition(std::int64_t num_layers, std::int64_t stages) {
  std::vector<std::int64_t> partition(static_cast<std::size_t>(stages), num_layers / stages);
  const auto rest = static_cast<std::size_t>(num_layers % stages);
  for (std::size_t i = 0; i < rest; ++i) ++partition[partition.size() - 2 - i];
  return partition;
}

}  // namespace shardscout::exporters
