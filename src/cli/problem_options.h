#pragma once

// The options that make a problem, the same for every command.

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "shardscout/problem.h"

namespace shardscout::cli {

/// As the user gave them; unset keeps what the files and presets say.
struct ProblemArguments {
  std::string model, cluster, workload;
  std::optional<std::int64_t> devices;
  std::optional<std::int64_t> input_tokens, output_tokens, batch_size, concurrency, global_batch_size;
  std::string ttft, tpot;  ///< "2", "2s", "50ms", "none"; "" is unset.
  std::string objective;
  std::string engine;
  std::optional<double> memory_fraction;
  ModelOverrides overrides;
  std::vector<std::string> fixed;
  std::vector<std::string> overlaps;
  std::string framework;  ///< "vllm", "vllm@0.24"; "": any strategy.

  bool AnyGiven() const;
};

/// Refuses NaN, which no range does; for options that hold a double.
CLI::Validator IsNumber();

void AddProblemOptions(CLI::App& command, ProblemArguments& arguments);

/// Loads the specs and applies the options. Throws SpecError; warnings about the model's file are logged.
Problem MakeProblem(const ProblemArguments& arguments);

}  // namespace shardscout::cli
