#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "tests/strategies/block_runner.h"

namespace shardscout::interpret {
namespace {

std::uint8_t BitsOf(FeatureSplit split) {
  switch (split) {
    case FeatureSplit::kNone:
      return kPartialNone;
    case FeatureSplit::kTensor:
      return kPartialTensor;
    case FeatureSplit::kStage:
      return kPartialTensor | kPartialContextData;
    case FeatureSplit::kExpertTensor:
      return kPartialExpertTensor;
  }
  return kPartialNone;
}

Local Like(const Local& x, TagsPtr columns, Matrix data) { return {x.rows, std::move(columns), std::move(data), {}}; }

Eigen::Index Size(const TagsPtr& tags) { return static_cast<Eigen::Index>(tags->size()); }

bool IsWhole(const Tags& columns, Eigen::Index size) {
  return static_cast<Eigen::Index>(columns.size()) == size && columns.front() == 0 && columns.back() == size - 1;
}

TagsPtr Iota(Eigen::Index size) {
  Tags tags(static_cast<std::size_t>(size));
  std::iota(tags.begin(), tags.end(), 0);
  return std::make_shared<const Tags>(std::move(tags));
}

}  // namespace

std::pair<std::uint8_t, std::uint8_t> BlockRunner::FlagsAfter(const Task& task) const {
  const Held& in = HeldOf(task.input);
  if (task.kind == TaskKind::kAdd) {
    const Held& other = HeldOf(task.input2);
    if (!SameSummands(in.partial, other.partial)) Fail("adds a summand to what is not one, or of another group");
    if (in.unmerged != kPartialNone || other.unmerged != kPartialNone) Fail("adds unmerged attention outputs");
    return {in.partial, kPartialNone};
  }
  if (task.kind == TaskKind::kSlice || task.kind == TaskKind::kSelectLast) return {in.partial, in.unmerged};
  if (in.partial != kPartialNone && !SameSummands(in.partial, kPartialNone)) Fail("computes on partial sums");
  if (task.kind == TaskKind::kLseRescale) {
    for (PartialOver bit : {kPartialTensor, kPartialContext}) {
      if ((in.unmerged & bit) == 0) continue;
      bool same = true;
      for (std::int64_t r = 0; r < layouts_.Ranks(); ++r) {
        same = same && layouts_.MemberMask(task.group, r) == layouts_.Summands(bit, r);
      }
      if (same) return {bit, static_cast<std::uint8_t>(in.unmerged & ~bit)};
    }
    Fail("merges over a group over which the attention is not partial");
  }
  if (in.unmerged != kPartialNone) Fail("computes on attention outputs that wait for a merge");
  for (ValueId id : {task.input2, task.input3}) {
    if (id != kNoValue && !SameSummands(HeldOf(id).partial, kPartialNone)) Fail("computes on partial sums");
  }
  const Value& value = ValueOf(task.input);
  switch (task.kind) {
    case TaskKind::kEmbed:
      return {task.weight_split == WeightSplit::kRow ? std::uint8_t{kPartialTensor} : std::uint8_t{0}, kPartialNone};
    case TaskKind::kNormStatistic:
    case TaskKind::kLoss:
      return {BitsOf(value.features), kPartialNone};
    case TaskKind::kMatmul:
      return {task.weight_split == WeightSplit::kRow ? BitsOf(value.features) : std::uint8_t{0}, kPartialNone};
    case TaskKind::kExpertMatmul: {
      int bits = task.weight_split == WeightSplit::kRow ? BitsOf(value.features) : 0;
      if (ValueOf(task.output).kind == TensorKind::kHidden) bits |= kPartialExpert;
      return {static_cast<std::uint8_t>(bits), kPartialNone};
    }
    case TaskKind::kAttention: {
      int unmerged = kPartialNone;
      if (task.cache.positions_over_tp && strategy_.tensor_parallel_size > 1) unmerged |= kPartialTensor;
      if (pass_.phase == Phase::kDecode && strategy_.context_parallel_size > 1) unmerged |= kPartialContext;
      return {kPartialNone, static_cast<std::uint8_t>(unmerged)};
    }
    default:
      return {kPartialNone, kPartialNone};
  }
}

/// Whether equal inputs may give another output on another rank, so that the task must be run on each.
bool BlockRunner::DependsOnRank(const Task& task) const {
  return task.kind == TaskKind::kEmbed || task.kind == TaskKind::kAttention || task.kind == TaskKind::kLseRescale ||
         task.kind == TaskKind::kExpertMatmul || task.kind == TaskKind::kSelectKeyValue ||
         task.kind == TaskKind::kIndexSelect || task.kind == TaskKind::kLinearAttention;
}

void BlockRunner::RunCompute(const Task& task) {
  const auto [partial, unmerged] = FlagsAfter(task);
  std::vector<const Held*> inputs;
  for (ValueId id : {task.input, task.input2, task.input3}) {
    if (id != kNoValue) inputs.push_back(&HeldOf(id));
  }
  const bool second = task.output2 != kNoValue;
  Held out{{}, partial, unmerged}, out2{{}, partial, unmerged};
  // The rescaled summands are partial over the group merged; the merged log-sum-exp is whole on every member.
  if (task.kind == TaskKind::kLseRescale) out2.partial = kPartialNone;
  for (std::int64_t rank = 0; rank < layouts_.Ranks(); ++rank) {
    const auto index = static_cast<std::size_t>(rank);
    bool shared = false;
    for (std::size_t other = 0; other < index && !shared && !DependsOnRank(task); ++other) {
      shared = layouts_.LocalTokens(ValueOf(task.output), rank) ==
                   layouts_.LocalTokens(ValueOf(task.output), static_cast<std::int64_t>(other)) &&
               layouts_.LocalColumns(ValueOf(task.output), rank) ==
                   layouts_.LocalColumns(ValueOf(task.output), static_cast<std::int64_t>(other));
      for (const Held* held : inputs) shared = shared && held->at[other] == held->at[index];
      if (shared) {
        out.at.push_back(out.at[other]);
        if (second) out2.at.push_back(out2.at[other]);
      }
    }
    if (shared) continue;
    auto [first_local, second_local] = Compute(task, rank);
    // One object for equal tags, so that later comparisons are short.
    auto normal = [&](ValueId id, Local& local) {
      const TagsPtr rows = layouts_.LocalTokens(ValueOf(id), rank), columns = layouts_.LocalColumns(ValueOf(id), rank);
      if (*local.rows == *rows) local.rows = rows;
      if (*local.columns == *columns) local.columns = columns;
      return std::make_shared<const Local>(std::move(local));
    };
    out.at.push_back(normal(task.output, first_local));
    if (second) out2.at.push_back(normal(task.output2, second_local));
  }
  if (task.kind == TaskKind::kRoute) {
    std::map<Tag, std::vector<std::int64_t>> routes;
    for (const LocalPtr& local : out.at) {
      const Eigen::Index k = local->meta.cols() / 2;
      for (std::size_t i = 0; i < local->rows->size(); ++i) {
        std::vector<std::int64_t>& experts = routes[(*local->rows)[i]];
        experts.clear();
        for (Eigen::Index j = 0; j < k; ++j) {
          experts.push_back(std::llround(local->meta(static_cast<Eigen::Index>(i), j)));
        }
      }
    }
    layouts_.SetRoutes(std::move(routes));
  }
  Define(task.output, std::move(out));
  if (second) Define(task.output2, std::move(out2));
}

std::pair<Local, Local> BlockRunner::Compute(const Task& task, std::int64_t rank) {
  const auto index = static_cast<std::size_t>(rank);
  const Local& in = *HeldOf(task.input).at[index];
  const Local* in2 = task.input2 == kNoValue ? nullptr : HeldOf(task.input2).at[index].get();
  const Value& out = ValueOf(task.output);
  auto same_rows = [&] {
    if (in2 == nullptr) Fail("lacks its second input");
    if (*in.rows != *in2->rows) Fail("the inputs' rows differ");
  };
  switch (task.kind) {
    case TaskKind::kEmbed:
      return {Embed(task, in, rank), {}};
    case TaskKind::kNormStatistic:
      return {ValueOf(task.input).kind == TensorKind::kQkv ? QkStatistic(in) : NormStatistic(in), {}};
    case TaskKind::kNorm:
      if (in2 != nullptr) same_rows();
      return {Norm(task, in, in2), {}};
    case TaskKind::kMatmul:
      return {Matmul(task, in, rank), {}};
    case TaskKind::kRotary: {
      if (ValueOf(task.input).kind == TensorKind::kGatedQkv) {
        auto [qkv, gate] = SplitGate(in);
        return {Rotary(out, qkv, nullptr), std::move(gate)};
      }
      const Local* statistic = task.input3 == kNoValue ? nullptr : HeldOf(task.input3).at[index].get();
      Local first = Rotary(ValueOf(task.input), in, statistic);
      if (in2 == nullptr) return {std::move(first), {}};
      return {std::move(first), Rotary(ValueOf(task.input2), *in2, nullptr)};
    }
    case TaskKind::kUpProject:
      same_rows();
      return {UpProject(in, *in2), {}};
    case TaskKind::kAbsorbKey:
      return {AbsorbKey(in), {}};
    case TaskKind::kValueProject:
      return {ValueProject(in), {}};
    case TaskKind::kSelectKeyValue:
      return SelectKeyValue(task, rank);
    case TaskKind::kIndexSelect:
      return {IndexSelect(task, rank), {}};
    case TaskKind::kAttention:
      return Attention(task, rank);
    case TaskKind::kLseRescale:
      same_rows();
      return LseRescale(task, rank);
    case TaskKind::kGateOutput:
      same_rows();
      if (ValueOf(task.input2).kind != TensorKind::kOutputGate) Fail("the second input is not the output gate");
      return {GateOutput(in, *in2), {}};
    case TaskKind::kLinearAttention:
      return {LinearAttention(task, rank), {}};
    case TaskKind::kActivation:
      return {Activation(in, ValueOf(task.input).ffn), {}};
    case TaskKind::kRoute:
      same_rows();
      return {Route(in, *in2), {}};
    case TaskKind::kExpertMatmul:
      return {out.kind == TensorKind::kHidden ? ExpertDown(task, in, rank) : ExpertUp(task, in, rank), {}};
    case TaskKind::kAdd:
      same_rows();
      return {Add(in, *in2), {}};
    case TaskKind::kSlice:
      return {Cut(in, layouts_.LocalTokens(out, rank), layouts_.LocalColumns(out, rank)), {}};
    case TaskKind::kSelectLast: {
      Tags rows;
      for (Tag row : *in.rows) {
        if (pass_.phase == Phase::kDecode || PositionOf(row) == pass_.input_tokens - 1) rows.push_back(row);
      }
      return {Cut(in, std::make_shared<const Tags>(std::move(rows)), in.columns), {}};
    }
    case TaskKind::kLoss:
      return {Loss(in), {}};
    case TaskKind::kCollective:
      break;
  }
  Fail("not a compute task");
}

const Matrix& BlockRunner::WeightOf(const Task& task) const {
  auto of_layer = [&](Matrix LayerWeights::*member) -> const Matrix& {
    if (layer_ == nullptr) Fail("a layer's weight outside a layer");
    return layer_->*member;
  };
  switch (task.weight) {
    case WeightKind::kEmbedding:
      return weights_.embedding;
    case WeightKind::kLmHead:
      return weights_.lm_head;
    case WeightKind::kQkv:
      return of_layer(&LayerWeights::qkv);
    case WeightKind::kQuery:
      return of_layer(&LayerWeights::query);
    case WeightKind::kQueryDown:
      return of_layer(&LayerWeights::query_down);
    case WeightKind::kQueryUp:
      return of_layer(&LayerWeights::query_up);
    case WeightKind::kLatentDown:
      return of_layer(&LayerWeights::latent_down);
    case WeightKind::kIndexQuery:
      return of_layer(&LayerWeights::index_query);
    case WeightKind::kIndexKey:
      return of_layer(&LayerWeights::index_key);
    case WeightKind::kLinearGates:
      return of_layer(&LayerWeights::linear_gates);
    case WeightKind::kAttnOut:
      return of_layer(&LayerWeights::attn_out);
    case WeightKind::kRouter:
      return of_layer(&LayerWeights::router);
    case WeightKind::kFfnUp:
      return of_layer(task.ffn == FfnKind::kShared ? &LayerWeights::shared_up : &LayerWeights::ffn_up);
    case WeightKind::kFfnDown:
      return of_layer(task.ffn == FfnKind::kShared ? &LayerWeights::shared_down : &LayerWeights::ffn_down);
    default:
      Fail("a product with a weight that is not a plain matrix");
  }
}

void BlockRunner::Use(WeightKind kind, FfnKind ffn, double elements) {
  double& most = used_[{kind, ffn}];
  most = std::max(most, elements);
}

/// The part of `weight` for these input and output columns, which must be what Task::weight_split says.
Matrix BlockRunner::WeightPart(const Task& task, const Matrix& weight, const Tags& in, const Tags& out) {
  if (in.empty() || out.empty() || in.back() >= weight.rows() || out.back() >= weight.cols()) {
    Fail("the weight does not fit the input or the output");
  }
  const bool whole_in = IsWhole(in, weight.rows()), whole_out = IsWhole(out, weight.cols());
  if (task.weight_split != WeightSplit::kRow && !whole_in) Fail("the product needs whole input rows");
  if (task.weight_split != WeightSplit::kColumn && !whole_out)
    Fail("the product's output is whole but its value is not");
  if (whole_in && whole_out) return weight;
  return weight(in, out);
}

Local BlockRunner::Embed(const Task& task, const Local& ids, std::int64_t rank) {
  const Matrix& embedding = WeightOf(task);
  const TagsPtr columns = layouts_.LocalColumns(ValueOf(task.output), rank);
  Tag first = 0, end = embedding.rows();
  if (task.weight_split == WeightSplit::kRow) {
    const std::int64_t share = embedding.rows() / strategy_.tensor_parallel_size;
    first = layouts_.At(rank).t * share;
    end = first + share;
  }
  if (task.weight_split != WeightSplit::kColumn && Size(columns) != embedding.cols()) Fail("whole columns expected");
  Matrix data = Matrix::Zero(Size(ids.rows), Size(columns));
  for (Eigen::Index i = 0; i < data.rows(); ++i) {
    const Tag id = std::llround(ids.data(i, 0));
    if (id >= first && id < end) data.row(i) = embedding(id, *columns);
  }
  Use(task.weight, task.ffn, static_cast<double>((end - first) * Size(columns)));
  return Like(ids, columns, std::move(data));
}

Local BlockRunner::Loss(const Local& logits) const {
  // Any function of each token's logits that adds up over the columns: what is tested is where gradients go.
  return Like(logits, Iota(1), logits.data.array().cube().matrix().rowwise().sum());
}

Local BlockRunner::NormStatistic(const Local& x) const {
  return Like(x, Iota(1), x.data.rowwise().squaredNorm() / static_cast<double>(model_.hidden_size));
}

Local BlockRunner::Norm(const Task& task, const Local& x, const Local* statistic) const {
  const bool latent = ValueOf(task.input).kind == TensorKind::kQueryLatent;
  const RowVector* scale = &weights_.final_norm;
  if (task.op != Operator::kLmHead) {
    if (layer_ == nullptr) Fail("a layer's norm outside a layer");
    scale = latent ? &layer_->query_latent_norm : task.op == Operator::kQkv ? &layer_->input_norm : &layer_->post_norm;
  }
  Eigen::VectorXd mean_square;
  if (statistic != nullptr) {
    mean_square = statistic->data.col(0);
  } else {
    if (!IsWhole(*x.columns, scale->size())) Fail("a norm of a part of the features without a statistic");
    mean_square = x.data.rowwise().squaredNorm() / static_cast<double>(scale->size());
  }
  const RowVector own = (*scale)(*x.columns);
  const Eigen::VectorXd inverse = (mean_square.array() + kNormEpsilon).rsqrt();
  return Like(x, x.columns, inverse.asDiagonal() * x.data * own.asDiagonal());
}

Local BlockRunner::Matmul(const Task& task, const Local& x, std::int64_t rank) {
  const TagsPtr columns = layouts_.LocalColumns(ValueOf(task.output), rank);
  const Matrix part = WeightPart(task, WeightOf(task), *x.columns, *columns);
  Use(task.weight, task.ffn, static_cast<double>(part.size()));
  return Like(x, columns, x.data * part);
}

Local BlockRunner::QkStatistic(const Local& qkv) const {
  const AttentionSpec& a = model_.attention;
  const Tag queries = a.num_heads * a.head_dim, keys = a.num_kv_heads * a.head_dim;
  // A KV head that several ranks hold counts once in the sum over the ranks.
  const bool whole = Size(qkv.columns) == queries + 2 * keys;
  const std::int64_t ranks = whole ? 1 : strategy_.tensor_parallel_size;
  const double holders = std::max(1.0, static_cast<double>(ranks) / static_cast<double>(a.num_kv_heads));
  Matrix data = Matrix::Zero(qkv.data.rows(), 2);
  for (std::size_t i = 0; i < qkv.columns->size(); ++i) {
    const Tag column = (*qkv.columns)[i];
    const auto squares = qkv.data.col(static_cast<Eigen::Index>(i)).array().square();
    if (column < queries) {
      data.col(0).array() += squares / static_cast<double>(queries);
    } else if (column < queries + keys) {
      data.col(1).array() += squares / (static_cast<double>(keys) * holders);
    }
  }
  return Like(qkv, Iota(2), std::move(data));
}

Local BlockRunner::Rotary(const Value& value, const Local& x, const Local* statistic) const {
  const AttentionSpec& a = model_.attention;
  const std::int64_t rope = a.qk_rope_head_dim, rank = a.kv_lora_rank;
  Local out = x;
  Matrix& data = out.data;
  const Tags& columns = *x.columns;
  auto rotate = [&](Eigen::Index first, std::int64_t size) {
    for (Eigen::Index i = 0; i < data.rows(); ++i) {
      Rotate(data.block(i, first, 1, size), PositionOf((*x.rows)[static_cast<std::size_t>(i)]));
    }
  };
  if (value.kind == TensorKind::kLatent) {
    const Eigen::Index first = FindColumns(columns, 0, rank + rope);
    if (first != 0) Fail("the latent is not whole");
    data.leftCols(rank) = RmsNorm(data.leftCols(rank), layer_->latent_norm).eval();
    rotate(rank, rope);
    return out;
  }
  if (value.kind == TensorKind::kQuery) {
    const std::int64_t size = a.QkHeadDim();
    for (Tag head : HeadsOf(columns, size)) {
      rotate(FindColumns(columns, head * size, size) + a.qk_nope_head_dim, rope);
    }
    return out;
  }
  if (value.kind == TensorKind::kIndexQuery) {
    for (Tag head : HeadsOf(columns, a.index_head_dim)) {
      rotate(FindColumns(columns, head * a.index_head_dim, a.index_head_dim), rope);
    }
    return out;
  }
  if (value.kind == TensorKind::kIndexKey) {
    if (FindColumns(columns, 0, a.index_head_dim + a.index_heads) != 0) Fail("the index key is not whole");
    data.leftCols(a.index_head_dim) = RmsNorm(data.leftCols(a.index_head_dim), layer_->index_key_norm).eval();
    rotate(0, rope);
    return out;
  }
  if (value.kind != TensorKind::kQkv || a.kind != AttentionKind::kGrouped) Fail("nothing to rotate");
  if (a.whole_qk_norm) {
    if (a.qkv_bias) Fail("a bias before a norm of all heads isn't handled");
    const bool whole = Size(x.columns) == (a.num_heads + 2 * a.num_kv_heads) * a.head_dim;
    if (statistic == nullptr && !whole) Fail("a norm of all heads where a rank holds some of them");
    if (statistic != nullptr && *statistic->rows != *x.rows) Fail("the statistic's rows differ");
    const Matrix mean_squares = statistic == nullptr ? QkStatistic(x).data : statistic->data;
    const Tag queries = a.num_heads * a.head_dim, normed = queries + a.num_kv_heads * a.head_dim;
    for (std::size_t i = 0; i < columns.size() && columns[i] < normed; ++i) {
      const bool query = columns[i] < queries;
      const double scale = query ? layer_->whole_query_norm(columns[i]) : layer_->whole_key_norm(columns[i] - queries);
      data.col(static_cast<Eigen::Index>(i)).array() *=
          scale * (mean_squares.col(query ? 0 : 1).array() + kNormEpsilon).rsqrt();
    }
  }
  if (a.qkv_bias) data.rowwise() += RowVector(layer_->qkv_bias(columns));
  for (Tag head : HeadsOf(columns, a.head_dim)) {
    if (head >= a.num_heads + a.num_kv_heads) continue;
    const Eigen::Index first = FindColumns(columns, head * a.head_dim, a.head_dim);
    auto block = data.middleCols(first, a.head_dim);
    const RowVector& scale = head < a.num_heads ? layer_->query_head_norm : layer_->key_head_norm;
    if (a.qk_norm) block = RmsNorm(block, scale).eval();
    rotate(first, a.head_dim);
  }
  return out;
}

/// The heads whose `size` columns, counted from `first`, are all there; a head in pieces is an error.
Tags BlockRunner::HeadsOf(const Tags& columns, std::int64_t size, std::int64_t first) const {
  Tags heads;
  for (std::size_t i = 0; i < columns.size(); i += static_cast<std::size_t>(size)) {
    const Tag head = (columns[i] - first) / size;
    if (FindColumns(columns, first + head * size, size) != static_cast<Eigen::Index>(i)) Fail("a head is in pieces");
    heads.push_back(head);
  }
  return heads;
}

Local BlockRunner::UpProject(const Local& query, const Local& latent) {
  const AttentionSpec& a = model_.attention;
  const std::int64_t nope = a.qk_nope_head_dim, v = a.v_head_dim, size = a.QkHeadDim();
  if (FindColumns(*latent.columns, 0, a.kv_lora_rank) != 0) Fail("the latent is not whole");
  const Tags heads = HeadsOf(*query.columns, size);
  Tags key_columns, value_columns, columns = *query.columns;
  for (Tag head : heads) {
    for (Tag i = 0; i < nope; ++i) key_columns.push_back(head * nope + i);
    for (Tag i = 0; i < v; ++i) value_columns.push_back(head * v + i);
  }
  for (Tag column : key_columns) columns.push_back(a.num_heads * size + column);
  for (Tag column : value_columns) columns.push_back(a.num_heads * (size + nope) + column);
  Matrix data(query.data.rows(), static_cast<Eigen::Index>(columns.size()));
  const Matrix compressed = latent.data.leftCols(a.kv_lora_rank);
  data << query.data, compressed * layer_->key_up(Eigen::all, key_columns),
      compressed * layer_->value_up(Eigen::all, value_columns);
  Use(WeightKind::kKeyUp, FfnKind::kNotFfn,
      static_cast<double>(a.kv_lora_rank) * static_cast<double>(key_columns.size()));
  Use(WeightKind::kValueUp, FfnKind::kNotFfn,
      static_cast<double>(a.kv_lora_rank) * static_cast<double>(value_columns.size()));
  return Like(query, std::make_shared<const Tags>(std::move(columns)), std::move(data));
}

Local BlockRunner::AbsorbKey(const Local& query) {
  const AttentionSpec& a = model_.attention;
  const std::int64_t nope = a.qk_nope_head_dim, rope = a.qk_rope_head_dim, size = nope + rope;
  const std::int64_t wide = a.kv_lora_rank + rope;
  const Tags heads = HeadsOf(*query.columns, size);
  Tags columns;
  Matrix data(query.data.rows(), static_cast<Eigen::Index>(heads.size()) * wide);
  for (std::size_t i = 0; i < heads.size(); ++i) {
    const auto at = static_cast<Eigen::Index>(i);
    for (Tag j = 0; j < wide; ++j) columns.push_back(heads[i] * wide + j);
    data.middleCols(at * wide, a.kv_lora_rank) =
        query.data.middleCols(at * size, nope) * layer_->key_up.middleCols(heads[i] * nope, nope).transpose();
    data.middleCols(at * wide + a.kv_lora_rank, rope) = query.data.middleCols(at * size + nope, rope);
  }
  Use(WeightKind::kKeyUp, FfnKind::kNotFfn,
      static_cast<double>(a.kv_lora_rank * nope) * static_cast<double>(heads.size()));
  return Like(query, std::make_shared<const Tags>(std::move(columns)), std::move(data));
}

Local BlockRunner::ValueProject(const Local& attended) {
  const AttentionSpec& a = model_.attention;
  const std::int64_t rank = a.kv_lora_rank, v = a.v_head_dim;
  const Tags heads = HeadsOf(*attended.columns, rank);
  Tags columns;
  Matrix data(attended.data.rows(), static_cast<Eigen::Index>(heads.size()) * v);
  for (std::size_t i = 0; i < heads.size(); ++i) {
    const auto at = static_cast<Eigen::Index>(i);
    for (Tag j = 0; j < v; ++j) columns.push_back(heads[i] * v + j);
    data.middleCols(at * v, v) =
        attended.data.middleCols(at * rank, rank) * layer_->value_up.middleCols(heads[i] * v, v);
  }
  Use(WeightKind::kValueUp, FfnKind::kNotFfn, static_cast<double>(rank * v) * static_cast<double>(heads.size()));
  return Like(attended, std::make_shared<const Tags>(std::move(columns)), std::move(data));
}

Local BlockRunner::Activation(const Local& gate, FfnKind ffn) const {
  std::int64_t size = model_.moe.expert_ffn_size;
  if (ffn == FfnKind::kDense) size = model_.ffn_size;
  if (ffn == FfnKind::kShared) size = model_.moe.shared_ffn_size;
  Local out{gate.rows, gate.columns, {}, gate.meta};
  if (!model_.gated_ffn) {
    out.data = gate.data.unaryExpr(&Gelu);
    return out;
  }
  const Eigen::Index n = gate.data.cols() / 2;
  Tags columns(gate.columns->begin(), gate.columns->begin() + n);
  for (Eigen::Index i = 0; i < n; ++i) {
    if ((*gate.columns)[static_cast<std::size_t>(n + i)] != columns[static_cast<std::size_t>(i)] + size) {
      Fail("gate and up hold different columns");
    }
  }
  out.columns = std::make_shared<const Tags>(std::move(columns));
  out.data = gate.data.leftCols(n).unaryExpr(&Silu).array() * gate.data.rightCols(n).array();
  return out;
}

Local BlockRunner::Route(const Local& hidden, const Local& scores) const {
  const std::int64_t k = model_.moe.num_experts_per_token;
  if (!IsWhole(*scores.columns, model_.moe.num_experts)) Fail("the scores are not whole");
  Local out = hidden;
  out.meta.resize(hidden.data.rows(), 2 * k);
  std::vector<std::int64_t> experts;
  std::vector<double> weights;
  for (Eigen::Index i = 0; i < hidden.data.rows(); ++i) {
    TopExperts(scores.data.row(i), layer_->router_correction, k, &experts, &weights);
    for (Eigen::Index j = 0; j < k; ++j) {
      out.meta(i, j) = static_cast<double>(experts[static_cast<std::size_t>(j)]);
      out.meta(i, k + j) = weights[static_cast<std::size_t>(j)];
    }
  }
  return out;
}

Local BlockRunner::ExpertUp(const Task& task, const Local& routed, std::int64_t rank) {
  const std::int64_t first = layouts_.FirstExpert(rank), count = layouts_.NumLocalExperts();
  const Eigen::Index k = routed.meta.cols() / 2;
  if (k == 0) Fail("tokens without their routing");
  struct Pair {
    Tag row;
    std::int64_t expert;
    Eigen::Index source;
    double weight;
  };
  std::vector<Pair> pairs;
  for (Eigen::Index i = 0; i < routed.data.rows(); ++i) {
    const Tag row = (*routed.rows)[static_cast<std::size_t>(i)];
    for (Eigen::Index j = 0; j < k; ++j) {
      const std::int64_t expert = std::llround(routed.meta(i, j));
      if (expert < first || expert >= first + count) continue;
      pairs.push_back({RowTag(RequestOf(row), PositionOf(row), expert), expert, i, routed.meta(i, k + j)});
    }
  }
  std::sort(pairs.begin(), pairs.end(), [](const Pair& a, const Pair& b) { return a.row < b.row; });
  const TagsPtr columns = layouts_.LocalColumns(ValueOf(task.output), rank);
  std::vector<Matrix> parts;
  for (std::int64_t e = first; e < first + count; ++e) {
    parts.push_back(WeightPart(task, layer_->expert_up[static_cast<std::size_t>(e)], *routed.columns, *columns));
  }
  Use(task.weight, task.ffn, static_cast<double>(count * parts.front().size()));
  Tags rows;
  Local out;
  out.columns = columns;
  out.data.resize(static_cast<Eigen::Index>(pairs.size()), Size(columns));
  out.meta.resize(out.data.rows(), 1);
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    const auto at = static_cast<Eigen::Index>(i);
    rows.push_back(pairs[i].row);
    out.data.row(at) = routed.data.row(pairs[i].source) * parts[static_cast<std::size_t>(pairs[i].expert - first)];
    out.meta(at, 0) = pairs[i].weight;
  }
  out.rows = std::make_shared<const Tags>(std::move(rows));
  return out;
}

Local BlockRunner::ExpertDown(const Task& task, const Local& ffn, std::int64_t rank) {
  const std::int64_t first = layouts_.FirstExpert(rank), count = layouts_.NumLocalExperts();
  const TagsPtr rows = layouts_.LocalTokens(ValueOf(task.output), rank);
  const TagsPtr columns = layouts_.LocalColumns(ValueOf(task.output), rank);
  std::vector<Matrix> parts;
  for (std::int64_t e = first; e < first + count; ++e) {
    parts.push_back(WeightPart(task, layer_->expert_down[static_cast<std::size_t>(e)], *ffn.columns, *columns));
  }
  Use(task.weight, task.ffn, static_cast<double>(count * parts.front().size()));
  Local out{rows, columns, Matrix::Zero(Size(rows), Size(columns)), {}};
  for (Eigen::Index i = 0; i < ffn.data.rows(); ++i) {
    const Tag row = (*ffn.rows)[static_cast<std::size_t>(i)];
    const std::int64_t expert = ExpertOf(row);
    const auto found = std::lower_bound(rows->begin(), rows->end(), TokenOf(row));
    if (found == rows->end() || *found != TokenOf(row)) Fail("an expert's result for a token that the output lacks");
    if (expert < first || expert >= first + count) Fail("a row of an expert that the rank does not hold");
    out.data.row(found - rows->begin()) +=
        ffn.meta(i, 0) * (ffn.data.row(i) * parts[static_cast<std::size_t>(expert - first)]);
  }
  return out;
}

Local BlockRunner::Add(const Local& a, const Local& b) const {
  if (*a.columns != *b.columns) Fail("the inputs' columns differ");
  return Like(a, a.columns, a.data + b.data);
}

}  // namespace shardscout::interpret
