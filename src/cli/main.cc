#include <signal.h>

#include <atomic>
#include <cstdio>
#include <exception>
#include <iostream>
#include <string>
#include <vector>

#include "shardscout/error.h"
#include "shardscout/plan.h"
#include "src/cli/commands.h"
#include "src/cli/load_agents.h"
#include "src/cli/logging.h"
#include "src/cli/option_table.h"
#include "src/cli/process_settings.h"

namespace shardscout::cli {
namespace {

std::atomic<bool> stop_requested{false};
static_assert(std::atomic<bool>::is_always_lock_free, "a signal handler may only touch lock-free atomics");

/// The first Ctrl-C asks the search to end; the handler is then gone, so that a second one ends the program.
void InstallInterruptHandler() {
  struct sigaction action {};
  action.sa_handler = [](int) { stop_requested.store(true); };
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, nullptr);
}

/// "--bugdet" -> "--budget", among the options of the command that was given.
std::string NearestOption(const CLI::App& app, const std::string& message) {
  const std::size_t start = message.find("--");
  const auto commands = app.get_subcommands();
  if (start == std::string::npos || commands.empty()) return "";
  const std::string word = message.substr(start, message.find_first_of(" =]", start) - start);
  std::vector<std::string> names;
  for (const CLI::Option* option : commands.front()->get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return NearestName(word, names);
}

/// One line on stderr.
int ReportParseError(const CLI::App& app, const CLI::ParseError& error) {
  if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version: printed on stdout
  std::string message = error.what();
  for (char& c : message) {
    if (c == '\n') c = ' ';
  }
  const std::string nearest = NearestOption(app, message);
  if (!nearest.empty() && message.find(nearest) == std::string::npos) message += "; did you mean " + nearest + "?";
  const auto commands = app.get_subcommands();
  std::cerr << "shardscout: " << message << " (see shardscout "
            << (commands.empty() ? "" : commands.front()->get_name() + " ") << "--help)\n";
  return kExitUser;
}

/// In the order of --help.
void AddCommands(CLI::App& app, Context& context) {
  AddSearchCommand(app, context);
  AddCompareCommand(app, context);
  AddComparePlansCommand(app, context);
  AddEvaluateCommand(app, context);
  AddExplainCommand(app, context);
  AddExportCommand(app, context);
  AddReportCommand(app, context);
  AddListCommand(app, context);
  AddCheckCommand(app, context);
  AddJoinCommand(app, context);
  AddDivideCommand(app, context);
  AddImportClusterCommand(app, context);
  AddCalibrateCommand(app, context);
  AddLiveCommand(app, context);
  AddCompletionCommand(app, context);
  AddManCommand(app, context);
}

/// As it was typed, near enough to be typed again.
std::string CommandLine(int argc, char** argv) {
  std::string text;
  for (int i = 1; i < argc; ++i) text += (text.empty() ? "" : " ") + std::string(argv[i]);
  return text;
}

int Main(int argc, char** argv) {
  SetUpLogging();
  Context context;
  context.stop = &stop_requested;
  RegisterBuiltinSearchers(context.searchers);
  RegisterBuiltinEvaluators(context.evaluators);
  RegisterBuiltinExporters(context.exporters);
  RegisterLiveEvaluator(context.evaluators, context.live);
#if SHARDSCOUT_HAVE_AGENTS
  RegisterAgentsFromModule(context.searchers);
  context.build = std::string("LibTorch ") + SHARDSCOUT_TORCH_VERSION;
#endif

  CLI::App app("Finds how to split a large language model over a cluster.", "shardscout");
  app.set_version_flag(
      "--version", "shardscout " + std::string(Version()) + (context.build.empty() ? "" : " (" + context.build + ")"));
  app.require_subcommand(1);
  app.footer(
      "Exit codes: 0 result, 1 bug, 2 wrong input or unwritable output, 3 infeasible or nothing found, 4 a\n"
      "live worker failed, 130 interrupted (the best plan so far is written).\n\n"
      "Environment: NO_COLOR set to anything: no colours. SHARDSCOUT_CONFIGS: the folder of the presets.\n"
      "OMP_NUM_THREADS: threads that evaluate, where --threads does not say.\n\n"
      "Example:\n"
      "  shardscout search --model deepseek-v3 --cluster h100-sxm --devices 256 --workload decode-chat --out "
      "plan.json\n"
      "  shardscout export plan.json --to vllm");
  AddCommands(app, context);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return ReportParseError(app, error);
  }
  ApplyLogOptions(context, CommandLine(argc, argv));
  InstallInterruptHandler();
  const int code = context.run();
  std::cout.flush();
  if (!std::cout) throw SpecError("standard output", "cannot be written; free some space or send it elsewhere");
  return code;
}

}  // namespace

void AddCommonOptions(CLI::App& command, Context& context) {
  command.add_flag("--json", context.json, "Print the result as one JSON object")->group("Output");
  command.add_flag("--quiet,-q", context.quiet, "No progress, and only errors on stderr")->group("Output");
  command.add_option("--log-level", context.log_level, "What stderr gets")
      ->check(CLI::IsMember({"debug", "info", "warning", "error", "off"}))
      ->default_str("info")
      ->group("Output");
  command.add_option("--log-file", context.log_file, "The same with times, added to this file whatever --quiet says")
      ->type_name(takes::kFile)
      ->group("Output");
}

void CheckSearcherIsBuilt(const std::string& name) {
#if !SHARDSCOUT_HAVE_AGENTS
  if (name == "ppo" || name == "ppo-from-scratch" || name == "ppo-paper") {
    throw SpecError("--searcher " + name,
                    "this build has no learning agents; install LibTorch (Debian: apt-get install libtorch-dev) and "
                    "configure with -DSHARDSCOUT_BUILD_AGENTS=ON, or choose another searcher");
  }
#else
  static_cast<void>(name);
#endif
}

}  // namespace shardscout::cli

int main(int argc, char** argv) {
  try {
    shardscout::cli::ChooseBlasKernels();
    shardscout::cli::KeepFreedMemory();
    return shardscout::cli::Main(argc, argv);
  } catch (const shardscout::SpecError& error) {
    shardscout::cli::PrintError(std::string("shardscout: ") + error.what() + "\n");
    return shardscout::cli::kExitUser;
  } catch (const shardscout::LiveError& error) {
    shardscout::cli::PrintError(std::string("shardscout: ") + error.what() + "\n");
    return shardscout::cli::kExitLive;
  } catch (const std::exception& error) {
    shardscout::cli::PrintError(std::string("shardscout: bug: ") + error.what() + "\n");
    return shardscout::cli::kExitBug;
  }
}
