#include "experiments/validation/training_prediction.h"

#include "env/analytical/analytical_evaluator.h"
#include "shardscout/megatron_rule.h"
#include "shardscout/strategy_space.h"

namespace shardscout::validation {

TrainingPrediction Predict(const TrainingPoint& point) {
  TrainingPrediction prediction;
  Strategy& s = prediction.strategy;
  s.tensor_parallel_size = point.tensor_parallel;
  s.pipeline_parallel_size = point.pipeline_parallel;
  s.data_parallel_size = point.data_parallel;
  s.virtual_pipeline_parallel_size = point.virtual_pipeline_parallel;
  s.zero_stage = point.zero_stage;
  s.recomputation = point.recomputation;
  if (point.workload.training->global_batch_size % (point.data_parallel * point.micro_batch) != 0) {
    prediction.why_not = "the global batch does not divide by data parallel ranks and micro-batches";
    return prediction;
  }
  s.batch_size = point.workload.training->global_batch_size / point.data_parallel;
  s.num_microbatches = s.batch_size / point.micro_batch;
  if (point.tensor_parallel > 1) {
    s.residual_layout = point.sequence_parallel ? Layout::kTokenSharded : Layout::kReplicated;
    s.SetSharding(Operator::kEmbedding, Sharding::kVocab);
    for (const Operator op : {Operator::kQkv, Operator::kAttention, Operator::kAttnOut}) {
      s.SetSharding(op, Sharding::kHeads);
    }
    for (const Operator op : {Operator::kFfnUp, Operator::kFfnDown}) s.SetSharding(op, Sharding::kFfn);
    s.SetSharding(Operator::kLmHead, Sharding::kVocab);
  }
  const Problem problem(point.model, point.cluster, point.workload);
  prediction.why_not = StrategySpace(problem).WhyNot(s);
  if (!prediction.why_not.empty()) return prediction;
  prediction.evaluation = env::AnalyticalEvaluator(problem).Evaluate(s);
  return prediction;
}

}  // namespace shardscout::validation
