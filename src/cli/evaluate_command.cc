#include <spdlog/spdlog.h>

#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "shardscout/error.h"
#include "shardscout/plan.h"
#include "shardscout/run_search.h"
#include "shardscout/trace.h"
#include "shardscout/two_pools.h"
#include "src/cli/commands.h"
#include "src/cli/describe.h"
#include "src/cli/option_table.h"
#include "src/cli/output.h"
#include "src/cli/strategy_input.h"

namespace shardscout::cli {
namespace {

using nlohmann::ordered_json;

void Print(const StrategyInput& input, const StrategyReport& report) {
  PrintProblem(std::cout, input.problem);
  PrintDeployment(std::cout, input);
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
  if (input.deployment) json["deployment"] = DeploymentJson(input);
  PrintDocument(json);
}

struct Arguments : StrategyArguments {
  std::string trace;
};

int EvaluatePools(const Plan& plan, const Arguments& arguments, const Context& context) {
  if (!arguments.trace.empty()) throw SpecError("--trace", "a plan of two pools has none");
  const Problem problem = ParseProblem(plan.problem_json, arguments.file);
  const char* evaluator = problem.workload().requests ? "simulator" : "analytical";
  if (arguments.evaluator != evaluator) {
    throw SpecError("--evaluator " + arguments.evaluator,
                    std::string("the plan has two pools and its workload ") +
                        (problem.workload().requests ? "describes requests, which are simulated one by one"
                                                     : "describes no requests, by which they could be simulated") +
                        ": give --evaluator " + evaluator);
  }
  const Evaluation evaluation = EvaluateTwoPools(problem, plan.pools[0], plan.pools[1]);
  if (context.json) {
    PrintDocument(PoolsJson(problem, plan.pools, evaluation));
  } else {
    PrintPools(std::cout, problem, plan.pools, evaluation);
  }
  return evaluation.Feasible() ? kExitResult : kExitInfeasible;
}

int Run(const Arguments& arguments, const Context& context) {
  if (!arguments.trace.empty()) {
    if (arguments.evaluator != "simulator") {
      throw SpecError("--trace", "only the evaluator simulator knows when things happen; give --evaluator simulator");
    }
    CheckCanWrite(arguments.trace);
  }
  if (const std::optional<Plan> pools = ReadTwoPools(arguments)) return EvaluatePools(*pools, arguments, context);
  const StrategyInput input = ReadStrategyInput(arguments, context);
  const StrategyReport report =
      EvaluateStrategy(input.problem, input.strategy, arguments.evaluator, context.evaluators);
  context.json ? PrintJson(input, report) : Print(input, report);
  if (input.plan && input.plan->search.evaluator == arguments.evaluator &&
      !(input.plan->evaluation == report.evaluation)) {
    spdlog::warn("the plan notes another evaluation of this strategy (by shardscout {}): {}",
                 input.plan->search.version, ObjectiveText(input.problem, input.plan->evaluation));
  }
  if (!arguments.trace.empty()) {
    WriteFileAtomically(arguments.trace, SimulatedTrace(input.problem, input.strategy));
  }
  return report.evaluation.Feasible() ? kExitResult : kExitInfeasible;
}

}  // namespace

void AddEvaluateCommand(CLI::App& app, Context& context) {
  auto arguments = std::make_shared<Arguments>();  // shared with the callback, which outlives this function
  CLI::App* command = app.add_subcommand("evaluate", "Score one strategy, beside the Megatron rule's");
  AddStrategyOptions(*command, *arguments);
  command
      ->add_option("--trace", arguments->trace,
                   "Write what the simulator's streams do to this file, in Chrome's trace format (Perfetto opens it)")
      ->type_name(takes::kFile);
  AddLiveOptions(*command, context);
  AddCommonOptions(*command, context);
  command->footer(
      "The exit code is 3 where the strategy is valid but breaks a limit.\n\n"
      "Examples:\n"
      "  shardscout evaluate plan.json\n"
      "  shardscout evaluate sglang.yaml --cluster h200-sxm --workload decode-chat\n"
      "  shardscout evaluate plan.json --evaluator simulator --trace trace.json\n"
      "  shardscout evaluate --strategy s.json --model deepseek-v3 --cluster h100-sxm --devices 256 --workload "
      "decode-chat");
  command->callback([arguments, &context] {
    context.run = [arguments, &context] {
      if (arguments->evaluator == kLiveEvaluator) JoinLaunchedRanks(context);
      return Run(*arguments, context);
    };
  });
}

}  // namespace shardscout::cli
