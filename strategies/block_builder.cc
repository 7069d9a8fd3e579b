#include "strategies/block_builder.h"

#include <algorithm>

#include "shardscout/error.h"

namespace shardscout::strategies {
namespace {

/// From any layout but R, which is sliced.
Collective ReshardCollective(Layout from, Layout to) {
  if (from == Layout::kPartial) {
    return to == Layout::kReplicated ? Collective::kAllReduce : Collective::kReduceScatter;
  }
  return to == Layout::kReplicated ? Collective::kAllGather : Collective::kAllToAll;
}

}  // namespace

BlockBuilder::BlockBuilder(const Problem& problem, const Strategy& strategy, Phase phase, BlockKind kind)
    : problem_(problem), strategy_(strategy), geometry_(problem, strategy, phase) {
  block_.kind = kind;
  block_.values.reserve(40);
  block_.tasks.reserve(40);
}

TokenSplit BlockBuilder::Normal(TokenSplit split) const {
  const bool tp = strategy_.tensor_parallel_size > 1;
  const bool cp = strategy_.context_parallel_size > 1;
  switch (split) {
    case TokenSplit::kTensor:
      return tp ? split : TokenSplit::kCell;
    case TokenSplit::kStageTensor:
      return tp ? split : TokenSplit::kStage;
    case TokenSplit::kContextTensor:
      return cp ? (tp ? split : TokenSplit::kContext) : Normal(TokenSplit::kTensor);
    case TokenSplit::kContext:
      return cp ? split : TokenSplit::kCell;
    case TokenSplit::kExpertTensor:
      if (strategy_.expert_tensor_parallel_size == strategy_.tensor_parallel_size) return TokenSplit::kCell;
      return strategy_.expert_tensor_parallel_size > 1 ? split : Normal(TokenSplit::kTensor);
    case TokenSplit::kBlock:
      if (strategy_.BlockSize() == strategy_.tensor_parallel_size) return TokenSplit::kCell;
      return strategy_.BlockSize() == 1 ? Normal(TokenSplit::kTensor) : split;
    case TokenSplit::kRoutedBlock:
      return strategy_.expert_tensor_parallel_size > 1 ? split : TokenSplit::kRouted;
    default:
      return split;
  }
}

FeatureSplit BlockBuilder::Normal(FeatureSplit split) const {
  if (split == FeatureSplit::kStage && strategy_.StageSize() == strategy_.tensor_parallel_size)
    split = FeatureSplit::kTensor;
  return geometry_.Parts(split) > 1 ? split : FeatureSplit::kNone;
}

std::uint8_t BlockBuilder::NormalPartial(int partial) const {
  int normal = partial;
  if (strategy_.tensor_parallel_size == 1) normal &= ~kPartialTensor;
  if (strategy_.context_parallel_size * strategy_.data_parallel_size == 1) normal &= ~kPartialContextData;
  if (strategy_.context_parallel_size == 1) normal &= ~kPartialContext;
  if (strategy_.expert_parallel_size == 1) normal &= ~kPartialExpert;
  if (strategy_.expert_tensor_parallel_size == 1) normal &= ~kPartialExpertTensor;
  return static_cast<std::uint8_t>(normal);
}

Group BlockBuilder::TensorGroup() const { return {strategy_.tensor_parallel_size, 1}; }
Group BlockBuilder::ContextGroup() const { return {strategy_.context_parallel_size, strategy_.tensor_parallel_size}; }
Group BlockBuilder::ContextDataGroup() const {
  return {strategy_.context_parallel_size * strategy_.data_parallel_size, strategy_.tensor_parallel_size};
}
Group BlockBuilder::StageGroup() const { return {strategy_.StageSize(), 1}; }
Group BlockBuilder::ExpertGroup() const {
  return {strategy_.expert_parallel_size, strategy_.expert_tensor_parallel_size};
}
Group BlockBuilder::ExpertTensorGroup() const { return {strategy_.expert_tensor_parallel_size, 1}; }
Group BlockBuilder::BlockGroup() const { return {strategy_.BlockSize(), 1}; }

ValueId BlockBuilder::AddValue(Value value) {
  value.tokens = Normal(value.tokens);
  value.features = Normal(value.features);
  value.partial = NormalPartial(value.partial);
  value.rows = geometry_.Rows(value);
  value.width = geometry_.Width(value);
  block_.values.push_back(value);
  return static_cast<ValueId>(block_.values.size()) - 1;
}

ValueId BlockBuilder::AddLike(ValueId like, TensorKind kind, FfnKind ffn) {
  Value value = ValueOf(like);
  value.kind = kind;
  value.ffn = ffn;
  return AddValue(value);
}

ValueId BlockBuilder::AddResidualInput() {
  return AddValue(
      WithLayout({.kind = TensorKind::kHidden, .dtype = model().residual_dtype}, strategy_.residual_layout));
}

Layout BlockBuilder::LayoutOf(ValueId id) const {
  const Value& v = ValueOf(id);
  if ((v.partial & kPartialTensor) != 0) return Layout::kPartial;
  if (v.features == FeatureSplit::kTensor) return Layout::kFeatureSharded;
  if (v.tokens == TokenSplit::kTensor) return Layout::kTokenSharded;
  return Layout::kReplicated;
}

Value BlockBuilder::WithLayout(Value v, Layout layout) const {
  v.tokens = Normal(layout == Layout::kTokenSharded ? TokenSplit::kTensor : TokenSplit::kCell);
  v.features = Normal(layout == Layout::kFeatureSharded ? FeatureSplit::kTensor : FeatureSplit::kNone);
  v.partial = NormalPartial(layout == Layout::kPartial ? kPartialTensor : kPartialNone);
  v.at_owner = false;
  return v;
}

double BlockBuilder::PayloadBytes(Collective collective, ValueId input, ValueId output) const {
  const Value& in = ValueOf(input);
  const Value& out = ValueOf(output);
  const double element = BytesPerElement(in.dtype);
  const auto in_parts = static_cast<double>(geometry_.Parts(in.features));
  const auto out_parts = static_cast<double>(geometry_.Parts(out.features));
  switch (collective) {
    case Collective::kAllGather:
      // Whole output; replicated KV heads are carried once a rank, so counted by what the parts hold together.
      return out.features == in.features ? out.Bytes() : out.rows * in.width * in_parts / out_parts * element;
    case Collective::kReduceScatter:
      return out.features == in.features ? in.Bytes() : in.rows * out.width * out_parts / in_parts * element;
    case Collective::kAllToAll:
      if (out.tokens == TokenSplit::kRouted && in.tokens != TokenSplit::kRouted) return out.Bytes();
      if (in.features == out.features) return in.Bytes();
      // The side whose features are split more says how many columns there are, replicas included.
      return out_parts > in_parts ? in.rows * out.width * out_parts / in_parts * element : in.Bytes();
    case Collective::kNone:
    case Collective::kAllReduce:
    case Collective::kSendRecv:
      break;
  }
  return in.Bytes();
}

std::pair<ValueId, ValueId> BlockBuilder::AddCollective(Operator op, Collective collective, Group group, ValueId input,
                                                        Value to, ValueId input2, Value to2) {
  SHARDSCOUT_CHECK_OP(group.size, >, 1);
  Task task{.kind = TaskKind::kCollective, .op = op, .ffn = to.ffn, .input = input, .input2 = input2};
  task.collective = collective;
  task.group = group;
  task.output = AddValue(to);
  task.payload_bytes = PayloadBytes(collective, input, task.output);
  if (input2 != kNoValue) {
    task.output2 = AddValue(to2);
    task.payload_bytes += PayloadBytes(collective, input2, task.output2);
  }
  block_.max_payload_bytes = std::max(block_.max_payload_bytes, task.payload_bytes);
  block_.tasks.push_back(task);
  return {task.output, task.output2};
}

ValueId BlockBuilder::AddCollective(Operator op, Collective collective, Group group, ValueId input, Value to) {
  return AddCollective(op, collective, group, input, to, kNoValue, {}).first;
}

ValueId BlockBuilder::AddSlice(Operator op, ValueId input, Value to) {
  const ValueId output = AddValue(to);
  AddTask({.kind = TaskKind::kSlice, .op = op, .ffn = to.ffn, .input = input, .output = output});
  return output;
}

ValueId BlockBuilder::AddSum(Operator op, ValueId a, ValueId b) {
  const ValueId output = AddValue(ValueOf(a));
  AddTask({.kind = TaskKind::kAdd, .op = op, .input = a, .input2 = b, .output = output});
  return output;
}

ValueId BlockBuilder::Reshard(Operator op, ValueId id, Layout to) {
  const Layout from = LayoutOf(id);
  const Value target = WithLayout(ValueOf(id), to);
  if (target.tokens == ValueOf(id).tokens && target.features == ValueOf(id).features &&
      target.partial == ValueOf(id).partial) {
    return id;
  }
  const auto known = resharded_.find({id, to});
  if (known != resharded_.end()) return known->second;
  const ValueId result = from == Layout::kReplicated
                             ? AddSlice(op, id, target)
                             : AddCollective(op, ReshardCollective(from, to), TensorGroup(), id, target);
  resharded_[{id, to}] = result;
  return result;
}

std::pair<ValueId, ValueId> BlockBuilder::ReshardBoth(Operator op, ValueId a, ValueId b, Layout to) {
  const Layout from = LayoutOf(a);
  SHARDSCOUT_CHECK(LayoutOf(b) == from);
  if (from == to || from == Layout::kReplicated) return {Reshard(op, a, to), Reshard(op, b, to)};
  return AddCollective(op, ReshardCollective(from, to), TensorGroup(), a, WithLayout(ValueOf(a), to), b,
                       WithLayout(ValueOf(b), to));
}

std::pair<ValueId, ValueId> BlockBuilder::ReshardQkv(Operator op, ValueId qkv, ValueId latent, Layout to) {
  const Layout from = LayoutOf(qkv);
  if (latent == kNoValue || from == to) return {Reshard(op, qkv, to), latent};
  // The latent is replicated where q is feature-sharded.
  const Layout latent_to = to == Layout::kFeatureSharded ? Layout::kReplicated : to;
  if (from == Layout::kTokenSharded && to == Layout::kReplicated && LayoutOf(latent) == from) {
    return AddCollective(op, Collective::kAllGather, TensorGroup(), qkv, WithLayout(ValueOf(qkv), to), latent,
                         WithLayout(ValueOf(latent), latent_to));
  }
  return {Reshard(op, qkv, to), Reshard(op, latent, latent_to)};
}

ValueId BlockBuilder::Norm(Operator op, ValueId id) {
  const auto known = normed_.find(id);
  if (known != normed_.end()) return known->second;
  Task norm{.kind = TaskKind::kNorm, .op = op, .input = id};
  const FeatureSplit features = ValueOf(id).features;
  if (features != FeatureSplit::kNone) {
    Value statistic = ValueOf(id);
    statistic.kind = TensorKind::kStatistic;
    statistic.dtype = DType::kFp32;
    statistic.features = FeatureSplit::kNone;
    statistic.partial =
        NormalPartial(kPartialTensor | (features == FeatureSplit::kStage ? kPartialContextData : kPartialNone));
    const ValueId partial = AddValue(statistic);
    AddTask({.kind = TaskKind::kNormStatistic, .op = op, .input = id, .output = partial});
    statistic.partial = kPartialNone;
    norm.input2 = AddCollective(op, Collective::kAllReduce,
                                features == FeatureSplit::kStage ? StageGroup() : TensorGroup(), partial, statistic);
  }
  Value out = ValueOf(id);
  if (out.kind == TensorKind::kHidden) {
    const bool attention = op == Operator::kQkv;
    const bool dense = block_.kind == BlockKind::kDenseFfn;
    out.dtype = ProductDType(model(),
                             attention ? WeightKind::kAttnOut
                             : dense   ? WeightKind::kFfnUp
                                       : WeightKind::kExpertUp,
                             dense ? FfnKind::kDense : FfnKind::kNotFfn);
  }
  norm.output = AddValue(out);
  AddTask(norm);
  normed_[id] = norm.output;
  return norm.output;
}

Block BlockBuilder::FinishWith(ValueId residual, ValueId output) {
  const ValueId out = Reshard(Operator::kResidual, output, strategy_.residual_layout);
  return Take(residual, AddSum(Operator::kResidual, residual, out));
}

void BlockBuilder::AddMatmul(Operator op, WeightKind weight, WeightSplit split, ValueId input, ValueId output,
                             FfnKind ffn) {
  AddTask({.kind = TaskKind::kMatmul,
           .op = op,
           .ffn = ffn,
           .input = input,
           .output = output,
           .weight = weight,
           .weight_split = split});
}

ValueId BlockBuilder::AddActivation(Operator op, ValueId gate, FfnKind ffn) {
  Value out = ValueOf(gate);
  out.kind = TensorKind::kFfn;
  out.dtype = ProductDType(model(), ffn == FfnKind::kExpert ? WeightKind::kExpertDown : WeightKind::kFfnDown, ffn);
  const ValueId output = AddValue(out);
  AddTask({.kind = TaskKind::kActivation, .op = op, .ffn = ffn, .input = gate, .output = output});
  return output;
}

void BlockBuilder::AddTask(Task task) {
  FillWork(task);
  StoreWeight(task);
  block_.tasks.push_back(task);
}

Block BlockBuilder::Take(ValueId input, ValueId output) {
  block_.input = input;
  block_.output = output;
  // Live bytes: a value lives from the task that defines it to the last that reads it; the block's input and output
  // throughout.
  const std::size_t n = block_.tasks.size();
  std::vector<std::size_t> last(block_.values.size(), 0);
  for (std::size_t t = 0; t < n; ++t) {
    const Task& task = block_.tasks[t];
    for (ValueId id : {task.input, task.input2, task.input3, task.output, task.output2}) {
      if (id != kNoValue) last[static_cast<std::size_t>(id)] = t;
    }
  }
  if (output != kNoValue) last[static_cast<std::size_t>(output)] = n;
  double live = input == kNoValue ? 0 : ValueOf(input).Bytes();
  block_.peak_activation_bytes = live;
  std::vector<bool> alive(block_.values.size(), false);
  if (input != kNoValue) alive[static_cast<std::size_t>(input)] = true;
  for (std::size_t t = 0; t < n; ++t) {
    const Task& task = block_.tasks[t];
    for (ValueId id : {task.output, task.output2}) {
      if (id == kNoValue || alive[static_cast<std::size_t>(id)]) continue;
      alive[static_cast<std::size_t>(id)] = true;
      live += ValueOf(id).Bytes();
    }
    block_.peak_activation_bytes = std::max(block_.peak_activation_bytes, live);
    for (ValueId id : {task.input, task.input2, task.input3, task.output, task.output2}) {
      if (id == kNoValue || !alive[static_cast<std::size_t>(id)] || last[static_cast<std::size_t>(id)] > t) continue;
      alive[static_cast<std::size_t>(id)] = false;
      live -= ValueOf(id).Bytes();
    }
  }
  if (problem_.workload().IsTraining()) AddBackward();
  return std::move(block_);
}

}  // namespace shardscout::strategies
