// The backward pass of a block, from its forward tasks in reverse: reverse-mode differentiation of the program.
//
// Every value has a gradient of its layout, by these rules:
//
//   a summand (partial over a group) has as gradient the sum's, whole on every rank;
//   a value of which all ranks of a group hold the same (a copy) has a gradient that is whole on every rank, or
//   *pending*: each rank holds the part that its own consumers gave, and the sum over the group is still to be taken.
//   It is pending where the consumer made of the copies something that differs between the ranks (columns of a product,
//   other heads, other experts).
//
// So the derivative of each collective is a collective on gradients:
//
//   all_gather      pending: reduce_scatter; whole: the rank's own slice
//   all_reduce      pending: all_reduce; whole: nothing
//   reduce_scatter  all_gather
//   all_to_all      all_to_all back;  send_recv: send_recv back
//   slice           pending (the rank's own part, zero elsewhere)
//
// A token that was sent to the experts of several ranks is a copy on each of them. What they give is pending over ep,
// and the all_to_all back adds it up where the token came from, as combining adds up their results; an exchange over
// etp before it takes it as it is.
//
// The weights of a token's experts travel with its row (kRouted, and the experts' kGate and kFfn), and their gradients
// travel back with the gradient of that row: each rank of the expert's etp group finds a summand of it where it
// multiplies by the weight, and the collectives that bring the row's gradient home add them up. Their bytes, k numbers
// a row, are not counted in either direction.
//
// KV heads that several ranks hold (tp above kv_heads; key heads of linear attention alike) have their whole gradient
// on each of them: what each one's query heads gave is summed over them at once. So of such columns a product's
// derivative by its input counts on each rank the 1/holders-th part.
//
// Tasks that treat rows one by one without weights to speak of (norms, activations, sums) take pending gradients as
// they are: derivatives are linear in them. All others are given whole ones.
//
// What is kept from the forward pass: the inputs of products, norms and activations, attention's q, k, v and output
// (and its scores where it is not fused), each once. A product's input that was gathered from token shards is kept as
// the shard and gathered again (Korthikanti et al., arXiv 2205.05198, section 4.2.2).

#include <algorithm>
#include <optional>
#include <set>
#include <vector>

#include "shardscout/error.h"
#include "strategies/block_builder.h"
#include "strategies/gradient_work.h"

namespace shardscout::strategies {
namespace {

constexpr Group kAlone{1, 1};
constexpr std::int32_t kNoTask = -1;

std::size_t Index(ValueId id) { return static_cast<std::size_t>(id); }

/// The ranks of `group` without those of `part`, an inner or outer factor of it; none where it is neither.
std::optional<Group> Without(Group group, Group part) {
  if (part.size == 1) return group;
  if (part == group) return kAlone;
  if (group.size % part.size != 0) return std::nullopt;
  const std::int64_t rest = group.size / part.size;
  if (part.stride == group.stride) return Group{rest, group.stride * part.size};
  if (part.stride == group.stride * rest) return Group{rest, group.stride};
  return std::nullopt;
}

Collective DerivativeOf(Collective collective) {
  switch (collective) {
    case Collective::kAllGather:
      return Collective::kReduceScatter;
    case Collective::kReduceScatter:
      return Collective::kAllGather;
    default:
      return collective;
  }
}

bool IsRouted(TokenSplit split) { return split == TokenSplit::kRouted || split == TokenSplit::kRoutedBlock; }

/// Whether the derivative may be given summands of a gradient.
bool IsLinearInRows(const Task& task) {
  switch (task.kind) {
    case TaskKind::kNorm:
      return task.input2 == kNoValue;
    case TaskKind::kActivation:
      return task.ffn != FfnKind::kExpert;
    case TaskKind::kRotary:
      return task.input3 == kNoValue;
    default:
      return false;
  }
}

}  // namespace

Group BlockBuilder::CopiesOf(const Value& v) const {
  const Strategy& s = strategy_;
  const Group stage = StageGroup();
  Group copies = kAlone;
  switch (v.tokens) {
    case TokenSplit::kCell:
      copies = TensorGroup();
      break;
    case TokenSplit::kStage:
      copies = stage;
      break;
    case TokenSplit::kStageTensor:
      copies = ContextDataGroup();
      break;
    case TokenSplit::kContext:
      copies = {s.tensor_parallel_size * s.context_parallel_size, 1};
      break;
    case TokenSplit::kContextTensor:
      copies = ContextGroup();
      break;
    case TokenSplit::kBlock:
      copies = BlockGroup();
      break;
    case TokenSplit::kExpertTensor:
      copies = ExpertTensorGroup();
      break;
    case TokenSplit::kRouted:
      copies = ExpertGroup();
      break;
    case TokenSplit::kRoutedBlock:
      copies = BlockGroup();
      break;
    case TokenSplit::kTensor:
      break;
  }
  const auto leave = [&](Group part) { copies = Without(copies, part).value_or(kAlone); };
  if (v.features == FeatureSplit::kTensor) leave(TensorGroup());
  if (v.features == FeatureSplit::kStage) leave(stage);
  if (v.features == FeatureSplit::kExpertTensor) leave(ExpertTensorGroup());
  if ((v.partial & kPartialTensor) != 0) leave(TensorGroup());
  if ((v.partial & kPartialContextData) != 0) leave(ContextDataGroup());
  if ((v.partial & kPartialContext) != 0) leave(ContextGroup());
  if ((v.partial & kPartialExpert) != 0) leave(ExpertGroup());
  if ((v.partial & kPartialExpertTensor) != 0) leave(ExpertTensorGroup());
  // Rows of experts are pairs of the rank's own.
  if (v.ffn == FfnKind::kExpert && (v.partial & kPartialExpert) == 0) leave(ExpertGroup());
  return copies;
}

class BackwardMaker {
 public:
  explicit BackwardMaker(BlockBuilder& builder) : b_(builder), forward_(builder.block_.tasks) {}

  void Run() {
    Block& block = b_.block_;
    block.values.reserve(4 * block.values.size());
    block.backward.reserve(3 * forward_.size());
    maker_.assign(block.values.size(), kNoTask);
    sums_.resize(block.values.size());
    for (std::size_t t = 0; t < forward_.size(); ++t) {
      for (const ValueId id : {forward_[t].output, forward_[t].output2}) {
        if (id != kNoValue) maker_[Index(id)] = static_cast<std::int32_t>(t);
      }
    }
    const bool head = block.kind == BlockKind::kHead;
    if (!head) {
      block.output_gradient = NewGradient(block.output, kAlone);
      Accumulate(block.output, block.output_gradient, kAlone, false);
    }
    Recompute();
    for (std::size_t t = forward_.size(); t-- > 0;) Derive(static_cast<std::int32_t>(t));
    if (block.input != kNoValue && block.kind != BlockKind::kEmbedding) {
      block.input_gradient = Whole(block.input, Operator::kResidual);
    }
    Keep();
  }

 private:
  /// A gradient on the way: its whole part, and the part that is still to be summed over a group.
  struct Sum {
    ValueId whole = kNoValue;
    ValueId pending = kNoValue;
    Group group = kAlone;
    bool sliced = false;  ///< `pending` is the rank's own slice of the value alone.
  };

  bool Overlaps() const { return b_.problem_.workload().training->overlap_tensor; }
  const Value& ValueOf(ValueId id) const { return b_.ValueOf(id); }
  const Task& Forward(std::int32_t t) const { return forward_[static_cast<std::size_t>(t)]; }

  std::uint8_t PartialOverGroup(Group group) const {
    if (group.size == 1) return kPartialNone;
    const std::pair<Group, int> named[] = {
        {b_.TensorGroup(), kPartialTensor},
        {b_.ContextGroup(), kPartialContext},
        {b_.ContextDataGroup(), kPartialContextData},
        {b_.StageGroup(), kPartialTensor | kPartialContextData},
        {b_.ExpertTensorGroup(), kPartialExpertTensor},
        {b_.ExpertGroup(), kPartialExpert},
        {b_.BlockGroup(), kPartialExpert | kPartialExpertTensor},
        {{b_.TensorGroup().size * b_.ContextGroup().size, 1}, kPartialTensor | kPartialContext},
    };
    for (const auto& [known, bits] : named) {
      if (known == group) return static_cast<std::uint8_t>(bits);
    }
    return kPartialExpert;  // Part of a block.
  }

  ValueId NewGradient(ValueId of, Group pending) {
    Value gradient = ValueOf(of);
    gradient.partial = PartialOverGroup(pending);
    gradient.dtype = gradient.dtype == DType::kFp32 ? DType::kFp32 : b_.model().residual_dtype;
    return b_.AddValue(gradient);
  }

  void Push(Task task) {
    task.of_gradients = true;
    b_.block_.backward.push_back(task);
  }
  void Again(const Task& task) { b_.block_.backward.push_back(task); }

  ValueId Collect(Operator op, FfnKind ffn, Collective collective, Group group, double payload_bytes, ValueId from,
                  ValueId of, Group pending, bool beside = false) {
    Task task{.kind = TaskKind::kCollective, .op = op, .ffn = ffn, .input = from, .output = NewGradient(of, pending)};
    task.collective = collective;
    task.group = group;
    task.payload_bytes = payload_bytes;
    task.beside_product = beside && Overlaps();
    b_.block_.max_payload_bytes = std::max(b_.block_.max_payload_bytes, payload_bytes);
    Push(task);
    return task.output;
  }

  ValueId Add(ValueId a, ValueId b) {
    if (a == kNoValue) return b;
    Task task{.kind = TaskKind::kAdd, .op = Operator::kResidual, .input = a, .input2 = b};
    task.output = b_.AddValue(ValueOf(a));
    b_.FillWork(task);
    Push(task);
    return task.output;
  }

  void Accumulate(ValueId of, ValueId gradient, Group pending, bool sliced) {
    Sum& sum = sums_[Index(of)];
    if (pending.size == 1) {
      sum.whole = Add(sum.whole, gradient);
      return;
    }
    if (sum.pending == kNoValue) {
      sum.pending = gradient;
      sum.group = pending;
      sum.sliced = sliced;
      return;
    }
    if (sum.group != pending) {
      const Sum other{.pending = gradient, .group = pending, .sliced = sliced};
      sum.whole = Add(sum.whole, Summed(of, other, Operator::kResidual));
      return;
    }
    if (sum.sliced) sum.pending = Pad(of, sum.pending, sum.group);
    if (sliced) gradient = Pad(of, gradient, pending);
    sum.sliced = false;
    sum.pending = Add(sum.pending, gradient);
  }

  /// A slice as the whole value, zero elsewhere.
  ValueId Pad(ValueId of, ValueId slice, Group pending) {
    Task task{.kind = TaskKind::kSlice, .op = Operator::kResidual, .input = slice};
    task.gradient = Gradient::kInput;
    task.output = NewGradient(of, pending);
    b_.FillWork(task);
    Push(task);
    return task.output;
  }

  /// The pending part, summed over its group.
  ValueId Summed(ValueId of, const Sum& sum, Operator op) {
    // Slices together are the value, or more: KV heads that several ranks hold are in several.
    const Value& value = sum.sliced ? ValueOf(sum.pending) : ValueOf(of);
    const auto parts = static_cast<double>(sum.sliced ? sum.group.size : 1);
    const double bytes = parts * value.rows * value.width * BytesPerElement(ValueOf(sum.pending).dtype);
    const Collective collective = sum.sliced ? Collective::kAllGather : Collective::kAllReduce;
    return Collect(op, value.ffn, collective, sum.group, bytes, sum.pending, of, kAlone, true);
  }

  ValueId Whole(ValueId of, Operator op) {
    Sum& sum = sums_[Index(of)];
    if (sum.pending != kNoValue) {
      const ValueId summed = Summed(of, sum, op);
      sum.whole = Add(sum.whole, summed);
      sum.pending = kNoValue;
    }
    return sum.whole;
  }

  bool Reached(ValueId of) const {
    if (of == kNoValue || ValueOf(of).kind == TensorKind::kIds) return false;
    return sums_[Index(of)].whole != kNoValue || sums_[Index(of)].pending != kNoValue;
  }

  void Derive(std::int32_t t) {
    const Task task = Forward(t);
    if (task.kind == TaskKind::kLoss) {
      DeriveTask(t, {task.output}, kAlone);
      return;
    }
    if (!Reached(task.output) && !Reached(task.output2)) return;
    if (task.kind == TaskKind::kCollective) {
      for (const auto& [from, to] : {std::pair(task.input, task.output), std::pair(task.input2, task.output2)}) {
        if (Reached(to)) DeriveCollective(task, from, to);
      }
      return;
    }
    if (task.kind == TaskKind::kAdd) {
      const Sum sum = sums_[Index(task.output)];
      if (b_.problem_.workload().training->dropout && task.output == b_.block_.output) {
        // What dropped out of the block's own output has no gradient: another pass over it, with the mask.
        const ValueId whole = Whole(task.output, task.op);
        Accumulate(task.input, whole, kAlone, false);
        Accumulate(task.input2, Masked(t, whole), kAlone, false);
        return;
      }
      for (const ValueId input : {task.input, task.input2}) {
        if (sum.whole != kNoValue) Accumulate(input, sum.whole, kAlone, false);
        if (sum.pending != kNoValue) Accumulate(input, sum.pending, sum.group, sum.sliced);
      }
      return;
    }
    if (task.kind == TaskKind::kSlice) {
      const ValueId whole = Whole(task.output, task.op);
      const Group copies = b_.CopiesOf(ValueOf(task.input));
      const Group pending = Without(copies, b_.CopiesOf(ValueOf(task.output))).value_or(copies);
      Accumulate(task.input, whole, pending, true);
      return;
    }
    DeriveCompute(t, task);
  }

  /// Where several ranks hold a KV head (of linear attention: a key head), each has the part of its gradient that its
  /// own query heads (value heads) gave.
  void SumKeyValueCopies(const Task& core) {
    const AttentionSpec& a = b_.model().attention;
    const LinearAttentionSpec& l = b_.model().linear_attention;
    const bool linear = core.kind == TaskKind::kLinearAttention;
    const std::int64_t copies = b_.strategy().tensor_parallel_size / (linear ? l.num_key_heads : a.num_kv_heads);
    const bool grouped = linear || a.kind == AttentionKind::kGrouped;
    const ValueId holder = core.input2 != kNoValue && !linear ? core.input2 : core.input;
    if (!grouped || copies < 2 || ValueOf(holder).features != FeatureSplit::kTensor) return;
    for (Added& added : added_) {
      if (added.of != holder) continue;
      const Value& value = ValueOf(added.gradient);
      const auto columns = static_cast<double>(2 * (linear ? l.key_head_dim : a.head_dim));
      const double bytes = value.rows * columns * BytesPerElement(value.dtype);
      added.gradient = Collect(core.op, FfnKind::kNotFfn, Collective::kAllReduce, {copies, 1}, bytes, added.gradient,
                               holder, added.pending);
      b_.block_.backward.back().sums_copies = true;
    }
  }

  ValueId Masked(std::int32_t t, ValueId gradient) {
    Task mask = Forward(t);
    mask.gradient = Gradient::kInput;
    mask.gradient_of = t;
    mask.input = gradient;
    mask.input2 = kNoValue;
    mask.output = b_.AddValue(ValueOf(gradient));
    const Value& value = ValueOf(gradient);
    mask.work.kernels = 1;
    mask.work.read_bytes = value.Bytes() + value.rows * value.width;
    mask.work.write_bytes = value.Bytes();
    Push(mask);
    return mask.output;
  }

  void DeriveCollective(const Task& task, ValueId from, ValueId to) {
    const Collective collective = DerivativeOf(task.collective);
    const double payload_bytes = task.input2 == kNoValue ? task.payload_bytes : PayloadOf(task, from, to);
    const bool of_copies = task.collective == Collective::kAllGather || task.collective == Collective::kAllReduce;
    if (!of_copies && sums_[Index(to)].pending != kNoValue && IsRouted(ValueOf(to).tokens)) {
      const Sum sent = sums_[Index(to)];
      SHARDSCOUT_CHECK(sent.whole == kNoValue && !sent.sliced);
      const Group rest = Without(sent.group, task.group).value_or(sent.group);
      Accumulate(from, Collect(task.op, task.ffn, collective, task.group, payload_bytes, sent.pending, from, rest),
                 rest, false);
      return;
    }
    if (!of_copies) {
      const ValueId whole = Whole(to, task.op);
      Accumulate(from, Collect(task.op, task.ffn, collective, task.group, payload_bytes, whole, from, kAlone), kAlone,
                 false);
      return;
    }
    Sum sum = sums_[Index(to)];
    if (sum.pending != kNoValue) {
      const std::optional<Group> rest = Without(sum.group, task.group);
      if (!rest || sum.sliced) {
        sum.whole = Whole(to, task.op);
      } else {
        const ValueId summed =
            Collect(task.op, task.ffn, collective, task.group, payload_bytes, sum.pending, from, *rest, true);
        Accumulate(from, summed, *rest, false);
      }
    }
    if (sum.whole == kNoValue) return;
    if (task.collective == Collective::kAllReduce) {
      Accumulate(from, sum.whole, kAlone, false);
      return;
    }
    Task slice{.kind = TaskKind::kSlice, .op = task.op, .ffn = task.ffn, .input = sum.whole};
    slice.output = NewGradient(from, kAlone);
    b_.FillWork(slice);
    Push(slice);
    Accumulate(from, slice.output, kAlone, false);
  }

  double PayloadOf(const Task& task, ValueId from, ValueId to) const {
    return b_.PayloadBytes(task.collective, from, to);
  }

  void DeriveCompute(std::int32_t t, const Task& task) {
    const Sum sum = sums_[Index(task.output)];
    const bool both = sum.whole != kNoValue && sum.pending != kNoValue;
    if (IsLinearInRows(task) && !both && sum.pending != kNoValue && !sum.sliced && !Reached(task.output2)) {
      DeriveTask(t, {sum.pending}, sum.group);
      return;
    }
    std::vector<ValueId> gradients = {Reached(task.output) ? Whole(task.output, task.op) : kNoValue};
    if (Reached(task.output2)) gradients.push_back(Whole(task.output2, task.op));
    DeriveTask(t, gradients, kAlone);
  }

  /// `given`: the group over which the gradients that are given are pending.
  void DeriveTask(std::int32_t t, const std::vector<ValueId>& gradients, Group given) {
    const Task task = Forward(t);
    Task back = task;
    back.gradient = Gradient::kInput;
    back.gradient_of = t;
    back.input = gradients.front();
    back.input2 = gradients.size() > 1 ? gradients[1] : kNoValue;
    back.input3 = kNoValue;
    back.output = back.output2 = back.output3 = kNoValue;
    const auto differentiate = [&](ValueId input, ValueId& output) {
      if (input == kNoValue || ValueOf(input).kind == TensorKind::kIds) return;
      // A rotation, and picking out what KV positions have, make each output of its own input; of all others every
      // output depends on every input.
      const bool one_of_one = task.kind == TaskKind::kRotary || task.kind == TaskKind::kSelectKeyValue;
      const bool apart = one_of_one && input == task.input2;
      const Group kept = b_.CopiesOf(ValueOf(apart ? task.output2 : task.output));
      const Group copies = b_.CopiesOf(ValueOf(input));
      Group pending = kept.size == 1 ? copies : Without(copies, kept).value_or(copies);
      if (copies.size == 1) pending = kAlone;
      if (given.size > 1) pending = given;
      output = NewGradient(input, pending);
      added_.push_back({input, output, pending});
    };
    differentiate(task.input, back.output);
    differentiate(task.input2, back.output2);
    differentiate(task.input3, back.output3);
    if (back.output != kNoValue) {
      Work(task, back);
      Push(back);
    }
    if (HasWeight(task.kind)) {
      Task weight = task;
      weight.gradient = Gradient::kWeight;
      weight.gradient_of = t;
      weight.input = gradients.front();
      weight.input2 = weight.input3 = weight.output = weight.output2 = kNoValue;
      GatherAgain(task.input);
      Work(task, weight);
      Push(weight);
      const bool whole = task.weight_split == WeightSplit::kWhole && task.kind != TaskKind::kExpertMatmul;
      const TokenSplit tokens = ValueOf(task.input).tokens;
      if (whole && tokens == TokenSplit::kTensor) {
        for (Weight& stored : b_.block_.weights) {
          if (stored.kind == task.weight && stored.ffn == task.ffn) stored.gradient_over_tp = true;
        }
      }
    }
    if (task.kind == TaskKind::kAttention || task.kind == TaskKind::kLinearAttention) SumKeyValueCopies(task);
    for (const Added& added : added_) Accumulate(added.of, added.gradient, added.pending, false);
    added_.clear();
  }

  /// A product's input that was gathered from token shards, by itself or before its norm: the gather, again.
  void GatherAgain(ValueId id) {
    const std::int32_t gather = TokenGatherOf(id);
    if (gather < 0 || !gathered_again_.insert(gather).second) return;
    Task again = Forward(gather);
    again.beside_product = Overlaps();
    Again(again);
  }

  std::int32_t TokenGatherOf(ValueId id) const {
    std::int32_t made = maker_[Index(id)];
    if (made != kNoTask && Forward(made).kind == TaskKind::kNorm) made = maker_[Index(Forward(made).input)];
    if (made == kNoTask) return kNoTask;
    const Task& task = Forward(made);
    const bool gather = task.kind == TaskKind::kCollective && task.collective == Collective::kAllGather &&
                        task.group == b_.TensorGroup() && task.input2 == kNoValue;
    return gather && ValueOf(task.input).tokens == TokenSplit::kTensor ? made : kNoTask;
  }

  void Work(const Task& task, Task& back) {
    FillGradientWork(b_.model(), *b_.problem_.workload().training, ValueOf(task.input), ValueOf(task.output), task,
                     back);
  }

  Recomputation recomputation() const { return b_.strategy().recomputation; }

  void Recompute() {
    const bool layer = b_.block_.kind != BlockKind::kEmbedding && b_.block_.kind != BlockKind::kHead &&
                       b_.block_.kind != BlockKind::kTransfer;
    if (!layer || recomputation() == Recomputation::kNone) return;
    for (const Task& task : forward_) {
      if (recomputation() == Recomputation::kFull || task.kind == TaskKind::kAttention) Again(task);
    }
  }

  /// Bytes that one value takes while it is kept, 0 where another one stands for it.
  double KeptBytes(ValueId id) const {
    const std::int32_t gather = TokenGatherOf(id);
    if (gather < 0) return ValueOf(id).Bytes();
    // Its shard; of what the gather itself made, the shard is the gather's input, which is kept as such.
    return maker_[Index(id)] == gather ? 0 : ValueOf(id).Bytes() / b_.geometry().tp;
  }

  void Keep() {
    Block& block = b_.block_;
    std::set<ValueId> kept;
    double bytes = 0, scores_bytes = 0;
    const auto keep = [&](ValueId id) {
      if (id != kNoValue && ValueOf(id).kind != TensorKind::kIds) kept.insert(id);
    };
    for (const Task& task : forward_) {
      switch (task.kind) {
        case TaskKind::kMatmul:
        case TaskKind::kExpertMatmul:
        case TaskKind::kUpProject:
        case TaskKind::kActivation:
        case TaskKind::kRoute:
        case TaskKind::kGateOutput:
          keep(task.input);
          break;
        case TaskKind::kLoss:  // Not the logits but their softmax, in 32 bits (arXiv 2205.05198, section 4.3).
          bytes +=
              ValueOf(task.input).Bytes() / BytesPerElement(ValueOf(task.input).dtype) * BytesPerElement(DType::kFp32);
          break;
        case TaskKind::kNorm: {
          const std::int32_t gather = TokenGatherOf(task.input);
          keep(gather < 0 ? task.input : Forward(gather).input);
          break;
        }
        case TaskKind::kAttention:
        case TaskKind::kLinearAttention:
          for (const ValueId id : {task.input, task.input2, task.output, task.output2}) keep(id);
          if (task.kind == TaskKind::kAttention) scores_bytes += ScoresBytes(task.work.attention);
          break;
        default:
          break;
      }
    }
    for (const ValueId id : kept) bytes += KeptBytes(id);
    const bool stream =
        block.kind != BlockKind::kHead && block.kind != BlockKind::kEmbedding && block.kind != BlockKind::kTransfer;
    if (stream && b_.problem_.workload().training->dropout) {
      bytes += ValueOf(block.output).rows * ValueOf(block.output).width;  // The mask, a byte an element.
    }
    if (block.kind == BlockKind::kTransfer) bytes = 0;
    const Recomputation again = stream ? recomputation() : Recomputation::kNone;
    block.kept_bytes = bytes + (again == Recomputation::kNone ? scores_bytes : 0);
    block.recomputed_bytes = again == Recomputation::kNone ? 0 : scores_bytes;
    if (again == Recomputation::kFull) {
      // A layer is an attention block and an FFN block; the layer's input is the attention's.
      const bool ffn = block.kind == BlockKind::kDenseFfn || block.kind == BlockKind::kMoe;
      block.recomputed_bytes = bytes + scores_bytes;
      block.kept_bytes = ffn ? 0 : ValueOf(block.input).Bytes();
    }
  }

  /// Of an attention that is not fused: softmax's output, and with dropout its mask and what is left of it (5 a s^2 b;
  /// arXiv 2205.05198, section 4.1).
  static double ScoresBytes(const AttentionWork& a) {
    if (a.fused) return 0;
    return a.requests * a.heads * a.length * a.length * (a.dropout ? 5 : 2);
  }

  struct Added {
    ValueId of, gradient;
    Group pending;
  };

  BlockBuilder& b_;
  const std::vector<Task> forward_;
  std::vector<std::int32_t> maker_;  ///< By value of the forward pass: the task that makes it.
  std::vector<Sum> sums_;            ///< By value of the forward pass.
  std::vector<Added> added_;
  std::set<std::int32_t> gathered_again_;
};

void BlockBuilder::AddBackward() { BackwardMaker(*this).Run(); }

}  // namespace shardscout::strategies
