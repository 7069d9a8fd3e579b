#include "src/cli/strategy_input.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "shardscout/error.h"
#include "shardscout/preset_paths.h"
#include "src/cli/option_table.h"
#include "src/json/json_text.h"
#include "src/spec_fields.h"

namespace shardscout::cli {
namespace {

/// Plans and strategies are JSON objects with keys of their own; the JSON among deployments has others.
bool IsDeployment(const std::string& text) {
  const nlohmann::json document = nlohmann::json::parse(text, nullptr, false);
  if (document.is_object() && (document.contains("pools") || document.contains("shardings"))) return false;
  return LooksLikeDeployment(text);
}

/// The pool for the workload's phase.
const Deployment& Chosen(const std::vector<Deployment>& deployments, WorkloadKind kind, const std::string& path) {
  if (deployments.size() == 1) return deployments.front();
  for (const Deployment& deployment : deployments) {
    if (deployment.role == ToString(kind)) return deployment;
  }
  throw SpecError(path, "has " + std::to_string(deployments.size()) +
                            " kinds of instances; give a prefill or a decode workload, whose instances are then taken");
}

/// Options that the user left open, from the file.
ProblemArguments Completed(ProblemArguments arguments, const Deployment& deployment, const std::string& path) {
  if (arguments.model.empty()) {
    arguments.model = PresetOf(deployment);
    if (arguments.model.empty()) {
      throw SpecError("--model", deployment.model.empty()
                                     ? "is needed: " + path + " names no model"
                                     : "is needed: no preset is known for \"" + deployment.model + "\"");
    }
  }
  if (deployment.degrees.InstanceSize() > kMaxDevices) {
    throw SpecError(path, "asks for " + std::to_string(deployment.degrees.InstanceSize()) +
                              " devices an instance, at "
                              "most " +
                              std::to_string(kMaxDevices) + " are possible");
  }
  if (!arguments.devices)
    arguments.devices = std::min(kMaxDevices, deployment.degrees.InstanceSize() * deployment.replicas);
  if (!arguments.memory_fraction) arguments.memory_fraction = deployment.memory_fraction;
  if (arguments.overrides.kv_dtype.empty()) arguments.overrides.kv_dtype = deployment.kv_dtype;
  return arguments;
}

StrategyInput DeployedOn(const Problem& problem, const std::string& text, const std::string& path,
                         const std::string& evaluator_name, const Context& context) {
  const std::vector<Deployment> deployments = ReadDeployments(text, path, &problem.model());
  const Deployment& deployment = Chosen(deployments, problem.workload().kind, path);
  if (!deployment.broken_rules.empty()) {
    std::string rules;
    for (const std::string& rule : deployment.broken_rules) rules += (rules.empty() ? "" : "; ") + rule;
    throw SpecError(path, std::string(ToString(deployment.framework)) + " refuses to run it: " + rules);
  }
  const std::unique_ptr<Evaluator> evaluator = context.evaluators.Make(evaluator_name, problem);
  DeployedStrategy deployed =
      StrategyOf(problem, deployment, [&](const Strategy& strategy) { return evaluator->Evaluate(strategy); });
  StrategyInput input{problem, deployed.strategy, std::nullopt, deployment, std::move(deployed.differs)};
  if (deployment.max_positions && *deployment.max_positions < problem.workload().CachePositions()) {
    input.differs.push_back("requests of " + std::to_string(problem.workload().CachePositions()) +
                            " positions do not fit the deployment's " + std::to_string(*deployment.max_positions));
  }
  const bool fp8 =
      deployment.model.find("FP8") != std::string::npos || deployment.model.find("fp8") != std::string::npos;
  if (fp8 && problem.model().weight_dtype != DType::kFp8) {
    input.differs.push_back("the file names an FP8 checkpoint, priced in " +
                            std::string(ToString(problem.model().weight_dtype)) +
                            " (--weight-dtype fp8 --quant-block 128)");
  }
  return input;
}

/// Only a plan has this key; whatever else is wrong with the document, its own parser says.
bool IsPlan(const std::string& text, const std::string& path) {
  const nlohmann::json document = json::ParseText(text, path);
  return document.is_object() && (document.contains("schema_version") || document.contains("pools"));
}

const Strategy& OnlyStrategy(const Plan& plan, const std::string& path) {
  if (plan.pools.size() != 1) {
    throw SpecError(path, "has " + std::to_string(plan.pools.size()) + " pools; give one pool's strategy");
  }
  return plan.pools.front().strategy;
}

}  // namespace

void AddStrategyOptions(CLI::App& command, StrategyArguments& arguments) {
  auto* file =
      command
          .add_option(
              "file", arguments.file,
              "A plan, a strategy as JSON (needs the problem's options), or the settings or command of a deployment of "
              "vLLM, SGLang, TensorRT-LLM or Megatron-LM (needs a cluster and a workload)")
          ->type_name(takes::kFile);
  command.add_option("--strategy", arguments.strategy_file, "The same, as an option")
      ->type_name(takes::kFile)
      ->excludes(file);
  AddProblemOptions(command, arguments.problem);
  command.add_option("--evaluator,-e", arguments.evaluator, "What scores it (shardscout list evaluators)")
      ->type_name(takes::kEvaluator)
      ->capture_default_str();
}

StrategyInput ReadStrategyInput(const StrategyArguments& arguments, const Context& context) {
  const std::string& path = arguments.file.empty() ? arguments.strategy_file : arguments.file;
  if (path.empty()) throw SpecError("--strategy", "is needed: a plan, or a strategy as JSON");
  const std::string text = ReadTextFile(path);
  if (IsDeployment(text)) {
    if (arguments.problem.workload.empty())
      throw SpecError("--workload", "is needed (shardscout list shows the presets)");
    const std::vector<Deployment> deployments = ReadDeployments(text, path, nullptr);
    const WorkloadKind kind = LoadWorkload(arguments.problem.workload).kind;
    const Problem problem = MakeProblem(Completed(arguments.problem, Chosen(deployments, kind, path), path));
    return DeployedOn(problem, text, path, arguments.evaluator, context);
  }
  if (!IsPlan(text, path)) {
    Strategy strategy = ParseStrategy(text, path);
    return {MakeProblem(arguments.problem), strategy, std::nullopt, std::nullopt, {}};
  }
  Plan plan = ParsePlan(text, path);
  const Strategy strategy = OnlyStrategy(plan, path);
  if (arguments.problem.AnyGiven()) return {MakeProblem(arguments.problem), strategy, std::nullopt, std::nullopt, {}};
  return {ParseProblem(plan.problem_json, path), strategy, std::move(plan), std::nullopt, {}};
}

StrategyInput ReadStrategyOn(const Problem& problem, const std::string& path, const std::string& evaluator,
                             const Context& context) {
  const Problem open(problem.model(), problem.cluster(), problem.workload(),
                     ProblemOptions{{}, problem.options().admitted_overlaps, std::nullopt});
  const std::string text = ReadTextFile(path);
  if (IsDeployment(text)) return DeployedOn(open, text, path, evaluator, context);
  return {open, ReadStrategyFile(path), std::nullopt, std::nullopt, {}};
}

void PrintDeployment(std::ostream& out, const StrategyInput& input) {
  if (!input.deployment) return;
  const Deployment& d = *input.deployment;
  const Degrees degrees = DegreesOf(input.strategy);
  out << "runs      " << ToString(d.framework) << (d.role.empty() ? "" : ", " + d.role) << ": attention tp "
      << degrees.attention_tensor << ", dp " << degrees.attention_data << ", cp " << degrees.context << "; experts tp "
      << degrees.expert_tensor << ", ep " << degrees.expert << "; pp " << degrees.pipeline << "; "
      << degrees.InstanceSize() << " devices an instance\n";
  for (const std::string& differs : input.differs) out << "priced    " << differs << "\n";
  for (const std::string& note : d.notes) out << "note      " << note << "\n";
}

nlohmann::ordered_json DeploymentJson(const StrategyInput& input) {
  if (!input.deployment) return nullptr;
  const Deployment& d = *input.deployment;
  const Degrees degrees = DegreesOf(input.strategy);
  nlohmann::ordered_json json;
  json["framework"] = ToString(d.framework);
  json["role"] = d.role;
  json["model"] = d.model;
  json["attention_tensor"] = degrees.attention_tensor;
  json["attention_data"] = degrees.attention_data;
  json["context"] = degrees.context;
  json["expert_tensor"] = degrees.expert_tensor;
  json["expert"] = degrees.expert;
  json["pipeline"] = degrees.pipeline;
  json["instance_devices"] = degrees.InstanceSize();
  json["replicas"] = d.replicas;
  json["differs"] = input.differs;
  json["notes"] = d.notes;
  return json;
}

std::optional<Plan> ReadTwoPools(const StrategyArguments& arguments) {
  const std::string& path = arguments.file.empty() ? arguments.strategy_file : arguments.file;
  if (path.empty()) return std::nullopt;
  const std::string text = ReadTextFile(path);
  if (IsDeployment(text) || !IsPlan(text, path)) return std::nullopt;
  Plan plan = ParsePlan(text, path);
  if (plan.pools.size() != 2) return std::nullopt;
  return plan;
}

std::optional<Plan> ReadPlanFile(const std::string& path) {
  const std::string text = ReadTextFile(path);
  if (IsDeployment(text) || !IsPlan(text, path)) return std::nullopt;
  return ParsePlan(text, path);
}

Strategy ReadStrategyFile(const std::string& path) {
  const std::string text = ReadTextFile(path);
  return IsPlan(text, path) ? OnlyStrategy(ParsePlan(text, path), path) : ParseStrategy(text, path);
}

}  // namespace shardscout::cli
