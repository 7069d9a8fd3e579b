#include "src/export/vllm.h"

#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>

#include "shardscout/error.h"
#include "shardscout/strategy_space.h"
#include "src/strategy_json.h"

namespace shardscout::exporters {
namespace {

/// Where the weights of a preset lie on the Hugging Face hub.
std::string HubName(const std::string& model_name) {
  static constexpr std::pair<std::string_view, std::string_view> kKnown[] = {
      {"deepseek-v3", "deepseek-ai/DeepSeek-V3"},
      {"deepseek-r1", "deepseek-ai/DeepSeek-R1"},
      {"kimi-k2", "moonshotai/Kimi-K2-Instruct"},
      {"llama-3.1-8b", "meta-llama/Llama-3.1-8B-Instruct"},
      {"llama-3.1-70b", "meta-llama/Llama-3.1-70B-Instruct"},
      {"llama-3.1-405b", "meta-llama/Llama-3.1-405B-Instruct"},
      {"mixtral-8x7b", "mistralai/Mixtral-8x7B-Instruct-v0.1"},
      {"mixtral-8x22b", "mistralai/Mixtral-8x22B-Instruct-v0.1"},
      {"qwen2.5-72b", "Qwen/Qwen2.5-72B-Instruct"},
      {"qwen3-8b", "Qwen/Qwen3-8B"},
      {"qwen3-32b", "Qwen/Qwen3-32B"},
      {"qwen3-30b-a3b", "Qwen/Qwen3-30B-A3B"},
      {"qwen3-235b-a22b", "Qwen/Qwen3-235B-A22B"},
      {"qwen3-next-80b-a3b", "Qwen/Qwen3-Next-80B-A3B-Instruct"},
      {"qwen3.5-397b-a17b", "Qwen/Qwen3.5-397B-A17B"},
      {"qwen3-coder-480b-a35b", "Qwen/Qwen3-Coder-480B-A35B-Instruct"},
  };
  for (const auto& [preset, hub] : kKnown) {
    if (model_name == preset) return std::string(hub);
  }
  return model_name;
}

/// Value of a variable as a strategy's JSON spells it.
std::string SpelledValue(const Strategy& strategy, int variable) {
  const nlohmann::ordered_json json = StrategyJson(strategy);
  const std::string name = VariableName(variable);
  const std::size_t dot = name.find('.');
  const auto& value = dot == std::string::npos ? json.at(name) : json.at(name.substr(0, dot)).at(name.substr(dot + 1));
  return value.is_string() ? value.get<std::string>() : value.dump();
}

std::string_view Reason(int variable, const Strategy& lowered) {
  if (variable >= kFirstShardingVariable) {
    if (lowered.tensor_parallel_size == 1) return "tp is 1 there: nothing to shard over";
    return "vLLM's shardings are fixed: column, then row, over tp";
  }
  switch (static_cast<Variable>(variable)) {
    case Variable::kTensorParallelSize:
    case Variable::kContextParallelSize:
      return "vLLM's tp ranks share their requests, its context parallelism lies inside tp or needs data-parallel-size "
             "1";
    case Variable::kDataParallelSize:
      return "ranks with requests of their own are vLLM's data parallel ranks; those of a dense model are replicas";
    case Variable::kExpertParallelSize:
    case Variable::kExpertTensorParallelSize:
      return "vLLM splits experts over all ranks of a stage, by expert or each one, never both";
    case Variable::kBatchSize:
      return "a data parallel rank's share, and no more than keeps the limits";
    case Variable::kNumMicrobatches:
      return "vLLM keeps as many batches in flight as there are stages";
    case Variable::kResidualLayout:
      return "vLLM's residual stream is replicated";
    case Variable::kDenseFfnGroup:
      return "vLLM's dense FFNs use the tp group";
    case Variable::kExpertExchange:
      return "vLLM exchanges tokens only between data parallel ranks, by gather and scatter or all-to-all";
    default:
      return "vLLM overlaps two batches only with all-to-all between data parallel ranks";
  }
}

std::vector<Dropped> WhatIsDropped(const Problem& problem, const Strategy& plan, const VllmLowering& lowering) {
  std::vector<Dropped> dropped;
  for (int variable = 0; variable < kNumVariables; ++variable) {
    if (GetVariable(plan, variable) == GetVariable(lowering.lowered, variable)) continue;
    dropped.push_back(
        {VariableName(variable) + " = " + SpelledValue(plan, variable),
         SpelledValue(lowering.lowered, variable) + " (" + std::string(Reason(variable, lowering.lowered)) + ")"});
  }
  const VllmArguments& arguments = lowering.arguments;
  if (lowering.approximate) {
    dropped.push_back({"context_parallel_size = " + std::to_string(plan.context_parallel_size),
                       "decode-context-parallel-size " + std::to_string(arguments.decode_context_parallel_size) +
                           " inside tensor-parallel-size " + std::to_string(arguments.tensor_parallel_size) +
                           ": QKV and output projections are split over both, requests over neither (priced as the "
                           "plan's own context parallelism)"});
  }
  if (lowering.lowered.ShardingOf(Operator::kAttention) == Sharding::kSequence &&
      problem.workload().HasPhase(Phase::kPrefill)) {
    dropped.push_back({"shardings.attention = sequence in prefill",
                       "heads in prefill, with the cache split by position (priced as sequence in both phases)"});
  }
  if (arguments.pipeline_parallel_size > 1 && arguments.data_parallel_size > 1 &&
      lowering.lowered.InstanceSize() > problem.cluster().devices_per_node) {
    dropped.push_back({"rank order tp, cp, dp, pp (innermost first)",
                       "tp, pp, dp: a data parallel rank's stages are neighbours and expert groups reach further (not "
                       "priced)"});
  }
  return dropped;
}

/// A fraction as vLLM takes it.
std::string FractionText(double value) { return nlohmann::json(value).dump(); }

/// How the instance is started on its nodes.
struct Launch {
  std::string settings;   ///< Lines of the file.
  std::string arguments;  ///< Of the command on the first node.
  std::string note;       ///< What to start elsewhere.
};

Launch PlanLaunch(const VllmArguments& arguments, std::int64_t per_node) {
  const std::int64_t world = arguments.WorldSize();
  const std::int64_t devices = world * arguments.data_parallel_size;
  Launch launch;
  if (devices <= per_node) return launch;
  if (world <= per_node) {
    const std::int64_t local = per_node / world;
    const std::int64_t nodes = (arguments.data_parallel_size + local - 1) / local;
    launch.settings = "data-parallel-size-local: " + std::to_string(local) + "\ndata-parallel-rpc-port: 13345\n";
    launch.arguments = " --data-parallel-address $HEAD_ADDRESS";
    launch.note = "on node k of 1 to " + std::to_string(nodes - 1) +
                  " the same command with --headless --data-parallel-start-rank $((k * " + std::to_string(local) + "))";
    if (const std::int64_t last = arguments.data_parallel_size % local; last != 0) {
      launch.note += ", on the last with --data-parallel-size-local " + std::to_string(last);
    }
    return launch;
  }
  const std::int64_t nodes = (devices + per_node - 1) / per_node;
  if (arguments.data_parallel_size == 1) {
    launch.arguments = " --nnodes " + std::to_string(nodes) + " --node-rank 0 --master-addr $HEAD_ADDRESS";
    launch.note = "on node k of 1 to " + std::to_string(nodes - 1) + " the same command with --node-rank k --headless";
    return launch;
  }
  launch.settings = "data-parallel-backend: ray\ndistributed-executor-backend: ray\n";
  launch.note = "one data parallel rank spans nodes: start a Ray cluster of " + std::to_string(nodes) +
                " nodes and run the command on its head";
  return launch;
}

std::string WriteSettings(const Plan& plan, const Problem& problem, const VllmLowering& lowering,
                          const Launch& launch) {
  const VllmArguments& a = lowering.arguments;
  const ModelSpec& model = problem.model();
  std::ostringstream out;
  out << "# vllm serve --config vllm.yaml\n"
      << "# For vLLM 0.24, written by shardscout " << Version() << ": " << plan.model_name << ", " << plan.workload_name
      << ", on " << problem.cluster().num_devices << " devices of " << plan.cluster_name << ".\n"
      << "# One of " << problem.Replicas(lowering.lowered) << " equal instances of " << lowering.lowered.InstanceSize()
      << " devices.\n"
      << "# Planned for weights in " << ToString(model.weight_dtype) << "; the checkpoint must hold them so.\n"
      << "model: " << HubName(plan.model_name) << "\n"
      << "tensor-parallel-size: " << a.tensor_parallel_size << "\n"
      << "pipeline-parallel-size: " << a.pipeline_parallel_size << "\n"
      << "data-parallel-size: " << a.data_parallel_size << "\n"
      << launch.settings;
  if (a.prefill_context_parallel_size > 1) {
    out << "prefill-context-parallel-size: " << a.prefill_context_parallel_size << "\n";
  }
  if (a.decode_context_parallel_size > 1) {
    out << "decode-context-parallel-size: " << a.decode_context_parallel_size << "\n";
  }
  if (a.enable_expert_parallel) out << "enable-expert-parallel: true\n";
  if (!a.all2all_backend.empty()) out << "all2all-backend: " << a.all2all_backend << "\n";
  if (a.enable_dbo) out << "enable-dbo: true\n";
  out << "kv-cache-dtype: " << a.kv_cache_dtype << "\n"
      << "max-model-len: " << a.max_model_len << "\n"
      << "max-num-seqs: " << a.max_num_seqs << "\n";
  if (a.max_num_batched_tokens > 0) out << "max-num-batched-tokens: " << a.max_num_batched_tokens << "\n";
  out << "gpu-memory-utilization: " << FractionText(a.gpu_memory_utilization) << "\n";
  return out.str();
}

std::string PartitionPrefix(const VllmArguments& arguments) {
  if (arguments.layer_partition.empty()) return "";
  std::string text;
  for (const std::int64_t layers : arguments.layer_partition)
    text += (text.empty() ? "" : ",") + std::to_string(layers);
  return "VLLM_PP_LAYER_PARTITION=" + text + " ";
}

}  // namespace

ExportResult VllmExporter::Export(const Plan& plan, const Reevaluate& reevaluate) const {
  if (plan.pools.size() != 1) {
    throw SpecError("--to vllm", "the plan has " + std::to_string(plan.pools.size()) +
                                     " pools; this exporter writes one kind of instance");
  }
  const Problem planned = ParseProblem(plan.problem_json, "plan");
  const Problem problem(planned.model(), planned.cluster(), planned.workload(),
                        ProblemOptions{{}, planned.options().admitted_overlaps});
  const Strategy& strategy = plan.pools.front().strategy;
  const VllmLowering lowering = LowerFeasiblyForVllm(problem, strategy, reevaluate);
  for (const BrokenRule& broken : CheckVllmRules(lowering.arguments, problem.model())) {
    throw SpecError("--to vllm", "vLLM refuses this plan (" + broken.id + "): " + broken.message);
  }

  const Launch launch = PlanLaunch(lowering.arguments, problem.cluster().devices_per_node);
  ExportResult result;
  result.target = std::string(Name());
  result.command = PartitionPrefix(lowering.arguments) + "vllm serve --config vllm.yaml" + launch.arguments;
  result.files.push_back({"vllm.yaml", WriteSettings(plan, problem, lowering, launch)});
  result.lowered = lowering.lowered;
  result.dropped = WhatIsDropped(problem, strategy, lowering);
  if (const std::int64_t replicas = problem.Replicas(lowering.lowered); replicas > 1) {
    result.notes.push_back("start " + std::to_string(replicas) + " such instances, one every " +
                           std::to_string(lowering.lowered.InstanceSize()) +
                           " devices, and spread the requests over them");
  }
  if (!launch.note.empty()) result.notes.push_back(launch.note);
  if (reevaluate && !result.dropped.empty()) result.lowered_evaluation = reevaluate(result.lowered);
  return result;
}

}  // namespace shardscout::exporters
