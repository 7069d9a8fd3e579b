#include <spdlog/spdlog.h>

#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "shardscout/run_search.h"
#include "src/cli/commands.h"
#include "src/cli/describe.h"
#include "src/cli/output.h"
#include "src/cli/strategy_input.h"

namespace shardscout::cli {
namespace {

using nlohmann::ordered_json;

void Print(const StrategyInput& input, const StrategyReport& report) {
  PrintProblem(std::cout, input.problem);
  PrintMegatron(std::cout, input.problem, report.megatron);
  std::cout << "strategy  " << ObjectiveText(input.problem, report.evaluation) << ", "
            << (report.evaluation.Feasible() ? Number(report.reward) + " x the Megatron rule" : "infeasible")
            << "\n          " << ToShortString(input.strategy) << "\n";
  PrintEvaluation(std::cout, input.problem, report.evaluation);
}

void PrintJson(const StrategyInput& input, const StrategyReport& report) {
  ordered_json json;
  json["problem"] = ProblemSummaryJson(input.problem);
  json["megatron"] = MegatronJson(report.megatron, report.normaliser);
  json["strategy"] = ScoredJson({input.strategy, report.evaluation, report.reward});
  PrintDocument(json);
}

int Run(const StrategyArguments& arguments, const Context& context) {
  const StrategyInput input = ReadStrategyInput(arguments);
  const StrategyReport report =
      EvaluateStrategy(input.problem, input.strategy, arguments.evaluator, context.evaluators);
  context.json ? PrintJson(input, report) : Print(input, report);
  if (input.plan && input.plan->search.evaluator == arguments.evaluator &&
      !(input.plan->evaluation == report.evaluation)) {
    spdlog::warn("the plan notes another evaluation of this strategy (by shardscout {}): {}",
                 input.plan->search.version, ObjectiveText(input.problem, input.plan->evaluation));
  }
  return report.evaluation.Feasible() ? kExitResult : kExitInfeasible;
}

}  // namespace

void AddEvaluateCommand(CLI::App& app, Context& context) {
  auto arguments = std::make_shared<StrategyArguments>();  // shared with the callback, which outlives this function
  CLI::App* command = app.add_subcommand("evaluate", "Score one strategy, beside the Megatron rule's");
  AddStrategyOptions(*command, *arguments);
  AddCommonOptions(*command, context);
  command->footer(
      "The exit code is 3 where the strategy is valid but breaks a limit.\n\n"
      "Examples:\n"
      "  shardscout evaluate plan.json\n"
      "  shardscout evaluate --strategy s.json --model deepseek-v3 --cluster h100-sxm --devices 256 --workload "
      "decode-chat");
  command->callback(
      [arguments, &context] { context.run = [arguments, &context] { return Run(*arguments, context); }; });
}

}  // namespace shardscout::cli
