// The attention blocks: norm and projections (qkv), the core with its KV cache or state (attention), the output
// projection (attn_out).

#include "shardscout/error.h"
#include "strategies/block_builder.h"

namespace shardscout::strategies {
namespace {

Layout Wants(Sharding sharding) {
  switch (sharding) {
    case Sharding::kToken:
      return Layout::kTokenSharded;
    case Sharding::kHidden:
      return Layout::kFeatureSharded;
    default:
      return Layout::kReplicated;
  }
}

/// What the core wants.
Layout CoreWants(Sharding sharding) { return sharding == Sharding::kHeads ? Layout::kFeatureSharded : Wants(sharding); }

struct Qkv {
  ValueId qkv = kNoValue;
  ValueId gate = kNoValue;         ///< Output gate only.
  ValueId latent = kNoValue;       ///< MLA only.
  ValueId index_query = kNoValue;  ///< Indexer only.
  ValueId index_key = kNoValue;
};

Qkv ProjectGrouped(BlockBuilder& b, ValueId normed, Sharding sharding) {
  Value out = b.ValueOf(normed);
  out.kind = b.model().attention.output_gate ? TensorKind::kGatedQkv : TensorKind::kQkv;
  out.dtype = b.model().residual_dtype;
  if (sharding == Sharding::kHidden) {
    out.features = FeatureSplit::kNone;
    out.partial = kPartialTensor;
    const ValueId partial = b.AddValue(out);
    b.AddMatmul(Operator::kQkv, WeightKind::kQkv, WeightSplit::kRow, normed, partial);
    return {.qkv = b.Reshard(Operator::kQkv, partial, Layout::kFeatureSharded)};
  }
  const bool column = sharding == Sharding::kHeads;
  if (column) out.features = FeatureSplit::kTensor;
  const ValueId qkv = b.AddValue(out);
  b.AddMatmul(Operator::kQkv, WeightKind::kQkv, column ? WeightSplit::kColumn : WeightSplit::kWhole, normed, qkv);
  return {.qkv = qkv};
}

/// The indexer is whole on every rank: its one key could not be split, and its scores would have to be summed.
void ProjectIndex(BlockBuilder& b, ValueId normed, ValueId query_latent, Qkv* out) {
  Value whole = b.ValueOf(normed);
  whole.dtype = b.model().residual_dtype;
  whole.kind = TensorKind::kIndexQuery;
  Task rotary{.kind = TaskKind::kRotary, .op = Operator::kQkv};
  rotary.input = b.AddValue(whole);
  b.AddMatmul(Operator::kQkv, WeightKind::kIndexQuery, WeightSplit::kWhole, query_latent, rotary.input);
  whole.kind = TensorKind::kIndexKey;
  rotary.input2 = b.AddValue(whole);
  b.AddMatmul(Operator::kQkv, WeightKind::kIndexKey, WeightSplit::kWhole, normed, rotary.input2);
  out->index_query = rotary.output = b.AddValue(b.ValueOf(rotary.input));
  out->index_key = rotary.output2 = b.AddValue(b.ValueOf(rotary.input2));
  b.AddTask(rotary);
}

Qkv ProjectMultiLatent(BlockBuilder& b, ValueId normed, Sharding sharding) {
  const bool column = sharding == Sharding::kHeads;
  const WeightSplit split = column ? WeightSplit::kColumn : WeightSplit::kWhole;
  Value whole = b.ValueOf(normed);
  whole.dtype = b.model().residual_dtype;
  ValueId query_input = normed;
  WeightKind query_weight = WeightKind::kQuery;
  if (b.model().attention.q_lora_rank > 0) {
    whole.kind = TensorKind::kQueryLatent;
    const ValueId down = b.AddValue(whole);
    b.AddMatmul(Operator::kQkv, WeightKind::kQueryDown, WeightSplit::kWhole, normed, down);
    query_input = b.Norm(Operator::kQkv, down);
    query_weight = WeightKind::kQueryUp;
  }
  whole.kind = TensorKind::kLatent;
  const ValueId latent = b.AddValue(whole);
  b.AddMatmul(Operator::kQkv, WeightKind::kLatentDown, WeightSplit::kWhole, normed, latent);
  whole.kind = TensorKind::kQuery;
  if (column) whole.features = FeatureSplit::kTensor;
  const ValueId query = b.AddValue(whole);
  b.AddMatmul(Operator::kQkv, query_weight, split, query_input, query);
  Qkv out{.qkv = query, .latent = latent};
  if (b.model().attention.HasIndexer()) ProjectIndex(b, normed, query_input, &out);
  return out;
}

/// Where heads are split, a norm over all of them needs the mean squares of the other ranks' heads too.
ValueId AddQkStatistic(BlockBuilder& b, ValueId qkv) {
  if (!b.model().attention.whole_qk_norm || b.ValueOf(qkv).features == FeatureSplit::kNone) return kNoValue;
  Value statistic = b.ValueOf(qkv);
  statistic.kind = TensorKind::kQkStatistic;
  statistic.dtype = DType::kFp32;
  statistic.features = FeatureSplit::kNone;
  statistic.partial = kPartialTensor;
  const ValueId partial = b.AddValue(statistic);
  b.AddTask({.kind = TaskKind::kNormStatistic, .op = Operator::kQkv, .input = qkv, .output = partial});
  statistic.partial = kPartialNone;
  return b.AddCollective(Operator::kQkv, Collective::kAllReduce, b.TensorGroup(), partial, statistic);
}

/// The log-sum-exp merge of partial attention outputs over `group`: the LSEs are gathered, the outputs rescaled and
/// reduce-scattered to `to`. Returns the merged output and, where `keep_lse`, the merged LSE in its layout.
std::pair<ValueId, ValueId> MergeOver(BlockBuilder& b, Group group, PartialOver over, ValueId attended, ValueId lse,
                                      Value to, bool keep_lse) {
  Value stacked = b.ValueOf(lse);
  stacked.copies = group.size;
  const ValueId gathered = b.AddCollective(Operator::kAttention, Collective::kAllGather, group, lse, stacked);
  Value summand = b.ValueOf(attended);
  summand.partial = static_cast<std::uint8_t>(over);
  Task rescale{.kind = TaskKind::kLseRescale, .op = Operator::kAttention, .input = attended, .input2 = gathered};
  rescale.output = b.AddValue(summand);
  rescale.group = group;
  if (keep_lse) {
    Value merged = b.ValueOf(lse);
    merged.tokens = to.tokens;
    merged.features = to.features;
    rescale.output2 = b.AddValue(merged);
  }
  b.AddTask(rescale);
  const ValueId merged = b.AddCollective(Operator::kAttention, Collective::kReduceScatter, group, rescale.output, to);
  return {merged, rescale.output2};
}

/// The product with attn_out's matrix.
ValueId ProjectOutput(BlockBuilder& b, ValueId attended, Sharding sharding) {
  Value out = b.ValueOf(attended);
  out.kind = TensorKind::kHidden;
  out.dtype = b.model().residual_dtype;
  WeightSplit split = WeightSplit::kWhole;
  if (sharding == Sharding::kHeads) {
    out.features = FeatureSplit::kNone;
    out.partial = kPartialTensor;
    split = WeightSplit::kRow;
  } else if (sharding == Sharding::kHidden) {
    out.features = FeatureSplit::kTensor;
    split = WeightSplit::kColumn;
  }
  const ValueId output = b.AddValue(out);
  b.AddMatmul(Operator::kAttnOut, WeightKind::kAttnOut, split, attended, output);
  return output;
}

/// heads is row-parallel on the heads' outputs; hidden is column-parallel and wants them whole.
ValueId ReshardForOutput(BlockBuilder& b, ValueId attended, Sharding sharding) {
  Layout wants = Layout::kReplicated;
  if (sharding == Sharding::kHeads) wants = Layout::kFeatureSharded;
  if (sharding == Sharding::kToken) wants = Layout::kTokenSharded;
  return b.Reshard(Operator::kAttnOut, attended, wants);
}

ValueId AttentionCore(BlockBuilder& b, Qkv in, Sharding sharding) {
  const Operator op = Operator::kAttention;
  const bool decode = b.phase() == Phase::kDecode;
  const bool sequence = sharding == Sharding::kSequence;
  const bool over_context = b.strategy().context_parallel_size > 1;
  const bool multi_latent = in.latent != kNoValue;

  Task core{.kind = TaskKind::kAttention, .op = op};
  core.cache = {.requests_over_tp = sharding == Sharding::kToken,
                .heads_over_tp = sharding == Sharding::kHeads && !multi_latent,
                .positions_over_tp = sequence};
  const TokenSplit cell = b.ValueOf(in.qkv).tokens;
  const TokenSplit gathered = cell == TokenSplit::kTensor ? TokenSplit::kContextTensor : TokenSplit::kContext;
  core.input = in.qkv;
  if (in.index_query != kNoValue) {
    SHARDSCOUT_CHECK(!over_context && !sequence);
    Value selection = b.ValueOf(in.index_query);
    selection.kind = TensorKind::kSelection;
    selection.dtype = DType::kFp32;  // Position numbers.
    Task select{.kind = TaskKind::kIndexSelect, .op = op, .input = in.index_query, .input2 = in.index_key};
    select.output = b.AddValue(selection);
    select.cache = core.cache;
    b.AddTask(select);
    (decode ? core.input3 : core.input2) = select.output;
  }
  if (decode) {
    if (over_context) {
      Value q = b.ValueOf(in.qkv);
      q.tokens = gathered;
      Value latent = multi_latent ? b.ValueOf(in.latent) : Value();
      latent.tokens = gathered;
      std::tie(core.input, in.latent) =
          b.AddCollective(op, Collective::kAllGather, b.ContextGroup(), in.qkv, q, in.latent, latent);
    }
    core.input2 = in.latent;
  } else {
    core.input3 = in.latent;
    if (over_context) {
      Value kv = b.ValueOf(in.qkv);
      kv.kind = TensorKind::kKeyValue;
      kv.interleaved = sequence;
      Task select{.kind = TaskKind::kSelectKeyValue, .op = op, .input = in.qkv, .input2 = in.latent};
      select.output = b.AddValue(kv);
      Value latent;
      if (multi_latent) {
        latent = b.ValueOf(in.latent);
        latent.interleaved = sequence;
        select.output2 = b.AddValue(latent);
      }
      b.AddTask(select);
      kv.tokens = latent.tokens = gathered;
      std::tie(core.input2, core.input3) =
          b.AddCollective(op, Collective::kAllGather, b.ContextGroup(), select.output, kv, select.output2, latent);
    }
  }

  Value out = b.ValueOf(core.input);
  out.kind = TensorKind::kAttended;
  out.absorbed = decode && multi_latent;
  const bool merge_tensor = sequence && b.strategy().tensor_parallel_size > 1;
  const bool merge_context = decode && over_context;
  core.output = b.AddValue(out);
  if (merge_tensor || merge_context) {
    Value lse = out;
    lse.kind = TensorKind::kLse;
    lse.dtype = DType::kFp32;
    core.output2 = b.AddValue(lse);
  }
  b.AddTask(core);

  ValueId attended = core.output;
  ValueId lse = core.output2;
  if (merge_tensor) {
    Value to = b.ValueOf(attended);
    to.features = FeatureSplit::kTensor;
    std::tie(attended, lse) = MergeOver(b, b.TensorGroup(), kPartialTensor, attended, lse, to, merge_context);
  }
  if (merge_context) {
    Value to = b.ValueOf(attended);
    to.tokens = cell;
    attended = MergeOver(b, b.ContextGroup(), kPartialContext, attended, lse, to, false).first;
  }
  return attended;
}

/// [q | k | v | z] and the gates [b | a].
std::pair<ValueId, ValueId> ProjectLinear(BlockBuilder& b, ValueId normed, Sharding sharding) {
  const bool row = sharding == Sharding::kHidden, column = sharding == Sharding::kHeads;
  const auto project = [&](TensorKind kind, WeightKind weight) {
    Value out = b.ValueOf(normed);
    out.kind = kind;
    out.dtype = b.model().residual_dtype;
    out.features = column ? FeatureSplit::kTensor : FeatureSplit::kNone;
    if (row) out.partial = kPartialTensor;
    const ValueId output = b.AddValue(out);
    const WeightSplit split = row ? WeightSplit::kRow : column ? WeightSplit::kColumn : WeightSplit::kWhole;
    b.AddMatmul(Operator::kQkv, weight, split, normed, output);
    return output;
  };
  const ValueId qkv = project(TensorKind::kLinearQkv, WeightKind::kQkv);
  const ValueId gates = project(TensorKind::kLinearGates, WeightKind::kLinearGates);
  if (!row) return {qkv, gates};
  return b.ReshardBoth(Operator::kQkv, qkv, gates, Layout::kFeatureSharded);
}

double NormElements(const ModelSpec& model) {
  const AttentionSpec& a = model.attention;
  std::int64_t n = 0;
  if (a.HasIndexer()) n += 2 * a.index_head_dim;
  if (a.whole_qk_norm) n += (a.num_heads + a.num_kv_heads) * a.head_dim;
  if (a.sinks) n += a.num_heads;
  if (a.kind == AttentionKind::kMultiLatent) n += a.q_lora_rank + a.kv_lora_rank;
  if (a.qk_norm) n += 2 * a.head_dim;
  if (a.qkv_bias) n += ((a.output_gate ? 2 : 1) * a.num_heads + 2 * a.num_kv_heads) * a.head_dim;
  if (a.output_bias) n += model.hidden_size;
  return BlockNormElements(model) + static_cast<double>(n);
}

}  // namespace

Block LowerAttention(const Problem& problem, const Strategy& strategy, Phase phase, BlockKind kind) {
  BlockBuilder b(problem, strategy, phase, kind);
  const Sharding qkv_sharding = strategy.ShardingOf(Operator::kQkv);
  const Sharding attention_sharding = strategy.ShardingOf(Operator::kAttention);
  const Sharding out_sharding = strategy.ShardingOf(Operator::kAttnOut);
  const bool multi_latent = b.geometry().multi_latent;

  const ValueId residual = b.AddResidualInput();
  const ValueId normed = b.Norm(Operator::kQkv, b.Reshard(Operator::kQkv, residual, Wants(qkv_sharding)));
  Qkv qkv = multi_latent ? ProjectMultiLatent(b, normed, qkv_sharding) : ProjectGrouped(b, normed, qkv_sharding);

  Task rotary{.kind = TaskKind::kRotary, .op = Operator::kQkv, .input = qkv.qkv, .input2 = qkv.latent};
  rotary.input3 = AddQkStatistic(b, qkv.qkv);
  const bool gated = b.model().attention.output_gate;
  rotary.output = gated ? b.AddLike(qkv.qkv, TensorKind::kQkv) : b.AddValue(b.ValueOf(qkv.qkv));
  if (multi_latent) rotary.output2 = b.AddValue(b.ValueOf(qkv.latent));
  if (gated) rotary.output2 = b.AddLike(qkv.qkv, TensorKind::kOutputGate);
  b.AddTask(rotary);
  qkv.qkv = rotary.output;
  (gated ? qkv.gate : qkv.latent) = rotary.output2;
  if (multi_latent) {
    const ValueId projected = b.AddLike(qkv.qkv, TensorKind::kQkv);
    const bool decode = phase == Phase::kDecode;
    b.AddTask({.kind = decode ? TaskKind::kAbsorbKey : TaskKind::kUpProject,
               .op = Operator::kQkv,
               .input = qkv.qkv,
               .input2 = decode ? kNoValue : qkv.latent,
               .output = projected});
    qkv.qkv = projected;
  }

  const Layout core_wants = CoreWants(attention_sharding);
  if (gated) {
    std::tie(qkv.qkv, qkv.gate) = b.ReshardBoth(Operator::kAttention, qkv.qkv, qkv.gate, core_wants);
  } else {
    std::tie(qkv.qkv, qkv.latent) = b.ReshardQkv(Operator::kAttention, qkv.qkv, qkv.latent, core_wants);
  }
  if (qkv.index_query != kNoValue) {
    // As the latent, they are replicated where q is feature-sharded.
    const Layout index_wants = core_wants == Layout::kFeatureSharded ? Layout::kReplicated : core_wants;
    qkv.index_query = b.Reshard(Operator::kAttention, qkv.index_query, index_wants);
    qkv.index_key = b.Reshard(Operator::kAttention, qkv.index_key, index_wants);
  }
  ValueId attended = AttentionCore(b, qkv, attention_sharding);

  if (gated) {
    // `sequence` leaves heads split that it took whole.
    const ValueId gate = b.Reshard(Operator::kAttention, qkv.gate, b.LayoutOf(attended));
    const ValueId scaled = b.AddValue(b.ValueOf(attended));
    b.AddTask({.kind = TaskKind::kGateOutput,
               .op = Operator::kAttention,
               .input = attended,
               .input2 = gate,
               .output = scaled});
    attended = scaled;
  }
  attended = ReshardForOutput(b, attended, out_sharding);
  if (b.ValueOf(attended).absorbed) {
    Value values = b.ValueOf(attended);
    values.absorbed = false;
    const ValueId projected = b.AddValue(values);
    b.AddTask({.kind = TaskKind::kValueProject, .op = Operator::kAttnOut, .input = attended, .output = projected});
    attended = projected;
  }
  const ValueId output = ProjectOutput(b, attended, out_sharding);
  b.AddWholeWeight(WeightKind::kNorms, Operator::kQkv, NormElements(b.model()));
  return b.FinishWith(residual, output);
}

Block LowerLinearAttention(const Problem& problem, const Strategy& strategy, Phase phase) {
  BlockBuilder b(problem, strategy, phase, BlockKind::kLinearAttention);
  const Sharding qkv_sharding = strategy.ShardingOf(Operator::kQkv);
  const Sharding core_sharding = strategy.ShardingOf(Operator::kAttention);
  const Sharding out_sharding = strategy.ShardingOf(Operator::kAttnOut);
  SHARDSCOUT_CHECK(strategy.context_parallel_size == 1 && core_sharding != Sharding::kSequence);

  const ValueId residual = b.AddResidualInput();
  const ValueId normed = b.Norm(Operator::kQkv, b.Reshard(Operator::kQkv, residual, Wants(qkv_sharding)));
  auto [qkv, gates] = ProjectLinear(b, normed, qkv_sharding);
  std::tie(qkv, gates) = b.ReshardBoth(Operator::kAttention, qkv, gates, CoreWants(core_sharding));

  Task core{.kind = TaskKind::kLinearAttention, .op = Operator::kAttention, .input = qkv, .input2 = gates};
  core.cache = {.requests_over_tp = core_sharding == Sharding::kToken,
                .heads_over_tp = core_sharding == Sharding::kHeads};
  core.output = b.AddLike(qkv, TensorKind::kLinearAttended);
  b.AddTask(core);

  const ValueId output = ProjectOutput(b, ReshardForOutput(b, core.output, out_sharding), out_sharding);
  const LinearAttentionSpec& linear = b.model().linear_attention;
  b.AddWholeWeight(WeightKind::kNorms, Operator::kQkv, BlockNormElements(b.model()) + LinearVectorElements(linear));
  return b.FinishWith(residual, output);
}

}  // namespace shardscout::strategies
