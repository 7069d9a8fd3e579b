#include "shardscout/megatron_rule.h"

#include <algorithm>
#include <set>

#include "shardscout/error.h"

namespace shardscout {
namespace {

bool PowerOfTwo(std::int64_t n) { return (n & (n - 1)) == 0; }

/// Column/row shardings on the given degrees and batch; what the tree of decisions does not admit there is repaired.
Strategy MegatronShardings(const StrategySpace& space, Strategy s) {
  const Problem& problem = space.problem();
  const bool tokens = problem.model().HasMoe() || problem.workload().HasPhase(Phase::kPrefill);
  const std::int64_t pp = s.pipeline_parallel_size;
  if (!problem.workload().IsTraining()) s.num_microbatches = std::min(pp, s.batch_size);
  s.residual_layout = tokens ? Layout::kTokenSharded : Layout::kReplicated;
  s.expert_exchange = ExpertExchange::kAllToAll;
  s.SetSharding(Operator::kEmbedding, Sharding::kVocab);
  s.SetSharding(Operator::kQkv, Sharding::kHeads);
  s.SetSharding(Operator::kAttention, Sharding::kHeads);
  s.SetSharding(Operator::kAttnOut, Sharding::kHeads);
  s.SetSharding(Operator::kRouter, tokens ? Sharding::kToken : Sharding::kNone);
  s.SetSharding(Operator::kFfnUp, Sharding::kFfn);
  s.SetSharding(Operator::kFfnDown, Sharding::kFfn);
  s.SetSharding(Operator::kLmHead, Sharding::kVocab);
  return space.Repair(s);
}

bool SameDegrees(const Strategy& a, const Strategy& b) {
  return a.pipeline_parallel_size == b.pipeline_parallel_size && a.tensor_parallel_size == b.tensor_parallel_size &&
         a.context_parallel_size == b.context_parallel_size && a.data_parallel_size == b.data_parallel_size &&
         a.expert_parallel_size == b.expert_parallel_size &&
         a.expert_tensor_parallel_size == b.expert_tensor_parallel_size;
}

/// Training: micro-batches of one sequence, the optimizer's states shared, all of a layer kept or computed again: the
/// least memory first.
std::vector<Strategy> TrainingCandidates(const StrategySpace& space, Strategy s) {
  s.batch_size = space.problem().workload().training->global_batch_size / s.data_parallel_size;
  s.num_microbatches = s.batch_size;
  s.zero_stage = 1;
  std::vector<Strategy> candidates;
  for (const Recomputation again : {Recomputation::kFull, Recomputation::kNone}) {
    s.recomputation = again;
    candidates.push_back(MegatronShardings(space, s));
  }
  return candidates;
}

/// The largest number of data parallel ranks up to `most` that divides the global batch.
std::int64_t LargestDataParallel(const Problem& problem, std::int64_t most) {
  while (most > 1 && problem.workload().training->global_batch_size % most != 0) --most;
  return most;
}

std::int64_t LargestDivisor(std::int64_t n, std::int64_t of) {
  std::int64_t d = std::min(n, of);
  while (n % d != 0 || of % d != 0) --d;
  return d;
}

std::span<const std::int64_t> Values(const StrategySpace& space, Variable variable) {
  return space.Values(static_cast<int>(variable));
}

}  // namespace

std::vector<MegatronCandidate> MegatronCandidates(const StrategySpace& space) {
  const Problem& problem = space.problem();
  const ModelSpec& model = problem.model();
  const std::int64_t devices = problem.cluster().num_devices;
  const NetworkTier& inner = problem.cluster().tiers.front();
  const std::int64_t inner_size = inner.size == 0 ? devices : inner.size;
  std::vector<MegatronCandidate> candidates;
  for (std::int64_t pp : Values(space, Variable::kPipelineParallelSize)) {
    for (std::int64_t tp = 1; tp <= inner_size; ++tp) {
      if (inner_size % tp != 0 || model.attention.num_heads % tp != 0 || tp * pp > devices) continue;
      Strategy s;
      s.pipeline_parallel_size = pp;
      s.tensor_parallel_size = tp;
      if (problem.workload().IsTraining()) {
        s.data_parallel_size = LargestDataParallel(problem, devices / (tp * pp));
        if (model.HasMoe()) s.expert_parallel_size = LargestDivisor(model.moe.num_experts, tp * s.data_parallel_size);
        MegatronCandidate candidate;
        for (const Strategy& member : TrainingCandidates(space, s)) {
          if (SameDegrees(member, s)) candidate.by_batch.push_back(member);
        }
        if (!candidate.by_batch.empty()) candidates.push_back(std::move(candidate));
        continue;
      }
      if (model.HasMoe()) {
        std::int64_t dp = std::min(devices / (tp * pp), model.moe.num_experts / tp);
        while (dp >= 1 && model.moe.num_experts % (tp * dp) != 0) --dp;
        if (dp < 1) continue;
        s.data_parallel_size = dp;
        s.expert_parallel_size = tp * dp;
      }
      MegatronCandidate candidate;
      for (std::int64_t batch : Values(space, Variable::kBatchSize)) {
        s.batch_size = batch;
        const Strategy repaired = MegatronShardings(space, s);
        if (!SameDegrees(repaired, s)) continue;
        const bool seen =
            std::find(candidate.by_batch.begin(), candidate.by_batch.end(), repaired) != candidate.by_batch.end();
        if (!seen) candidate.by_batch.push_back(repaired);
      }
      if (!candidate.by_batch.empty()) candidates.push_back(std::move(candidate));
    }
  }
  if (candidates.empty()) {
    // Fixed degrees that the rule would never choose: the space's member nearest to the rule on one device.
    candidates.push_back({{MegatronShardings(space, Strategy())}});
  }
  return candidates;
}

MegatronAnswer MegatronRule(const StrategySpace& space, const std::function<Evaluation(const Strategy&)>& evaluate) {
  const std::vector<MegatronCandidate> candidates = MegatronCandidates(space);
  for (const MegatronCandidate& candidate : candidates) {
    for (auto s = candidate.by_batch.rbegin(); s != candidate.by_batch.rend(); ++s) {
      const Evaluation evaluation = evaluate(*s);
      if (evaluation.Feasible()) return {*s, evaluation, true};
    }
  }
  const Strategy& last = candidates.back().by_batch.front();
  return {last, evaluate(last), false};
}

void ForEachMegatronStrategy(const StrategySpace& space, const std::function<bool(const Strategy&)>& visit) {
  const std::int64_t devices = space.problem().cluster().num_devices;
  // Batches from the middle outwards, powers of two first, so that every degree is seen at a fair batch early.
  std::vector<std::int64_t> batches;
  const auto all = Values(space, Variable::kBatchSize);
  for (bool powers : {true, false}) {
    std::vector<std::int64_t> some;
    for (std::int64_t batch : all) {
      if (PowerOfTwo(batch) == powers) some.push_back(batch);
    }
    const auto middle = static_cast<std::int64_t>(some.size()) / 2;
    for (std::int64_t step = 0; step <= static_cast<std::int64_t>(some.size()); ++step) {
      for (std::int64_t i : {middle + step, middle - step}) {
        if (i < 0 || i >= static_cast<std::int64_t>(some.size()) || (step == 0 && i != middle)) continue;
        if (batches.empty() || batches.back() != some[static_cast<std::size_t>(i)]) {
          batches.push_back(some[static_cast<std::size_t>(i)]);
        }
      }
    }
  }

  // Degrees: all powers of two first, then the tuples that have another number in them.
  auto for_degrees = [&](bool powers, const std::function<bool(const Strategy&)>& each) {
    auto values = [&](Variable variable) {
      std::vector<std::int64_t> some;
      for (std::int64_t value : Values(space, variable)) {
        if (!powers || PowerOfTwo(value)) some.push_back(value);
      }
      return some;
    };
    const auto tps = values(Variable::kTensorParallelSize), pps = values(Variable::kPipelineParallelSize);
    const auto eps = values(Variable::kExpertParallelSize), dps = values(Variable::kDataParallelSize);
    Strategy s;
    for (std::int64_t tp : tps) {
      for (std::int64_t pp : pps) {
        if (tp * pp > devices) break;
        for (std::int64_t ep : eps) {
          for (std::int64_t dp : dps) {
            if (tp * pp * dp > devices) break;
            if (tp * dp % ep != 0) continue;
            const bool all_powers = PowerOfTwo(tp) && PowerOfTwo(pp) && PowerOfTwo(ep) && PowerOfTwo(dp);
            if (all_powers != powers) continue;
            s.tensor_parallel_size = tp;
            s.pipeline_parallel_size = pp;
            s.expert_parallel_size = ep;
            s.data_parallel_size = dp;
            if (!each(s)) return false;
          }
        }
      }
    }
    return true;
  };
  for (bool powers : {true, false}) {
    std::set<Strategy> seen;  // repairs of different batches may meet
    for (std::int64_t batch : batches) {
      const bool go_on = for_degrees(powers, [&](const Strategy& degrees) {
        Strategy s = degrees;
        s.batch_size = batch;
        if (space.problem().workload().IsTraining()) {
          for (const Strategy& member : TrainingCandidates(space, s)) {
            if (SameDegrees(member, s) && seen.insert(member).second && !visit(member)) return false;
          }
          return true;
        }
        const Strategy repaired = MegatronShardings(space, s);
        if (!SameDegrees(repaired, s) || !seen.insert(repaired).second) return true;
        return visit(repaired);
      });
      if (!go_on) return;
    }
  }
}

}  // namespace shardscout
