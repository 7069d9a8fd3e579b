#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "shardscout/plan.h"
#include "shardscout/preset_paths.h"
#include "shardscout/two_pools.h"
#include "src/cli/commands.h"
#include "src/cli/describe.h"
#include "src/cli/option_table.h"
#include "src/cli/output.h"

namespace shardscout::cli {
namespace {

struct Arguments {
  std::string prefill, decode, workload, out;
};

Plan ReadPlan(const std::string& path) { return ParsePlan(ReadTextFile(path), path); }

int Run(const Arguments& arguments, const Context& context) {
  if (!arguments.out.empty()) CheckCanWrite(arguments.out);
  const WorkloadSpec workload = LoadWorkload(ResolvePreset("workloads", arguments.workload, "--workload"));
  const Plan plan = JoinPools(ReadPlan(arguments.prefill), ReadPlan(arguments.decode), workload);
  const Problem problem = ParseProblem(plan.problem_json, "the joined plan");
  if (!arguments.out.empty()) WriteFileAtomically(arguments.out, ToJson(plan));
  if (context.json) {
    PrintDocument(PoolsJson(problem, plan.pools, plan.evaluation));
  } else {
    PrintPools(std::cout, problem, plan.pools, plan.evaluation);
    if (!arguments.out.empty()) std::cout << "plan      " << arguments.out << "\n";
  }
  return plan.evaluation.Feasible() ? kExitResult : kExitInfeasible;
}

}  // namespace

void AddJoinCommand(CLI::App& app, Context& context) {
  auto arguments = std::make_shared<Arguments>();  // shared with the callback, which outlives this function
  CLI::App* command = app.add_subcommand("join", "Make one plan of two pools: a plan for prefill and one for decode");
  command->add_option("prefill", arguments->prefill, "A plan whose instances compute prompts")
      ->type_name(takes::kFile)
      ->required();
  command->add_option("decode", arguments->decode, "A plan whose instances decode")
      ->type_name(takes::kFile)
      ->required();
  command
      ->add_option("--workload,-w", arguments->workload,
                   "The requests that both serve: a serve workload with \"requests\"")
      ->type_name(takes::kWorkload)
      ->required();
  command->add_option("--out,-o", arguments->out, "Where the plan is written [not written]")->type_name(takes::kFile);
  AddCommonOptions(*command, context);
  command->footer(
      "The requests are simulated one by one through both pools. The exit code is 3 where a limit is broken.\n\n"
      "Example:\n"
      "  shardscout join prefill.json decode.json --workload requests.json --out plan.json");
  command->callback(
      [arguments, &context] { context.run = [arguments, &context] { return Run(*arguments, context); }; });
}

}  // namespace shardscout::cli
