#include <algorithm>
#include <filesystem>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <system_error>

#include "shardscout/error.h"
#include "shardscout/exporter.h"
#include "shardscout/preset_paths.h"
#include "src/cli/commands.h"
#include "src/cli/describe.h"
#include "src/cli/option_table.h"
#include "src/cli/output.h"

namespace shardscout::cli {
namespace {

using nlohmann::ordered_json;

struct Arguments {
  std::string plan;
  std::string target;
  std::string folder = ".";
  bool lower = false;
};

void PrintDropped(std::ostream& out, const ExportResult& result) {
  for (const Dropped& dropped : result.dropped) out << "  " << dropped.what << "\n    -> " << dropped.instead << "\n";
}

/// What lowering costs: the plan's figure and the lowered strategy's.
void PrintCost(std::ostream& out, const Problem& problem, const Plan& plan, const ExportResult& result) {
  if (!result.lowered_evaluation) return;
  const Evaluation& lowered = *result.lowered_evaluation;
  out << "  predicted: " << ObjectiveText(problem, plan.evaluation) << " as planned, "
      << ObjectiveText(problem, lowered) << " as " << result.target << " runs it";
  if (!lowered.Feasible()) out << ", which breaks limits: " << DescribeViolations(lowered, problem.workload());
  out << "\n";
}

void PrintJson(const Problem& problem, const Plan& plan, const ExportResult& result,
               const std::vector<std::string>& written) {
  ordered_json json;
  json["target"] = result.target;
  json["command"] = result.command;
  json["notes"] = result.notes;
  json["priced"] = result.priced;
  json["files"] = written;
  json["dropped"] = ordered_json::array();
  for (const Dropped& dropped : result.dropped) {
    json["dropped"].push_back({{"what", dropped.what}, {"instead", dropped.instead}});
  }
  json["lowered"] = ordered_json::parse(ToJson(result.lowered));
  if (result.lowered_prefill) json["lowered_prefill"] = ordered_json::parse(ToJson(*result.lowered_prefill));
  json["planned_throughput_per_device"] = plan.evaluation.metrics.throughput_per_device;
  json["lowered_evaluation"] =
      result.lowered_evaluation ? ordered_json::parse(ToJson(*result.lowered_evaluation)) : ordered_json(nullptr);
  json["problem"] = ProblemSummaryJson(problem);
  PrintDocument(json);
}

/// Traces are one a rank: the first ones stand for the others.
void PrintWritten(std::ostream& out, const std::vector<std::string>& written) {
  constexpr std::size_t kListed = 16;
  for (std::size_t i = 0; i < std::min(kListed, written.size()); ++i) out << "wrote " << written[i] << "\n";
  if (written.size() > kListed) out << "wrote " << written.size() - kListed << " more files beside them\n";
}

int Run(const Arguments& arguments, const Context& context) {
  const Plan plan = ParsePlan(ReadTextFile(arguments.plan), arguments.plan);
  const Problem problem = ParseProblem(plan.problem_json, arguments.plan);
  const Exporter& exporter = context.exporters.Get(arguments.target);
  const auto evaluator = context.evaluators.Make(plan.search.evaluator, problem);
  const ExportResult result =
      exporter.Export(plan, [&](const Strategy& strategy) { return evaluator->Evaluate(strategy); });
  if (!result.dropped.empty() && !arguments.lower) {
    std::cerr << "shardscout: " << result.target << " cannot run this plan as it is:\n";
    PrintDropped(std::cerr, result);
    PrintCost(std::cerr, problem, plan, result);
    std::cerr << "  --lower exports what it can run\n";
    return kExitUser;
  }
  std::vector<std::string> written;
  std::error_code not_made;  // Writing then says what is wrong.
  if (!result.files.empty()) std::filesystem::create_directories(arguments.folder, not_made);
  for (const ExportFile& file : result.files) {
    const std::string path = arguments.folder == "." ? file.name : arguments.folder + "/" + file.name;
    WriteFileAtomically(path, file.text);
    written.push_back(path);
  }
  if (context.json) {
    PrintJson(problem, plan, result, written);
    return kExitResult;
  }
  if (!result.dropped.empty()) {
    std::cout << "lowered to what " << result.target << " runs:\n";
    PrintDropped(std::cout, result);
    PrintCost(std::cout, problem, plan, result);
  }
  PrintWritten(std::cout, written);
  for (const std::string& text : result.priced) std::cout << "priced: " << text << "\n";
  for (const std::string& note : result.notes) std::cout << "note: " << note << "\n";
  if (!result.command.empty()) std::cout << result.command << "\n";
  return kExitResult;
}

}  // namespace

void AddExportCommand(CLI::App& app, Context& context) {
  auto arguments = std::make_shared<Arguments>();  // shared with the callback, which outlives this function
  CLI::App* command = app.add_subcommand("export", "Write a plan in the form that a framework takes");
  command->add_option("plan", arguments->plan, "A plan")->type_name(takes::kFile)->required();
  command->add_option("--to", arguments->target, "Which framework (shardscout list exporters)")
      ->type_name(takes::kExporter)
      ->required();
  command->add_option("--out,--out-dir,-o", arguments->folder, "Folder of the files; made where it is not there")
      ->type_name(takes::kFolder)
      ->capture_default_str();
  command->add_flag("--lower", arguments->lower,
                    "Export what the framework can run, where it cannot run the plan as it is");
  AddCommonOptions(*command, context);
  command->footer(
      "Without --lower, a plan that the framework cannot express is refused (exit code 2) with the list of what would\n"
      "be dropped and what that costs.\n\n"
      "Example:\n"
      "  shardscout export plan.json --to vllm --lower");
  command->callback(
      [arguments, &context] { context.run = [arguments, &context] { return Run(*arguments, context); }; });
}

}  // namespace shardscout::cli
