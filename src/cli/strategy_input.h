#pragma once

// What evaluate, explain and compare-plans score: a plan, a strategy with the problem's options, or a deployment.

#include <CLI/CLI.hpp>
#include <iosfwd>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "shardscout/deployment.h"
#include "shardscout/plan.h"
#include "src/cli/commands.h"
#include "src/cli/problem_options.h"

namespace shardscout::cli {

struct StrategyArguments {
  std::string file;           ///< A plan, a strategy or a deployment.
  std::string strategy_file;  ///< --strategy: the same, by name.
  ProblemArguments problem;
  std::string evaluator = "analytical";
};

void AddStrategyOptions(CLI::App& command, StrategyArguments& arguments);

struct StrategyInput {
  Problem problem;
  Strategy strategy;
  std::optional<Plan> plan;              ///< Set where the file is a plan and its own problem is taken.
  std::optional<Deployment> deployment;  ///< Set where the file is one.
  std::vector<std::string> differs;      ///< Of a deployment: what the price leaves out.
};

/// A plan brings its problem along; problem options given beside it replace that as a whole. A strategy needs them. A
/// deployment needs a cluster and a workload, and is refused where it breaks its framework's own rules; model, devices,
/// memory fraction and cache type are its own where they are not given.
StrategyInput ReadStrategyInput(const StrategyArguments& arguments, const Context& context);

/// A file's strategy on `problem` (its fixed values and framework apart).
StrategyInput ReadStrategyOn(const Problem& problem, const std::string& path, const std::string& evaluator,
                             const Context& context);

/// What a deployment says in neutral words, and what its price leaves out; nothing for
/// others.
void PrintDeployment(std::ostream& out, const StrategyInput& input);
/// null where the input is no deployment.
nlohmann::ordered_json DeploymentJson(const StrategyInput& input);

/// The plan, where the file is one of two pools.
std::optional<Plan> ReadTwoPools(const StrategyArguments& arguments);

/// The plan, where the file is one.
std::optional<Plan> ReadPlanFile(const std::string& path);

/// The strategy of a plan or strategy file alone.
Strategy ReadStrategyFile(const std::string& path);

}  // namespace shardscout::cli
