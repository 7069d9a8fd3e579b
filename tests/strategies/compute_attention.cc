#include <algorithm>
#include <cmath>
#include <limits>

#include "tests/strategies/block_runner.h"

namespace shardscout::interpret {
namespace {

/// Row ranges of the requests in rising rows: request -> [first, end).
std::map<std::int64_t, std::pair<Eigen::Index, Eigen::Index>> RequestRanges(const Tags& rows) {
  std::map<std::int64_t, std::pair<Eigen::Index, Eigen::Index>> ranges;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    auto [range, inserted] = ranges.try_emplace(RequestOf(rows[i]), static_cast<Eigen::Index>(i), 0);
    range->second.second = static_cast<Eigen::Index>(i) + 1;
  }
  return ranges;
}

}  // namespace

TagsPtr BlockRunner::CacheColumns(const CachePlan& plan, std::int64_t rank) {
  Value value;
  const bool split = plan.heads_over_tp && model_.attention.kind == AttentionKind::kGrouped;
  value.kind = model_.attention.kind == AttentionKind::kGrouped ? TensorKind::kKeyValue : TensorKind::kLatent;
  value.features = split ? FeatureSplit::kTensor : FeatureSplit::kNone;
  return layouts_.LocalColumns(value, rank);
}

/// K and V of kQkv's own columns, numbered as kKeyValue's.
Local BlockRunner::OwnKeyValue(const Local& qkv) const {
  const AttentionSpec& a = model_.attention;
  const Tag first = a.num_heads * a.QkHeadDim();
  const auto begin = std::lower_bound(qkv.columns->begin(), qkv.columns->end(), first);
  Tags columns(begin, qkv.columns->end());
  for (Tag& column : columns) column -= first;
  Local out;
  out.rows = qkv.rows;
  out.data = qkv.data.rightCols(static_cast<Eigen::Index>(columns.size()));
  out.columns = std::make_shared<const Tags>(std::move(columns));
  return out;
}

std::pair<Local, Local> BlockRunner::SelectKeyValue(const Task& task, std::int64_t rank) const {
  const auto index = static_cast<std::size_t>(rank);
  auto select = [&](const Local& local, const Value& out) {
    Tags rows;
    for (Tag row : *local.rows) {
      const std::int64_t owner = PositionOf(row) % strategy_.tensor_parallel_size;
      if (!out.interleaved || owner == layouts_.At(rank).t) rows.push_back(row);
    }
    return Cut(local, std::make_shared<const Tags>(std::move(rows)), local.columns);
  };
  Local kv = select(OwnKeyValue(*HeldOf(task.input).at[index]), ValueOf(task.output));
  if (task.input2 == kNoValue) return {std::move(kv), {}};
  return {std::move(kv), select(*HeldOf(task.input2).at[index], ValueOf(task.output2))};
}

/// Appends the rows of `source` (kKeyValue or kLatent) that `rank` owns to its cache; all that it owns must be there.
void BlockRunner::AppendToCache(const CachePlan& plan, std::int64_t rank, const Local& source) {
  const TagsPtr columns = CacheColumns(plan, rank);
  const std::vector<std::int64_t>& requests = pass_.requests[static_cast<std::size_t>(layouts_.At(rank).d)];
  const bool prefill = pass_.phase == Phase::kPrefill;
  const std::int64_t first = prefill ? 0 : pass_.position;
  const std::int64_t end = prefill ? pass_.input_tokens : pass_.position + 1;
  for (std::size_t j = 0; j < requests.size(); ++j) {
    if (!layouts_.OwnsRequest(plan, rank, static_cast<std::int64_t>(j))) continue;
    Tags rows;
    for (std::int64_t p = first; p < end; ++p) {
      if (layouts_.OwnsPosition(plan, rank, p)) rows.push_back(RowTag(requests[j], p));
    }
    if (rows.empty()) continue;
    Local kept = Cut(source, std::make_shared<const Tags>(rows), columns);
    CacheEntry& entry = (*cache_)[static_cast<std::size_t>(rank)][requests[j]];
    if (entry.positions.empty()) entry.columns = *columns;
    if (entry.columns != *columns) Fail("the cache holds other columns than the plan says");
    if (!entry.positions.empty() && entry.positions.back() >= PositionOf(rows.front())) {
      Fail("a position is written to the cache twice");
    }
    for (Tag row : rows) entry.positions.push_back(PositionOf(row));
    Matrix data(entry.data.rows() + kept.data.rows(), kept.data.cols());
    if (entry.data.rows() > 0) data.topRows(entry.data.rows()) = entry.data;
    data.bottomRows(kept.data.rows()) = kept.data;
    entry.data = std::move(data);
  }
  if (window_ == 0) return;
  for (std::int64_t request : requests) {  // What no later query sees is forgotten.
    const auto found = (*cache_)[static_cast<std::size_t>(rank)].find(request);
    if (found == (*cache_)[static_cast<std::size_t>(rank)].end()) continue;
    CacheEntry& entry = found->second;
    const auto keep = std::lower_bound(entry.positions.begin(), entry.positions.end(), end - window_);
    const Matrix rest = entry.data.bottomRows(entry.positions.end() - keep);
    entry.positions.erase(entry.positions.begin(), keep);
    entry.data = rest;
  }
}

/// The keys that a rank attends to in prefill: all that its inputs hold of the request, or where the positions are
/// split over tp only its own.
BlockRunner::Keys BlockRunner::PrefillKeys(const CachePlan& plan, std::int64_t rank, std::int64_t request,
                                           const Local& kv, const Local* latent) const {
  Keys keys;
  std::vector<Eigen::Index> rows;
  auto row = std::lower_bound(kv.rows->begin(), kv.rows->end(), RowTag(request, 0));
  for (; row != kv.rows->end() && RequestOf(*row) == request; ++row) {
    const std::int64_t position = PositionOf(*row);
    if (plan.positions_over_tp && position % strategy_.tensor_parallel_size != layouts_.At(rank).t) continue;
    keys.positions.push_back(position);
    rows.push_back(row - kv.rows->begin());
  }
  keys.columns = kv.columns.get();
  keys.data = kv.data(rows, Eigen::all);
  if (latent != nullptr) {
    if (*latent->rows != *kv.rows) Fail("latent and key-value rows differ");
    keys.latent = latent->data(rows, Eigen::all);
  }
  return keys;
}

/// Every position that a query at `position` sees and that is this rank's must be among the keys.
void BlockRunner::CheckPositions(const CachePlan& plan, std::int64_t rank, std::int64_t position,
                                 const Keys& keys) const {
  const std::int64_t window = window_;
  const std::int64_t first = window > 0 ? std::max<std::int64_t>(0, position - window + 1) : 0;
  std::int64_t expected = 0, found = 0;
  for (std::int64_t p = first; p <= position; ++p) {
    const bool mine = pass_.phase == Phase::kDecode ? layouts_.OwnsPosition(plan, rank, p)
                      : plan.positions_over_tp      ? p % strategy_.tensor_parallel_size == layouts_.At(rank).t
                                                    : true;
    expected += mine ? 1 : 0;
  }
  for (std::int64_t p : keys.positions) found += p >= first && p <= position ? 1 : 0;
  if (expected != found) {
    Fail("rank " + std::to_string(rank) + " has " + std::to_string(found) + " of the " + std::to_string(expected) +
         " keys that position " + std::to_string(position) + " needs");
  }
}

/// Chooses by the keys of the whole request: in prefill those at hand, in decode the index cache.
Local BlockRunner::IndexSelect(const Task& task, std::int64_t rank) {
  const auto index = static_cast<std::size_t>(rank);
  const AttentionSpec& a = model_.attention;
  const std::int64_t dim = a.index_head_dim;
  const Local& q = *HeldOf(task.input).at[index];
  const Local& key = *HeldOf(task.input2).at[index];
  if (ValueOf(task.input).kind != TensorKind::kIndexQuery || ValueOf(task.input2).kind != TensorKind::kIndexKey) {
    Fail("the inputs are not the indexer's");
  }
  if (*q.rows != *key.rows) Fail("the rows of index queries and keys differ");
  if (task.cache.positions_over_tp || strategy_.context_parallel_size > 1) Fail("the indexer's positions are split");
  const bool prefill = pass_.phase == Phase::kPrefill;
  const std::vector<std::int64_t>& requests = pass_.requests[static_cast<std::size_t>(layouts_.At(rank).d)];
  Local out{q.rows, layouts_.LocalColumns(ValueOf(task.output), rank), {}, {}};
  out.data = Matrix::Constant(q.data.rows(), a.index_topk, -1);
  for (const auto& [request, range] : RequestRanges(*q.rows)) {
    const auto j = std::find(requests.begin(), requests.end(), request) - requests.begin();
    if (j == static_cast<std::ptrdiff_t>(requests.size()) || !layouts_.OwnsRequest(task.cache, rank, j)) {
      Fail("an index query of a request whose keys another rank keeps");
    }
    CacheEntry& entry = (*index_cache_)[index][request];
    std::vector<std::int64_t> positions;
    Matrix keys = entry.data;
    if (!prefill) positions = entry.positions;
    for (Eigen::Index row = range.first; row < range.second; ++row) {
      const std::int64_t position = PositionOf((*q.rows)[static_cast<std::size_t>(row)]);
      if (!positions.empty() && positions.back() >= position) Fail("an index key is written twice");
      positions.push_back(position);
      keys.conservativeResize(static_cast<Eigen::Index>(positions.size()), dim);
      keys.bottomRows(1) = key.data.row(row).head(dim);
      if (prefill && position >= pass_.input_tokens) continue;  // Padding isn't kept.
      entry.positions.push_back(position);
      entry.data = keys;
    }
    if (positions.front() != 0 || positions.back() + 1 != std::ssize(positions)) {
      Fail("the rank does not hold the index keys of all positions");
    }
    for (Eigen::Index row = range.first; row < range.second; ++row) {
      const std::int64_t position = PositionOf((*q.rows)[static_cast<std::size_t>(row)]);
      const std::vector<std::int64_t> chosen =
          TopPositions(IndexScores(q.data.row(row), key.data.row(row).tail(a.index_heads), keys.topRows(position + 1)),
                       a.index_topk);
      for (std::size_t i = 0; i < chosen.size(); ++i) {
        out.data(row, static_cast<Eigen::Index>(i)) = static_cast<double>(chosen[i]);
      }
    }
  }
  return out;
}

void BlockRunner::Attend(const Local& q, Eigen::Index first, Eigen::Index count, const Keys& keys,
                         const Local* selection, Matrix* attended, Matrix* lse) const {
  const AttentionSpec& a = model_.attention;
  const bool grouped = a.kind == AttentionKind::kGrouped;
  const bool absorbed = !grouped && keys.columns == nullptr;
  const std::int64_t nope = a.qk_nope_head_dim, rope = a.qk_rope_head_dim, rank = a.kv_lora_rank;
  const std::int64_t q_size = absorbed ? rank + rope : a.QkHeadDim();
  const std::int64_t v_size = absorbed ? rank : a.VHeadDim();
  Tags q_columns(q.columns->begin(), std::lower_bound(q.columns->begin(), q.columns->end(), a.num_heads * q_size));
  const Tags heads = HeadsOf(q_columns, q_size);
  auto find = [&](Tag column, std::int64_t size) {
    const Eigen::Index found = FindColumns(*keys.columns, column, size);
    if (found < 0) Fail("the key or value head of a query head is missing");
    return found;
  };
  const auto n = static_cast<Eigen::Index>(keys.positions.size());
  for (std::size_t i = 0; i < heads.size(); ++i) {
    const auto at = static_cast<Eigen::Index>(i);
    const Tag head = heads[i];
    const auto query = q.data.block(first, at * q_size, count, q_size);
    Matrix scores, values;
    if (absorbed) {
      scores = query * keys.latent.transpose();
      values = keys.latent.leftCols(rank);
    } else if (grouped) {
      const Tag kv = head / (a.num_heads / a.num_kv_heads);
      scores = query * keys.data.middleCols(find(kv * q_size, q_size), q_size).transpose();
      values = keys.data.middleCols(find((a.num_kv_heads + kv) * v_size, v_size), v_size);
    } else {
      scores = query.leftCols(nope) * keys.data.middleCols(find(head * nope, nope), nope).transpose() +
               query.rightCols(rope) * keys.latent.rightCols(rope).transpose();
      values = keys.data.middleCols(find(a.num_heads * nope + head * v_size, v_size), v_size);
    }
    scores /= std::sqrt(static_cast<double>(a.QkHeadDim()));
    for (Eigen::Index row = 0; row < count; ++row) {
      const std::int64_t position = PositionOf((*q.rows)[static_cast<std::size_t>(first + row)]);
      double most = -std::numeric_limits<double>::infinity(), sum = 0;
      for (Eigen::Index k = 0; k < n; ++k) {
        const std::int64_t seen = keys.positions[static_cast<std::size_t>(k)];
        const std::int64_t distance = position - seen;
        const bool chosen =
            selection == nullptr || (selection->data.row(first + row).array() == static_cast<double>(seen)).any();
        if (distance < 0 || (window_ > 0 && distance >= window_) || !chosen) {
          scores(row, k) = -std::numeric_limits<double>::infinity();
        }
        most = std::max(most, scores(row, k));
      }
      if (std::isinf(most)) {
        scores.row(row).setZero();
        (*lse)(first + row, at) = most;
        continue;
      }
      for (Eigen::Index k = 0; k < n; ++k) {
        scores(row, k) = std::exp(scores(row, k) - most);
        sum += scores(row, k);
      }
      scores.row(row) /= sum;
      (*lse)(first + row, at) = most + std::log(sum);
    }
    attended->block(first, at * v_size, count, v_size) = scores * values;
  }
}

std::pair<Local, Local> BlockRunner::Attention(const Task& task, std::int64_t rank) {
  const auto index = static_cast<std::size_t>(rank);
  const AttentionSpec& a = model_.attention;
  const bool grouped = a.kind == AttentionKind::kGrouped, prefill = pass_.phase == Phase::kPrefill;
  const Local& q = *HeldOf(task.input).at[index];
  auto local_of = [&](ValueId id, TensorKind kind) -> const Local* {
    if (id == kNoValue) return nullptr;
    if (ValueOf(id).kind != kind) Fail("an input is not " + std::string(ToString(kind)));
    return HeldOf(id).at[index].get();
  };
  if (ValueOf(task.input).kind != TensorKind::kQkv) Fail("the input is not qkv");
  const Local* latent = local_of(prefill ? task.input3 : task.input2, TensorKind::kLatent);
  if ((latent != nullptr) == grouped) Fail("MLA and only MLA needs the latent");
  const bool gathered = prefill && strategy_.context_parallel_size > 1;
  const Local* selection = nullptr;
  if (a.HasIndexer()) {
    selection = local_of(prefill ? task.input2 : task.input3, TensorKind::kSelection);
    if (selection == nullptr || *selection->rows != *q.rows) Fail("queries without the indexer's choice for each");
  } else if (prefill && (task.input2 != kNoValue) != gathered) {
    Fail("keys are gathered if and only if cp > 1");
  }
  Local kv;
  if (gathered) {
    kv = *local_of(task.input2, TensorKind::kKeyValue);
  } else if (grouped || prefill) {
    kv = OwnKeyValue(q);
  }
  const Local& source = grouped || prefill ? kv : *latent;
  if (latent != nullptr && *latent->rows != *source.rows) Fail("latent and key-value rows differ");
  if (gathered) {
    const auto of_q = RequestRanges(*q.rows), of_kv = RequestRanges(*kv.rows);
    const auto same = [](const auto& x, const auto& y) { return x.first == y.first; };
    if (!std::equal(of_q.begin(), of_q.end(), of_kv.begin(), of_kv.end(), same)) Fail("keys of other requests");
  } else if (*source.rows != *q.rows) {
    Fail("the rows of queries and keys differ");
  }
  AppendToCache(task.cache, rank, grouped ? kv : *latent);

  const std::int64_t q_size = !grouped && !prefill ? a.kv_lora_rank + a.qk_rope_head_dim : a.QkHeadDim();
  const std::int64_t v_size = !grouped && !prefill ? a.kv_lora_rank : a.VHeadDim();
  const Tags q_columns(q.columns->begin(),
                       std::lower_bound(q.columns->begin(), q.columns->end(), a.num_heads * q_size));
  const Tags heads = HeadsOf(q_columns, q_size);
  Tags columns;
  for (Tag head : heads) {
    for (Tag i = 0; i < v_size; ++i) columns.push_back(head * v_size + i);
  }
  Local out{q.rows, std::make_shared<const Tags>(std::move(columns)), {}, {}};
  out.data = Matrix::Zero(q.data.rows(), static_cast<Eigen::Index>(out.columns->size()));
  Local lse{q.rows, std::make_shared<const Tags>(heads), {}, {}};
  lse.data = Matrix::Zero(q.data.rows(), static_cast<Eigen::Index>(heads.size()));
  const std::vector<std::int64_t>& requests = pass_.requests[static_cast<std::size_t>(layouts_.At(rank).d)];
  for (const auto& [request, range] : RequestRanges(*q.rows)) {
    const auto j = std::find(requests.begin(), requests.end(), request) - requests.begin();
    if (j == static_cast<std::ptrdiff_t>(requests.size())) Fail("a query of another dp rank's request");
    if (!layouts_.OwnsRequest(task.cache, rank, j)) Fail("a query of a request whose cache another rank keeps");
    Keys keys;
    if (prefill) {
      keys = PrefillKeys(task.cache, rank, request, kv, latent);
    } else {
      const auto entry = (*cache_)[index].find(request);
      const TagsPtr kept = CacheColumns(task.cache, rank);
      keys.columns = grouped ? kept.get() : nullptr;
      Matrix& data = grouped ? keys.data : keys.latent;
      if (entry == (*cache_)[index].end() || entry->second.positions.empty()) {
        data.resize(0, static_cast<Eigen::Index>(kept->size()));
      } else {
        keys.positions = entry->second.positions;
        data = entry->second.data;
      }
    }
    for (Eigen::Index row = range.first; row < range.second; ++row) {
      CheckPositions(task.cache, rank, PositionOf((*q.rows)[static_cast<std::size_t>(row)]), keys);
    }
    Attend(q, range.first, range.second - range.first, keys, selection, &out.data, &lse.data);
  }
  const bool partial = (task.cache.positions_over_tp && strategy_.tensor_parallel_size > 1) ||
                       (!prefill && strategy_.context_parallel_size > 1);
  if (partial && task.output2 == kNoValue) Fail("partial attention without its log-sum-exp");
  return {std::move(out), std::move(lse)};
}

/// kGatedQkv as kQkv and kOutputGate.
std::pair<Local, Local> BlockRunner::SplitGate(const Local& gated) const {
  const AttentionSpec& a = model_.attention;
  const Tag first = (a.num_heads + 2 * a.num_kv_heads) * a.head_dim;
  const auto begin = std::lower_bound(gated.columns->begin(), gated.columns->end(), first);
  Tags qkv(gated.columns->begin(), begin), gate(begin, gated.columns->end());
  for (Tag& column : gate) column -= first;
  const auto width = static_cast<Eigen::Index>(qkv.size());
  return {Local{gated.rows, std::make_shared<const Tags>(std::move(qkv)), gated.data.leftCols(width), {}},
          Local{gated.rows,
                std::make_shared<const Tags>(std::move(gate)),
                gated.data.rightCols(gated.data.cols() - width),
                {}}};
}

Local BlockRunner::GateOutput(const Local& attended, const Local& gate) const {
  if (*attended.columns != *gate.columns) Fail("the heads and their gates differ");
  return {attended.rows, attended.columns, attended.data.cwiseProduct(gate.data.unaryExpr(&Sigmoid)), {}};
}

std::pair<Local, Local> BlockRunner::LseRescale(const Task& task, std::int64_t rank) const {
  const auto index = static_cast<std::size_t>(rank);
  const Local& attended = *HeldOf(task.input).at[index];
  const Local& lse = *HeldOf(task.input2).at[index];
  const std::vector<std::int64_t> members = layouts_.Members(task.group, rank);
  const auto own = static_cast<Tag>(std::find(members.begin(), members.end(), rank) - members.begin());
  const Value& value = ValueOf(task.input);
  const std::int64_t size = value.absorbed ? model_.attention.kv_lora_rank : model_.attention.VHeadDim();
  const Tags heads = HeadsOf(*attended.columns, size);
  if (lse.columns->size() != heads.size() * members.size()) Fail("the stacked log-sum-exps are not one a member");
  Local out = attended;
  Matrix merged(attended.data.rows(), static_cast<Eigen::Index>(heads.size()));
  for (std::size_t h = 0; h < heads.size(); ++h) {
    const auto at = static_cast<Eigen::Index>(h);
    std::vector<Eigen::Index> columns;
    for (std::size_t m = 0; m < members.size(); ++m) {
      columns.push_back(FindColumns(*lse.columns, static_cast<Tag>(m) * kCopyStride + heads[h], 1));
      if (columns.back() < 0) Fail("a member's log-sum-exp is missing");
    }
    for (Eigen::Index i = 0; i < attended.data.rows(); ++i) {
      double most = -std::numeric_limits<double>::infinity(), sum = 0;
      for (Eigen::Index column : columns) most = std::max(most, lse.data(i, column));
      if (std::isinf(most)) {
        // None of these ranks has a key of this query (a short context): another merge's turn, if there is one.
        if (task.output2 == kNoValue) Fail("a query that no rank has keys for");
        merged(i, at) = most;
        out.data.block(i, at * size, 1, size).setZero();
        continue;
      }
      for (Eigen::Index column : columns) sum += std::exp(lse.data(i, column) - most);
      merged(i, at) = most + std::log(sum);
      const double weight = std::exp(lse.data(i, columns[static_cast<std::size_t>(own)]) - merged(i, at));
      out.data.block(i, at * size, 1, size) *= weight;
    }
  }
  if (task.output2 == kNoValue) return {std::move(out), {}};
  const Local all{attended.rows, std::make_shared<const Tags>(heads), std::move(merged), {}};
  const Value& kept = ValueOf(task.output2);
  return {std::move(out), Cut(all, layouts_.LocalTokens(kept, rank), layouts_.LocalColumns(kept, rank))};
}

}  // namespace shardscout::interpret
