// The ends of the model: embedding, lm_head, and what passes between pipeline stages.

#include "strategies/block_builder.h"

namespace shardscout::strategies {

Block LowerEmbedding(const Problem& problem, const Strategy& strategy, Phase phase) {
  BlockBuilder b(problem, strategy, phase, BlockKind::kEmbedding);
  const ValueId ids = b.AddValue({.kind = TensorKind::kIds, .dtype = DType::kFp32});
  const Sharding sharding = strategy.ShardingOf(Operator::kEmbedding);
  Value rows{.kind = TensorKind::kHidden, .dtype = problem.model().residual_dtype};
  WeightSplit split = WeightSplit::kWhole;
  if (sharding == Sharding::kVocab) {
    rows.partial = kPartialTensor;
    split = WeightSplit::kRow;
  } else if (sharding == Sharding::kHidden) {
    rows.features = FeatureSplit::kTensor;
    split = WeightSplit::kColumn;
  }
  const ValueId looked_up = b.AddValue(rows);
  b.AddTask({.kind = TaskKind::kEmbed,
             .op = Operator::kEmbedding,
             .input = ids,
             .output = looked_up,
             .weight = WeightKind::kEmbedding,
             .weight_split = split});
  const ModelSpec& m = problem.model();
  b.AddWholeWeight(WeightKind::kNorms, Operator::kEmbedding,
                   static_cast<double>(m.learned_positions) * static_cast<double>(m.hidden_size));
  return b.Take(ids, b.Reshard(Operator::kEmbedding, looked_up, strategy.residual_layout));
}

namespace {

/// Summands are added first; columns of the vocabulary stay where they are.
ValueId AddLoss(BlockBuilder& b, ValueId logits) {
  const Operator op = Operator::kLmHead;
  if (b.LayoutOf(logits) == Layout::kPartial) logits = b.Reshard(op, logits, Layout::kReplicated);
  Value statistic = b.ValueOf(logits);
  statistic.kind = TensorKind::kStatistic;
  statistic.dtype = DType::kFp32;
  statistic.features = FeatureSplit::kNone;
  const bool split = b.LayoutOf(logits) == Layout::kFeatureSharded;
  statistic.partial = split ? kPartialTensor : kPartialNone;
  const ValueId loss = b.AddValue(statistic);
  b.AddTask({.kind = TaskKind::kLoss, .op = op, .input = logits, .output = loss});
  if (!split) return loss;
  statistic.partial = kPartialNone;
  return b.AddCollective(op, Collective::kAllReduce, b.TensorGroup(), loss, statistic);
}

}  // namespace

Block LowerHead(const Problem& problem, const Strategy& strategy, Phase phase) {
  BlockBuilder b(problem, strategy, phase, BlockKind::kHead);
  const Operator op = Operator::kLmHead;
  const ValueId residual = b.AddResidualInput();
  ValueId last = residual;
  const bool training = problem.workload().IsTraining();
  if (phase == Phase::kPrefill && !training) {
    Value selected = b.ValueOf(residual);
    selected.last_only = true;
    const bool gather = selected.tokens == TokenSplit::kTensor && !b.geometry().by_request;
    selected.at_owner = gather;
    last = b.AddValue(selected);
    b.AddTask({.kind = TaskKind::kSelectLast, .op = op, .input = residual, .output = last});
    if (gather) {
      selected.at_owner = false;
      selected.tokens = TokenSplit::kCell;
      last = b.AddCollective(op, Collective::kAllGather, b.TensorGroup(), last, selected);
    }
  }
  const Sharding sharding = strategy.ShardingOf(op);
  Layout wants = Layout::kReplicated;
  if (sharding == Sharding::kToken) wants = Layout::kTokenSharded;
  if (sharding == Sharding::kHidden) wants = Layout::kFeatureSharded;
  const ValueId normed = b.Norm(op, b.Reshard(op, last, wants));
  Value logits = b.ValueOf(normed);
  logits.kind = TensorKind::kLogits;
  logits.dtype = problem.model().residual_dtype;
  WeightSplit split = WeightSplit::kWhole;
  if (sharding == Sharding::kVocab) {
    logits.features = FeatureSplit::kTensor;
    split = WeightSplit::kColumn;
  } else if (sharding == Sharding::kHidden) {
    logits.features = FeatureSplit::kNone;
    logits.partial = kPartialTensor;
    split = WeightSplit::kRow;
  }
  const ValueId out = b.AddValue(logits);
  b.AddMatmul(op, WeightKind::kLmHead, split, normed, out);
  const ModelSpec& m = problem.model();
  b.AddWholeWeight(WeightKind::kNorms, op, static_cast<double>((m.norm_bias ? 2 : 1) * m.hidden_size));
  if (training) return b.Take(residual, AddLoss(b, out));
  return b.Take(residual, b.Reshard(op, out, Layout::kReplicated));
}

Block LowerTransfer(const Problem& problem, const Strategy& strategy, Phase phase) {
  BlockBuilder b(problem, strategy, phase, BlockKind::kTransfer);
  const std::int64_t stage = strategy.StageSize();
  const ValueId residual = b.AddResidualInput();
  const bool copied = b.LayoutOf(residual) == Layout::kReplicated && strategy.tensor_parallel_size > 1;
  if (problem.workload().IsTraining() && copied) {
    // Every rank sends its share of what all of them hold (Narayanan et al., arXiv 2104.04473, section 4.1).
    const ValueId share = b.Reshard(Operator::kPipeline, residual, Layout::kTokenSharded);
    const ValueId arrived =
        b.AddCollective(Operator::kPipeline, Collective::kSendRecv, {2, stage}, share, b.ValueOf(share));
    return b.Take(residual, b.Reshard(Operator::kPipeline, arrived, Layout::kReplicated));
  }
  const ValueId sent =
      b.AddCollective(Operator::kPipeline, Collective::kSendRecv, {2, stage}, residual, b.ValueOf(residual));
  if (phase == Phase::kDecode) {
    const Value ids{.kind = TensorKind::kIds, .dtype = DType::kFp32};
    b.AddCollective(Operator::kPipeline, Collective::kSendRecv, {2, stage * (strategy.pipeline_parallel_size - 1)},
                    b.AddValue(ids), ids);
  }
  return b.Take(residual, sent);
}

}  // namespace shardscout::strategies
