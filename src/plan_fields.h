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
  visit("columns", table.columns, {.required = true});
  visit("rows", table.rows, {.required = true});
}

template <class V>
void VisitFields(V& visit, BreakdownRow& row) {
  const json::Field field = {.required = true};
  const json::Field amount = {.min = 0, .required = true};
  visit("phase", row.phase, field);
  visit("op", row.op, field);
  visit("what", row.what, field);
  visit("collective", row.collective, field);
  visit("calls", row.calls, amount);
  visit("time_s", row.time_s, amount);
  visit("bytes", row.bytes, amount);
  visit("flop", row.flop, amount);
  visit("tier", row.tier, {.min = -1, .required = true});
}

template <class V>
void VisitFields(V& visit, StageTime& stage) {
  visit("phase", stage.phase, {.required = true});
  visit("time_s", stage.time_s, {.min = 0, .required = true});
}

template <class V>
void VisitFields(V& visit, Breakdown& breakdown) {
  const json::Field field = {.required = true};
  visit("rows", breakdown.rows, field);
  visit("stages", breakdown.stages, field);
  visit("bytes_by_tier", breakdown.bytes_by_tier, field);
}

template <class V>
void VisitFields(V& visit, Certificate& certificate) {
  const json::Field field = {.required = true};
  visit("value", certificate.value, field);
  visit("bound", certificate.bound, field);
  visit("gap", certificate.gap, field);
  visit("space", certificate.space, field);
}

/// "search", without the configuration, which is the searcher's own object.
template <class V>
void VisitFields(V& visit, SearchProvenance& search) {
  const json::Field field = {.required = true};
  const json::Field count = {.min = 0, .required = true};
  visit("searcher", search.searcher, field);
  visit("evaluator", search.evaluator, field);
  visit("seed", search.seed, count);
  visit("budget", search.budget, count);
  visit("evaluations", search.evaluations, count);
  visit("feasible_evaluations", search.feasible_evaluations, count);
  visit("status", search.status, field);
  visit("start", search.start, field);
  visit("version", search.version, field);
  visit("reward", search.reward, field);
  visit("megatron_objective", search.megatron_objective, field);
  visit("space_strategies", search.space_strategies, count);
  visit("space_exact", search.space_exact, field);
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
  const json::Field field = {.required = true};
  visit("role", pool.role, field);
  visit("replicas", pool.replicas, {.min = 1, .required = true});
  visit("strategy", pool.strategy, field);
  visit("stages", pool.stages, field);
  visit("experts", pool.experts, field);
  visit("placement", pool.placement, field);
}

}  // namespace shardscout
