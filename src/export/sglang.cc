#include "src/export/sglang.h"

#include <algorithm>
#include <cmath>
#include <sstream>
#include <string>

#include "src/export/lowering.h"
#include "src/frameworks/degrees.h"
#include "src/frameworks/hub_names.h"

namespace shardscout::exporters {

using frameworks::SglangArguments;

namespace {

/// Three digits, downwards: what is promised has to fit.
double RoundedDown(double fraction) { return std::floor(fraction * 1000) / 1000; }

std::string WriteSettings(const Plan& plan, const Problem& problem, const Strategy& strategy,
                          const SglangArguments& a) {
  std::ostringstream out;
  out << "# python -m sglang.launch_server --config sglang.yaml\n"
      << Preamble(Framework::kSglang, plan, problem, strategy) << "model-path: " << frameworks::HubName(plan.model_name)
      << "\ntp-size: " << a.tp_size << "\npp-size: " << a.pp_size << "\n";
  if (a.dp_size > 1) out << "dp-size: " << a.dp_size << "\n";
  if (a.enable_dp_attention) out << "enable-dp-attention: true\n";
  if (a.enable_dp_lm_head) out << "enable-dp-lm-head: true\n";
  if (problem.model().HasMoe()) out << "ep-size: " << a.ep_size << "\nmoe-a2a-backend: " << a.moe_a2a_backend << "\n";
  if (!a.deepep_mode.empty()) out << "deepep-mode: " << a.deepep_mode << "\n";
  if (a.moe_dense_tp_size > 0) out << "moe-dense-tp-size: " << a.moe_dense_tp_size << "\n";
  if (a.nnodes > 1) out << "nnodes: " << a.nnodes << "\n";
  out << "kv-cache-dtype: " << a.kv_cache_dtype << "\n"
      << "context-length: " << a.context_length << "\n"
      << "max-running-requests: " << a.max_running_requests << "\n";
  if (a.chunked_prefill_size > 0) out << "chunked-prefill-size: " << a.chunked_prefill_size << "\n";
  if (a.mem_fraction_static > 0) out << "mem-fraction-static: " << FractionText(a.mem_fraction_static) << "\n";
  return out.str();
}

}  // namespace

SglangArguments SglangArgumentsOf(const Problem& problem, const Strategy& s,
                                  const std::optional<Evaluation>& evaluation) {
  const ModelSpec& model = problem.model();
  const WorkloadSpec& workload = problem.workload();
  SglangArguments a;
  SetDegrees(a, DegreesOf(s));
  a.enable_dp_lm_head = a.enable_dp_attention;
  if (model.HasMoe() && s.BlockSize() > 1 && s.expert_exchange == ExpertExchange::kAllToAll) {
    a.moe_a2a_backend = "deepep";
    const bool serve = workload.kind == WorkloadKind::kServe;
    a.deepep_mode = serve ? "auto" : workload.kind == WorkloadKind::kDecode ? "low_latency" : "normal";
  }
  if (model.HasDense() && a.enable_dp_attention && s.dense_ffn_group == DenseFfnGroup::kTp) a.moe_dense_tp_size = 1;
  const std::int64_t per_node = problem.cluster().devices_per_node;
  a.nnodes = (a.WorldSize() + per_node - 1) / per_node;
  a.max_running_requests = s.batch_size * s.data_parallel_size;
  a.context_length = MaxPositions(workload);
  if (workload.HasPhase(Phase::kPrefill)) {
    a.chunked_prefill_size = PrefillRequests(problem, s) * workload.input_tokens * s.data_parallel_size;
  }
  if (evaluation) {
    const MemoryUse& memory = evaluation->memory;
    const double beside = memory.activation_bytes + memory.communication_bytes + memory.reserved_bytes;
    const double fraction = (memory.limit_bytes - beside) / problem.cluster().device.hbm_bytes;
    if (fraction > 0.001) a.mem_fraction_static = RoundedDown(fraction);
  }
  if (model.kv_dtype != model.residual_dtype) {
    a.kv_cache_dtype = model.kv_dtype == DType::kFp8 ? "fp8_e4m3" : std::string(ToString(model.kv_dtype));
  }
  a.layer_partition =
      PartitionUnless(problem, s, frameworks::SglangLayerPartition(model.num_layers, s.pipeline_parallel_size));
  return a;
}

ExportResult SglangExporter::Export(const Plan& plan, const Reevaluate& reevaluate) const {
  const Problem problem = UnpinnedProblem(plan, Framework::kSglang);
  const Lowered lowered = Lower(Framework::kSglang, problem, plan.pools.front().strategy, reevaluate);
  const std::optional<Evaluation> evaluation = EvaluationOf(lowered, reevaluate);
  const SglangArguments a = SglangArgumentsOf(problem, lowered.strategy, evaluation);
  ThrowIfBroken(Framework::kSglang, CheckRules(frameworks::SglangRules(), a, problem.model()));

  ExportResult result = ResultOf(Framework::kSglang, problem, lowered);
  result.files.push_back({"sglang.yaml", WriteSettings(plan, problem, lowered.strategy, a)});
  if (!a.layer_partition.empty()) result.command = "SGLANG_PP_LAYER_PARTITION=" + Joined(a.layer_partition) + " ";
  result.command += "python -m sglang.launch_server --config sglang.yaml";
  if (a.nnodes > 1) {
    result.command += " --dist-init-addr $HEAD_ADDRESS:5757 --node-rank 0";
    result.notes.push_back("on node k of 1 to " + std::to_string(a.nnodes - 1) +
                           " the same command with --node-rank k");
  }
  const Strategy& s = lowered.strategy;
  if (s.data_parallel_size > 1 && problem.model().HasSharedExpert() && s.expert_exchange != ExpertExchange::kAllToAll) {
    result.priced.emplace_back("SGLang splits the shared expert over all of tp-size; priced over the attention's tp");
  }
  return result;
}

}  // namespace shardscout::exporters
