#include "src/cli/describe_difference.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <ostream>
#include <vector>

#include "shardscout/reward.h"
#include "src/cli/describe.h"
#include "src/cli/output.h"

namespace shardscout::cli {
namespace {

using nlohmann::ordered_json;

constexpr std::size_t kMostNamed = 4;

/// "costs 12.3 %", where `factor` is how many times as good the objective becomes.
std::string EffectText(double factor) {
  if (factor == 1) return "changes nothing";
  if (std::abs(factor - 1) < 0.0005) return "changes less than 0.1 %";
  return factor < 1 ? "costs " + Percent(1 - factor) : "gains " + Percent(factor - 1);
}

std::string ChangeText(const Problem& problem, const SingleChange& change, double factor) {
  std::string text = EffectText(factor) + ": " + ObjectiveText(problem, change.evaluation);
  if (!change.evaluation.Feasible()) text += ", breaks " + DescribeViolations(change.evaluation, problem.workload());
  for (std::size_t i = 0; i < std::min(change.also.size(), kMostNamed); ++i) {
    const MovedVariable& moved = change.also[i];
    text += (i == 0 ? "; also moves " : ", ") + VariableName(moved.variable) + " " +
            ValueName(moved.variable, moved.from) + " -> " + ValueName(moved.variable, moved.to);
  }
  if (change.also.size() > kMostNamed) text += " and " + std::to_string(change.also.size() - kMostNamed) + " more";
  return text;
}

ordered_json ChangeJson(const Problem& problem, const SingleChange& change) {
  ordered_json out;
  out["earns"] = change.earns;
  out["objective"] = ObjectiveOf(change.evaluation, problem.workload().objective, problem.workload().kind).value;
  out["feasible"] = change.evaluation.Feasible();
  out["also_moved"] = ordered_json::array();
  for (const MovedVariable& moved : change.also) {
    out["also_moved"].push_back({{"variable", VariableName(moved.variable)},
                                 {"from", ValueName(moved.variable, moved.from)},
                                 {"to", ValueName(moved.variable, moved.to)}});
  }
  out["strategy"] = ordered_json::parse(ToJson(change.strategy));
  out["evaluation"] = ordered_json::parse(ToJson(change.evaluation));
  return out;
}

}  // namespace

void PrintDifference(std::ostream& out, const Problem& problem, const StrategyDifference& difference,
                     const std::string& other) {
  if (difference.variables.empty()) {
    out << "\nthis strategy and that of " << other << " are the same\n";
    return;
  }
  out << "\nthis strategy is " << Number(difference.earns) << " x as good as that of " << other << "; they differ in "
      << difference.variables.size() << (difference.variables.size() == 1 ? " variable\n" : " variables\n");
  std::vector<const VariableDifference*> rows;
  for (const VariableDifference& row : difference.variables) rows.push_back(&row);

  out << "\none variable at a time set back to the value of " << other << ": what the value here earns\n";
  std::stable_sort(rows.begin(), rows.end(),
                   [](const auto* a, const auto* b) { return a->back.earns > b->back.earns; });
  Table back({"variable", "here", "there", ">earns", "setting it back"});
  for (const VariableDifference* row : rows) {
    back.AddRow({VariableName(row->variable), ValueName(row->variable, row->ours),
                 ValueName(row->variable, row->theirs), Number(row->back.earns) + " x",
                 ChangeText(problem, row->back, 1 / row->back.earns)});
  }
  back.Print(out);

  out << "\nthe strategy of " << other << " with one variable at a time set to the value here\n";
  std::stable_sort(rows.begin(), rows.end(),
                   [](const auto* a, const auto* b) { return a->forward.earns > b->forward.earns; });
  Table forward({"variable", "there", "here", ">earns", "setting it"});
  for (const VariableDifference* row : rows) {
    forward.AddRow({VariableName(row->variable), ValueName(row->variable, row->theirs),
                    ValueName(row->variable, row->ours), Number(row->forward.earns) + " x",
                    ChangeText(problem, row->forward, row->forward.earns)});
  }
  forward.Print(out);
}

ordered_json DifferenceJson(const Problem& problem, const StrategyDifference& difference) {
  ordered_json out;
  out["earns"] = difference.earns;
  out["variables"] = ordered_json::array();
  for (const VariableDifference& row : difference.variables) {
    out["variables"].push_back({{"variable", VariableName(row.variable)},
                                {"here", ValueName(row.variable, row.ours)},
                                {"there", ValueName(row.variable, row.theirs)},
                                {"back", ChangeJson(problem, row.back)},
                                {"forward", ChangeJson(problem, row.forward)}});
  }
  return out;
}

}  // namespace shardscout::cli
