// The feed-forward blocks: dense (over tp or over the stage) and mixture of experts (router, exchange, experts, shared
// expert).

#include "strategies/block_builder.h"

namespace shardscout::strategies {
namespace {

/// Where an FFN runs: over the tp group, or over all ranks of the stage.
struct FfnGroup {
  bool stage = false;
  Group group;
  FeatureSplit split = FeatureSplit::kTensor;
  int partial = kPartialTensor;
};

FfnGroup GroupOf(const BlockBuilder& b, FfnKind ffn) {
  const bool stage = ffn == FfnKind::kDense && b.strategy().dense_ffn_group == DenseFfnGroup::kStage;
  if (!stage) return {false, b.TensorGroup(), FeatureSplit::kTensor, kPartialTensor};
  return {true, b.StageGroup(), FeatureSplit::kStage, kPartialTensor | kPartialContextData};
}

/// Into the stage's R or F from the residual stream: the reshard table over cp*dp as for T, then over tp.
ValueId IntoStage(BlockBuilder& b, Operator op, ValueId id, Layout to) {
  if (to == Layout::kFeatureSharded) {
    const ValueId features = b.Reshard(op, id, Layout::kFeatureSharded);
    Value all = b.ValueOf(features);
    all.tokens = TokenSplit::kStage;
    all.features = FeatureSplit::kStage;
    return b.AddCollective(op, Collective::kAllToAll, b.ContextDataGroup(), features, all);
  }
  Value gathered = b.ValueOf(id);
  gathered.tokens = gathered.tokens == TokenSplit::kTensor ? TokenSplit::kStageTensor : TokenSplit::kStage;
  const ValueId over_data = b.AddCollective(op, Collective::kAllGather, b.ContextDataGroup(), id, gathered);
  Value whole = b.ValueOf(over_data);
  if (whole.tokens == TokenSplit::kStage && whole.features == FeatureSplit::kNone) return over_data;
  whole.tokens = TokenSplit::kStage;
  whole.features = FeatureSplit::kNone;
  return b.AddCollective(op, Collective::kAllGather, b.TensorGroup(), over_data, whole);
}

/// Back from the stage to a cell's tokens: P by reduce-scatter, F by all-to-all, R by a slice.
ValueId OutOfStage(BlockBuilder& b, ValueId id) {
  const Operator op = Operator::kResidual;
  Value cell = b.ValueOf(id);
  cell.tokens = TokenSplit::kCell;
  if (cell.partial != kPartialNone) {
    cell.partial = kPartialTensor;
    return b.AddCollective(op, Collective::kReduceScatter, b.ContextDataGroup(), id, cell);
  }
  if (cell.features == FeatureSplit::kStage) {
    cell.features = FeatureSplit::kTensor;
    return b.AddCollective(op, Collective::kAllToAll, b.ContextDataGroup(), id, cell);
  }
  return b.AddSlice(op, id, cell);
}

Layout UpWants(Sharding sharding) {
  if (sharding == Sharding::kToken) return Layout::kTokenSharded;
  return sharding == Sharding::kHidden ? Layout::kFeatureSharded : Layout::kReplicated;
}

Layout DownWants(Sharding sharding) {
  if (sharding == Sharding::kToken) return Layout::kTokenSharded;
  return sharding == Sharding::kFfn ? Layout::kFeatureSharded : Layout::kReplicated;
}

/// Between up and down projection inside the stage: features over the whole stage, or replicated.
ValueId ReshardInStage(BlockBuilder& b, Operator op, ValueId id, Layout to) {
  Value target = b.ValueOf(id);
  const bool split = target.features == FeatureSplit::kStage;
  if (split == (to == Layout::kFeatureSharded)) return id;
  if (split) {
    target.features = FeatureSplit::kNone;
    return b.AddCollective(op, Collective::kAllGather, b.StageGroup(), id, target);
  }
  target.features = FeatureSplit::kStage;
  return b.AddSlice(op, id, target);
}

/// A dense or shared FFN from the residual stream to its output, not yet resharded to the residual layout.
ValueId Ffn(BlockBuilder& b, ValueId residual, FfnKind ffn) {
  const FfnGroup group = GroupOf(b, ffn);
  // Over a group of one nothing is split, whatever the sharding that other layers of this kind need.
  const bool alone = group.group.size == 1;
  const Sharding up = alone ? Sharding::kNone : b.strategy().ShardingOf(Operator::kFfnUp);
  const Sharding down = alone ? Sharding::kNone : b.strategy().ShardingOf(Operator::kFfnDown);

  const ValueId in = group.stage ? IntoStage(b, Operator::kFfnUp, residual, UpWants(up))
                                 : b.Reshard(Operator::kFfnUp, residual, UpWants(up));
  const ValueId normed = b.Norm(Operator::kFfnUp, in);
  Value gate = b.ValueOf(normed);
  gate.kind = TensorKind::kGate;
  gate.ffn = ffn;
  gate.dtype = b.model().residual_dtype;
  ValueId gated = kNoValue;
  if (up == Sharding::kHidden) {
    gate.features = FeatureSplit::kNone;
    gate.partial = static_cast<std::uint8_t>(group.partial);
    const ValueId partial = b.AddValue(gate);
    b.AddMatmul(Operator::kFfnUp, WeightKind::kFfnUp, WeightSplit::kRow, normed, partial, ffn);
    gate.features = group.split;
    gate.partial = kPartialNone;
    gated = b.AddCollective(Operator::kFfnUp, Collective::kReduceScatter, group.group, partial, gate);
  } else {
    if (up == Sharding::kFfn) gate.features = group.split;
    gated = b.AddValue(gate);
    b.AddMatmul(Operator::kFfnUp, WeightKind::kFfnUp, up == Sharding::kFfn ? WeightSplit::kColumn : WeightSplit::kWhole,
                normed, gated, ffn);
  }
  ValueId active = b.AddActivation(Operator::kFfnUp, gated, ffn);
  active = group.stage ? ReshardInStage(b, Operator::kFfnDown, active, DownWants(down))
                       : b.Reshard(Operator::kFfnDown, active, DownWants(down));

  Value out = b.ValueOf(active);
  out.kind = TensorKind::kHidden;
  out.ffn = FfnKind::kNotFfn;
  out.dtype = b.model().residual_dtype;
  WeightSplit split = WeightSplit::kWhole;
  if (down == Sharding::kFfn) {
    out.features = FeatureSplit::kNone;
    out.partial = static_cast<std::uint8_t>(group.partial);
    split = WeightSplit::kRow;
  } else if (down == Sharding::kHidden) {
    out.features = group.split;
    split = WeightSplit::kColumn;
  }
  const ValueId output = b.AddValue(out);
  b.AddMatmul(Operator::kFfnDown, WeightKind::kFfnDown, split, active, output, ffn);
  return group.stage ? OutOfStage(b, output) : output;
}

/// Tokens to the ranks of their experts, in the layout over etp that expert_up wants (features split for `hidden`, else
/// whole).
ValueId Dispatch(BlockBuilder& b, ValueId routed) {
  const Operator op = Operator::kDispatch;
  const Strategy& s = b.strategy();
  const bool features = s.ShardingOf(Operator::kExpertUp) == Sharding::kHidden;
  if (s.expert_exchange == ExpertExchange::kAllToAll) {
    ValueId id = b.Reshard(op, routed, Layout::kTokenSharded);
    if (s.expert_parallel_size > 1) {
      Value sent = b.ValueOf(id);
      sent.tokens = TokenSplit::kRouted;
      id = b.AddCollective(op, Collective::kAllToAll, b.ExpertGroup(), id, sent);
    }
    if (s.expert_tensor_parallel_size == 1) return id;
    Value all = b.ValueOf(id);
    all.tokens = s.expert_parallel_size > 1 ? TokenSplit::kRoutedBlock : TokenSplit::kExpertTensor;
    if (features) all.features = FeatureSplit::kExpertTensor;
    return b.AddCollective(op, features ? Collective::kAllToAll : Collective::kAllGather, b.ExpertTensorGroup(), id,
                           all);
  }

  const std::int64_t block = s.BlockSize();
  const std::int64_t tp = s.tensor_parallel_size;
  ValueId id = routed;
  Value all = b.ValueOf(id);
  all.tokens = TokenSplit::kBlock;
  if (b.ValueOf(id).tokens == TokenSplit::kTensor || (block % tp != 0 && tp % block != 0)) {
    id = b.Reshard(op, id, Layout::kTokenSharded);
    id = b.AddCollective(op, Collective::kAllGather, b.BlockGroup(), id, all);
  } else if (block > tp) {
    id = b.AddCollective(op, Collective::kAllGather, {block / tp, tp}, id, all);
  } else if (block < tp) {
    id = b.AddSlice(op, id, all);
  }
  if (!features) return id;
  Value split = b.ValueOf(id);
  split.features = FeatureSplit::kExpertTensor;
  return b.AddSlice(op, id, split);
}

/// Results back: to T (all_to_all, gather_scatter) or R (gather_reduce) over tp.
ValueId Combine(BlockBuilder& b, ValueId id) {
  const Operator op = Operator::kCombine;
  const Strategy& s = b.strategy();
  const bool over_ep = s.expert_parallel_size > 1;
  const bool over_etp = s.expert_tensor_parallel_size > 1;
  const bool features = b.ValueOf(id).features == FeatureSplit::kExpertTensor;
  auto over_etp_to_tokens = [&](TokenSplit tokens) {
    Value to = b.ValueOf(id);
    to.tokens = tokens;
    to.features = FeatureSplit::kNone;
    to.partial = static_cast<std::uint8_t>(to.partial & ~kPartialExpertTensor);
    id = b.AddCollective(op, features ? Collective::kAllToAll : Collective::kReduceScatter, b.ExpertTensorGroup(), id,
                         to);
  };
  if (s.expert_exchange == ExpertExchange::kAllToAll) {
    if (over_etp) over_etp_to_tokens(over_ep ? TokenSplit::kRouted : TokenSplit::kTensor);
    if (over_ep) {
      Value home = b.ValueOf(id);
      home.tokens = TokenSplit::kTensor;
      home.partial = kPartialNone;
      id = b.AddCollective(op, Collective::kAllToAll, b.ExpertGroup(), id, home);
    }
    return id;
  }
  if (s.expert_exchange == ExpertExchange::kGatherScatter) {
    if (over_ep) {
      Value to = b.ValueOf(id);
      to.tokens = TokenSplit::kExpertTensor;
      to.partial = static_cast<std::uint8_t>(to.partial & ~kPartialExpert);
      id = b.AddCollective(op, Collective::kReduceScatter, b.ExpertGroup(), id, to);
    }
    if (over_etp) over_etp_to_tokens(TokenSplit::kTensor);
    return id;
  }
  if (over_ep) {
    Value to = b.ValueOf(id);
    to.partial = static_cast<std::uint8_t>(to.partial & ~kPartialExpert);
    id = b.AddCollective(op, Collective::kAllReduce, b.ExpertGroup(), id, to);
  }
  if (over_etp) {
    Value to = b.ValueOf(id);
    to.features = FeatureSplit::kNone;
    to.partial = kPartialNone;
    id = b.AddCollective(op, features ? Collective::kAllGather : Collective::kAllReduce, b.ExpertTensorGroup(), id, to);
  }
  if (s.BlockSize() == s.tensor_parallel_size) return id;
  Value cell = b.ValueOf(id);
  cell.tokens = TokenSplit::kCell;
  return b.AddSlice(op, id, cell);
}

/// The experts of a rank on the tokens that it was sent; results are summed over the rank's experts.
ValueId Experts(BlockBuilder& b, ValueId dispatched) {
  const Strategy& s = b.strategy();
  const Sharding up = s.ShardingOf(Operator::kExpertUp);
  const Sharding down = s.ShardingOf(Operator::kExpertDown);
  const bool split = s.expert_tensor_parallel_size > 1;
  auto product = [&](Operator op, WeightKind weight, WeightSplit weight_split, ValueId in, ValueId out) {
    b.AddTask({.kind = TaskKind::kExpertMatmul,
               .op = op,
               .ffn = FfnKind::kExpert,
               .input = in,
               .output = out,
               .weight = weight,
               .weight_split = weight_split});
  };
  const TokenSplit tokens = b.ValueOf(dispatched).tokens;
  Value gate{.kind = TensorKind::kGate, .ffn = FfnKind::kExpert, .tokens = tokens, .dtype = b.model().residual_dtype};
  ValueId gated = kNoValue;
  if (up == Sharding::kHidden) {
    gate.partial = kPartialExpertTensor;
    const ValueId partial = b.AddValue(gate);
    product(Operator::kExpertUp, WeightKind::kExpertUp, WeightSplit::kRow, dispatched, partial);
    gate.partial = kPartialNone;
    gate.features = FeatureSplit::kExpertTensor;
    gated = b.AddCollective(Operator::kExpertUp, Collective::kReduceScatter, b.ExpertTensorGroup(), partial, gate);
  } else {
    gate.features = FeatureSplit::kExpertTensor;
    gated = b.AddValue(gate);
    product(Operator::kExpertUp, WeightKind::kExpertUp, split ? WeightSplit::kColumn : WeightSplit::kWhole, dispatched,
            gated);
  }
  ValueId active = b.AddActivation(Operator::kExpertUp, gated, FfnKind::kExpert);
  if (down == Sharding::kHidden) {
    Value whole = b.ValueOf(active);
    whole.features = FeatureSplit::kNone;
    active = b.AddCollective(Operator::kExpertDown, Collective::kAllGather, b.ExpertTensorGroup(), active, whole);
  }
  Value out{
      .kind = TensorKind::kHidden, .tokens = tokens, .partial = kPartialExpert, .dtype = b.model().residual_dtype};
  WeightSplit weight_split = WeightSplit::kWhole;
  if (down == Sharding::kHidden) {
    out.features = FeatureSplit::kExpertTensor;
    weight_split = WeightSplit::kColumn;
  } else if (split) {
    out.partial |= kPartialExpertTensor;
    weight_split = WeightSplit::kRow;
  }
  const ValueId output = b.AddValue(out);
  product(Operator::kExpertDown, WeightKind::kExpertDown, weight_split, active, output);
  return output;
}

}  // namespace

Block LowerDenseFfn(const Problem& problem, const Strategy& strategy, Phase phase) {
  BlockBuilder b(problem, strategy, phase, BlockKind::kDenseFfn);
  const ValueId residual = b.AddResidualInput();
  const ValueId output = Ffn(b, residual, FfnKind::kDense);
  const ModelSpec& m = b.model();
  const std::int64_t bias = m.ffn_bias ? (m.gated_ffn ? 2 : 1) * m.ffn_size + m.hidden_size : 0;
  b.AddWholeWeight(WeightKind::kNorms, Operator::kFfnUp, BlockNormElements(m) + static_cast<double>(bias));
  return b.FinishWith(residual, output);
}

Block LowerMoe(const Problem& problem, const Strategy& strategy, Phase phase) {
  BlockBuilder b(problem, strategy, phase, BlockKind::kMoe);
  const ValueId residual = b.AddResidualInput();
  const Layout router_wants =
      strategy.ShardingOf(Operator::kRouter) == Sharding::kToken ? Layout::kTokenSharded : Layout::kReplicated;
  const ValueId normed = b.Norm(Operator::kRouter, b.Reshard(Operator::kRouter, residual, router_wants));
  Value scores = b.ValueOf(normed);
  scores.kind = TensorKind::kScores;
  scores.dtype = DType::kFp32;
  const ValueId score = b.AddValue(scores);
  b.AddMatmul(Operator::kRouter, WeightKind::kRouter, WeightSplit::kWhole, normed, score);
  const ValueId routed = b.AddLike(normed, TensorKind::kRouted);
  b.AddTask({.kind = TaskKind::kRoute, .op = Operator::kRouter, .input = normed, .input2 = score, .output = routed});

  ValueId output = Combine(b, Experts(b, Dispatch(b, routed)));
  const ModelSpec& m = b.model();
  if (m.HasSharedExpert()) {
    ValueId shared = Ffn(b, residual, FfnKind::kShared);
    if (b.LayoutOf(shared) != b.LayoutOf(output)) {
      shared = b.Reshard(Operator::kResidual, shared, strategy.residual_layout);
      output = b.Reshard(Operator::kResidual, output, strategy.residual_layout);
    }
    output = b.AddSum(Operator::kResidual, output, shared);
  }
  const auto experts = static_cast<double>(m.moe.num_experts);
  const double extra = (m.moe.router_correction_bias ? experts : 0) + (m.moe.router_bias ? experts : 0) +
                       (m.moe.shared_expert_gate ? static_cast<double>(m.hidden_size) : 0);
  b.AddWholeWeight(WeightKind::kNorms, Operator::kRouter, BlockNormElements(m) + extra);
  if (m.moe.expert_bias) {
    const Geometry& g = b.geometry();
    const double up = static_cast<double>((m.gated_ffn ? 2 : 1) * m.moe.expert_ffn_size) / g.etp;
    b.AddWholeWeight(WeightKind::kNorms, Operator::kExpertUp,
                     experts / g.ep * (up + static_cast<double>(m.hidden_size)), FfnKind::kExpert);
  }
  return b.FinishWith(residual, output);
}

}  // namespace shardscout::strategies
