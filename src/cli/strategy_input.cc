#include "src/cli/strategy_input.h"

#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "shardscout/error.h"
#include "shardscout/preset_paths.h"
#include "src/json/json_text.h"

namespace shardscout::cli {
namespace {

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
      command.add_option("file", arguments.file, "A plan, or a strategy as JSON (needs the problem's options)");
  command.add_option("--strategy", arguments.strategy_file, "The same, as an option")->excludes(file);
  AddProblemOptions(command, arguments.problem);
  command.add_option("--evaluator,-e", arguments.evaluator, "What scores it (shardscout list evaluators)")
      ->capture_default_str();
}

StrategyInput ReadStrategyInput(const StrategyArguments& arguments) {
  const std::string& path = arguments.file.empty() ? arguments.strategy_file : arguments.file;
  if (path.empty()) throw SpecError("--strategy", "is needed: a plan, or a strategy as JSON");
  const std::string text = ReadTextFile(path);
  if (!IsPlan(text, path)) {
    Strategy strategy = ParseStrategy(text, path);
    return {MakeProblem(arguments.problem), strategy, std::nullopt};
  }
  Plan plan = ParsePlan(text, path);
  const Strategy strategy = OnlyStrategy(plan, path);
  if (arguments.problem.AnyGiven()) return {MakeProblem(arguments.problem), strategy, std::nullopt};
  return {ParseProblem(plan.problem_json, path), strategy, std::move(plan)};
}

std::optional<Plan> ReadTwoPools(const StrategyArguments& arguments) {
  const std::string& path = arguments.file.empty() ? arguments.strategy_file : arguments.file;
  if (path.empty()) return std::nullopt;
  const std::string text = ReadTextFile(path);
  if (!IsPlan(text, path)) return std::nullopt;
  Plan plan = ParsePlan(text, path);
  if (plan.pools.size() != 2) return std::nullopt;
  return plan;
}

Strategy ReadStrategyFile(const std::string& path) {
  const std::string text = ReadTextFile(path);
  return IsPlan(text, path) ? OnlyStrategy(ParsePlan(text, path), path) : ParseStrategy(text, path);
}

}  // namespace shardscout::cli
