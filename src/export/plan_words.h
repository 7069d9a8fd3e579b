#pragma once

// Plans in words, the same on a terminal and on a page. Plain text: not escaped.

#include <string>
#include <vector>

#include "shardscout/plan.h"
#include "shardscout/problem.h"

namespace shardscout::exporters {

/// The objective's own number with its unit: "1,234 tokens/s/device".
std::string ObjectiveText(const Problem& problem, const Evaluation& evaluation);

/// By the problem's objective: "1.93 times as good as X", "12.0 % better than X", "3.1 % worse than X", "as good as X";
/// without a name for X "1.93 times as good" and so on.
std::string ComparedWith(const Problem& problem, const Evaluation& evaluation, const Evaluation& other,
                         const std::string& name = "");

/// "decode, input 4,096, output 1,024, TPOT at most 50.0 ms"
std::string WorkloadText(const WorkloadSpec& workload);

/// What a pool is, a sentence each: instances, the degrees above 1, batch, residual stream, experts' exchange.
std::vector<std::string> Sentences(const Problem& problem, const Pool& pool);

/// What an operator is, and what its sharding means, for readers who know neither's name.
std::string OperatorText(Operator op);
std::string ShardingText(Operator op, Sharding sharding);

/// The operators that a strategy of the model decides.
bool HasOperator(const ModelSpec& model, Operator op);

}  // namespace shardscout::exporters
