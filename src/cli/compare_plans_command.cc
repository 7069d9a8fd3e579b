#include <algorithm>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "shardscout/error.h"
#include "shardscout/plan_comparison.h"
#include "shardscout/preset_paths.h"
#include "shardscout/reward.h"
#include "shardscout/run_search.h"
#include "shardscout/strategy_difference.h"
#include "src/cli/commands.h"
#include "src/cli/describe.h"
#include "src/cli/describe_difference.h"
#include "src/cli/option_table.h"
#include "src/cli/output.h"
#include "src/cli/report_page.h"
#include "src/cli/strategy_input.h"

namespace shardscout::cli {
namespace {

using nlohmann::ordered_json;

struct Arguments {
  std::vector<std::string> files;
  ProblemArguments problem;
  std::string evaluator = "analytical";
  std::string report;
};

struct Row {
  std::string file;
  StrategyInput input;
  Evaluation evaluation;
  Breakdown breakdown;
};

/// Of the options, else of the first plan, else of the first deployment.
Problem CommonProblem(const Arguments& arguments, const Context& context) {
  for (const std::string& file : arguments.files) {
    if (arguments.problem.AnyGiven()) break;
    const std::optional<Plan> plan = ReadPlanFile(file);
    if (plan) return ParseProblem(plan->problem_json, file);
  }
  StrategyArguments first;
  first.file = arguments.files.front();
  first.problem = arguments.problem;
  first.evaluator = arguments.evaluator;
  return ReadStrategyInput(first, context).problem;
}

std::string Versus(const Problem& problem, const Evaluation& ours, const Evaluation& theirs) {
  const WorkloadSpec& workload = problem.workload();
  const ObjectiveValue value = ObjectiveOf(theirs, workload.objective, workload.kind);
  return Number(value.TimesAsGoodAs(ObjectiveOf(ours, workload.objective, workload.kind).value));
}

void PrintTable(const Problem& problem, const std::vector<Row>& rows) {
  const bool prefill = problem.workload().HasPhase(Phase::kPrefill) && !problem.workload().IsTraining(),
             decode = problem.workload().HasPhase(Phase::kDecode);
  Table table({"plan", "objective", ">x the first", ">TTFT", ">TPOT", ">requests", ">memory", "limits", "strategy"});
  for (const Row& row : rows) {
    const Evaluation& e = row.evaluation;
    table.AddRow({row.file, ObjectiveText(problem, e), Versus(problem, rows.front().evaluation, e),
                  prefill ? Duration(e.metrics.ttft_s) : "-", decode ? Duration(e.metrics.tpot_s) : "-",
                  Grouped(e.metrics.concurrency), Bytes(e.memory.TotalBytes()),
                  e.Feasible() ? "kept" : "breaks " + DescribeViolations(e, problem.workload()),
                  ToShortString(row.input.strategy)});
  }
  table.Print(std::cout);
}

ComparedPlan Compared(const Row& row) {
  return {row.file, row.input.problem, row.input.strategy, row.evaluation, row.breakdown};
}

int Run(const Arguments& arguments, const Context& context) {
  if (!arguments.report.empty()) {
    if (arguments.files.size() != 2) {
      throw SpecError("--report", "found " + std::to_string(arguments.files.size()) + " files, a page holds two");
    }
    CheckCanWriteReport(arguments.report);
  }
  const Problem common = CommonProblem(arguments, context);
  std::vector<Row> rows;
  for (const std::string& file : arguments.files) {
    StrategyInput input = ReadStrategyOn(common, file, arguments.evaluator, context);
    const StrategyReport report =
        EvaluateStrategy(input.problem, input.strategy, arguments.evaluator, context.evaluators);
    rows.push_back({file, std::move(input), report.evaluation, report.breakdown});
  }
  const Problem& problem = rows.front().input.problem;
  const StrategySpace space(problem);
  const std::unique_ptr<Evaluator> evaluator = context.evaluators.Make(arguments.evaluator, problem);
  std::vector<StrategyDifference> differences;
  for (std::size_t i = 1; i < rows.size(); ++i) {
    differences.push_back(CompareStrategies(space, rows[i].input.strategy, rows.front().input.strategy,
                                            [&](const Strategy& s) { return evaluator->Evaluate(s); }));
  }
  if (!arguments.report.empty()) {
    WriteFileAtomically(arguments.report,
                        PlanComparisonHtml(Compared(rows[1]), Compared(rows[0]), differences.front()));
  }
  if (context.json) {
    ordered_json json;
    json["problem"] = ProblemSummaryJson(problem);
    json["plans"] = ordered_json::array();
    for (const Row& row : rows) {
      ordered_json entry;
      entry["file"] = row.file;
      entry["strategy"] = ordered_json::parse(ToJson(row.input.strategy));
      entry["evaluation"] = ordered_json::parse(ToJson(row.evaluation));
      entry["feasible"] = row.evaluation.Feasible();
      entry["deployment"] = DeploymentJson(row.input);
      json["plans"].push_back(std::move(entry));
    }
    json["differences"] = ordered_json::array();
    for (const StrategyDifference& difference : differences) {
      json["differences"].push_back(DifferenceJson(problem, difference));
    }
    PrintDocument(json);
    return kExitResult;
  }
  PrintProblem(std::cout, problem);
  for (const Row& row : rows) {
    if (row.input.deployment) std::cout << "\n" << row.file << "\n";
    PrintDeployment(std::cout, row.input);
  }
  std::cout << "\n";
  PrintTable(problem, rows);
  for (std::size_t i = 0; i < differences.size(); ++i) {
    std::cout << "\n" << rows[i + 1].file << " against " << rows.front().file << "\n";
    PrintDifference(std::cout, problem, differences[i], rows.front().file);
  }
  if (!arguments.report.empty()) std::cout << "\nreport    " << arguments.report << "\n";
  return kExitResult;
}

}  // namespace

void AddComparePlansCommand(CLI::App& app, Context& context) {
  auto arguments = std::make_shared<Arguments>();  // shared with the callback, which outlives this function
  CLI::App* command =
      app.add_subcommand("compare-plans", "Deployments and plans beside each other on one problem, and what differs");
  command->add_option("files", arguments->files, "Plans, strategies, or the settings or commands of deployments")
      ->type_name(takes::kFile)
      ->required()
      ->expected(2, 64);
  AddProblemOptions(*command, arguments->problem);
  command->add_option("--evaluator,-e", arguments->evaluator, "What scores them (shardscout list evaluators)")
      ->type_name(takes::kEvaluator)
      ->capture_default_str();
  command->add_option("--report", arguments->report, "Of two: where a page that shows both is written")
      ->type_name(takes::kFile);
  AddCommonOptions(*command, context);
  command->footer(
      "The problem is that of the options, else of the first plan among the files; the first file is what the others\n"
      "are measured against.\n\n"
      "Examples:\n"
      "  shardscout compare-plans mine.yaml plan.json --report comparison.html\n"
      "  shardscout compare-plans a.yaml b.yaml --cluster h100-sxm --devices 16 --workload serve-chat --concurrency "
      "256");
  command->callback(
      [arguments, &context] { context.run = [arguments, &context] { return Run(*arguments, context); }; });
}

}  // namespace shardscout::cli
