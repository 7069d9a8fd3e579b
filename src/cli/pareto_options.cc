#include "src/cli/pareto_options.h"

#include <iostream>

#include "shardscout/error.h"
#include "shardscout/plan.h"
#include "src/cli/option_table.h"
#include "src/cli/output.h"

namespace shardscout::cli {

void AddParetoOptions(CLI::App& command, ParetoArguments& arguments) {
  command
      .add_flag("--pareto", arguments.front,
                "Also show the Pareto front: throughput per device against TPOT (prefill: TTFT), whatever its target; "
                "proved with the analytical evaluator. The searcher is then exact, unless another is named")
      ->group("Output");
  command.add_option("--pareto-csv", arguments.csv, "Where the front is written as CSV; implies --pareto")
      ->type_name(takes::kFile)
      ->group("Output");
}

std::optional<ParetoFront> FindFront(const Problem& problem, const ParetoArguments& arguments,
                                     const SearchArguments& search, const Context& context) {
  if (!arguments.Asked()) return std::nullopt;
  if (problem.workload().IsTraining()) {
    throw SpecError("--pareto", "is of throughput against latency, and a step of training has one time; remove it");
  }
  ParetoRequest request;
  request.evaluator = search.evaluator;
  request.threads = search.threads;
  request.time_limit_s = search.time_limit_s;
  request.stop = context.stop;
  ParetoFront front = FindParetoFront(problem, request, context.evaluators);
  if (!arguments.csv.empty()) WriteFileAtomically(arguments.csv, ParetoCsv(problem, front));
  return front;
}

void PrintFront(const Problem& problem, const ParetoFront& front, const ParetoArguments& arguments) {
  const bool prefill = problem.workload().kind == WorkloadKind::kPrefill;
  std::cout << "\nfront     " << Grouped(static_cast<std::int64_t>(front.points.size()))
            << " strategies that no other one beats in both throughput per device and " << (prefill ? "TTFT" : "TPOT")
            << ", " << (front.proved ? "proved" : "not proved to be all") << " (" << front.evaluator << "), found in "
            << Duration(front.wall_s) << "\n\n";
  std::vector<std::string> header = {prefill ? ">TTFT" : ">TPOT"};
  if (!prefill) header.push_back(">tokens/s/user");
  for (const char* name : {">tokens/s/device", ">requests", "targets", "strategy"}) header.emplace_back(name);
  Table table(header);
  for (const ParetoPoint& point : front.points) {
    const double latency_s = LatencyOf(point.evaluation, problem.workload());
    std::vector<std::string> row = {Duration(latency_s)};
    if (!prefill) row.push_back(Number(1 / latency_s));
    row.push_back(Number(point.evaluation.metrics.throughput_per_device));
    row.push_back(Grouped(point.evaluation.metrics.concurrency));
    row.push_back(point.evaluation.Feasible() ? "kept" : "missed");
    row.push_back(ToShortString(point.strategy));
    table.AddRow(row);
  }
  table.Print(std::cout);
  if (!arguments.csv.empty()) std::cout << "\nfront     " << arguments.csv << "\n";
}

}  // namespace shardscout::cli
