#include "src/frameworks/vllm.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <string_view>

#include "shardscout/framework.h"

namespace shardscout::frameworks {
namespace {

std::string Text(std::int64_t value) { return std::to_string(value); }

std::string TotalHeadsDivide(const VllmArguments& arguments, const ModelSpec& model) {
  return HeadsDivide(model.attention.num_heads, arguments.tensor_parallel_size, "Total number of attention heads",
                     "tensor parallel size");
}

std::string KvHeadsSplit(const VllmArguments& arguments, const ModelSpec& model) {
  return KvHeadsDivide(model, arguments.tensor_parallel_size, "tensor parallel size");
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

std::string QuantisationBlocks(const VllmArguments& arguments, const ModelSpec& model) {
  const std::int64_t tp = arguments.tensor_parallel_size;
  const std::int64_t expert_parts = arguments.enable_expert_parallel ? 1 : arguments.ExpertGroupSize();
  for (const std::string& broken :
       {SplitsInBlocks(model.ffn_size, tp, model.DenseFfnQuantBlock(), "dense FFN"),
        SplitsInBlocks(model.moe.shared_ffn_size, tp, model.SharedExpertQuantBlock(), "shared expert"),
        SplitsInBlocks(model.moe.expert_ffn_size, expert_parts, model.weight_quant_block, "experts")}) {
    if (!broken.empty()) return "The output_size of gate's and up's weight: " + broken;
  }
  return "";
}

/// Without it the first ranks take one expert more where they do not divide.
std::string BalancedExpertsDivide(const VllmArguments& arguments, const ModelSpec& model) {
  if (!arguments.enable_eplb) {
    return arguments.num_redundant_experts == 0 ? "" : "num_redundant_experts needs enable-eplb";
  }
  const std::int64_t ranks = arguments.ExpertGroupSize();
  if (!arguments.enable_expert_parallel || ranks == 1) return "enable-eplb needs enable-expert-parallel and two ranks";
  const std::int64_t experts = model.moe.num_experts + arguments.num_redundant_experts;
  if (experts % ranks == 0) return "";
  return "EPLB currently only supports even distribution of experts across ranks: " + Text(experts) +
         " with the redundant ones over " + Text(ranks);
}

std::string LayersSum(const VllmArguments& arguments, const ModelSpec& model) {
  return PartitionSums(arguments.layer_partition, arguments.pipeline_parallel_size, model.num_layers,
                       "VLLM_PP_LAYER_PARTITION");
}

std::string KnownBackend(const VllmArguments& arguments, const ModelSpec&) {
  static constexpr std::string_view kBackends[] = {"",
                                                   "allgather_reducescatter",
                                                   "deepep_high_throughput",
                                                   "deepep_low_latency",
                                                   "deepep_v2",
                                                   "mori_high_throughput",
                                                   "mori_low_latency",
                                                   "nixl_ep",
                                                   "flashinfer_nvlink_one_sided",
                                                   "flashinfer_nvlink_two_sided",
                                                   "flashinfer_all2allv"};
  if (std::find(std::begin(kBackends), std::end(kBackends), arguments.all2all_backend) != std::end(kBackends))
    return "";
  return "unknown all2all-backend \"" + arguments.all2all_backend + "\" (naive and pplx were removed)";
}

std::string BatchedTokensCover(const VllmArguments& arguments, const ModelSpec&) {
  if (arguments.max_num_batched_tokens == 0 || arguments.max_num_batched_tokens >= arguments.max_num_seqs) return "";
  return "max-num-batched-tokens " + Text(arguments.max_num_batched_tokens) + " is below max-num-seqs " +
         Text(arguments.max_num_seqs);
}

constexpr std::array<VllmRule, 12> kRules = {{
    {"vllm.heads_divide_tp", "attention heads % tensor-parallel-size == 0",
     "vllm/config/model.py verify_with_parallel_config", TotalHeadsDivide},
    {"vllm.kv_heads_divide_tp", "KV heads and tensor-parallel-size divide one another (MLA exempt)",
     "vllm/model_executor/layers/linear.py QKVParallelLinear", KvHeadsSplit},
    {"vllm.linear_heads_divide_tp", "linear attention's heads % tensor-parallel-size == 0",
     "vllm/model_executor/layers/mamba/gdn_linear_attn.py", LinearHeadsDivide},
    {"vllm.dp_needs_moe", "data-parallel-size 1 in a dense model: its ranks are replicas",
     "vllm/config/parallel.py ParallelConfig", DataParallelNeedsExperts},
    {"vllm.pcp_alone",
     "prefill-context-parallel-size > 1: data-parallel-size 1, decode-context-parallel-size 1, that or "
     "that times tensor-parallel-size",
     "vllm/config/parallel.py ParallelConfig", PrefillContextAlone},
    {"vllm.dcp_divides_tp", "tensor-parallel-size % decode-context-parallel-size == 0",
     "vllm/config/parallel.py ParallelConfig", DecodeContextDivides},
    {"vllm.dcp_kv_heads",
     "decode-context-parallel-size > 1 with grouped attention: tensor-parallel-size > KV heads, at "
     "most their quotient, a divisor of the heads a KV head",
     "vllm/config/model.py verify_with_parallel_config", DecodeContextHeads},
    {"vllm.fp8_blocks", "(FFN width / ranks) % quantisation block == 0",
     "vllm/model_executor/layers/fused_moe and the FP8 linear layers", QuantisationBlocks},
    {"vllm.eplb", "enable-eplb: expert parallelism over two ranks or more, (experts + redundant) % ranks == 0",
     "vllm/config/parallel.py ParallelConfig", BalancedExpertsDivide},
    {"vllm.layer_partition", "VLLM_PP_LAYER_PARTITION has one entry a stage and sums to the layers",
     "vllm/distributed/utils.py get_pp_indices", LayersSum},
    {"vllm.batched_tokens", "max-num-batched-tokens >= max-num-seqs", "vllm/config/scheduler.py SchedulerConfig",
     BatchedTokensCover},
    {"vllm.all2all_backend", "all2all-backend is one of 0.24's", "vllm/config/parallel.py ParallelConfig",
     KnownBackend},
}};

}  // namespace

std::span<const VllmRule> VllmRules() { return kRules; }

std::vector<std::int64_t> VllmLayerPartition(std::int64_t num_layers, std::int64_t stages) {
  std::vector<std::int64_t> partition(static_cast<std::size_t>(stages), num_layers / stages);
  const auto rest = static_cast<std::size_t>(num_layers % stages);
  for (std::size_t i = 0; i < rest; ++i) ++partition[partition.size() - 2 - i];
  return partition;
}

}  // namespace shardscout::frameworks
