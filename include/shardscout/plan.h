#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "shardscout/evaluation.h"
#include "shardscout/problem.h"
#include "shardscout/program.h"
#include "shardscout/strategy.h"
#include "shardscout/version.h"

namespace shardscout {

inline constexpr int kPlanSchemaVersion = 1;

/// Where one rank of a pool's first replica lives. Replica r's ranks follow at r * instance size.
struct RankPlacement {
  std::int64_t rank = 0;
  std::int64_t node = 0;
  std::int64_t device = 0;                                                ///< On its node.
  std::int64_t pp = 0, dp = 0, cp = 0, tp = 0, edp = 0, ep = 0, etp = 0;  ///< Mesh coordinates.
  bool operator==(const RankPlacement&) const = default;
};

/// Experts [first, first + count) of each MoE layer on the ranks of one expert coordinate.
struct ExpertPlacement {
  std::int64_t ep = 0, first = 0, count = 0;
  bool operator==(const ExpertPlacement&) const = default;
};

/// One set of equal instances: the whole deployment ("serve", "prefill", "decode"), or one of two pools.
struct Pool {
  std::string role;
  Strategy strategy;
  std::int64_t replicas = 0;
  std::vector<RankPlacement> placement;
  std::vector<Stage> stages;
  std::vector<ExpertPlacement> experts;
  bool operator==(const Pool&) const = default;
};

/// What is proved about the plan, where something is.
struct Certificate {
  double value = 0;
  double bound = 0;
  double gap = 0;
  std::string space;
  bool operator==(const Certificate&) const = default;
};

/// The search by a cheaper evaluator that chose what the plan's was asked first (screening.h).
struct ScreenProvenance {
  std::string evaluator, searcher;
  std::int64_t budget = 0, evaluations = 0, kept = 0;
  double objective = 0;   ///< Of the plan's strategy, as the cheaper evaluator has it.
  double difference = 0;  ///< The plan's own objective / that - 1.
  bool operator==(const ScreenProvenance&) const = default;
};

/// How the plan was found. No wall times, no paths.
struct SearchProvenance {
  std::string searcher;
  std::string evaluator;
  std::uint64_t seed = 0;
  std::int64_t budget = 0;
  std::int64_t evaluations = 0;
  std::int64_t feasible_evaluations = 0;
  std::string status;
  std::string start = "none";
  std::string configuration_json = "{}";  ///< The searcher's effective configuration.
  std::string version;                    ///< Of Shardscout.
  double reward = 0;
  double megatron_objective = 0;  ///< The normaliser.
  double space_strategies = 0;
  bool space_exact = true;
  std::optional<ScreenProvenance> screen;
  std::optional<double> until_gap;  ///< At which the search was told to end.
  bool operator==(const SearchProvenance&) const = default;
};

/// The result of a search: what is deployed. Holds the problem whole, so that a plan can be re-evaluated without its
/// spec files.
struct Plan {
  std::string model_name, cluster_name, workload_name;
  std::string problem_digest;
  std::string problem_json;  ///< model, cluster, workload and options, effective values.
  std::vector<Pool> pools;
  Evaluation evaluation;
  Breakdown breakdown;  ///< Where the time goes; empty where nobody asked the evaluator to explain.
  std::optional<Certificate> certificate;
  SearchProvenance search;
};

/// The pool of one strategy on the problem's cluster. Ranks innermost first: tp, cp, dp, pp; rank r of the first
/// replica is device r mod devices_per_node of node r / devices_per_node. Worked example: tp 2, cp 1, dp 2, pp 2 on
/// nodes of 4: rank 6 = 0 + 2 * (0 + 1 * (1 + 2 * 1)) is tp 0, cp 0, dp 1, pp 1, device 2 of node 1; with ep 4 it is
/// ep 2.
Pool MakePool(const Problem& problem, const Strategy& strategy);

/// A plan of these pools, with the problem whole and nothing else.
Plan PlanOf(const Problem& problem, std::vector<Pool> pools);

/// Pretty-printed, keys in a fixed order, numbers shortest that read back equal: equal plans are equal byte for byte.
std::string ToJson(const Plan& plan);
Plan ParsePlan(std::string_view json, std::string_view place);

/// A problem as JSON (model, cluster, workload, options: effective values) and back.
std::string ToJson(const Problem& problem, int indent = -1);
Problem ParseProblem(std::string_view json, std::string_view place);

/// An evaluation as a JSON object and back, bit for bit.
std::string ToJson(const Evaluation& evaluation, int indent = -1);
Evaluation ParseEvaluation(std::string_view json, std::string_view place);

/// A breakdown as a JSON object.
std::string ToJson(const Breakdown& breakdown, int indent = -1);

/// Writes beside and renames, so that no partial file is ever left; the text is on the disk (fsync) before the name is.
/// A device or a pipe is written to directly. SpecError when it can't be written.
void WriteFileAtomically(const std::string& path, std::string_view text);

/// SpecError where WriteFileAtomically would fail at once (no such folder, no permission, a directory), so that a long
/// search does not end in it. Leaves nothing behind.
void CheckCanWrite(const std::string& path);

}  // namespace shardscout
