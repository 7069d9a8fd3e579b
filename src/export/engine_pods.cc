#include "src/export/engine_pods.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>

#include "shardscout/error.h"
#include "shardscout/two_pools.h"
#include "src/export/lowering.h"
#include "src/export/sglang.h"
#include "src/export/tensorrt_llm.h"
#include "src/export/vllm.h"
#include "src/frameworks/kubernetes.h"

namespace shardscout::exporters {
namespace {

ExportResult ExportEngine(Framework framework, const Plan& plan, const Reevaluate& reevaluate) {
  switch (framework) {
    case Framework::kVllm:
      return VllmExporter().Export(plan, reevaluate);
    case Framework::kSglang:
      return SglangExporter().Export(plan, reevaluate);
    default:
      SHARDSCOUT_CHECK(framework == Framework::kTensorRtLlm);
      return TensorRtLlmExporter().Export(plan, reevaluate);
  }
}

/// The settings of a file of one "name: value" a line.
EngineSettings SettingsOf(const std::string& yaml) {
  EngineSettings settings;
  std::istringstream lines(yaml);
  for (std::string line; std::getline(lines, line);) {
    const std::size_t colon = line.find(": ");
    if (!line.starts_with('#') && colon != std::string::npos) settings[line.substr(0, colon)] = line.substr(colon + 2);
  }
  return settings;
}

/// "NAME=value NAME=value program ...": what stands before the program.
std::vector<std::pair<std::string, std::string>> EnvironmentOf(const std::string& command) {
  std::vector<std::pair<std::string, std::string>> environment;
  std::istringstream words(command);
  for (std::string word; words >> word;) {
    const std::size_t equals = word.find('=');
    if (equals == std::string::npos || word.starts_with('-')) break;
    environment.emplace_back(word.substr(0, equals), word.substr(equals + 1));
  }
  return environment;
}

void LayOver(EnginePods& pods, std::int64_t per_node) {
  if (pods.ranks == 1 || pods.rank_devices > per_node) {
    pods.gpus_per_pod = std::min(per_node, pods.Devices());
    pods.size = (pods.Devices() + pods.gpus_per_pod - 1) / pods.gpus_per_pod;
    return;
  }
  pods.ranks_per_pod = std::min(pods.ranks, per_node / pods.rank_devices);
  pods.gpus_per_pod = pods.ranks_per_pod * pods.rank_devices;
  pods.size = (pods.ranks + pods.ranks_per_pod - 1) / pods.ranks_per_pod;
}

EnginePods PodsOfOne(Framework framework, const Plan& plan, const Reevaluate& reevaluate, std::string_view flag) {
  const Problem problem = UnpinnedProblem(plan, framework, flag);
  EnginePods pods;
  pods.engine = ExportEngine(framework, plan, reevaluate);
  pods.comment = Preamble(framework, plan, problem, pods.engine.lowered);
  pods.environment = EnvironmentOf(pods.engine.command);
  if (framework != Framework::kTensorRtLlm) pods.settings = SettingsOf(pods.engine.files.front().text);
  pods.replicas = problem.Replicas(pods.engine.lowered);
  pods.rank_devices = pods.engine.lowered.InstanceSize();
  if (framework == Framework::kVllm) {
    if (pods.settings.contains("data-parallel-backend")) {
      throw SpecError(flag, "a data parallel rank of this plan spans nodes, which vLLM runs by Ray alone");
    }
    pods.ranks = pods.SizeOf("data-parallel-size");
    pods.rank_devices = pods.SizeOf("tensor-parallel-size") * pods.SizeOf("pipeline-parallel-size") *
                        pods.SizeOf("prefill-context-parallel-size");
  }
  LayOver(pods, problem.cluster().devices_per_node);
  for (const char* of_nodes : {"data-parallel-size-local", "data-parallel-rpc-port", "nnodes"}) {
    pods.settings.erase(of_nodes);
  }
  return pods;
}

/// What both pools do together as they were lowered.
Evaluation TogetherOf(const Plan& plan, const EnginePods& prefill, const EnginePods& decode) {
  const auto lowered = [&](const EnginePods& pods, Phase phase) {
    const Plan alone = PlanOfPool(plan, phase);
    return MakePool(ParseProblem(alone.problem_json, "the plan"), pods.engine.lowered);
  };
  return EvaluateTwoPools(ParseProblem(plan.problem_json, "the plan"), lowered(prefill, Phase::kPrefill),
                          lowered(decode, Phase::kDecode));
}

}  // namespace

std::int64_t EnginePods::SizeOf(const std::string& name) const {
  const auto found = settings.find(name);
  return found == settings.end() ? 1 : std::stoll(found->second);
}

std::vector<EnginePods> PodsOf(Framework framework, const Plan& plan, const Reevaluate& reevaluate,
                               std::string_view flag) {
  if (plan.pools.size() == 1) return {PodsOfOne(framework, plan, reevaluate, flag)};
  std::vector<EnginePods> all;
  for (const Phase phase : {Phase::kPrefill, Phase::kDecode}) {
    const Plan alone = PlanOfPool(plan, phase);
    const Problem own = ParseProblem(alone.problem_json, flag);
    all.push_back(PodsOfOne(
        framework, alone, [&](const Strategy& s) { return EvaluatePool(own, s); }, flag));
    all.back().role = ToString(phase);
  }
  return all;
}

ExportResult ResultOf(std::string_view target, const Plan& plan, const std::vector<EnginePods>& pods) {
  ExportResult result;
  result.target = std::string(target);
  for (const EnginePods& pool : pods) {
    const std::string prefix = pool.role.empty() ? "" : pool.role + ": ";
    for (const Dropped& dropped : pool.engine.dropped) {
      result.dropped.push_back({prefix + dropped.what, dropped.instead});
    }
    for (const std::string& note : pool.engine.priced) result.priced.push_back(prefix + note);
  }
  result.lowered = pods.back().engine.lowered;
  if (pods.size() == 1) {
    result.lowered_evaluation = pods.front().engine.lowered_evaluation;
    return result;
  }
  result.lowered_prefill = pods.front().engine.lowered;
  if (!result.dropped.empty()) result.lowered_evaluation = TogetherOf(plan, pods.front(), pods.back());
  return result;
}

std::string ObjectName(Framework framework, const Plan& plan) {
  return frameworks::LabelOf(std::string(ToString(framework)), plan.model_name);
}

std::vector<std::string> Words(const EngineSettings& settings) {
  std::vector<std::string> words;
  for (const auto& [name, value] : settings) {
    words.push_back("--" + name);
    if (value != "true") words.push_back(value);
  }
  return words;
}

std::string QuotedList(const std::vector<std::string>& words) {
  std::string list;
  for (const std::string& word : words) list += (list.empty() ? "" : ", ") + nlohmann::json(word).dump();
  return "[" + list + "]";
}

}  // namespace shardscout::exporters
