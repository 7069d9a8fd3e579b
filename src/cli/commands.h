#pragma once

// The commands of the command line: one file each. A command parses its options, calls the public API and prints; it
// holds no logic of its own. stdout carries results, stderr logs and progress.

#include <CLI/CLI.hpp>
#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "shardscout/evaluator.h"
#include "shardscout/exporter.h"
#include "shardscout/live_run.h"
#include "shardscout/searcher.h"

namespace shardscout::cli {

inline constexpr int kExitResult = 0;
inline constexpr int kExitBug = 1;
inline constexpr int kExitUser = 2;        ///< User input, unwritable output, full disk.
inline constexpr int kExitInfeasible = 3;  ///< Infeasible, or nothing found.
inline constexpr int kExitLive = 4;        ///< A live worker failed.
inline constexpr int kExitInterrupted = 130;

/// What every command gets. Lives as long as main.
struct Context {
  SearcherRegistry searchers;
  EvaluatorRegistry evaluators;
  ExporterRegistry exporters;
  std::shared_ptr<LiveOptions> live = std::make_shared<LiveOptions>();  ///< Shared with the evaluator `live`.
  std::string build;                  ///< Of what else is linked in, for journals: "LibTorch 1.13.1", or "".
  std::atomic<bool>* stop = nullptr;  ///< Set by Ctrl-C.
  bool json = false;
  bool quiet = false;
  std::string log_level = "info";
  std::string log_file;
  std::function<int()> run;  ///< The chosen command, set while parsing; returns the exit code.
};

/// --json, --quiet, --log-level, --log-file.
void AddCommonOptions(CLI::App& command, Context& context);

/// SpecError for a searcher that this build knows of but was built without (ppo without LibTorch), with the remedy.
void CheckSearcherIsBuilt(const std::string& name);

/// --nproc and the like, into Context::live; for commands that measure.
void AddLiveOptions(CLI::App& command, Context& context);

/// Where another launcher started this process as one of several to measure strategies together: notes it, and becomes
/// a worker unless its rank is 0. Nothing where --nproc is given.
void JoinLaunchedRanks(Context& context);

void AddSearchCommand(CLI::App& app, Context& context);
void AddCompareCommand(CLI::App& app, Context& context);
void AddComparePlansCommand(CLI::App& app, Context& context);
void AddEvaluateCommand(CLI::App& app, Context& context);
void AddImportClusterCommand(CLI::App& app, Context& context);
void AddExplainCommand(CLI::App& app, Context& context);
void AddExportCommand(CLI::App& app, Context& context);
void AddReportCommand(CLI::App& app, Context& context);
void AddListCommand(CLI::App& app, Context& context);
void AddCheckCommand(CLI::App& app, Context& context);
void AddJoinCommand(CLI::App& app, Context& context);
void AddDivideCommand(CLI::App& app, Context& context);
void AddLiveCommand(CLI::App& app, Context& context);
void AddCalibrateCommand(CLI::App& app, Context& context);
void AddCompletionCommand(CLI::App& app, Context& context);
void AddManCommand(CLI::App& app, Context& context);

}  // namespace shardscout::cli
