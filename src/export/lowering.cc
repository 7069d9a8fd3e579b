#include "src/export/lowering.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>
#include <sstream>
#include <utility>

#include "shardscout/error.h"
#include "shardscout/reward.h"
#include "shardscout/strategy_space.h"

namespace shardscout::exporters {
namespace {

std::string Reason(Framework framework, const Problem& problem, const Strategy& lowered, int variable) {
  const std::string name(DisplayName(framework));
  if (IsSharding(variable)) {
    if (lowered.tensor_parallel_size == 1) return "tp is 1 there: nothing to shard over";
    if (framework == Framework::kTransformers || framework == Framework::kDtensor) {
      return "a sharding that a plan of " + name + " has for it";
    }
    return name + "'s shardings are fixed: column, then row, over tp";
  }
  const bool training = problem.workload().IsTraining();
  switch (static_cast<Variable>(variable)) {
    case Variable::kPipelineParallelSize:
      return name + " has no pipeline here";
    case Variable::kTensorParallelSize:
    case Variable::kContextParallelSize:
    case Variable::kDataParallelSize:
      if (training) return name + " trains with no such degrees together";
      if (!problem.model().HasMoe()) return "data parallel ranks of a dense model are replicas, and cp ranks become tp";
      if (framework == Framework::kTensorRtLlm) return "its attention is either tensor or data parallel, never both";
      return name + " has tp and dp for attention, and cp only where its rules admit it";
    case Variable::kExpertParallelSize:
    case Variable::kExpertTensorParallelSize:
      return name + " lays its experts over all ranks of a stage";
    case Variable::kBatchSize:
      return "a data parallel rank's share, and no more than keeps the limits";
    case Variable::kNumMicrobatches:
      if (training) return "micro-batches that fill the stages";
      return name + " keeps as many batches in flight as there are stages";
    case Variable::kResidualLayout:
      return "the residual stream as " + name + " has it";
    case Variable::kDenseFfnGroup:
      return "the ranks that share a dense FFN in " + name;
    case Variable::kExpertExchange:
      return name + "'s exchange between these ranks";
    case Variable::kVirtualPipelineParallelSize:
      return name + " has no such chunks of a stage here";
    case Variable::kZeroStage:
      return "what data parallel ranks share in " + name + " with these degrees";
    case Variable::kHeadLayers:
      return name + " splits the layers alone over the stages";
    case Variable::kRecomputation:
      return name + " computes nothing again, or whole layers";
    case Variable::kRecomputedLayers:
      return name + " computes all layers again, or none";
    default:
      return name + " does not overlap so";
  }
}

/// The same for a training plan: tp and cp into dp, with the batch that is left for a rank.
std::vector<Strategy> FoldedInTraining(const Problem& problem, const Strategy& planned) {
  std::vector<Strategy> ways = {planned};
  const std::int64_t tp = planned.tensor_parallel_size, cp = planned.context_parallel_size;
  const std::int64_t dp = planned.data_parallel_size, whole = problem.workload().training->global_batch_size;
  for (const auto& [to_tp, to_dp] :
       {std::pair(tp, cp * dp), std::pair(tp * cp, dp), std::pair<std::int64_t, std::int64_t>(1, tp * cp * dp)}) {
    if (whole % to_dp != 0) continue;
    Strategy s = planned;
    s.tensor_parallel_size = to_tp;
    s.context_parallel_size = 1;
    s.data_parallel_size = to_dp;
    s.batch_size = whole / to_dp;
    s.num_microbatches = std::gcd(s.num_microbatches, s.batch_size);
    ways.push_back(s);
  }
  return ways;
}

/// Ways to fold degrees that a framework may lack into ones that it has; the plan's own first.
std::vector<Strategy> Folded(const Problem& problem, const Strategy& planned) {
  if (problem.workload().IsTraining()) return FoldedInTraining(problem, planned);
  std::vector<Strategy> ways = {planned};
  const auto add = [&](std::int64_t tp, std::int64_t dp, std::int64_t of_batch) {
    if (planned.batch_size % of_batch != 0 || problem.workload().batch_size.value_or(of_batch) % of_batch != 0) return;
    Strategy s = planned;
    s.tensor_parallel_size = tp;
    s.context_parallel_size = 1;
    s.data_parallel_size = dp;
    s.batch_size /= problem.workload().batch_size ? 1 : of_batch;
    ways.push_back(s);
  };
  const std::int64_t tp = planned.tensor_parallel_size, cp = planned.context_parallel_size;
  const std::int64_t dp = planned.data_parallel_size;
  if (!problem.model().HasMoe()) {
    add(tp, 1, 1);
    add(tp * cp, 1, 1);
    return ways;
  }
  const bool by_request = planned.ShardingOf(Operator::kAttention) == Sharding::kToken;
  if (by_request) add(1, tp * cp * dp, tp);
  add(tp, cp * dp, 1);
  add(tp * cp, dp, 1);
  add(tp * cp * dp, 1, 1);
  if (!by_request) add(1, tp * cp * dp, tp);
  return ways;
}

/// Experts over the whole stage, split as the plan's are where they were split one way only.
void SpreadExperts(const Problem& problem, Strategy& s) {
  if (!problem.model().HasMoe() || s.BlockSize() == s.StageSize()) return;
  const bool by_width = s.expert_parallel_size == 1 && s.expert_tensor_parallel_size > 1;
  s.expert_parallel_size = by_width ? 1 : s.StageSize();
  s.expert_tensor_parallel_size = by_width ? s.StageSize() : 1;
}

/// `member` with the largest batch up to its own that keeps the limits; as it is where none does.
Strategy Fitted(const StrategySpace& space, const Strategy& member, const Reevaluate& reevaluate) {
  if (reevaluate(member).Feasible()) return member;
  const std::span<const std::int64_t> batches = space.Values(static_cast<int>(Variable::kBatchSize));
  for (auto batch = batches.rbegin(); batch != batches.rend(); ++batch) {
    if (*batch >= member.batch_size) continue;
    Strategy smaller = member;
    smaller.batch_size = *batch;
    smaller = space.Repair(smaller);
    if (smaller.batch_size == *batch && smaller.InstanceSize() == member.InstanceSize() &&
        reevaluate(smaller).Feasible()) {
      return smaller;
    }
  }
  return member;
}

/// `framed` has the framework's name.
StrategySpace OwnSpace(Framework framework, const Problem& framed) {
  try {
    return StrategySpace(framed);
  } catch (const SpecError&) {  // Speaks of --for, which nobody gave.
    throw SpecError("--to " + std::string(ToString(framework)),
                    std::string(DisplayName(framework)) + " runs no strategy of " + framed.model().name +
                        " here; docs/frameworks.md says which models and degrees it takes");
  }
}

bool Better(const Problem& problem, const Evaluation& a, const Evaluation& b) {
  if (a.Feasible() != b.Feasible()) return a.Feasible();
  const auto value = [&](const Evaluation& e) {
    return ObjectiveOf(e, problem.workload().objective, problem.workload().kind);
  };
  return value(a).TimesAsGoodAs(value(b).value) > 1;
}

}  // namespace

std::string_view DisplayName(Framework framework) {
  switch (framework) {
    case Framework::kVllm:
      return "vLLM";
    case Framework::kSglang:
      return "SGLang";
    case Framework::kTensorRtLlm:
      return "TensorRT-LLM";
    case Framework::kMegatron:
      return "Megatron-LM";
    case Framework::kTorchtitan:
      return "torchtitan";
    case Framework::kMaxText:
      return "MaxText";
    case Framework::kTransformers:
      return "Transformers";
    case Framework::kDtensor:
      return "PyTorch's DTensor";
    case Framework::kShardy:
      return "Shardy";
    case Framework::kDeepSpeed:
      break;
  }
  return "DeepSpeed";
}

std::string TargetName(Framework framework) {
  return std::string(ToString(framework)) + "@" + std::string(VersionOf(framework));
}

void RefuseTraining(const Problem& problem, std::string_view flag) {
  if (!problem.workload().IsTraining()) return;
  throw SpecError(
      flag, "the plan is one of training, and this exporter writes inference; export it --to " + FrameworksFor(true));
}

Problem UnpinnedProblem(const Plan& plan, Framework framework, std::string_view flag) {
  const std::string own_flag = "--to " + std::string(ToString(framework));
  if (flag.empty()) flag = own_flag;
  if (plan.pools.size() != 1) {
    throw SpecError(flag, "the plan has " + std::to_string(plan.pools.size()) +
                              " pools; this exporter writes one kind of instance");
  }
  const Problem planned = ParseProblem(plan.problem_json, "plan");
  if (!Trains(framework)) RefuseTraining(planned, flag);
  if (!planned.workload().IsTraining() && !Infers(framework)) {
    throw SpecError(flag, "the plan is one of inference, and this exporter writes training; export it --to " +
                              FrameworksFor(false));
  }
  return {planned.model(), planned.cluster(), planned.workload(),
          ProblemOptions{{}, planned.options().admitted_overlaps}};
}

std::vector<Dropped> Differences(const Strategy& planned, const Strategy& lowered,
                                 const std::function<std::string(int variable)>& reason) {
  std::vector<Dropped> dropped;
  for (int variable = 0; variable < kNumVariables; ++variable) {
    const std::int64_t from = GetVariable(planned, variable), to = GetVariable(lowered, variable);
    if (from == to) continue;
    dropped.push_back({VariableName(variable) + " = " + ValueName(variable, from),
                       ValueName(variable, to) + " (" + reason(variable) + ")"});
  }
  return dropped;
}

Lowered Lower(Framework framework, const Problem& problem, const Strategy& planned, const Reevaluate& reevaluate) {
  ProblemOptions options = problem.options();
  options.framework = framework;
  const Problem framed(problem.model(), problem.cluster(), problem.workload(), options);
  const StrategySpace space = OwnSpace(framework, framed);
  Lowered out{.strategy = planned, .dropped = {}, .evaluation = {}};
  if (space.Contains(planned)) return out;

  std::vector<Strategy> members;
  for (Strategy way : Folded(problem, planned)) {
    SpreadExperts(problem, way);
    const Strategy member = space.Repair(way);
    if (std::find(members.begin(), members.end(), member) == members.end()) members.push_back(member);
  }
  if (!reevaluate) {
    const auto as_many = std::find_if(members.begin(), members.end(),
                                      [&](const Strategy& s) { return s.InstanceSize() == planned.InstanceSize(); });
    out.strategy = as_many == members.end() ? members.front() : *as_many;
  } else {
    for (const Strategy& member : members) {
      const Strategy fitted = Fitted(space, member, reevaluate);
      const Evaluation evaluation = reevaluate(fitted);
      if (out.evaluation && !Better(problem, evaluation, *out.evaluation)) continue;
      out.strategy = fitted;
      out.evaluation = evaluation;
    }
  }
  out.dropped = Differences(planned, out.strategy,
                            [&](int variable) { return Reason(framework, problem, out.strategy, variable); });
  return out;
}

std::optional<Evaluation> EvaluationOf(const Lowered& lowered, const Reevaluate& reevaluate) {
  if (lowered.evaluation || !reevaluate) return lowered.evaluation;
  return reevaluate(lowered.strategy);
}

ExportResult ResultOf(Framework framework, const Problem& problem, const Lowered& lowered) {
  ExportResult result;
  result.target = TargetName(framework);
  result.lowered = lowered.strategy;
  result.dropped = lowered.dropped;
  result.lowered_evaluation = lowered.evaluation;
  const std::int64_t size = lowered.strategy.InstanceSize();
  if (const std::int64_t replicas = problem.Replicas(lowered.strategy); replicas > 1) {
    result.notes.push_back("start " + std::to_string(replicas) + " such instances, one every " + std::to_string(size) +
                           " devices, and spread the requests over them");
  }
  return result;
}

void ThrowIfBroken(Framework framework, const std::vector<frameworks::BrokenRule>& broken) {
  ThrowIfBroken("--to " + std::string(ToString(framework)), DisplayName(framework), broken);
}

void ThrowIfBroken(const std::string& flag, std::string_view name, const std::vector<frameworks::BrokenRule>& broken) {
  if (broken.empty()) return;
  std::string text;
  for (const frameworks::BrokenRule& rule : broken) text += (text.empty() ? "" : "; ") + rule.id + ": " + rule.message;
  throw SpecError(flag, std::string(name) + " refuses this plan (" + text + ")");
}

std::string Preamble(Framework framework, const Plan& plan, const Problem& problem, const Strategy& strategy) {
  std::ostringstream out;
  out << "# For " << DisplayName(framework) << " " << VersionOf(framework) << ", written by shardscout " << Version()
      << ": " << plan.model_name << ", " << plan.workload_name << ", on " << problem.cluster().num_devices
      << " devices of " << plan.cluster_name << ".\n"
      << "# One of " << problem.Replicas(strategy) << " equal instances of " << strategy.InstanceSize() << " devices.\n"
      << "# Planned for weights in " << ToString(problem.model().weight_dtype)
      << "; the checkpoint must hold them so.\n";
  return out.str();
}

std::string FractionText(double value) { return nlohmann::json(value).dump(); }

std::vector<std::int64_t> PartitionUnless(const Problem& problem, const Strategy& strategy,
                                          const std::vector<std::int64_t>& own) {
  std::vector<std::int64_t> partition;
  for (const Stage& stage : SplitLayers(problem.model(), strategy.pipeline_parallel_size)) {
    partition.push_back(stage.num_layers);
  }
  return partition == own ? std::vector<std::int64_t>() : partition;
}

std::string Joined(const std::vector<std::int64_t>& numbers) {
  std::string text;
  for (const std::int64_t number : numbers) text += (text.empty() ? "" : ",") + std::to_string(number);
  return text;
}

std::int64_t MaxPositions(const WorkloadSpec& workload) {
  // A prefill-only request still ends in one token.
  return workload.CachePositions() + (workload.kind == WorkloadKind::kPrefill ? 1 : 0);
}

}  // namespace shardscout::exporters
