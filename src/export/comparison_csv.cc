#include <string>
#include <vector>

#include "shardscout/comparison_report.h"
#include "src/export/csv.h"

namespace shardscout {
namespace {

using exporters::AddRow;
using exporters::Shortest;

std::vector<std::string> Figures(const SearcherSummary& summary) {
  return {summary.searcher,
          std::to_string(summary.runs),
          Shortest(summary.score),
          Shortest(summary.interval.low),
          Shortest(summary.interval.high),
          Shortest(summary.feasible_share),
          Shortest(summary.area),
          summary.evaluations_until ? Shortest(*summary.evaluations_until) : "",
          Shortest(summary.never_share),
          Shortest(summary.worst_score),
          Shortest(summary.best_score),
          Shortest(summary.wall_s)};
}

}  // namespace

std::string ComparisonCsv(const Comparison& comparison) {
  std::string csv;
  AddRow(csv, {"scope",
               "problem",
               "model",
               "cluster",
               "devices",
               "workload",
               "objective",
               "reference",
               "reference_value",
               "searcher",
               "runs",
               "score_iqm",
               "score_low",
               "score_high",
               "feasible_share",
               "area_iqm",
               "evaluations_until_0.99",
               "never_share",
               "worst_score",
               "best_score",
               "mean_wall_s"});
  const auto add = [&](std::vector<std::string> cells, const SearcherSummary& summary) {
    for (std::string& cell : Figures(summary)) cells.push_back(std::move(cell));
    AddRow(csv, cells);
  };
  for (const ProblemSummary& problem : comparison.problems) {
    for (const SearcherSummary& summary : problem.searchers) {
      add({"problem", problem.name, problem.model, problem.cluster, std::to_string(problem.devices), problem.workload,
           problem.objective, std::string(ToString(problem.reference.kind)), Shortest(problem.reference.value)},
          summary);
    }
  }
  for (const SearcherSummary& summary : comparison.overall) {
    add({"all", "", "", "", "", "", "", "", ""}, summary);
  }
  return csv;
}

}  // namespace shardscout
