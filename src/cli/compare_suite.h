#pragma once

// compare --suite: searchers x problems x seeds, with tables, CSV and a page.

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "src/cli/commands.h"
#include "src/cli/search_options.h"

namespace shardscout::cli {

struct SuiteArguments {
  std::string suite;  ///< A file or a preset; "": compare on one problem.
  std::int64_t seeds = 20;
  double optimum_time_limit_s = 300;
};

/// --suite, --seeds, --optimum-time-limit.
void AddSuiteOptions(CLI::App& command, SuiteArguments& arguments);

/// `searchers`: instead of the suite's own where not empty. `budget_given`: search.budget instead of the suite's.
int CompareSuite(const SuiteArguments& arguments, const SearchArguments& search,
                 const std::vector<std::string>& searchers, bool budget_given, const Context& context);

}  // namespace shardscout::cli
