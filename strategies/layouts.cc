#include "strategies/layouts.h"

#include <algorithm>
#include <utility>

namespace shardscout::strategies {
namespace {

struct Part {
  std::int64_t index = 0;
  std::int64_t count = 1;
};

/// Appends the part's slice of units [first, first + units) of `size` columns each.
void AppendSlice(std::int64_t first_column, std::int64_t units, std::int64_t size, Part part, Tags* out) {
  if (units % part.count != 0) throw ProgramError("a feature axis does not divide by its group");
  const std::int64_t share = units / part.count;
  for (std::int64_t i = 0; i < share * size; ++i) out->push_back(first_column + part.index * share * size + i);
}

/// The same for KV heads, of which each part holds one where there are more parts than heads.
void AppendKvHeads(std::int64_t first_column, std::int64_t heads, std::int64_t size, Part part, Tags* out) {
  if (part.count <= heads) {
    AppendSlice(first_column, heads, size, part, out);
  } else {
    const std::int64_t head = part.index * heads / part.count;
    AppendSlice(first_column + head * size, 1, size, Part{}, out);
  }
}

}  // namespace

Layouts::Layouts(const ModelSpec& model, const Strategy& strategy, Pass pass)
    : model_(model), strategy_(strategy), pass_(std::move(pass)) {}

Coordinates Layouts::At(std::int64_t rank) const {
  const std::int64_t tp = strategy_.tensor_parallel_size, cp = strategy_.context_parallel_size;
  const std::int64_t etp = strategy_.expert_tensor_parallel_size, ep = strategy_.expert_parallel_size;
  return {rank % tp, rank / tp % cp, rank / tp / cp, rank % etp, rank / etp % ep, rank / etp / ep};
}

std::vector<std::int64_t> Layouts::Members(const Group& group, std::int64_t rank) const {
  const std::int64_t span = group.size * group.stride;
  if (group.size < 1 || group.stride < 1 || Ranks() % span != 0) {
    throw ProgramError("the group does not divide the stage");
  }
  const std::int64_t base = rank / span * span + rank % group.stride;
  std::vector<std::int64_t> members;
  for (std::int64_t i = 0; i < group.size; ++i) members.push_back(base + i * group.stride);
  return members;
}

std::uint64_t Layouts::MemberMask(const Group& group, std::int64_t rank) const {
  std::uint64_t mask = 0;
  for (std::int64_t member : Members(group, rank)) mask |= std::uint64_t{1} << member;
  return mask;
}

std::uint64_t Layouts::Summands(std::uint8_t partial, std::int64_t rank) const {
  const std::int64_t tp = strategy_.tensor_parallel_size, cp = strategy_.context_parallel_size;
  const std::int64_t dp = strategy_.data_parallel_size;
  const std::int64_t etp = strategy_.expert_tensor_parallel_size, ep = strategy_.expert_parallel_size;
  std::uint64_t mask = std::uint64_t{1} << rank;
  if (partial == kPartialNone) return mask;
  for (;;) {
    const std::uint64_t before = mask;
    auto expand = [&](PartialOver bit, Group group) {
      if ((partial & bit) == 0) return;
      for (std::int64_t r = 0; r < Ranks(); ++r) {
        if ((mask >> r & 1) != 0) mask |= MemberMask(group, r);
      }
    };
    expand(kPartialTensor, {tp, 1});
    expand(kPartialContextData, {cp * dp, tp});
    expand(kPartialContext, {cp, tp});
    expand(kPartialExpert, {ep, etp});
    expand(kPartialExpertTensor, {etp, 1});
    if (mask == before) return mask;
  }
}

bool Layouts::HasTensorShare() const {
  const std::int64_t tp = strategy_.tensor_parallel_size, cp = strategy_.context_parallel_size;
  if (tp == 1) return true;
  if (pass_.phase == Phase::kDecode) return Requests() % (tp * cp) == 0;
  return pass_.token_shard_by_request ? Requests() % tp == 0 : pass_.padded_input % (2 * cp * tp) == 0;
}

std::int64_t Layouts::DecodeContextRank(std::int64_t index) const {
  const std::int64_t tp = strategy_.tensor_parallel_size, cp = strategy_.context_parallel_size;
  if (Requests() % (tp * cp) == 0) return index * tp * cp / Requests() % cp;
  if (Requests() % cp != 0) throw ProgramError("decode: requests do not divide by cp");
  return index * cp / Requests();
}

void Layouts::AppendCell(std::int64_t c, std::int64_t d, Tags* out) const {
  const std::vector<std::int64_t>& requests = pass_.requests[static_cast<std::size_t>(d)];
  const std::int64_t cp = strategy_.context_parallel_size;
  if (pass_.phase == Phase::kDecode) {
    for (std::int64_t j = 0; j < Requests(); ++j) {
      if (DecodeContextRank(j) == c) out->push_back(RowTag(requests[static_cast<std::size_t>(j)], pass_.position));
    }
    return;
  }
  if (cp > 1 && pass_.padded_input % (2 * cp) != 0) throw ProgramError("padded_input does not divide by 2 cp");
  for (std::int64_t request : requests) {
    for (std::int64_t p = 0; p < pass_.padded_input; ++p) {
      const std::int64_t chunk = cp == 1 ? 0 : p / (pass_.padded_input / (2 * cp));
      if (cp == 1 || chunk == c || chunk == 2 * cp - 1 - c) out->push_back(RowTag(request, p));
    }
  }
}

void Layouts::AppendShare(std::int64_t rank, Tags* out) const {
  const Coordinates at = At(rank);
  const std::int64_t tp = strategy_.tensor_parallel_size, cp = strategy_.context_parallel_size;
  Tags cell;
  AppendCell(at.c, at.d, &cell);
  if (tp == 1) {
    out->insert(out->end(), cell.begin(), cell.end());
    return;
  }
  if (!HasTensorShare()) throw ProgramError("token_sharded: the tokens do not divide by tp");
  const std::vector<std::int64_t>& requests = pass_.requests[static_cast<std::size_t>(at.d)];
  if (pass_.phase == Phase::kDecode) {
    for (std::int64_t j = 0; j < Requests(); ++j) {
      const std::int64_t slot = j * tp * cp / Requests();
      if (slot == at.t * cp + at.c) out->push_back(RowTag(requests[static_cast<std::size_t>(j)], pass_.position));
    }
    return;
  }
  const auto per_request = static_cast<std::int64_t>(cell.size()) / Requests();
  for (std::int64_t j = 0; j < Requests(); ++j) {
    if (pass_.token_shard_by_request && j / (Requests() / tp) != at.t) continue;
    const std::int64_t run = pass_.token_shard_by_request ? per_request : per_request / tp;
    const std::int64_t first = j * per_request + (pass_.token_shard_by_request ? 0 : at.t * run);
    out->insert(out->end(), cell.begin() + first, cell.begin() + first + run);
  }
}

void Layouts::AppendUnion(std::uint64_t ranks, Tags* out) const {
  for (std::int64_t r = 0; r < Ranks(); ++r) {
    if ((ranks >> r & 1) == 0) continue;
    if (HasTensorShare()) {
      AppendShare(r, out);
    } else {
      const Coordinates at = At(r);
      AppendCell(at.c, at.d, out);
    }
  }
}

Tags Layouts::ComputeTokens(const Value& value, std::int64_t rank) const {
  const Coordinates at = At(rank);
  const std::int64_t tp = strategy_.tensor_parallel_size, cp = strategy_.context_parallel_size;
  const std::int64_t dp = strategy_.data_parallel_size;
  const std::int64_t etp = strategy_.expert_tensor_parallel_size, ep = strategy_.expert_parallel_size;
  const std::uint64_t block = MemberMask({etp * ep, 1}, rank);
  Tags tokens;
  switch (value.tokens) {
    case TokenSplit::kCell:
      AppendCell(at.c, at.d, &tokens);
      break;
    case TokenSplit::kTensor:
      AppendShare(rank, &tokens);
      break;
    case TokenSplit::kStage:
      AppendUnion(MemberMask({Ranks(), 1}, rank), &tokens);
      break;
    case TokenSplit::kStageTensor:
      AppendUnion(MemberMask({cp * dp, tp}, rank), &tokens);
      break;
    case TokenSplit::kContext:
      for (std::int64_t c = 0; c < cp; ++c) AppendCell(c, at.d, &tokens);
      break;
    case TokenSplit::kContextTensor:
      AppendUnion(MemberMask({cp, tp}, rank), &tokens);
      break;
    case TokenSplit::kBlock:
    case TokenSplit::kRoutedBlock:
      AppendUnion(block, &tokens);
      break;
    case TokenSplit::kExpertTensor:
      AppendUnion(MemberMask({etp, 1}, rank), &tokens);
      break;
    case TokenSplit::kRouted:
      AppendUnion(MemberMask({ep, etp}, rank), &tokens);
      break;
  }
  std::sort(tokens.begin(), tokens.end());
  tokens.erase(std::unique(tokens.begin(), tokens.end()), tokens.end());
  if (value.interleaved) std::erase_if(tokens, [&](Tag row) { return PositionOf(row) % tp != at.t; });
  const bool routed = value.tokens == TokenSplit::kRouted || value.tokens == TokenSplit::kRoutedBlock;
  const bool pairs =
      value.ffn == FfnKind::kExpert && (value.kind == TensorKind::kGate || value.kind == TensorKind::kFfn);
  if (routed || pairs) {
    Tags kept;
    const std::int64_t first = FirstExpert(rank), end = first + NumLocalExperts();
    for (Tag row : tokens) {
      auto route = routes_.find(row);
      if (route == routes_.end()) throw ProgramError("a routed layout before the router's task");
      std::vector<std::int64_t> mine;
      for (std::int64_t e : route->second) {
        if (e >= first && e < end) mine.push_back(e);
      }
      std::sort(mine.begin(), mine.end());
      if (pairs) {
        for (std::int64_t e : mine) kept.push_back(RowTag(RequestOf(row), PositionOf(row), e));
      } else if (!mine.empty()) {
        kept.push_back(row);
      }
    }
    tokens = std::move(kept);
  }
  if (value.last_only) {
    if (pass_.phase == Phase::kPrefill) {
      std::erase_if(tokens, [&](Tag row) { return PositionOf(row) != pass_.input_tokens - 1; });
    }
  }
  return tokens;
}

TagsPtr Layouts::Intern(Tags tags) {
  for (const TagsPtr& other : interned_) {
    if (*other == tags) return other;
  }
  interned_.push_back(std::make_shared<const Tags>(std::move(tags)));
  return interned_.back();
}

TagsPtr Layouts::LocalTokens(const Value& value, std::int64_t rank) {
  const bool pairs =
      value.ffn == FfnKind::kExpert && (value.kind == TensorKind::kGate || value.kind == TensorKind::kFfn);
  const std::int64_t tp = strategy_.tensor_parallel_size;
  // One row a request and T not `at_owner`: the requests are split, wherever their last positions were.
  const bool split_requests = value.last_only && pass_.phase == Phase::kPrefill && tp > 1 &&
                              value.tokens == TokenSplit::kTensor && !value.at_owner;
  const RowKey key{static_cast<int>(value.tokens), value.last_only, value.interleaved, pairs, split_requests, rank};
  auto found = rows_.find(key);
  if (found != rows_.end()) return found->second;
  Tags tags;
  if (split_requests) {
    Value cell = value;
    cell.tokens = TokenSplit::kCell;
    tags = ComputeTokens(cell, rank);
    if (Requests() % tp != 0) throw ProgramError("requests do not divide by tp");
    const std::int64_t share = Requests() / tp;
    const Coordinates at = At(rank);
    const std::vector<std::int64_t>& requests = pass_.requests[static_cast<std::size_t>(at.d)];
    std::erase_if(tags, [&](Tag row) {
      const auto j = std::find(requests.begin(), requests.end(), RequestOf(row)) - requests.begin();
      return j / share != at.t;
    });
  } else {
    tags = ComputeTokens(value, rank);
  }
  return rows_[key] = Intern(std::move(tags));
}

Tags Layouts::ComputeColumns(const Value& value, std::int64_t rank) const {
  const Coordinates at = At(rank);
  const std::int64_t tp = strategy_.tensor_parallel_size;
  const std::int64_t rest = strategy_.context_parallel_size * strategy_.data_parallel_size;
  Part part;
  switch (value.features) {
    case FeatureSplit::kNone:
      break;
    case FeatureSplit::kTensor:
      part = {at.t, tp};
      break;
    case FeatureSplit::kStage:
      part = {at.t * rest + at.c + strategy_.context_parallel_size * at.d, tp * rest};
      break;
    case FeatureSplit::kExpertTensor:
      part = {at.it, strategy_.expert_tensor_parallel_size};
      break;
  }
  const AttentionSpec& a = model_.attention;
  const bool grouped = a.kind == AttentionKind::kGrouped;
  const bool prefill = pass_.phase == Phase::kPrefill;
  const std::int64_t heads = a.num_heads, kv = a.num_kv_heads, nope = a.qk_nope_head_dim, rope = a.qk_rope_head_dim;
  const LinearAttentionSpec& linear = model_.linear_attention;
  const std::int64_t key_heads = linear.num_key_heads, value_heads = linear.num_value_heads;
  const std::int64_t keys = key_heads * linear.key_head_dim, values = linear.ValueWidth();
  const bool by_heads = value.kind == TensorKind::kGatedQkv || value.kind == TensorKind::kOutputGate ||
                        value.kind == TensorKind::kLinearQkv || value.kind == TensorKind::kLinearGates ||
                        value.kind == TensorKind::kLinearAttended || value.kind == TensorKind::kQkv ||
                        value.kind == TensorKind::kQuery || value.kind == TensorKind::kKeyValue ||
                        value.kind == TensorKind::kAttended || value.kind == TensorKind::kLse;
  const bool never_split = value.kind == TensorKind::kQueryLatent || value.kind == TensorKind::kLatent ||
                           value.kind == TensorKind::kScores || value.kind == TensorKind::kIds ||
                           value.kind == TensorKind::kStatistic || value.kind == TensorKind::kQkStatistic ||
                           value.kind == TensorKind::kIndexQuery || value.kind == TensorKind::kIndexKey ||
                           value.kind == TensorKind::kSelection;
  if (by_heads && value.features != FeatureSplit::kTensor && value.features != FeatureSplit::kNone) {
    throw ProgramError("heads are split over tp only");
  }
  if (never_split && value.features != FeatureSplit::kNone) throw ProgramError("a value that is never split is split");
  const bool inner = value.kind == TensorKind::kGate || value.kind == TensorKind::kFfn;
  if (inner && value.ffn == FfnKind::kNotFfn) throw ProgramError("a FFN's value without its FfnKind");
  std::int64_t ffn = 0;
  if (value.ffn == FfnKind::kDense) ffn = model_.ffn_size;
  if (value.ffn == FfnKind::kShared) ffn = model_.moe.shared_ffn_size;
  if (value.ffn == FfnKind::kExpert) ffn = model_.moe.expert_ffn_size;
  Tags out;
  switch (value.kind) {
    case TensorKind::kIds:
    case TensorKind::kStatistic:
      AppendSlice(0, 1, 1, part, &out);
      break;
    case TensorKind::kQkStatistic:
      AppendSlice(0, 2, 1, part, &out);
      break;
    case TensorKind::kHidden:
    case TensorKind::kRouted:
      AppendSlice(0, model_.hidden_size, 1, part, &out);
      break;
    case TensorKind::kQkv:
      if (grouped) {
        AppendSlice(0, heads, a.head_dim, part, &out);
        AppendKvHeads(heads * a.head_dim, kv, a.head_dim, part, &out);
        AppendKvHeads((heads + kv) * a.head_dim, kv, a.head_dim, part, &out);
      } else if (prefill) {
        AppendSlice(0, heads, nope + rope, part, &out);
        AppendSlice(heads * (nope + rope), heads, nope, part, &out);
        AppendSlice(heads * (nope + rope) + heads * nope, heads, a.v_head_dim, part, &out);
      } else {
        AppendSlice(0, heads, a.kv_lora_rank + rope, part, &out);
      }
      break;
    case TensorKind::kGatedQkv:
      AppendSlice(0, heads, a.head_dim, part, &out);
      AppendKvHeads(heads * a.head_dim, kv, a.head_dim, part, &out);
      AppendKvHeads((heads + kv) * a.head_dim, kv, a.head_dim, part, &out);
      AppendSlice((heads + 2 * kv) * a.head_dim, heads, a.head_dim, part, &out);
      break;
    case TensorKind::kOutputGate:
      AppendSlice(0, heads, a.head_dim, part, &out);
      break;
    case TensorKind::kLinearQkv:
      AppendKvHeads(0, key_heads, linear.key_head_dim, part, &out);
      AppendKvHeads(keys, key_heads, linear.key_head_dim, part, &out);
      AppendSlice(2 * keys, value_heads, linear.value_head_dim, part, &out);
      AppendSlice(2 * keys + values, value_heads, linear.value_head_dim, part, &out);
      break;
    case TensorKind::kLinearGates:
      AppendSlice(0, value_heads, 1, part, &out);
      AppendSlice(value_heads, value_heads, 1, part, &out);
      break;
    case TensorKind::kLinearAttended:
      AppendSlice(0, value_heads, linear.value_head_dim, part, &out);
      break;
    case TensorKind::kQueryLatent:
      AppendSlice(0, a.q_lora_rank, 1, part, &out);
      break;
    case TensorKind::kQuery:
      AppendSlice(0, heads, nope + rope, part, &out);
      break;
    case TensorKind::kLatent:
      AppendSlice(0, a.kv_lora_rank + rope, 1, part, &out);
      break;
    case TensorKind::kIndexQuery:
      AppendSlice(0, a.index_heads * a.index_head_dim, 1, part, &out);
      break;
    case TensorKind::kIndexKey:
      AppendSlice(0, a.index_head_dim + a.index_heads, 1, part, &out);
      break;
    case TensorKind::kSelection:
      AppendSlice(0, a.index_topk, 1, part, &out);
      break;
    case TensorKind::kKeyValue:
      if (grouped) {
        AppendKvHeads(0, kv, a.head_dim, part, &out);
        AppendKvHeads(kv * a.head_dim, kv, a.head_dim, part, &out);
      } else {
        AppendSlice(0, heads, nope, part, &out);
        AppendSlice(heads * nope, heads, a.v_head_dim, part, &out);
      }
      break;
    case TensorKind::kAttended:
      AppendSlice(0, heads, value.absorbed ? a.kv_lora_rank : a.VHeadDim(), part, &out);
      break;
    case TensorKind::kLse:
      for (std::int64_t copy = 0; copy < value.copies; ++copy) AppendSlice(copy * kCopyStride, heads, 1, part, &out);
      break;
    case TensorKind::kGate:
      AppendSlice(0, ffn, 1, part, &out);
      if (model_.gated_ffn) AppendSlice(ffn, ffn, 1, part, &out);
      break;
    case TensorKind::kFfn:
      AppendSlice(0, ffn, 1, part, &out);
      break;
    case TensorKind::kScores:
      AppendSlice(0, model_.moe.num_experts, 1, part, &out);
      break;
    case TensorKind::kLogits:
      AppendSlice(0, model_.vocab_size, 1, part, &out);
      break;
  }
  return out;
}

TagsPtr Layouts::LocalColumns(const Value& value, std::int64_t rank) {
  const ColumnKey key{static_cast<int>(value.kind),
                      static_cast<int>(value.ffn),
                      static_cast<int>(value.features),
                      value.copies,
                      value.absorbed,
                      rank};
  auto found = columns_.find(key);
  if (found != columns_.end()) return found->second;
  return columns_[key] = Intern(ComputeColumns(value, rank));
}

void Layouts::SetRoutes(std::map<Tag, std::vector<std::int64_t>> routes) {
  routes_ = std::move(routes);
  std::erase_if(rows_, [](const auto& entry) {
    const auto tokens = static_cast<TokenSplit>(std::get<0>(entry.first));
    return std::get<3>(entry.first) || tokens == TokenSplit::kRouted || tokens == TokenSplit::kRoutedBlock;
  });
}

std::int64_t Layouts::NumLocalExperts() const { return model_.moe.num_experts / strategy_.expert_parallel_size; }

std::int64_t Layouts::FirstExpert(std::int64_t rank) const { return At(rank).ie * NumLocalExperts(); }

bool Layouts::OwnsRequest(const CachePlan& plan, std::int64_t rank, std::int64_t index) const {
  if (!plan.requests_over_tp) return true;
  // Decode: the slots t * cp + c of a tp rank together, which is the block [t, t + 1) * requests / tp; prefill alike.
  const std::int64_t tp = strategy_.tensor_parallel_size;
  if (Requests() % tp != 0) throw ProgramError("the cache's requests do not divide by tp");
  return index / (Requests() / tp) == At(rank).t;
}

bool Layouts::OwnsPosition(const CachePlan& plan, std::int64_t rank, std::int64_t position) const {
  const Coordinates at = At(rank);
  const std::int64_t p = plan.positions_over_tp ? strategy_.tensor_parallel_size : 1;
  return position % (strategy_.context_parallel_size * p) == at.c * p + (p > 1 ? at.t : 0);
}

}  // namespace shardscout::strategies
