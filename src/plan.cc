#include "shardscout/plan.h"

#include <string>
#include <utility>

#include "shardscout/error.h"

namespace shardscout {
namespace {

std::vector<RankPlacement> PlaceRanks(const Problem& problem, const Strategy& strategy) {
  const std::int64_t devices_per_node = problem.cluster().devices_per_node;
  std::vector<RankPlacement> placement(static_cast<std::size_t>(strategy.InstanceSize()));
  for (std::int64_t rank = 0; rank < strategy.InstanceSize(); ++rank) {
    RankPlacement& at = placement[static_cast<std::size_t>(rank)];
    at.rank = rank;
    at.node = rank / devices_per_node;
    at.device = rank % devices_per_node;
    const std::int64_t in_stage = rank % strategy.StageSize();
    at.pp = rank / strategy.StageSize();
    at.tp = in_stage % strategy.tensor_parallel_size;
    at.cp = in_stage / strategy.tensor_parallel_size % strategy.context_parallel_size;
    at.dp = in_stage / (strategy.tensor_parallel_size * strategy.context_parallel_size);
    at.etp = in_stage % strategy.expert_tensor_parallel_size;
    at.ep = in_stage / strategy.expert_tensor_parallel_size % strategy.expert_parallel_size;
    at.edp = in_stage / strategy.BlockSize();
  }
  return placement;
}

std::vector<ExpertPlacement> PlaceExperts(const ModelSpec& model, const Strategy& strategy) {
  std::vector<ExpertPlacement> experts;
  if (!model.HasMoe()) return experts;
  const std::int64_t ep = strategy.expert_parallel_size;
  for (std::int64_t i = 0; i < ep; ++i) {
    const std::int64_t first = i * model.moe.num_experts / ep;
    experts.push_back({i, first, (i + 1) * model.moe.num_experts / ep - first});
  }
  return experts;
}

}  // namespace

Pool MakePool(const Problem& problem, const Strategy& strategy) {
  SHARDSCOUT_CHECK_OP(problem.Replicas(strategy), >=, 1);
  SHARDSCOUT_CHECK_OP(strategy.StageSize() % strategy.BlockSize(), ==, 0);
  Pool pool;
  pool.role = std::string(ToString(problem.workload().kind));
  pool.strategy = strategy;
  pool.replicas = problem.Replicas(strategy);
  pool.placement = PlaceRanks(problem, strategy);
  pool.stages = StagesOf(problem.model(), strategy);
  pool.experts = PlaceExperts(problem.model(), strategy);
  return pool;
}

Plan PlanOf(const Problem& problem, std::vector<Pool> pools) {
  Plan plan;
  plan.model_name = problem.model().name;
  plan.cluster_name = problem.cluster().name;
  plan.workload_name = problem.workload().name;
  plan.problem_digest = problem.Digest();
  plan.problem_json = ToJson(problem);
  plan.pools = std::move(pools);
  return plan;
}

}  // namespace shardscout
