#include "src/cli/search_options.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <sstream>
#include <type_traits>
#include <utility>

#include "shardscout/error.h"
#include "shardscout/preset_paths.h"
#include "src/cli/logging.h"
#include "src/cli/option_table.h"
#include "src/cli/output.h"
#include "src/cli/problem_options.h"

namespace shardscout::cli {
namespace {

/// A limit that holds when typed: three digits, rounded up.
std::string RoundedUp(double value, double unit, const char* name) {
  const double digits = std::pow(10.0, std::floor(std::log10(value / unit)) - 2);
  return Number(std::ceil(value / unit / digits) * digits) + name;
}

std::string DescribeRelaxation(const Problem& problem, const Evaluation& nearest) {
  const Relaxation relaxation = RelaxationFor(problem, nearest);
  if (relaxation.memory_fraction && *relaxation.memory_fraction > 1) {
    return "no limit to relax: it needs " + Bytes(nearest.memory.TotalBytes()) + " on devices of " +
           Bytes(problem.cluster().device.hbm_bytes);
  }
  std::string text;
  if (relaxation.memory_fraction) {
    text += " --memory-fraction " + RoundedUp(std::min(*relaxation.memory_fraction, 0.999), 1, "");
  }
  if (relaxation.ttft_target_s) text += " --ttft " + RoundedUp(*relaxation.ttft_target_s, 1e-3, "ms");
  if (relaxation.tpot_target_s) text += " --tpot " + RoundedUp(*relaxation.tpot_target_s, 1e-3, "ms");
  return "it is feasible with" + text;
}

/// Its place among `chosen`, to which it is added where it is none of them; nullopt where none was asked for.
std::optional<std::size_t> ChooseScreenSearcher(const SearchArguments& arguments, std::vector<std::string>& chosen) {
  const std::string& name = arguments.screen_searcher;
  if (name.empty()) return std::nullopt;
  if (arguments.screen.empty()) throw SpecError("--screen-searcher", "needs an evaluator to search: give --screen");
  CheckSearcherIsBuilt(name);
  const auto place = std::find(chosen.begin(), chosen.end(), name);
  const auto index = static_cast<std::size_t>(place - chosen.begin());
  if (place == chosen.end()) chosen.push_back(name);
  return index;
}

/// Turns off what was learned on other problems, of the searchers that have such a thing.
void LearnNothing(const std::vector<std::string>& chosen, const SearcherRegistry& searchers,
                  std::vector<SearcherSettings>& settings) {
  bool any = false;
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    for (const SettingDescription& setting : searchers.entries().at(chosen[i]).settings) {
      if (setting.name != "from_scratch") continue;
      settings[i].assignments.emplace_back("from_scratch=true");
      any = true;
    }
  }
  if (!any) throw SpecError("--from-scratch", "no searcher here starts from what it learned before; ppo does");
}

}  // namespace

void AddSearchOptions(CLI::App& command, SearchArguments& arguments) {
  const auto add = [&](const char* name, auto& value, const char* help) {
    CLI::Option* option = command.add_option(name, value, help)->group("Search");
    constexpr bool kRepeatable = std::is_same_v<decltype(value), std::vector<std::string>&>;
    return kRepeatable ? option : option->take_last();
  };
  add("--evaluator,-e", arguments.evaluator, "What scores a strategy (shardscout list evaluators)")
      ->type_name(takes::kEvaluator)
      ->capture_default_str();
  add("--budget,-b", arguments.budget, "Evaluations of distinct strategies, at most")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 40))
      ->capture_default_str();
  add("--seed", arguments.seed, "One seed decides everything random")
      ->check(CLI::Range(std::int64_t{0}, std::numeric_limits<std::int64_t>::max()))
      ->capture_default_str();
  add("--start", arguments.start, "none, or megatron: the Megatron rule's strategy comes first, charged")
      ->capture_default_str();
  add("--screen", arguments.screen,
      "A cheaper evaluator, which is searched first, free of charge: its best strategies are evaluated first [none]")
      ->type_name(takes::kEvaluator);
  add("--screen-searcher", arguments.screen_searcher, "Who searches it [as --searcher]")->type_name(takes::kSearcher);
  add("--screen-budget", arguments.screen_budget, "Its evaluations of distinct strategies, at most")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 40))
      ->capture_default_str();
  add("--screen-keep", arguments.screen_keep, "How many of its best go on; from --budget on, only they are evaluated")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 40))
      ->capture_default_str();
  add("--config", arguments.config, "A JSON file of searchers' settings: {\"annealing\": {...}}")
      ->type_name(takes::kFile);
  add("--set", arguments.sets, "One setting of a searcher (repeatable; shardscout list searchers)")
      ->type_name("NAME.KEY=VALUE")
      ->allow_extra_args(false);
  command.add_flag("--from-scratch", arguments.from_scratch, "Without what ppo learned on other problems")
      ->group("Search");
  add("--threads", arguments.threads, "For evaluation; 0: all. Changes no result")
      ->check(CLI::Range(0, 4096))
      ->capture_default_str();
  add("--time-limit", arguments.time_limit_s, "Seconds; 0: none. Such a search is not repeatable")
      ->check(CLI::Range(0.0, 1e9))
      ->check(IsNumber())
      ->capture_default_str();
  add("--out,-o", arguments.out, "Where the plan is written [not written]")->type_name(takes::kFile);
  add("--journal", arguments.journal, "Where every evaluation is noted [beside --out]")->type_name(takes::kFile);
  command.add_flag("--resume", arguments.resume, "Go on from the journal: what was paid for is not paid again")
      ->group("Search");
}

std::vector<SearchRequest> MakeRequests(const std::vector<std::string>& searchers, const SearchArguments& arguments,
                                        const Context& context) {
  for (const std::string& name : searchers) CheckSearcherIsBuilt(name);
  std::string config_json;
  std::string config_path;
  if (!arguments.config.empty()) {
    config_path = ResolvePreset("searches", arguments.config, "--config");
    config_json = ReadTextFile(config_path);
  }
  std::vector<std::string> chosen = searchers;
  const std::optional<std::size_t> screening = ChooseScreenSearcher(arguments, chosen);
  auto settings = SettingsFor(chosen, context.searchers, config_json, config_path, arguments.sets);
  if (arguments.from_scratch) LearnNothing(chosen, context.searchers, settings);
  std::vector<SearchRequest> requests;
  for (std::size_t i = 0; i < searchers.size(); ++i) {
    context.searchers.Make(searchers[i], settings[i]);  // Throws for what the registry does not have or admit.
    SearchRequest request;
    request.searcher = searchers[i];
    request.settings = settings[i];
    request.evaluator = arguments.evaluator;
    request.budget = arguments.budget;
    request.seed = static_cast<std::uint64_t>(arguments.seed);
    request.start = ParseStartFrom(arguments.start, "--start");
    if (!arguments.screen.empty()) {
      ScreenRequest& screen = request.screen.emplace();
      screen.evaluator = arguments.screen;
      if (screening) {
        screen.searcher = chosen[*screening];
        screen.settings = settings[*screening];
      }
      screen.budget = arguments.screen_budget;
      screen.keep = static_cast<std::size_t>(arguments.screen_keep);
    }
    request.threads = arguments.threads;
    request.time_limit_s = arguments.time_limit_s;
    request.resume = arguments.resume;
    request.build = context.build;
    request.stop = context.stop;
    requests.push_back(std::move(request));
  }
  if (!arguments.out.empty()) CheckCanWrite(arguments.out);
  return requests;
}

std::string DefaultJournal(const std::string& out, const std::string& searcher) {
  const std::string stem = out.ends_with(".json") ? out.substr(0, out.size() - 5) : out;
  return stem + (searcher.empty() ? "" : "." + searcher) + ".journal.jsonl";
}

SearchReport RunWithProgress(const Problem& problem, SearchRequest request, const Context& context) {
  SearchReport report;
  {
    ProgressLine line(request.searcher, context.quiet);
    if (line.shown()) {
      request.on_progress = [&line, before = std::move(request.on_progress)](const Progress& progress) {
        line.Update(progress);
        if (before) before(progress);
      };
    }
    report = RunSearch(problem, request, context.searchers, context.evaluators);
  }
  for (const std::string& warning : report.warnings) spdlog::warn(warning);
  const double speed = static_cast<double>(report.evaluations) / std::max(report.wall_s, 1e-9);
  spdlog::info("{}: {} evaluations in {} ({} a second){}", report.searcher, Grouped(report.evaluations),
               Duration(report.wall_s), Number(speed),
               report.replayed > 0 ? ", " + Grouped(report.replayed) + " of them from the journal" : "");
  return report;
}

void ReportInfeasible(const Problem& problem, const SearchReport& report, const SearchRequest& request,
                      const Context& context) {
  std::ostringstream text;
  if (report.best) {
    text << "shardscout: nothing feasible was found in " << Grouped(report.evaluations) << " evaluations\n"
         << "  nearest: " << ToShortString(report.best->strategy) << "\n"
         << "  breaks:  " << DescribeViolations(report.best->evaluation, problem.workload()) << "\n"
         << "  relax:   " << DescribeRelaxation(problem, report.best->evaluation) << "\n";
  } else {
    text << "shardscout: nothing was evaluated\n";
  }
  PrintError(text.str());
  if (context.stop != nullptr && context.stop->load()) return;
  text.str("");
  const std::int64_t most = std::max<std::int64_t>(16 * problem.cluster().num_devices, 1024);
  const auto devices =
      SufficientDevices(problem, request.evaluator, context.evaluators, request.budget, most, context.stop);
  text << "  devices: "
       << (devices ? Grouped(*devices) +
                         " are sufficient (the smallest whole number of nodes on which "
                         "megatron-tuned finds a feasible strategy)"
                   : "megatron-tuned finds nothing feasible on up to " + Grouped(most) + " devices either")
       << "\n";
  PrintError(text.str());
}

int ExitCode(bool has_plan, const Context& context) {
  if (context.stop != nullptr && context.stop->load()) return kExitInterrupted;
  return has_plan ? kExitResult : kExitInfeasible;
}

}  // namespace shardscout::cli
