#pragma once

// What evaluate and explain score: a plan, or a strategy with the problem's options.

#include <CLI/CLI.hpp>
#include <optional>
#include <string>

#include "shardscout/plan.h"
#include "src/cli/problem_options.h"

namespace shardscout::cli {

struct StrategyArguments {
  std::string file;           ///< A plan or a strategy.
  std::string strategy_file;  ///< --strategy: the same, by name.
  ProblemArguments problem;
  std::string evaluator = "analytical";
};

void AddStrategyOptions(CLI::App& command, StrategyArguments& arguments);

struct StrategyInput {
  Problem problem;
  Strategy strategy;
  std::optional<Plan> plan;  ///< Set where the file is a plan and its own problem is taken.
};

/// A plan brings its problem along; problem options given beside it replace that as a whole. A strategy needs them.
StrategyInput ReadStrategyInput(const StrategyArguments& arguments);

/// The plan, where the file is one of two pools.
std::optional<Plan> ReadTwoPools(const StrategyArguments& arguments);

/// The strategy of a plan or strategy file alone.
Strategy ReadStrategyFile(const std::string& path);

}  // namespace shardscout::cli
