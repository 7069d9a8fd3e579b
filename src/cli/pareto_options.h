#pragma once

// The Pareto front on the command line: its options, and how it is printed.

#include <CLI/CLI.hpp>
#include <optional>
#include <string>

#include "shardscout/pareto.h"
#include "src/cli/commands.h"
#include "src/cli/search_options.h"

namespace shardscout::cli {

struct ParetoArguments {
  bool front = false;
  std::string csv;  ///< "": not written. Implies `front`.
  bool Asked() const { return front || !csv.empty(); }
};

void AddParetoOptions(CLI::App& command, ParetoArguments& arguments);

/// The front, if it was asked for; its CSV is written then.
std::optional<ParetoFront> FindFront(const Problem& problem, const ParetoArguments& arguments,
                                     const SearchArguments& search, const Context& context);

void PrintFront(const Problem& problem, const ParetoFront& front, const ParetoArguments& arguments);

}  // namespace shardscout::cli
