// Whether a prefix of decisions can be completed: each test descends through the values of what is still open.

#include <algorithm>
#include <numeric>

#include "shardscout/error.h"
#include "strategies/space_impl.h"

namespace shardscout {

bool StrategySpace::Impl::LayerValueAllowed(const Strategy& s, int variable, std::int64_t value) const {
  if (!Fixed(variable, value)) return false;
  if (IsSharding(variable)) {
    return rules.Admits(s, static_cast<Operator>(variable - kFirstShardingVariable), static_cast<Sharding>(value));
  }
  switch (static_cast<Variable>(variable)) {
    case Variable::kResidualLayout:
      return rules.Residual(s, static_cast<Layout>(value));
    case Variable::kDenseFfnGroup: {
      if (!rules.FfnGroup(s, static_cast<DenseFfnGroup>(value))) return false;
      Strategy with = s;
      with.dense_ffn_group = static_cast<DenseFfnGroup>(value);
      for (Operator op : {Operator::kFfnUp, Operator::kFfnDown}) {
        const int v = kFirstShardingVariable + static_cast<int>(op);
        const auto& shardings = values[static_cast<std::size_t>(v)];
        if (std::none_of(shardings.begin(), shardings.end(),
                         [&](std::int64_t sharding) { return LayerValueAllowed(with, v, sharding); })) {
          return false;
        }
      }
      return true;
    }
    case Variable::kExpertExchange:
      return rules.Exchange(s, static_cast<ExpertExchange>(value));
    case Variable::kVirtualPipelineParallelSize:
    case Variable::kHeadLayers:
    case Variable::kZeroStage:
    case Variable::kRecomputation:
    case Variable::kRecomputedLayers: {
      if (!rules.Training(s, static_cast<Variable>(variable), value)) return false;
      Strategy with = s;
      SetVariable(with, variable, value);
      return TrainingComplete(with, variable + 1);
    }
    default:
      return true;  // overlap: the list of admitted values
  }
}

bool StrategySpace::Impl::TrainingComplete(const Strategy& s, int variable) const {
  if (variable == kNumVariables) return true;
  const auto& candidates = values[static_cast<std::size_t>(variable)];
  return std::any_of(candidates.begin(), candidates.end(),
                     [&](std::int64_t value) { return LayerValueAllowed(s, variable, value); });
}

bool StrategySpace::Impl::LayersComplete(const Strategy& s) const {
  // The exchange first: it is what fails most often.
  static constexpr int kExchange = Index(Variable::kExpertExchange);
  auto possible = [&](int v) {
    const auto& candidates = values[static_cast<std::size_t>(v)];
    return std::any_of(candidates.begin(), candidates.end(),
                       [&](std::int64_t value) { return LayerValueAllowed(s, v, value); });
  };
  if (!possible(kExchange)) return false;
  for (int v = Index(Variable::kResidualLayout); v <= Index(Variable::kVirtualPipelineParallelSize); ++v) {
    const bool ffn = v == kFirstShardingVariable + static_cast<int>(Operator::kFfnUp) ||
                     v == kFirstShardingVariable + static_cast<int>(Operator::kFfnDown);
    // The FFN's are looked at with their group, and training's others with the chunks.
    if (v == kExchange || ffn) continue;
    if (!possible(v)) return false;
  }
  return true;
}

bool StrategySpace::Impl::MicrobatchExists(const Strategy& s) const {
  Strategy with = s;
  const auto& all = values[static_cast<std::size_t>(Index(Variable::kNumMicrobatches))];
  for (std::int64_t m : all) {
    if (m > s.batch_size || (s.pipeline_parallel_size == 1 && m > 1 && !problem.workload().IsTraining())) return false;
    with.num_microbatches = m;
    if (!rules.Microbatches(with)) continue;
    if (rules.BatchSplits(with) && LayersComplete(with)) return true;
    // More micro-batches only take divisibility away; but chunks of a stage, where they are fixed, need enough of them.
    if (m == 1 && !problem.workload().IsTraining()) return false;
  }
  return false;
}

bool StrategySpace::Impl::BatchExists(const Strategy& degrees) const {
  Strategy with = degrees;
  // All that a batch decides is whether tokens and requests split; do not look at the layers twice for the same
  // answers.
  std::array<bool, 4> tried{};
  for (std::int64_t batch : Batches(degrees)) {
    with.batch_size = batch;
    with.num_microbatches = Framed() ? 1 : values[static_cast<std::size_t>(Index(Variable::kNumMicrobatches))].front();
    if (batch % with.num_microbatches != 0 || !rules.BatchSplits(with)) continue;
    const std::size_t answers = (rules.TokensSplit(with) ? 2U : 0U) + (rules.RequestsSplit(with) ? 1U : 0U);
    // Where the micro-batches follow from the batch, or are fixed, the answers follow from both.
    if (tried[answers] && !rules.MicrobatchesFollow() && !(Framed() && any_fixed)) continue;
    tried[answers] = true;
    if (MicrobatchExists(with)) return true;
  }
  return false;
}

bool StrategySpace::Impl::ExpertMeshExists(const Strategy& s) const {
  Strategy with = s;
  for (const ExpertMesh& mesh : expert_meshes) {
    with.expert_parallel_size = mesh.ep;
    with.expert_tensor_parallel_size = mesh.etp;
    if (rules.ExpertMesh(with) && BatchExists(with)) return true;
  }
  return false;
}

bool StrategySpace::Impl::DataExists(const Strategy& s) const {
  const std::int64_t room = MaxStage(s) / (s.tensor_parallel_size * s.context_parallel_size);
  // What no dp can mend: some expert mesh must go with tp and cp if its size were no matter. (With a concurrency the
  // batch depends on dp, so that nothing can be said before.)
  if (!problem.workload().WholeBatch()) {
    Strategy with = s;
    with.data_parallel_size = 1;
    const auto& batches = values[static_cast<std::size_t>(Index(Variable::kBatchSize))];
    const bool tokens_split = std::any_of(batches.begin(), batches.end(), [&](std::int64_t batch) {
      with.batch_size = batch;
      return rules.BatchSplits(with) && rules.TokensSplit(with);
    });
    bool possible = false;
    for (const ExpertMesh& mesh : expert_meshes) {
      with.expert_parallel_size = mesh.ep;
      with.expert_tensor_parallel_size = mesh.etp;
      // Every exchange but gather_reduce needs tokens that split; tried before all else, since most sizes of tp fail
      // here.
      if (problem.model().HasMoe() && !tokens_split && mesh.ep * mesh.etp % s.tensor_parallel_size != 0) continue;
      for (std::int64_t dp : {std::int64_t{1}, std::int64_t{2}}) {
        with.data_parallel_size = dp;
        possible = possible || BatchExists(with);
      }
      if (possible) break;
    }
    if (!possible) return false;
  }
  Strategy with = s;
  for (std::int64_t dp : values[static_cast<std::size_t>(Index(Variable::kDataParallelSize))]) {
    if (dp > room) return false;
    with.data_parallel_size = dp;
    if (rules.Degrees(with) && ExpertMeshExists(with)) return true;
  }
  return false;
}

bool StrategySpace::Impl::ContextExists(const Strategy& s) const {
  Strategy with = s;
  const std::int64_t room = MaxStage(s) / s.tensor_parallel_size;
  for (std::int64_t cp : values[static_cast<std::size_t>(Index(Variable::kContextParallelSize))]) {
    if (cp > room) return false;
    with.context_parallel_size = cp;
    if (DataExists(with)) return true;
    // A larger cp splits the batch further and helps only an expert mesh or an FFN group that needs more ranks, which
    // dp gives as well; so the smallest decides, unless dp is fixed or the batch depends on the degrees.
    const bool dp_fixed = values[static_cast<std::size_t>(Index(Variable::kDataParallelSize))].size() == 1;
    if (!dp_fixed && !problem.workload().WholeBatch() && !(Framed() && any_fixed)) return false;
  }
  return false;
}

bool StrategySpace::Impl::TensorExists(const Strategy& s) const {
  Strategy with = s;
  for (std::int64_t tp : values[static_cast<std::size_t>(Index(Variable::kTensorParallelSize))]) {
    if (tp > MaxStage(s)) return false;
    with.tensor_parallel_size = tp;
    if (ContextExists(with)) return true;
  }
  return false;
}

}  // namespace shardscout
