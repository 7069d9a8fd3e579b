#include "src/cli/compare_suite.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <memory>
#include <utility>

#include "shardscout/comparison.h"
#include "shardscout/comparison_report.h"
#include "shardscout/error.h"
#include "shardscout/plan.h"
#include "shardscout/preset_paths.h"
#include "shardscout/search_suite.h"
#include "src/cli/option_table.h"
#include "src/cli/output.h"
#include "src/cli/problem_options.h"

namespace shardscout::cli {
namespace {

namespace fs = std::filesystem;

/// The files in the folder of a comparison.
constexpr const char* kResults = "results.jsonl";
constexpr const char* kCsv = "comparison.csv";
constexpr const char* kPage = "comparison.html";

std::string Score(double score) {
  std::array<char, 32> buffer{};
  std::snprintf(buffer.data(), buffer.size(), "%.4f", score);
  return buffer.data();
}

std::string MakeFolder(const SuiteArguments& arguments, const SearchArguments& search) {
  std::string folder = search.out.empty() ? "out/compare-" + fs::path(arguments.suite).stem().string() : search.out;
  std::error_code error;
  fs::create_directories(folder, error);
  if (error || !fs::is_directory(folder, error)) {
    throw SpecError(folder,
                    "no folder could be made of it" + (error ? ": " + error.message() : "") + "; give another --out");
  }
  for (const char* name : {kCsv, kPage}) CheckCanWrite((fs::path(folder) / name).string());
  return folder;
}

ComparisonRequest MakeRequest(const SuiteArguments& arguments, const SearchArguments& search,
                              const std::vector<std::string>& searchers, bool budget_given, const Context& context) {
  const std::string path = ResolvePreset("searches", arguments.suite, "--suite");
  const SearchSuite suite = LoadSuite(path);
  ComparisonRequest request;
  request.name = suite.name;
  SearchArguments without_out = search;
  without_out.out.clear();  // a folder here
  for (SearchRequest& one : MakeRequests(searchers.empty() ? suite.searchers : searchers, without_out, context)) {
    request.searchers.push_back({one.searcher, std::move(one.settings)});
    request.start = one.start;
    request.screen = one.screen;
  }
  for (std::size_t i = 0; i < suite.problems.size(); ++i) {
    std::vector<std::string> warnings;
    Problem problem = LoadProblem(suite.problems[i], path + "#/problems/" + std::to_string(i), &warnings);
    for (const std::string& warning : warnings) spdlog::warn(warning);
    request.problems.push_back({suite.problems[i].name, std::make_shared<const Problem>(std::move(problem))});
  }
  request.evaluator = search.evaluator;
  request.budget = budget_given ? search.budget : suite.budget;
  request.first_seed = search.seed;
  request.num_seeds = arguments.seeds;
  request.optimum_time_limit_s = arguments.optimum_time_limit_s;
  request.threads = search.threads;
  request.resume = search.resume;
  request.build = context.build;
  request.stop = context.stop;
  request.on_progress = [](const ComparisonProgress& progress) {
    const std::int64_t step = std::max<std::int64_t>(progress.total / 20, 1);
    if (!progress.last.starts_with("optimum") && progress.done % step != 0 && progress.done != progress.total) return;
    spdlog::info("{} of {}: {}", Grouped(progress.done), Grouped(progress.total), progress.last);
  };
  return request;
}

void PrintOverall(const Comparison& comparison) {
  Table table({"searcher", ">runs", ">score", ">95 % interval", ">feasible", ">area", ">evaluations to 0.99", ">never",
               ">time a run"});
  for (const SearcherSummary& summary : comparison.overall) {
    table.AddRow({summary.searcher, Grouped(summary.runs), Score(summary.score),
                  Score(summary.interval.low) + " to " + Score(summary.interval.high), Percent(summary.feasible_share),
                  Score(summary.area), summary.evaluations_until ? Number(*summary.evaluations_until) : "never",
                  Percent(summary.never_share), Duration(summary.wall_s)});
  }
  table.Print(std::cout);
}

/// One line a problem: its reference, then each searcher's score.
void PrintProblems(const Comparison& comparison) {
  std::vector<std::string> header = {"problem", "reference", ">proof"};
  for (const SearcherSummary& summary : comparison.overall) header.push_back(">" + summary.searcher);
  Table table(header);
  for (const ProblemSummary& problem : comparison.problems) {
    const Reference& reference = problem.reference;
    std::vector<std::string> row = {problem.name, std::string(ToString(reference.kind)), Duration(reference.wall_s)};
    if (reference.reward > 0) row[1] += " " + Number(reference.value);
    for (const SearcherSummary& summary : problem.searchers) row.push_back(Score(summary.score));
    table.AddRow(std::move(row));
  }
  table.Print(std::cout);
}

void Print(const Comparison& comparison, const std::string& folder) {
  std::cout
      << "suite     " << comparison.name << ": " << Grouped(static_cast<std::int64_t>(comparison.problems.size()))
      << " problems, " << Grouped(comparison.num_seeds) << " seeds from " << Grouped(comparison.first_seed)
      << ", at most " << Grouped(comparison.budget) << " evaluations a run, evaluator " << comparison.evaluator
      << "\n\nOver all problems: interquartile mean of value/optimum (1 is the optimum, a run without a feasible\n"
         "strategy scores 0), its 95 % bootstrap interval, and the same mean of the area under best-so-far.\n\n";
  PrintOverall(comparison);
  std::cout << "\nBy problem: interquartile mean of value/optimum.\n\n";
  PrintProblems(comparison);
  const auto has = [&](ReferenceKind kind) {
    return std::any_of(comparison.problems.begin(), comparison.problems.end(),
                       [kind](const ProblemSummary& problem) { return problem.reference.kind == kind; });
  };
  if (has(ReferenceKind::kBound)) {
    std::cout << "bound: the proof did not finish in time; scores are relative to what it had proved, so too low.\n";
  }
  if (has(ReferenceKind::kBestFound)) {
    std::cout << "best found: nothing is proved; scores are relative to the best of all runs here.\n";
  }
  std::cout << "\nresults   " << folder << ": " << kResults << ", " << kCsv << (HaveCharts() ? ", " : "")
            << (HaveCharts() ? kPage : "") << "\n";
}

}  // namespace

void AddSuiteOptions(CLI::App& command, SuiteArguments& arguments) {
  command
      .add_option("--suite", arguments.suite, "Many problems instead of one: a file, or a preset of configs/searches")
      ->type_name(takes::kSuite)
      ->group("Suite")
      ->take_last();
  command.add_option("--seeds", arguments.seeds, "Seeds a searcher and problem, from --seed on")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 20))
      ->capture_default_str()
      ->group("Suite")
      ->take_last();
  command
      .add_option("--optimum-time-limit", arguments.optimum_time_limit_s,
                  "Seconds for the proof of one problem's optimum, 0: none; after it the proved bound counts")
      ->check(CLI::Range(0.0, 1e9))
      ->check(IsNumber())
      ->capture_default_str()
      ->group("Suite")
      ->take_last();
}

int CompareSuite(const SuiteArguments& arguments, const SearchArguments& search,
                 const std::vector<std::string>& searchers, bool budget_given, const Context& context) {
  if (!search.journal.empty()) {
    throw SpecError("--journal", "a suite's runs are kept in the folder --out; leave --journal away");
  }
  if (search.time_limit_s > 0) {
    throw SpecError("--time-limit", "a suite's runs end by their budget, so that they are repeatable; leave it away");
  }
  ComparisonRequest request = MakeRequest(arguments, search, searchers, budget_given, context);
  const std::string folder = MakeFolder(arguments, search);
  request.results_path = (fs::path(folder) / kResults).string();

  const ComparisonResults results = RunComparison(request, context.searchers, context.evaluators);
  for (const std::string& warning : results.warnings) spdlog::warn(warning);
  if (results.reused > 0) spdlog::info("{} of them were there before", Grouped(results.reused));
  if (!results.complete) {
    std::cerr << "shardscout: interrupted; the same command with --resume goes on\n";
    return kExitInterrupted;
  }
  const Comparison comparison = Summarise(request, results);
  WriteFileAtomically((fs::path(folder) / kCsv).string(), ComparisonCsv(comparison));
  if (HaveCharts()) {
    WriteFileAtomically((fs::path(folder) / kPage).string(), ComparisonHtml(comparison));
  } else {
    spdlog::warn("no page: this build has no Chart.js (Debian: libjs-chart.js)");
  }
  if (context.json) {
    std::cout << ComparisonJson(comparison) << "\n";
  } else {
    Print(comparison, folder);
  }
  for (const std::string& line : comparison.impossible) std::cerr << "shardscout: bug: " << line << "\n";
  return comparison.impossible.empty() ? kExitResult : kExitBug;
}

}  // namespace shardscout::cli
