#include <algorithm>
#include <filesystem>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "shardscout/error.h"
#include "shardscout/plan.h"
#include "shardscout/reward.h"
#include "shardscout/run_search.h"
#include "shardscout/strategy_difference.h"
#include "src/cli/commands.h"
#include "src/cli/describe.h"
#include "src/cli/describe_difference.h"
#include "src/cli/output.h"
#include "src/cli/strategy_input.h"

namespace shardscout::cli {
namespace {

using nlohmann::ordered_json;

std::string TierName(const Problem& problem, int tier) {
  return tier < 0 ? "" : problem.cluster().tiers.at(static_cast<std::size_t>(tier)).name;
}

/// Time by operator and collective of one phase: the critical path of one micro-batch over all stages.
void PrintTimes(const Problem& problem, const Breakdown& breakdown, Phase phase) {
  double total = 0, communication = 0;
  std::vector<const BreakdownRow*> rows;
  for (const BreakdownRow& row : breakdown.rows) {
    if (row.phase != phase) continue;
    rows.push_back(&row);
    total += row.time_s;
    if (row.collective) communication += row.time_s;
  }
  if (rows.empty()) return;
  std::stable_sort(rows.begin(), rows.end(), [](const auto* a, const auto* b) { return a->time_s > b->time_s; });
  std::cout << "\n"
            << (problem.workload().IsTraining() ? "forward and backward" : ToString(phase))
            << ": one micro-batch through all stages takes " << Duration(total) << ", "
            << Percent(total > 0 ? communication / total : 0) << " of it in collectives\n";
  Table table({"operator", "what", ">calls", ">time", ">share", ">bytes", ">GFLOP", "tier"});
  for (const BreakdownRow* row : rows) {
    table.AddRow({std::string(ToString(row->op)), row->what, Grouped(row->calls), Duration(row->time_s),
                  Percent(total > 0 ? row->time_s / total : 0), Bytes(row->bytes),
                  row->collective ? "" : Number(row->flop / 1e9), TierName(problem, row->tier)});
  }
  table.Print(std::cout);
  std::cout << "stages    ";
  for (const StageTime& stage : breakdown.stages) {
    if (stage.phase == phase) std::cout << Duration(stage.time_s) << "  ";
  }
  std::cout << "\n";
}

void PrintMemory(const MemoryUse& memory) {
  std::cout << "\nmemory on a device of the fullest stage\n";
  Table table({"part", ">bytes", ">of the limit"});
  const auto add = [&](const char* part, double bytes) {
    table.AddRow({part, Bytes(bytes), Percent(bytes / memory.limit_bytes)});
  };
  add("weights", memory.weight_bytes);
  const bool training = memory.optimizer_bytes > 0;
  if (training) add("gradients", memory.gradient_bytes);
  if (training) add("optimizer", memory.optimizer_bytes);
  if (!training) add("KV cache", memory.kv_cache_bytes);
  if (memory.linear_state_bytes > 0) add("linear attention's states", memory.linear_state_bytes);
  add("activations", memory.activation_bytes);
  add("communication", memory.communication_bytes);
  add("reserve", memory.reserved_bytes);
  add("total", memory.TotalBytes());
  add("limit", memory.limit_bytes);
  table.Print(std::cout);
}

void PrintTiers(const Problem& problem, const Breakdown& breakdown) {
  std::cout << "\nbytes that a device puts on each tier in one pass of all micro-batches\n";
  Table table({"tier", ">devices", ">bytes", ">at full speed"});
  const auto& tiers = problem.cluster().tiers;
  for (std::size_t i = 0; i < std::min(tiers.size(), breakdown.bytes_by_tier.size()); ++i) {
    const double bytes = breakdown.bytes_by_tier[i];
    table.AddRow({tiers[i].name, tiers[i].size == 0 ? "all" : Grouped(tiers[i].size), Bytes(bytes),
                  Duration(bytes / tiers[i].bytes_per_s)});
  }
  table.Print(std::cout);
}

struct ExplainArguments {
  StrategyArguments strategy;
  std::string against;  ///< "": no comparison.
};

/// What --against names.
Strategy AgainstStrategy(const ExplainArguments& arguments, const Problem& problem, const StrategyReport& report,
                         const Context& context) {
  if (arguments.against == "megatron") return report.megatron.strategy;
  if (arguments.against == "megatron-tuned") {
    SearchRequest request;
    request.searcher = arguments.against;
    request.evaluator = arguments.strategy.evaluator;
    request.stop = context.stop;
    const SearchReport tuned = RunSearch(problem, request, context.searchers, context.evaluators);
    if (!tuned.best) throw SpecError("--against megatron-tuned", "was interrupted before it had a strategy");
    return tuned.best->strategy;
  }
  if (!std::filesystem::exists(arguments.against)) {
    throw SpecError("--against", "found \"" + arguments.against +
                                     "\", expected megatron, megatron-tuned, or the file of a plan or a strategy");
  }
  return ReadStrategyFile(arguments.against);
}

int RunAgainst(const ExplainArguments& arguments, const StrategyInput& input, const StrategyReport& report,
               const Context& context) {
  const Problem& problem = input.problem;
  const Strategy theirs = AgainstStrategy(arguments, problem, report, context);
  const StrategySpace space(problem);
  if (const std::string broken = space.WhyNot(theirs); !broken.empty()) throw SpecError(arguments.against, broken);
  const std::unique_ptr<Evaluator> evaluator = context.evaluators.Make(arguments.strategy.evaluator, problem);
  const StrategyDifference difference = CompareStrategies(
      space, input.strategy, theirs, [&](const Strategy& strategy) { return evaluator->Evaluate(strategy); });
  if (context.json) {
    const WorkloadSpec& workload = problem.workload();
    ordered_json json;
    json["problem"] = ProblemSummaryJson(problem);
    json["strategy"] = ScoredJson({input.strategy, report.evaluation, report.reward});
    json["against"] = ScoredJson(
        {theirs, difference.theirs, Reward(difference.theirs, workload.objective, workload.kind, report.normaliser)});
    json["difference"] = DifferenceJson(problem, difference);
    std::cout << json.dump(2) << "\n";
    return kExitResult;
  }
  PrintProblem(std::cout, problem);
  const auto print = [&](const char* label, const Strategy& strategy, const Evaluation& evaluation) {
    std::cout << label << ObjectiveText(problem, evaluation);
    if (!evaluation.Feasible()) std::cout << ", breaks " << DescribeViolations(evaluation, problem.workload());
    std::cout << "\n          " << ToShortString(strategy) << "\n";
  };
  print("strategy  ", input.strategy, difference.ours);
  print("against   ", theirs, difference.theirs);
  PrintDifference(std::cout, problem, difference, arguments.against);
  return kExitResult;
}

int Run(const ExplainArguments& arguments, const Context& context) {
  const StrategyInput input = ReadStrategyInput(arguments.strategy, context);
  const StrategyReport report =
      EvaluateStrategy(input.problem, input.strategy, arguments.strategy.evaluator, context.evaluators);
  if (!arguments.against.empty()) return RunAgainst(arguments, input, report, context);
  if (context.json) {
    ordered_json json;
    json["problem"] = ProblemSummaryJson(input.problem);
    json["strategy"] = ScoredJson({input.strategy, report.evaluation, report.reward});
    if (input.deployment) json["deployment"] = DeploymentJson(input);
    json["breakdown"] = ordered_json::parse(ToJson(report.breakdown));
    PrintDocument(json);
    return kExitResult;
  }
  PrintProblem(std::cout, input.problem);
  PrintDeployment(std::cout, input);
  std::cout << "strategy  " << ObjectiveText(input.problem, report.evaluation) << "\n          "
            << ToShortString(input.strategy) << "\n";
  PrintEvaluation(std::cout, input.problem, report.evaluation);
  const ClusterSpec& cluster = input.problem.cluster();
  std::cout << "curves    of kernels: "
            << (cluster.device.curves.source.empty() ? "unknown" : cluster.device.curves.source)
            << "\n          of collectives within a node: "
            << (cluster.tiers.front().nccl ? "fitted" : "NCCL's constants") << "; beyond: NCCL's constants\n";
  PrintTimes(input.problem, report.breakdown, Phase::kPrefill);
  PrintTimes(input.problem, report.breakdown, Phase::kDecode);
  PrintMemory(report.evaluation.memory);
  PrintTiers(input.problem, report.breakdown);
  return kExitResult;
}

}  // namespace

void AddExplainCommand(CLI::App& app, Context& context) {
  auto arguments = std::make_shared<ExplainArguments>();  // shared with the callback, which outlives this function
  CLI::App* command =
      app.add_subcommand("explain", "Where the time, the memory and the bytes on each link go in one strategy");
  AddStrategyOptions(*command, arguments->strategy);
  command->add_option(
      "--against", arguments->against,
      "Instead: where it differs from megatron, megatron-tuned, or the strategy of a file, and what each "
      "difference earns, changed one at a time");
  AddCommonOptions(*command, context);
  command->footer(
      "Examples:\n"
      "  shardscout explain plan.json\n"
      "  shardscout explain plan.json --against megatron\n"
      "  shardscout explain --strategy s.json --model deepseek-v3 --cluster h100-sxm --devices 256 --workload "
      "decode-chat");
  command->callback(
      [arguments, &context] { context.run = [arguments, &context] { return Run(*arguments, context); }; });
}

}  // namespace shardscout::cli
