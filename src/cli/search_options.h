#pragma once

// The options that make a search, shared by search and compare.

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "shardscout/problem.h"
#include "shardscout/run_search.h"
#include "src/cli/commands.h"

namespace shardscout::cli {

struct SearchArguments {
  std::string evaluator = "analytical";
  std::int64_t budget = 4000;
  std::int64_t seed = 1;
  std::string start = "none";
  std::string screen;           ///< A cheaper evaluator; "": none.
  std::string screen_searcher;  ///< "": as the search.
  std::int64_t screen_budget = 4000;
  std::int64_t screen_keep = 32;
  std::string config;             ///< A file of searchers' settings.
  std::vector<std::string> sets;  ///< "annealing.patience=100"
  bool from_scratch = false;      ///< Without what searchers learned on other problems.
  int threads = 0;
  double time_limit_s = 0;
  std::string out;
  std::string journal;
  bool resume = false;
};

void AddSearchOptions(CLI::App& command, SearchArguments& arguments);

/// One request a searcher, journals not set. Throws SpecError before anything is spent: unknown names and settings, an
/// --out that can't be written.
std::vector<SearchRequest> MakeRequests(const std::vector<std::string>& searchers, const SearchArguments& arguments,
                                        const Context& context);

/// "plan.json" -> "plan.journal.jsonl", with a searcher's name "plan.ppo.journal.jsonl".
std::string DefaultJournal(const std::string& out, const std::string& searcher);

/// Runs with a progress line, then logs warnings and the speed.
SearchReport RunWithProgress(const Problem& problem, SearchRequest request, const Context& context);

/// On stderr: what the nearest strategy breaks, what to relax, and a sufficient number of devices.
void ReportInfeasible(const Problem& problem, const SearchReport& report, const SearchRequest& request,
                      const Context& context);

/// 130 if interrupted, 3 without a plan, else 0.
int ExitCode(bool has_plan, const Context& context);

}  // namespace shardscout::cli
