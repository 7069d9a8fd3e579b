#include "src/export/comparison_json.h"

#include <nlohmann/json.hpp>

#include "shardscout/comparison_report.h"

namespace shardscout {
namespace {

using nlohmann::ordered_json;

ordered_json SearcherJson(const SearcherSummary& summary, bool curves) {
  ordered_json json;
  json["searcher"] = summary.searcher;
  json["runs"] = summary.runs;
  json["score_iqm"] = summary.score;
  json["score_interval"] = {summary.interval.low, summary.interval.high};
  json["feasible_share"] = summary.feasible_share;
  json["area_iqm"] = summary.area;
  json["evaluations_until_0.99"] =
      summary.evaluations_until ? ordered_json(*summary.evaluations_until) : ordered_json(nullptr);
  json["never_share"] = summary.never_share;
  json["worst_score"] = summary.worst_score;
  json["best_score"] = summary.best_score;
  json["mean_wall_s"] = summary.wall_s;
  if (curves) {
    json["curve"] = summary.curve;
    json["profile"] = summary.profile;
  }
  return json;
}

ordered_json ProblemJson(const ProblemSummary& problem, bool curves) {
  ordered_json json;
  json["name"] = problem.name;
  json["model"] = problem.model;
  json["cluster"] = problem.cluster;
  json["devices"] = problem.devices;
  json["workload"] = problem.workload;
  json["objective"] = problem.objective;
  json["reference"] = {{"kind", ToString(problem.reference.kind)},
                       {"value", problem.reference.value},
                       {"reward", problem.reference.reward},
                       {"wall_s", problem.reference.wall_s}};
  json["searchers"] = ordered_json::array();
  for (const SearcherSummary& summary : problem.searchers) json["searchers"].push_back(SearcherJson(summary, curves));
  return json;
}

}  // namespace

ordered_json exporters::ComparisonDocument(const Comparison& comparison, bool curves) {
  ordered_json json;
  json["name"] = comparison.name;
  json["evaluator"] = comparison.evaluator;
  json["budget"] = comparison.budget;
  json["first_seed"] = comparison.first_seed;
  json["num_seeds"] = comparison.num_seeds;
  if (curves) {
    json["curve_at"] = comparison.curve_at;
    json["taus"] = comparison.taus;
  }
  json["overall"] = ordered_json::array();
  for (const SearcherSummary& summary : comparison.overall) json["overall"].push_back(SearcherJson(summary, curves));
  json["problems"] = ordered_json::array();
  for (const ProblemSummary& problem : comparison.problems) json["problems"].push_back(ProblemJson(problem, curves));
  json["impossible"] = comparison.impossible;
  return json;
}

std::string ComparisonJson(const Comparison& comparison, int indent) {
  return exporters::ComparisonDocument(comparison, false)
      .dump(indent, ' ', /*ensure_ascii=*/false, ordered_json::error_handler_t::replace);
}

}  // namespace shardscout
