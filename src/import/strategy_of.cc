#include <algorithm>
#include <numeric>
#include <optional>
#include <string>
#include <utility>

#include "shardscout/deployment.h"
#include "shardscout/error.h"
#include "shardscout/program.h"
#include "shardscout/reward.h"
#include "shardscout/strategy_space.h"
#include "src/frameworks/degrees.h"
#include "src/frameworks/hub_names.h"

namespace shardscout {
namespace {

constexpr int kLastDegree = static_cast<int>(Variable::kExpertTensorParallelSize);

/// Column, then row, over tp and etp: what all frameworks have.
void ShardByColumnsAndRows(Strategy& s) {
  for (const auto& [op, sharding] : {std::pair{Operator::kEmbedding, Sharding::kVocab},
                                     {Operator::kQkv, Sharding::kHeads},
                                     {Operator::kAttention, Sharding::kHeads},
                                     {Operator::kAttnOut, Sharding::kHeads},
                                     {Operator::kFfnUp, Sharding::kFfn},
                                     {Operator::kFfnDown, Sharding::kFfn},
                                     {Operator::kExpertUp, Sharding::kFfn},
                                     {Operator::kExpertDown, Sharding::kFfn},
                                     {Operator::kLmHead, Sharding::kVocab}}) {
    s.SetSharding(op, sharding);
  }
}

/// The strategy that the file describes, before what the problem admits; `differs` gets what it has no word for.
Strategy WantedStrategy(const Problem& problem, const Deployment& d, std::vector<std::string>& differs) {
  Strategy s;
  SetDegrees(s, d.degrees);
  ShardByColumnsAndRows(s);
  for (const auto& [op, sharding] : d.shardings) s.SetSharding(op, sharding);
  if (!problem.model().HasMoe()) {
    s.expert_parallel_size = s.expert_tensor_parallel_size = s.data_parallel_size = 1;
  }
  // Where every rank of a stage has every token, results are only added up.
  const bool tokens_everywhere = d.degrees.attention_data * d.degrees.context == 1;
  s.expert_exchange =
      d.expert_exchange.value_or(tokens_everywhere ? ExpertExchange::kGatherReduce : ExpertExchange::kGatherScatter);
  if (d.dense_ffn_over_stage) s.dense_ffn_group = DenseFfnGroup::kStage;
  if (d.sequence_parallel) {
    s.residual_layout = Layout::kTokenSharded;
    s.SetSharding(Operator::kRouter, Sharding::kToken);
  }
  if (d.two_batch_overlap) {
    const auto& admitted = problem.options().admitted_overlaps;
    if (std::find(admitted.begin(), admitted.end(), Overlap::kTwoBatch) != admitted.end()) {
      s.overlap = Overlap::kTwoBatch;
    } else {
      differs.push_back(
          "two batches that overlap: priced one after the other (--overlap none,two_batch with the "
          "simulator prices them)");
    }
  }
  // Ranks of tp that share the cache by position: of one KV head attention `sequence`, else this space's cp.
  if (d.cache_split > 1 && problem.workload().HasPhase(Phase::kDecode)) {
    const bool whole_group = d.cache_split == s.tensor_parallel_size && problem.model().attention.num_kv_heads == 1;
    if (whole_group) {
      s.SetSharding(Operator::kAttention, Sharding::kSequence);
    } else if (s.context_parallel_size == 1 && s.tensor_parallel_size % d.cache_split == 0) {
      s.tensor_parallel_size /= d.cache_split;
      s.context_parallel_size = d.cache_split;
      differs.push_back(
          "decode context parallelism inside tp: QKV and output projections are split over both there, "
          "priced as split over tp / dcp");
    }
  }
  return s;
}

bool SameDegrees(const Strategy& a, const Strategy& b) {
  for (int v = 0; v <= kLastDegree; ++v) {
    if (GetVariable(a, v) != GetVariable(b, v)) return false;
  }
  return true;
}

Problem WithFramework(const Problem& problem, std::optional<Framework> framework) {
  return {problem.model(), problem.cluster(), problem.workload(),
          ProblemOptions{{}, problem.options().admitted_overlaps, framework}};
}

bool HasDegrees(const StrategySpace& space, const Strategy& wanted) {
  return SameDegrees(space.Repair(wanted), wanted);
}

/// The batch of the deployment: the best that keeps the limits, else the smallest.
Strategy WithBatch(const StrategySpace& space, const Strategy& wanted, const Deployment& d,
                   const std::function<Evaluation(const Strategy&)>& evaluate) {
  const std::optional<std::int64_t>& most = d.max_batch_size;
  const WorkloadSpec& workload = space.problem().workload();
  std::optional<Strategy> best, smallest;
  double best_value = 0;
  for (const std::int64_t batch : space.Values(static_cast<int>(Variable::kBatchSize))) {
    if (most && batch > *most) break;
    Strategy with = wanted;
    with.batch_size = batch;
    // As many as there are stages, if nothing else is said.
    with.num_microbatches = d.num_microbatches.value_or(std::gcd(batch, wanted.pipeline_parallel_size));
    with = space.Repair(with);
    if (with.batch_size != batch || !SameDegrees(with, wanted)) continue;
    if (!smallest) smallest = with;
    const Evaluation evaluation = evaluate(with);
    if (!evaluation.Feasible()) continue;
    const ObjectiveValue value = ObjectiveOf(evaluation, workload.objective, workload.kind);
    if (best && value.TimesAsGoodAs(best_value) <= 1) continue;
    best = with;
    best_value = value.value;
  }
  return best ? *best : smallest.value_or(space.Repair(wanted));
}

void CompareLayers(const Problem& problem, const Deployment& d, std::vector<std::string>& differs) {
  if (d.layer_partition.empty()) return;
  std::vector<std::int64_t> ours;
  for (const Stage& stage : SplitLayers(problem.model(), d.degrees.pipeline)) ours.push_back(stage.num_layers);
  if (ours == d.layer_partition) return;
  differs.push_back("layers a stage of its own: priced as this program splits them (the rest just before the last)");
}

/// Whether the framework has no word for the variable, so that the price need not follow it.
bool Follows(const Problem& problem, const Strategy& wanted, int variable) {
  if (variable >= static_cast<int>(Variable::kBatchSize) && variable <= static_cast<int>(Variable::kNumMicrobatches)) {
    return true;
  }
  // A group of one rank has nothing to shard and to exchange.
  if (IsSharding(variable)) {
    const auto op = static_cast<Operator>(variable - kFirstShardingVariable);
    const bool expert = op == Operator::kExpertUp || op == Operator::kExpertDown;
    if (expert) return !problem.model().HasMoe() || wanted.expert_tensor_parallel_size == 1;
    const bool ffn = op == Operator::kFfnUp || op == Operator::kFfnDown;
    if (ffn && !problem.model().HasDense() && !problem.model().HasSharedExpert()) return true;
    return wanted.tensor_parallel_size == 1 || (op == Operator::kRouter && !problem.model().HasMoe());
  }
  if (variable == static_cast<int>(Variable::kExpertExchange)) {
    return !problem.model().HasMoe() || wanted.BlockSize() == 1 || wanted.BlockSize() == wanted.tensor_parallel_size;
  }
  if (variable == static_cast<int>(Variable::kResidualLayout)) return wanted.tensor_parallel_size == 1;
  return variable == static_cast<int>(Variable::kDenseFfnGroup) && !problem.model().HasDense();
}

}  // namespace

std::string PresetOf(const Deployment& deployment) { return frameworks::PresetOfHubName(deployment.model); }

DeployedStrategy StrategyOf(const Problem& problem, const Deployment& deployment,
                            const std::function<Evaluation(const Strategy&)>& evaluate) {
  DeployedStrategy out;
  const Strategy wanted = WantedStrategy(problem, deployment, out.differs);
  const Problem any = WithFramework(problem, std::nullopt);
  if (wanted.InstanceSize() > problem.cluster().num_devices) {
    throw SpecError("--devices", "the deployment takes " + std::to_string(wanted.InstanceSize()) +
                                     " devices an instance, the cluster has " +
                                     std::to_string(problem.cluster().num_devices));
  }
  // The framework's own space first: there the price is of the deployment itself.
  const Problem framed = WithFramework(problem, deployment.framework);
  std::optional<StrategySpace> space;
  try {
    space.emplace(framed);
  } catch (const SpecError&) {  // It runs the model in no way that is priced exactly.
  }
  if (!space || !HasDegrees(*space, wanted)) {
    space.emplace(any);
    if (!HasDegrees(*space, wanted)) {
      throw SpecError(std::string(ToString(deployment.framework)),
                      "the model or the workload does not admit these degrees: " + space->WhyNot(wanted));
    }
    out.differs.push_back("degrees outside what is priced exactly for " + std::string(ToString(deployment.framework)) +
                          ": priced with the nearest shardings");
  }
  out.strategy = WithBatch(*space, wanted, deployment, evaluate);
  for (int v = kLastDegree + 1; v < kNumVariables; ++v) {
    const std::int64_t from = GetVariable(wanted, v), to = GetVariable(out.strategy, v);
    if (from == to || Follows(problem, wanted, v)) continue;
    out.differs.push_back(VariableName(v) + " " + ValueName(v, from) + ": priced as " + ValueName(v, to));
  }
  CompareLayers(problem, deployment, out.differs);
  return out;
}

}  // namespace shardscout
