#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "shardscout/divide_cluster.h"
#include "src/cli/commands.h"
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
  std::string searcher = "exact";
};

void PrintPoints(const Division& division) {
  Table table({">prefill devices", ">decode devices", ">prefill requests/s", ">decode requests/s"});
  for (const DivisionPoint& point : division.points) {
    table.AddRow({Grouped(point.prefill_devices), Grouped(point.decode_devices), Number(point.prefill_requests_per_s),
                  Number(point.decode_requests_per_s)});
  }
  table.Print(std::cout);
}

void Print(const Problem& problem, const Division& division, const std::string& out) {
  PrintPoints(division);
  std::cout << "\n";
  if (division.plan) {
    PrintPools(std::cout, problem, division.plan->pools, division.plan->evaluation);
    std::cout << "division  " << Grouped(division.best->prefill_devices) << " : "
              << Grouped(division.best->decode_devices) << " devices, "
              << (division.proved ? "optimal: every search behind it was proved" : "the best that was found") << "\n";
  } else {
    std::cout << "division  none: at no point are both phases feasible under their targets\n";
  }
  if (division.one_pool.plan) {
    const Scored& best = *division.one_pool.best;
    std::cout << "one pool  " << ObjectiveText(problem, best.evaluation) << ", " << ToShortString(best.strategy)
              << "\n";
  } else {
    std::cout << "one pool  " << ToString(division.one_pool.status) << "\n";
  }
  if (division.plan && !out.empty()) std::cout << "plan      " << out << "\n";
}

void PrintJson(const Problem& problem, const Division& division, const std::string& out) {
  ordered_json json = division.plan ? PoolsJson(problem, division.plan->pools, division.plan->evaluation)
                                    : ordered_json{{"problem", ProblemSummaryJson(problem)}};
  json["points"] = ordered_json::array();
  for (const DivisionPoint& point : division.points) {
    json["points"].push_back({{"prefill_devices", point.prefill_devices},
                              {"decode_devices", point.decode_devices},
                              {"prefill_requests_per_s", point.prefill_requests_per_s},
                              {"decode_requests_per_s", point.decode_requests_per_s}});
  }
  json["prefill_devices"] = division.best ? ordered_json(division.best->prefill_devices) : ordered_json(nullptr);
  json["decode_devices"] = division.best ? ordered_json(division.best->decode_devices) : ordered_json(nullptr);
  json["proved"] = division.proved;
  json["evaluations"] = division.evaluations;
  json["one_pool"] = division.one_pool.plan ? ScoredJson(*division.one_pool.best) : ordered_json(nullptr);
  json["plan"] = division.plan && !out.empty() ? ordered_json(out) : ordered_json(nullptr);
  PrintDocument(json);
}

int Run(const Arguments& arguments, const Context& context) {
  const Problem problem = MakeProblem(arguments.problem);
  const SearchRequest request = MakeRequests({arguments.searcher}, arguments.search, context).front();
  const std::string& out = arguments.search.out;
  const Division division = DivideCluster(problem, request, context.searchers, context.evaluators);
  if (division.plan && !out.empty()) WriteFileAtomically(out, ToJson(*division.plan));
  if (out != "/dev/stdout") {
    context.json ? PrintJson(problem, division, out) : Print(problem, division, out);
  }
  return ExitCode(division.plan && division.plan->evaluation.Feasible(), context);
}

}  // namespace

void AddDivideCommand(CLI::App& app, Context& context) {
  auto arguments = std::make_shared<Arguments>();  // shared with the callback, which outlives this function
  CLI::App* command =
      app.add_subcommand("divide", "Divide a cluster between a pool that computes prompts and one that decodes");
  AddProblemOptions(*command, arguments->problem);
  command->add_option("--searcher,-s", arguments->searcher, "Who searches each pool")
      ->type_name(takes::kSearcher)
      ->capture_default_str()
      ->group("Search");
  AddSearchOptions(*command, arguments->search);
  AddCommonOptions(*command, context);
  command->footer(
      "The cluster is divided where prefill's requests a second, under its TTFT target, meet those of decode under its "
      "TPOT target. The plan has two pools; where the workload describes requests, these are simulated through both. "
      "Beside it stands the best of the whole cluster as one pool. No journal is kept. The exit code is 3 where "
      "nothing "
      "is feasible.\n\n"
      "Example:\n"
      "  shardscout divide --model llama-3.1-70b --cluster h100-sxm --devices 64 --workload serve-chat --out "
      "plan.json");
  command->callback(
      [arguments, &context] { context.run = [arguments, &context] { return Run(*arguments, context); }; });
}

}  // namespace shardscout::cli
