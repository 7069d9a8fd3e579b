#pragma once

// The fields of a plan's parts, for src/json/fields.h. What is derived and long (placement, stages, experts) is written
// as a table, {"columns": [...], "rows": [[...], ...]}, so that a plan of 24,576 ranks stays readable and small.

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "shardscout/plan.h"
#include "src/evaluation_json.h"
#include "src/json/fields.h"
#include "src/strategy_json.h"

namespace shardscout {

inline std::array<Phase, 2> EnumValues(Phase) { return {Phase::kPrefill, Phase::kDecode}; }

/// Rows of integers under named columns.
struct IntegerTable {
  std::vector<std::string> columns;
  std::vector<std::vector<std::int64_t>> rows;
};

template <class V>
void VisitFields(V& visit, IntegerTable& table) {
  visit("columns", table.columns, json::Needed("The names of the columns."));
  visit("rows", table.rows, json::Needed("One list of integers a row, in the order of the columns."));
}

template <class V>
void VisitFields(V& visit, BreakdownRow& row) {
  const auto amount = [](std::string_view doc) { return json::Field{.doc = doc, .min = 0, .required = true}; };
  visit("phase", row.phase, json::Needed("The pass that the time belongs to."));
  visit("op", row.op, json::Needed("The operator."));
  visit("what", row.what, json::Needed("The task: a kind of kernel, or a collective and its group."));
  visit("collective", row.collective, json::Needed("Whether the task is a collective."));
  visit("calls", row.calls, amount("Calls over all layers and stages, one micro-batch."));
  visit("time_s", row.time_s, amount("Seconds of the critical path of one micro-batch."));
  visit("bytes", row.bytes,
        amount("Payload of a collective, or traffic of a kernel with the memory, bytes of one rank."));
  visit("flop", row.flop, amount("FLOP of one rank."));
  visit("tier", row.tier,
        {.doc = "Index of the outermost tier that the group spans; -1 for a kernel.", .min = -1, .required = true});
}

template <class V>
void VisitFields(V& visit, StageTime& stage) {
  visit("phase", stage.phase, {.doc = "The pass that the time belongs to.", .required = true});
  visit("time_s", stage.time_s, {.doc = "Seconds of one micro-batch in this stage.", .min = 0, .required = true});
}

template <class V>
void VisitFields(V& visit, Breakdown& breakdown) {
  visit("rows", breakdown.rows, json::Needed("Where the time goes, one row an operator and task."));
  visit("stages", breakdown.stages, json::Needed("Time of each pipeline stage, by phase, then stage."));
  visit("bytes_by_tier", breakdown.bytes_by_tier,
        json::Needed("Bytes that a device puts on the wires of each tier in one pass."));
}

template <class V>
void VisitFields(V& visit, Certificate& certificate) {
  visit("value", certificate.value, json::Needed("The objective of the plan."));
  visit("bound", certificate.bound, json::Needed("What no strategy of the space exceeds."));
  visit("gap", certificate.gap, json::Needed("Relative distance of value and bound; 0: proven optimal."));
  visit("space", certificate.space, json::Needed("The space that the proof covers."));
}

template <class V>
void VisitFields(V& visit, ScreenProvenance& screen) {
  const auto count = [](std::string_view doc) { return json::Field{.doc = doc, .min = 0, .required = true}; };
  visit("evaluator", screen.evaluator, json::Needed("What scored its strategies."));
  visit("searcher", screen.searcher, json::Needed("Who proposed them."));
  visit("budget", screen.budget, count("Evaluations of distinct strategies that it was allowed, free of charge."));
  visit("evaluations", screen.evaluations, count("Evaluations that it made."));
  visit("kept", screen.kept, count("Strategies that the search evaluated first."));
  visit("objective", screen.objective, json::Needed("Of the plan's strategy, by the screen's evaluator."));
  visit("difference", screen.difference, json::Needed("The plan's objective over that, less 1."));
}

/// "search", without the configuration, which is the searcher's own object.
template <class V>
void VisitFields(V& visit, SearchProvenance& search) {
  const auto count = [](std::string_view doc) { return json::Field{.doc = doc, .min = 0, .required = true}; };
  visit("searcher", search.searcher, json::Needed("Who found the plan."));
  visit("evaluator", search.evaluator, json::Needed("What scored it."));
  visit("seed", search.seed, count("Decides everything random."));
  visit("budget", search.budget, count("Evaluations of distinct strategies that were allowed."));
  visit("evaluations", search.evaluations, count("Evaluations that were spent."));
  visit("feasible_evaluations", search.feasible_evaluations, count("Those of feasible strategies."));
  visit("status", search.status, json::Needed("How the search ended, such as budget_exhausted or proven_optimal."));
  visit("start", search.start, json::Needed("none, or megatron where the Megatron rule came first."));
  visit("version", search.version, json::Needed("Of Shardscout."));
  visit("reward", search.reward, json::Needed("Objective relative to the Megatron rule's; negative: infeasible."));
  visit("megatron_objective", search.megatron_objective,
        json::Needed("Objective of the Megatron rule's strategy, in the unit of the workload's objective."));
  visit("space_strategies", search.space_strategies, count("Canonical strategies of the space."));
  visit("space_exact", search.space_exact, json::Needed("Whether that number is a count and not an estimate."));
  visit("screen", search.screen, {.doc = "The search by a cheaper evaluator that came first."});
  visit("until_gap", search.until_gap, {.doc = "Gap to a proved bound at which the search was to end.", .above = 0});
}

/// "evaluation": an Evaluation and where its time goes.
struct EvaluationFile {
  Evaluation evaluation;
  Breakdown breakdown;
};

template <class V>
void VisitFields(V& visit, EvaluationFile& file) {
  VisitFields(visit, file.evaluation);
  visit("breakdown", file.breakdown, json::Needed("Where the time goes; empty where the evaluator was not asked."));
}

/// A Pool as a plan file holds it.
struct PoolFile {
  std::string role;
  std::int64_t replicas = 1;
  Strategy strategy;
  IntegerTable stages;
  IntegerTable experts;
  IntegerTable placement;
};

template <class V>
void VisitFields(V& visit, PoolFile& pool) {
  visit("role", pool.role, json::Needed("What the pool does: serve, prefill or decode."));
  visit("replicas", pool.replicas, {.doc = "Equal instances of the model.", .min = 1, .required = true});
  visit("strategy", pool.strategy, json::Needed("How one instance is split, as in a strategy file."));
  visit("stages", pool.stages,
        json::Needed("Layers of each pipeline stage; columns first_layer (with virtual stages, of its first chunk), "
                     "num_layers, num_dense, num_moe."));
  visit("experts", pool.experts, json::Needed("Experts of each expert parallel rank; columns ep, first, count."));
  visit("placement", pool.placement,
        json::Needed("Ranks of the first instance; columns rank, node, device, and the mesh coordinates pp to etp."));
}

}  // namespace shardscout
