#pragma once

// What exporters to frameworks share: a plan brought down to what the framework runs, what that drops, and the parts of
// files that all of them have.

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "shardscout/exporter.h"
#include "shardscout/framework.h"
#include "src/frameworks/rule.h"

namespace shardscout::exporters {

/// "vLLM", "SGLang", "TensorRT-LLM", "Megatron-LM", "DeepSpeed", ...
std::string_view DisplayName(Framework framework);

/// "vllm@0.24".
std::string TargetName(Framework framework);

/// Throws SpecError at `flag` where the problem is one of training.
void RefuseTraining(const Problem& problem, std::string_view flag);

/// The plan's problem without what its search pinned: a framework's choices may contradict it. SpecError at `flag`
/// ("--to " and the framework where empty) for a plan of several pools, and for one of a kind that it does not run.
Problem UnpinnedProblem(const Plan& plan, Framework framework, std::string_view flag = "");

/// One entry a variable in which the two differ, with the reason.
std::vector<Dropped> Differences(const Strategy& planned, const Strategy& lowered,
                                 const std::function<std::string(int variable)>& reason);

struct Lowered {
  Strategy strategy;
  std::vector<Dropped> dropped;          ///< Empty: the framework runs the plan as it is.
  std::optional<Evaluation> evaluation;  ///< Of what is dropped, what is left.
};

/// The nearest strategy that the framework runs (a member of its space: framework_rules.h). Degrees that it does not
/// have are folded into ones that it has: cp into dp or tp, dp and tp into one another, attention over whole requests
/// into dp. Of these the best one that keeps the limits is taken, with the largest batch that does so; without
/// `reevaluate`, the first of as many devices as the plan's. SpecError where the framework runs the model in no way.
Lowered Lower(Framework framework, const Problem& problem, const Strategy& planned, const Reevaluate& reevaluate);

/// What the lowered strategy does, as lowering found it or by `reevaluate`; nullopt without either.
std::optional<Evaluation> EvaluationOf(const Lowered& lowered, const Reevaluate& reevaluate);

/// The result but for its files and command; the notes say how many instances there are.
ExportResult ResultOf(Framework framework, const Problem& problem, const Lowered& lowered);

/// SpecError naming the rules, if any is broken.
void ThrowIfBroken(Framework framework, const std::vector<frameworks::BrokenRule>& broken);
void ThrowIfBroken(const std::string& flag, std::string_view name, const std::vector<frameworks::BrokenRule>& broken);

/// Comment lines on where a file comes from and what it is for.
std::string Preamble(Framework framework, const Plan& plan, const Problem& problem, const Strategy& strategy);

/// A fraction as YAML and JSON have it.
std::string FractionText(double value);

/// Layers a stage, or empty where they are the framework's own split.
std::vector<std::int64_t> PartitionUnless(const Problem& problem, const Strategy& strategy,
                                          const std::vector<std::int64_t>& own);

/// "27,27,26"
std::string Joined(const std::vector<std::int64_t>& numbers);

/// Positions of a request that an engine has to hold.
std::int64_t MaxPositions(const WorkloadSpec& workload);

}  // namespace shardscout::exporters
