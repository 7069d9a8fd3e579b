#include <algorithm>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "shardscout/error.h"
#include "shardscout/plan.h"
#include "src/cli/commands.h"
#include "src/cli/compare_suite.h"
#include "src/cli/describe.h"
#include "src/cli/option_table.h"
#include "src/cli/output.h"
#include "src/cli/problem_options.h"
#include "src/cli/search_options.h"

namespace shardscout::cli {
namespace {

using nlohmann::ordered_json;

struct Arguments {
  ProblemArguments problem;
  SearchArguments search;
  SuiteArguments suite;
  std::vector<std::string> searchers;
  bool budget_given = false;
};

void PrintTable(const Problem& problem, const std::vector<SearchReport>& reports, const SearchArguments& search) {
  PrintProblem(std::cout, problem);
  std::cout << "space     " << SpaceText(reports.front().space) << "\n";
  PrintMegatron(std::cout, problem, reports.front().megatron);
  std::cout << "\nOne seed (" << search.seed << "), at most " << Grouped(search.budget)
            << " evaluations each; another seed gives other figures.\n\n";
  Table table({"searcher", "best objective", ">x Megatron", ">evaluations", ">feasible", ">time", "status"});
  for (const SearchReport& report : reports) {
    const double share = static_cast<double>(report.feasible_evaluations) /
                         static_cast<double>(std::max<std::int64_t>(report.evaluations, 1));
    table.AddRow({report.searcher, report.plan ? ObjectiveText(problem, report.best->evaluation) : "nothing feasible",
                  report.plan ? Number(report.best->reward) : "-", Grouped(report.evaluations), Percent(share),
                  Duration(report.wall_s), std::string(ToString(report.status))});
  }
  table.Print(std::cout);
}

void PrintBest(const Problem& problem, const SearchReport& best, const std::string& out) {
  std::cout << "\nbest      " << best.searcher << ": " << ObjectiveText(problem, best.best->evaluation)
            << "\n          " << ToShortString(best.best->strategy) << "\n";
  PrintEvaluation(std::cout, problem, best.best->evaluation);
  if (!out.empty()) std::cout << "plan      " << out << "\n";
}

void PrintJson(const Problem& problem, const std::vector<SearchReport>& reports, const SearchArguments& search,
               const SearchReport& best) {
  ordered_json json;
  json["problem"] = ProblemSummaryJson(problem);
  json["space"] = SpaceJson(best.space);
  json["seed"] = search.seed;
  json["budget"] = search.budget;
  json["megatron"] = MegatronJson(best.megatron, best.normaliser);
  json["searchers"] = ordered_json::array();
  for (const SearchReport& report : reports) {
    ordered_json row;
    row["searcher"] = report.searcher;
    row["status"] = ToString(report.status);
    row["evaluations"] = report.evaluations;
    row["feasible_evaluations"] = report.feasible_evaluations;
    row["wall_s"] = report.wall_s;
    row["best"] = report.best ? ScoredJson(*report.best) : ordered_json(nullptr);
    json["searchers"].push_back(std::move(row));
  }
  json["best_searcher"] = best.plan ? ordered_json(best.searcher) : ordered_json(nullptr);
  json["plan"] = best.plan && !search.out.empty() ? ordered_json(search.out) : ordered_json(nullptr);
  PrintDocument(json);
}

int Run(const Arguments& arguments, const Context& context) {
  const SearchArguments& search = arguments.search;
  if (!arguments.suite.suite.empty()) {
    if (arguments.problem.AnyGiven()) {
      throw SpecError("--suite", "brings its problems along; leave --model, --cluster and the like away");
    }
    return CompareSuite(arguments.suite, search, arguments.searchers, arguments.budget_given, context);
  }
  if (arguments.searchers.empty()) throw SpecError("--searchers", "is needed: names separated by commas");
  if (!search.journal.empty()) {
    throw SpecError("--journal", "compare keeps one journal a searcher, beside --out; leave --journal away");
  }
  const Problem problem = MakeProblem(arguments.problem);
  std::vector<SearchRequest> requests = MakeRequests(arguments.searchers, search, context);
  std::vector<SearchReport> reports;
  for (SearchRequest& request : requests) {
    if (context.stop->load()) break;
    if (!search.out.empty()) request.journal_path = DefaultJournal(search.out, request.searcher);
    reports.push_back(RunWithProgress(problem, request, context));
  }
  if (reports.empty()) return kExitInterrupted;
  const std::size_t index = BestReport(reports);
  const SearchReport& best = reports[index];
  if (best.plan && !search.out.empty()) WriteFileAtomically(search.out, ToJson(*best.plan));
  if (context.json) {
    PrintJson(problem, reports, search, best);
  } else {
    PrintTable(problem, reports, search);
    if (best.plan) PrintBest(problem, best, search.out);
  }
  if (!best.plan) ReportInfeasible(problem, best, requests[index], context);
  return ExitCode(best.plan.has_value(), context);
}

}  // namespace

void AddCompareCommand(CLI::App& app, Context& context) {
  auto arguments = std::make_shared<Arguments>();  // shared with the callback, which outlives this function
  CLI::App* command = app.add_subcommand("compare", "Run several searchers on one problem, or on a suite of them");
  AddProblemOptions(*command, arguments->problem);
  command->add_option("--searchers,-s", arguments->searchers, "Which ones, separated by commas [a suite's own]")
      ->type_name(takes::kSearchers)
      ->delimiter(',')
      ->group("Search");
  AddSearchOptions(*command, arguments->search);
  AddSuiteOptions(*command, arguments->suite);
  AddCommonOptions(*command, context);
  command->footer(
      "Examples:\n"
      "  shardscout compare --searchers megatron,megatron-tuned,random-walk,annealing,ppo --model deepseek-v3 \\\n"
      "    --cluster h100-sxm --devices 256 --workload decode-chat --budget 4000 --seed 1 --out plan.json\n"
      "  shardscout compare --suite standard --seeds 20 --out out/standard --resume");
  command->callback([arguments, command, &context] {
    arguments->budget_given = command->count("--budget") > 0;
    context.run = [arguments, &context] { return Run(*arguments, context); };
  });
}

}  // namespace shardscout::cli
