#include <spdlog/spdlog.h>

#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <utility>

#include "shardscout/plan.h"
#include "src/cli/commands.h"
#include "src/cli/describe.h"
#include "src/cli/flag_values.h"
#include "src/cli/option_table.h"
#include "src/cli/output.h"
#include "src/cli/pareto_options.h"
#include "src/cli/problem_options.h"
#include "src/cli/report_page.h"
#include "src/cli/search_options.h"

namespace shardscout::cli {
namespace {

using nlohmann::ordered_json;

struct Arguments {
  ProblemArguments problem;
  SearchArguments search;
  ParetoArguments pareto;
  std::string report;
  std::string searcher = "ppo";
  bool searcher_given = false;
  std::string until_gap;
  std::string tensorboard;
  int top = 0;
};

void PrintTop(const Problem& problem, const SearchReport& report) {
  Table table({">rank", ">x Megatron", "objective", "strategy"});
  for (std::size_t i = 0; i < report.top.size(); ++i) {
    const Scored& scored = report.top[i];
    const bool feasible = scored.evaluation.Feasible();
    table.AddRow({std::to_string(i + 1), feasible ? Number(scored.reward) : "infeasible",
                  ObjectiveText(problem, scored.evaluation), ToShortString(scored.strategy)});
  }
  std::cout << "\n";
  table.Print(std::cout);
}

void PrintProof(const Certificate& proof) {
  std::cout << "proof     ";
  if (proof.gap <= 0) {
    std::cout << "optimal, gap 0: the best of " << proof.space << "\n";
  } else {
    std::cout << "at most " << Percent(proof.gap) << " from the optimum (bound " << Number(proof.bound) << ") of "
              << proof.space << "\n";
  }
}

void PrintScreen(const ScreenReport& screen) {
  std::cout << "screen    " << screen.evaluator << ", " << screen.searcher << ": " << ToString(screen.status)
            << " after " << Grouped(screen.evaluations) << " of " << Grouped(screen.budget)
            << " evaluations, free; its " << Grouped(static_cast<std::int64_t>(screen.kept.size()))
            << " best came first\n";
  if (screen.estimates > 0) {
    std::cout << "          " << Grouped(screen.estimates) << " more strategies were asked of it on the way\n";
  }
}

/// What each evaluator says of the winner.
void PrintDifference(const Problem& problem, const ScreenReport& screen, const SearchProvenance& search) {
  std::cout << "          " << screen.evaluator << " says " << ObjectiveText(problem, screen.of_best) << ", "
            << search.evaluator << " " << (search.screen->difference < 0 ? "" : "+")
            << Percent(search.screen->difference) << "\n";
}

void PrintReport(const Problem& problem, const SearchRequest& request, const SearchReport& report,
                 const std::string& out) {
  PrintProblem(std::cout, problem);
  std::cout << "space     " << SpaceText(report.space) << "\n";
  if (report.screen) PrintScreen(*report.screen);
  std::cout << "search    " << report.searcher << ", seed " << request.seed << ": " << ToString(report.status)
            << " after " << Grouped(report.evaluations) << " of " << Grouped(request.budget) << " evaluations, "
            << Grouped(report.feasible_evaluations) << " feasible\n";
  PrintMegatron(std::cout, problem, report.megatron);
  if (report.plan) {
    std::cout << "best      " << ObjectiveText(problem, report.best->evaluation) << ", " << Number(report.best->reward)
              << " x the Megatron rule\n"
              << "          " << ToShortString(report.best->strategy) << "\n";
    if (report.screen) PrintDifference(problem, *report.screen, report.plan->search);
    PrintEvaluation(std::cout, problem, report.best->evaluation);
    if (report.plan->certificate) PrintProof(*report.plan->certificate);
    if (request.evaluator == kLiveEvaluator && report.status == SearchStatus::kSpaceExhausted) {
      std::cout << "proof     none: the best of all " << Grouped(report.evaluations)
                << " strategies as measured; repeats of a measurement differ\n";
    }
  }
  if (!report.top.empty()) PrintTop(problem, report);
  if (report.plan && !out.empty()) std::cout << "plan      " << out << "\n";
}

ordered_json CertificateJson(const Certificate& proof) {
  return {{"value", proof.value}, {"bound", proof.bound}, {"gap", proof.gap}, {"space", proof.space}};
}

ordered_json ScreenJson(const ScreenReport& screen) {
  ordered_json json;
  json["evaluator"] = screen.evaluator;
  json["searcher"] = screen.searcher;
  json["status"] = ToString(screen.status);
  json["budget"] = screen.budget;
  json["evaluations"] = screen.evaluations;
  json["kept"] = ordered_json::array();
  for (const Scored& scored : screen.kept) json["kept"].push_back(ScoredJson(scored));
  json["estimates"] = screen.estimates;
  json["of_best"] = ordered_json::parse(ToJson(screen.of_best));
  json["wall_s"] = screen.wall_s;
  return json;
}

void PrintJson(const Problem& problem, const SearchRequest& request, const SearchReport& report,
               const std::optional<ParetoFront>& front, const std::string& out) {
  ordered_json json;
  json["problem"] = ProblemSummaryJson(problem);
  json["space"] = SpaceJson(report.space);
  json["searcher"] = report.searcher;
  json["seed"] = request.seed;
  json["budget"] = request.budget;
  json["status"] = ToString(report.status);
  json["evaluations"] = report.evaluations;
  json["feasible_evaluations"] = report.feasible_evaluations;
  json["replayed"] = report.replayed;
  if (request.until_gap > 0) {
    json["until_gap"] = request.until_gap;
    json["bound_s"] = report.bound_s;
  }
  json["megatron"] = MegatronJson(report.megatron, report.normaliser);
  json["screen"] = report.screen ? ScreenJson(*report.screen) : ordered_json(nullptr);
  json["best"] = report.best ? ScoredJson(*report.best) : ordered_json(nullptr);
  const bool proof = report.plan && report.plan->certificate;
  json["certificate"] = proof ? CertificateJson(*report.plan->certificate) : ordered_json(nullptr);
  json["top"] = ordered_json::array();
  for (const Scored& scored : report.top) json["top"].push_back(ScoredJson(scored));
  if (front) {
    json["pareto"] = ordered_json::parse(ParetoJson(problem, *front));
    json["pareto"]["wall_s"] = front->wall_s;
  }
  json["plan"] = report.plan && !out.empty() ? ordered_json(out) : ordered_json(nullptr);
  json["wall_s"] = report.wall_s;
  PrintDocument(json);
}

/// Who searches unless the user says so: with a front the one whose answer is on it, and in training, of which `ppo`
/// has learned nothing beforehand, the one that proves the optimum.
std::string SearcherOf(const Arguments& arguments, const Problem& problem, const Context& context) {
  if (arguments.searcher_given) return arguments.searcher;
  const bool exact = context.searchers.entries().at("exact").WorksWith(arguments.search.evaluator);
  const bool preferred = arguments.pareto.Asked() || problem.workload().IsTraining();
  return exact && preferred ? "exact" : arguments.searcher;
}

int Run(const Arguments& arguments, const Context& context) {
  const Problem problem = MakeProblem(arguments.problem);
  SearchRequest request = MakeRequests({SearcherOf(arguments, problem, context)}, arguments.search, context).front();
  if (!arguments.pareto.csv.empty()) CheckCanWrite(arguments.pareto.csv);
  if (!arguments.report.empty()) CheckCanWriteReport(arguments.report);
  const std::string& out = arguments.search.out;
  if (!arguments.until_gap.empty()) request.until_gap = ParseShare(arguments.until_gap, "--until-gap");
  request.top = static_cast<std::size_t>(arguments.top);
  request.journal_path = arguments.search.journal;
  if (request.journal_path.empty() && !out.empty() && !out.starts_with("/dev/"))
    request.journal_path = DefaultJournal(out, "");

  std::optional<DistributedEvaluator> helpers;
  if (request.evaluator != kLiveEvaluator && (context.live->num_processes > 0 || context.live->launched)) {
    helpers.emplace(*context.live);
    request.evaluate_batch = [&](std::span<const Strategy> batch) {
      return helpers->Evaluate(problem, request.evaluator, batch);
    };
  }
  std::optional<EventFile> curves;
  if (!arguments.tensorboard.empty()) WriteCurves(request, curves.emplace(arguments.tensorboard));
  const SearchReport report = RunWithProgress(problem, request, context);
  if (report.plan && !out.empty()) WriteFileAtomically(out, ToJson(*report.plan));
  const std::optional<ParetoFront> front = FindFront(problem, arguments.pareto, arguments.search, context);
  if (out != "/dev/stdout") {
    if (context.json) {
      PrintJson(problem, request, report, front, out);
    } else {
      PrintReport(problem, request, report, out);
      if (front) PrintFront(problem, *front, arguments.pareto);
    }
  }
  if (report.plan && !arguments.report.empty()) {
    PlanReportRequest page{.best_so_far = report.best_so_far, .front = front, .threads = request.threads};
    if (request.time_limit_s > 0) page.time_limit_s = request.time_limit_s;
    WriteReport(*report.plan, std::move(page), arguments.report, context);
  }
  if (!report.plan) ReportInfeasible(problem, report, request, context);
  return ExitCode(report.plan.has_value(), context);
}

}  // namespace

void AddSearchCommand(CLI::App& app, Context& context) {
  auto arguments = std::make_shared<Arguments>();  // shared with the callback, which outlives this function
  if (!context.searchers.entries().contains(arguments->searcher)) arguments->searcher = "annealing";
  CLI::App* command = app.add_subcommand("search", "Search the best strategy and write it as a plan");
  AddProblemOptions(*command, arguments->problem);
  command
      ->add_option("--searcher,-s", arguments->searcher,
                   "Which algorithm searches (shardscout list searchers) [" + arguments->searcher +
                       "; exact for training and with --pareto, under the analytical evaluator]")
      ->type_name(takes::kSearcher)
      ->group("Search")
      ->take_last();
  AddSearchOptions(*command, arguments->search);
  command
      ->add_option(
          "--until-gap", arguments->until_gap,
          "Ends the search once its best is proved so near the optimum, such as 1%. exact proves the bound, "
          "first and free of charge (in half of --time-limit at most), under the analytical evaluator [search on]")
      ->type_name("SHARE")
      ->group("Search")
      ->take_last();
  command->add_option("--top", arguments->top, "Also show the N best strategies")
      ->check(CLI::Range(0, 100000))
      ->group("Output");
  command->add_option("--report", arguments->report, "Where a page that shows the plan is written")
      ->type_name(takes::kFile)
      ->group("Output");
  command
      ->add_option("--tensorboard", arguments->tensorboard,
                   "Folder of an event file for TensorBoard: the best so far, and what ppo tells of its learning")
      ->type_name(takes::kFolder)
      ->group("Output");
  AddParetoOptions(*command, arguments->pareto);
  AddLiveOptions(*command, context);
  AddCommonOptions(*command, context);
  command->footer(
      "Examples:\n"
      "  shardscout search --model deepseek-v3 --cluster h100-sxm --devices 256 --workload decode-chat --out "
      "plan.json\n"
      "  shardscout search -m config.json -c h200-sxm -n 16 -w serve-chat --concurrency 512 --searcher annealing --top "
      "5\n"
      "  shardscout search -m llama-3.1-70b -c a100-80-sxm -n 8 -w prefill-chat --isl 8192 --fix "
      "tensor_parallel_size=8\n"
      "  shardscout search -m kimi-k2 -c gb200-nvl72 -n 72 -w decode-chat --tpot 20ms --set annealing.patience=100 "
      "-s annealing\n"
      "  shardscout search -m qwen3-32b --weight-dtype fp8 --activation-dtype fp8 -c h200-sxm -n 32 -w serve-chat "
      "--isl "
      "4000 --osl 500 --ttft 300ms --tpot 10ms --pareto\n"
      "  mpirun -n 4 shardscout search ...   (each rank evaluates its share of a batch: the same plan)");

  command->callback([arguments, command, &context] {
    arguments->searcher_given = command->count("--searcher") > 0;
    context.run = [arguments, &context] {
      JoinLaunchedRanks(context);
      return Run(*arguments, context);
    };
  });
}

}  // namespace shardscout::cli
