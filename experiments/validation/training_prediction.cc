#include "experiments/validation/training_prediction.h"

#include "env/analytical/analytical_evaluator.h"
#include "shardscout/megatron_rule.h"
#include "shardscout/program.h"
#include "shardscout/strategy_space.h"

namespace shardscout::validation {

namespace {

/// As Megatron splits: columns, then rows, over tp, experts whole.
Strategy StrategyOf(const TrainingPoint& point) {
  Strategy s;
  s.tensor_parallel_size = point.tensor_parallel;
  s.pipeline_parallel_size = point.pipeline_parallel;
  s.context_parallel_size = point.context_parallel;
  s.data_parallel_size = point.data_parallel;
  s.virtual_pipeline_parallel_size = point.virtual_pipeline_parallel;
  s.zero_stage = point.zero_stage;
  s.batch_size = point.workload.training->global_batch_size / point.data_parallel;
  s.num_microbatches = s.batch_size / point.micro_batch;
  if (point.model.HasMoe()) s.expert_parallel_size = point.expert_parallel;
  if (point.tensor_parallel > 1) {
    s.residual_layout = point.sequence_parallel ? Layout::kTokenSharded : Layout::kReplicated;
    s.SetSharding(Operator::kEmbedding, Sharding::kVocab);
    for (const Operator op : {Operator::kQkv, Operator::kAttention, Operator::kAttnOut}) {
      s.SetSharding(op, Sharding::kHeads);
    }
    if (point.model.HasDense() || point.model.HasSharedExpert()) {
      for (const Operator op : {Operator::kFfnUp, Operator::kFfnDown}) s.SetSharding(op, Sharding::kFfn);
    }
    if (point.model.HasMoe()) s.SetSharding(Operator::kRouter, Sharding::kToken);
    s.SetSharding(Operator::kLmHead, Sharding::kVocab);
  }
  return s;
}

}  // namespace

TrainingPrediction Predict(const TrainingPoint& point) {
  TrainingPrediction prediction;
  Strategy& s = prediction.strategy;
  if (point.workload.training->global_batch_size % (point.data_parallel * point.micro_batch) != 0) {
    prediction.why_not = "the global batch does not divide by data parallel ranks and micro-batches";
    return prediction;
  }
  s = StrategyOf(point);
  const Problem problem(point.model, point.cluster, point.workload);
  const env::AnalyticalEvaluator evaluator(problem);
  s.recomputation = point.recomputation.value_or(Recomputation::kNone);
  prediction.why_not = StrategySpace(problem).WhyNot(s);
  if (!prediction.why_not.empty()) return prediction;
  prediction.evaluation = evaluator.Evaluate(s);
  if (point.recomputation || prediction.evaluation.Feasible()) return prediction;
  s.recomputation = Recomputation::kFull;
  const std::int64_t most = MostLayersOfAChunk(point.model, s);
  for (std::int64_t layers = 1; layers <= most && !prediction.evaluation.Feasible(); ++layers) {
    s.recomputed_layers = layers < most ? layers : 0;  // All.
    prediction.evaluation = evaluator.Evaluate(s);
  }
  return prediction;
}

}  // namespace shardscout::validation
