// Training's own variables, gone through under given degrees and costs.
//
// A node whose setting computes no layer again stands for those strategies too that compute some of each chunk's layers
// again: their time lies above, and their memory below. Of them only that with the fewest such layers that fits can be
// best, because each layer more takes more time.

#include <algorithm>

#include "baselines/exact/branching.h"

namespace shardscout::baselines::exact {
namespace {

/// The costs with as little kept as when all layers are computed again.
env::StrategyCost WithLeastKept(const env::StrategyCost& cost) {
  const env::StrategyCost again = env::ComputedAgain(cost);
  env::StrategyCost least = cost;
  for (env::BlockCost env::StrategyCost::*block :
       {&env::StrategyCost::attention, &env::StrategyCost::window_attention, &env::StrategyCost::linear_attention,
        &env::StrategyCost::dense_ffn, &env::StrategyCost::moe}) {
    (least.*block).kept_bytes = std::min((cost.*block).kept_bytes, (again.*block).kept_bytes);
  }
  return least;
}

}  // namespace

std::shared_ptr<const std::vector<env::StageClass>> Branching::TrainingStagesOf(const Strategy& s) const {
  const bool full = s.recomputation == Recomputation::kFull;
  return training_stages_.Get(
      {s.pipeline_parallel_size, s.virtual_pipeline_parallel_size, s.head_layers, full ? 1 : 0, s.recomputed_layers},
      [&] { return env::ClassifyStages(problem_.model(), s); });
}

bool Branching::MayComputeLayersAgain(const Strategy& s) const {
  return s.recomputation == Recomputation::kNone &&
         HasValue(Variable::kRecomputation, static_cast<std::int64_t>(Recomputation::kFull)) &&
         Values(Variable::kRecomputedLayers).back() > 0;
}

std::vector<TrainingChoice> Branching::TrainingChoices(Strategy s) const {
  const strategies::ShardingRules& rules = maker_.rules();
  std::vector<TrainingChoice> choices;
  const bool whole = HasValue(Variable::kRecomputedLayers, 0) &&
                     HasValue(Variable::kRecomputation, static_cast<std::int64_t>(s.recomputation));
  if (!whole && !MayComputeLayersAgain(s)) return choices;
  for (std::int64_t chunks : Values(Variable::kVirtualPipelineParallelSize)) {
    if (!rules.Training(s, Variable::kVirtualPipelineParallelSize, chunks)) continue;
    s.virtual_pipeline_parallel_size = chunks;
    for (std::int64_t head : Values(Variable::kHeadLayers)) {
      if (!rules.Training(s, Variable::kHeadLayers, head)) continue;
      s.head_layers = head;
      const auto stages = TrainingStagesOf(s);
      for (std::int64_t zero : Values(Variable::kZeroStage)) {
        if (rules.Training(s, Variable::kZeroStage, zero)) {
          choices.push_back({chunks, head, zero, whole, stages});
        }
      }
    }
    s.head_layers = 0;
  }
  return choices;
}

Strategy WithChoice(Strategy s, const TrainingChoice& choice) {
  s.virtual_pipeline_parallel_size = choice.chunks;
  s.head_layers = choice.head;
  s.zero_stage = choice.zero;
  return s;
}

Worth Branching::MostOfTraining(const Strategy& degrees, const std::vector<TrainingChoice>& choices,
                                const env::StrategyCost& cost, env::TrainingExchanges& exchanges) const {
  Worth most = kNothing;
  const bool some = MayComputeLayersAgain(degrees);
  std::optional<env::StrategyCost> least;
  for (const TrainingChoice& choice : choices) {
    const Strategy s = WithChoice(degrees, choice);
    Worth worth = WorthOf(env::AssembleTraining(problem_, s, *choice.stages, {cost, cost}, exchanges));
    if (some && worth == kNothing) {
      if (!least) least = WithLeastKept(cost);
      worth = WorthOf(env::AssembleTraining(problem_, s, *choice.stages, {*least, *least}, exchanges));
    }
    most = Loosest(most, worth);
  }
  // What is hidden behind more computing is subtracted from it and added again.
  most.score *= 1 + 1e-12;
  return most;
}

std::optional<Candidate> Branching::FewestComputedAgain(Strategy s, const env::StrategyCost& cost,
                                                        env::TrainingExchanges& exchanges) const {
  const env::StrategyCost again = env::ComputedAgain(cost);
  s.recomputation = Recomputation::kFull;
  const auto evaluated = [&](std::int64_t layers) {
    s.recomputed_layers = layers;
    const Evaluation evaluation = env::AssembleTraining(problem_, s, *TrainingStagesOf(s), {cost, again}, exchanges);
    return Candidate{s, evaluation, WorthOf(evaluation)};
  };
  // The values above 0 and below a whole chunk: memory falls from one to the next.
  const auto values = Values(Variable::kRecomputedLayers);
  const auto first = std::upper_bound(values.begin(), values.end(), 0);
  const auto end = std::partition_point(first, values.end(), [&](std::int64_t layers) {
    return maker_.rules().Training(s, Variable::kRecomputedLayers, layers);
  });
  const auto fewest =
      std::partition_point(first, end, [&](std::int64_t layers) { return !evaluated(layers).evaluation.Feasible(); });
  if (fewest == end) return std::nullopt;
  return evaluated(*fewest);
}

void Branching::SolveTraining(const Strategy& strategy, const std::vector<TrainingChoice>& choices,
                              const env::StrategyCost& cost, env::TrainingExchanges& exchanges, const Staircase& known,
                              Staircase& found) const {
  const auto add = [&](const Candidate& candidate) {
    if (!known.Covers(candidate.worth) && !found.Covers(candidate.worth)) found.Add(candidate);
  };
  const bool some = MayComputeLayersAgain(strategy);
  for (const TrainingChoice& choice : choices) {
    const Strategy s = WithChoice(strategy, choice);
    const Evaluation evaluation = env::AssembleTraining(problem_, s, *choice.stages, {cost, cost}, exchanges);
    if (choice.whole) add({s, evaluation, WorthOf(evaluation)});
    if (!some || (choice.whole && evaluation.Feasible())) continue;
    if (const auto fewest = FewestComputedAgain(s, cost, exchanges)) add(*fewest);
  }
}

}  // namespace shardscout::baselines::exact
