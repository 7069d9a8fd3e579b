#include "src/export/tensorrt_llm.h"

#include <algorithm>
#include <cmath>
#include <sstream>
#include <string>

#include "src/export/lowering.h"
#include "src/frameworks/degrees.h"
#include "src/frameworks/hub_names.h"

namespace shardscout::exporters {

using frameworks::TensorRtLlmArguments;

namespace {

std::string WriteSettings(const Plan& plan, const Problem& problem, const Strategy& strategy,
                          const TensorRtLlmArguments& a) {
  std::ostringstream out;
  out << "# trtllm-serve " << frameworks::HubName(plan.model_name) << " --config tensorrt_llm.yaml\n"
      << Preamble(Framework::kTensorRtLlm, plan, problem, strategy)
      << "tensor_parallel_size: " << a.tensor_parallel_size << "\npipeline_parallel_size: " << a.pipeline_parallel_size
      << "\n";
  if (problem.model().HasMoe()) {
    out << "moe_tensor_parallel_size: " << a.moe_tensor_parallel_size
        << "\nmoe_expert_parallel_size: " << a.moe_expert_parallel_size << "\n";
  }
  out << "gpus_per_node: " << a.gpus_per_node << "\n";
  if (a.enable_attention_dp) out << "enable_attention_dp: true\n";
  if (!a.pp_partition.empty()) out << "pp_partition: [" << Joined(a.pp_partition) << "]\n";
  if (!a.moe_backend.empty()) out << "moe_config: {backend: " << a.moe_backend << "}\n";
  out << "max_batch_size: " << a.max_batch_size << "\nmax_num_tokens: " << a.max_num_tokens
      << "\nmax_seq_len: " << a.max_seq_len << "\nkv_cache_config: {dtype: " << a.kv_cache_dtype;
  if (a.free_gpu_memory_fraction > 0) {
    out << ", free_gpu_memory_fraction: " << FractionText(a.free_gpu_memory_fraction);
  }
  out << "}\n";
  if (problem.workload().HasPhase(Phase::kDecode)) {
    out << "cuda_graph_config: {enable_padding: true, max_batch_size: " << a.max_batch_size << "}\n";
  }
  return out.str();
}

}  // namespace

TensorRtLlmArguments TensorRtLlmArgumentsOf(const Problem& problem, const Strategy& s,
                                            const std::optional<Evaluation>& evaluation) {
  const ModelSpec& model = problem.model();
  const WorkloadSpec& workload = problem.workload();
  TensorRtLlmArguments a;
  SetDegrees(a, DegreesOf(s));
  if (!model.HasMoe()) a.moe_tensor_parallel_size = a.moe_expert_parallel_size = 0;
  if (model.HasMoe() && s.BlockSize() > 1) {
    a.moe_backend = s.expert_exchange == ExpertExchange::kAllToAll ? "WIDEEP" : "CUTLASS";
  }
  a.gpus_per_node = problem.cluster().devices_per_node;
  a.max_batch_size = s.batch_size / s.num_microbatches;
  a.max_seq_len = MaxPositions(workload);
  constexpr std::int64_t kLeastTokens = 2048;
  a.max_num_tokens = std::max(a.max_batch_size, kLeastTokens);
  if (workload.HasPhase(Phase::kPrefill)) {
    a.max_num_tokens = std::max(a.max_num_tokens, PrefillRequests(problem, s) * workload.input_tokens);
  }
  if (evaluation) {
    const MemoryUse& memory = evaluation->memory;
    const double taken = memory.TotalBytes() - memory.kv_cache_bytes;
    const double fraction = (memory.limit_bytes - taken) / (problem.cluster().device.hbm_bytes - memory.weight_bytes);
    if (fraction > 0.001) a.free_gpu_memory_fraction = std::floor(fraction * 1000) / 1000;
  }
  if (model.kv_dtype != model.residual_dtype) a.kv_cache_dtype = std::string(ToString(model.kv_dtype));
  a.pp_partition =
      PartitionUnless(problem, s, frameworks::TensorRtLlmLayerPartition(model.num_layers, s.pipeline_parallel_size));
  return a;
}

ExportResult TensorRtLlmExporter::Export(const Plan& plan, const Reevaluate& reevaluate) const {
  const Problem problem = UnpinnedProblem(plan, Framework::kTensorRtLlm);
  const Lowered lowered = Lower(Framework::kTensorRtLlm, problem, plan.pools.front().strategy, reevaluate);
  const std::optional<Evaluation> evaluation = EvaluationOf(lowered, reevaluate);
  const TensorRtLlmArguments a = TensorRtLlmArgumentsOf(problem, lowered.strategy, evaluation);
  ThrowIfBroken(Framework::kTensorRtLlm, CheckRules(frameworks::TensorRtLlmRules(), a, problem.model()));

  ExportResult result = ResultOf(Framework::kTensorRtLlm, problem, lowered);
  result.files.push_back({"tensorrt_llm.yaml", WriteSettings(plan, problem, lowered.strategy, a)});
  const std::string serve = "trtllm-serve " + frameworks::HubName(plan.model_name) + " --config tensorrt_llm.yaml";
  const std::int64_t nodes = (a.WorldSize() + a.gpus_per_node - 1) / a.gpus_per_node;
  result.command = serve;
  if (nodes > 1) {
    result.command = "srun --mpi=pmix -N " + std::to_string(nodes) + " -n " + std::to_string(a.WorldSize()) +
                     " trtllm-llmapi-launch " + serve;
    result.notes.push_back("one process a device, " + std::to_string(a.gpus_per_node) +
                           " a node; srun stands for whatever starts MPI processes there");
  }
  return result;
}

}  // namespace shardscout::exporters
