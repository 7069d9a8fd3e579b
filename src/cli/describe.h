#pragma once

// Problems, strategies and evaluations in words and as JSON, the same in every command.

#include <iosfwd>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "shardscout/evaluation.h"
#include "shardscout/megatron_rule.h"
#include "shardscout/plan.h"
#include "shardscout/problem.h"
#include "shardscout/run_search.h"
#include "src/export/plan_words.h"

namespace shardscout::cli {

using exporters::ObjectiveText;

/// "1.23e+11 strategies", or "at least ...".
std::string SpaceText(const SpaceSize& space);

/// Model, cluster and workload: three lines.
void PrintProblem(std::ostream& out, const Problem& problem);

/// Metrics and memory of one evaluation: a few lines, with the limits beside what they limit.
void PrintEvaluation(std::ostream& out, const Problem& problem, const Evaluation& evaluation);

/// A deployment of several pools: the problem, each pool's strategy, and the evaluation of all.
void PrintPools(std::ostream& out, const Problem& problem, const std::vector<Pool>& pools,
                const Evaluation& evaluation);
nlohmann::ordered_json PoolsJson(const Problem& problem, const std::vector<Pool>& pools, const Evaluation& evaluation);

/// "megatron rule ... 1,234 tokens/s/device  pp1 tp8 ...", with what it breaks where it is not feasible.
void PrintMegatron(std::ostream& out, const Problem& problem, const MegatronAnswer& megatron);

/// One object on stdout. A path in it that is no UTF-8 has replacement characters.
void PrintDocument(const nlohmann::ordered_json& json);

nlohmann::ordered_json ProblemSummaryJson(const Problem& problem);
nlohmann::ordered_json SpaceJson(const SpaceSize& space);
nlohmann::ordered_json ScoredJson(const Scored& scored);
nlohmann::ordered_json MegatronJson(const MegatronAnswer& megatron, double objective);

}  // namespace shardscout::cli
