#include "shardscout/error.h"
#include "shardscout/plan.h"
#include "shardscout/plan_report.h"
#include "shardscout/preset_paths.h"
#include "src/cli/commands.h"
#include "src/cli/option_table.h"
#include "src/cli/report_page.h"

namespace shardscout::cli {
namespace {

struct Arguments {
  std::string plan;
  std::string out = "report.html";
  PlanReportRequest request;
};

int Run(const Arguments& arguments, const Context& context) {
  CheckCanWriteReport(arguments.out);
  const Plan plan = ParsePlan(ReadTextFile(arguments.plan), arguments.plan);
  WriteReport(plan, arguments.request, arguments.out, context);
  return context.stop->load() ? kExitInterrupted : kExitResult;
}

}  // namespace

void AddReportCommand(CLI::App& app, Context& context) {
  auto arguments = std::make_shared<Arguments>();  // shared with the callback, which outlives this function
  CLI::App* command = app.add_subcommand("report", "One page that shows a plan: for people, without network");
  command->add_option("plan", arguments->plan, "A plan's file")->type_name(takes::kFile)->required();
  command->add_option("--out,-o", arguments->out, "Where the page is written")
      ->type_name(takes::kFile)
      ->capture_default_str();
  command
      ->add_option("--time-limit", arguments->request.time_limit_s,
                   "Seconds, of the proof of the optimum and of the Pareto front each")
      ->check(CLI::Range(0.001, 1e9))
      ->capture_default_str();
  command->add_option("--threads", arguments->request.threads, "0: all. Changes no result")
      ->check(CLI::Range(0, 4096))
      ->capture_default_str();
  AddCommonOptions(*command, context);
  command->footer("Example:\n  shardscout report plan.json -o report.html");
  command->callback(
      [arguments, &context] { context.run = [arguments, &context] { return Run(*arguments, context); }; });
}

}  // namespace shardscout::cli
