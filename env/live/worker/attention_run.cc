#include <algorithm>
#include <cmath>
#include <limits>

#include "env/live/worker/phase_state.h"
#include "shardscout/error.h"

namespace shardscout::live {
namespace {

constexpr double kMinusInfinity = -std::numeric_limits<double>::infinity();

/// Rows of a cache (dim 0) that belong to a pass.
at::Tensor Rows(const at::Tensor& cache, const IndexList& requests) { return Take(cache, 0, requests); }

/// cache[requests, slots] = x
void Store(at::Tensor& cache, const IndexList& requests, const IndexList& slots, const at::Tensor& x) {
  if (slots.size == 0 || requests.size == 0) return;
  if (requests.run && slots.run) {
    cache.narrow(0, requests.first, requests.size).narrow(1, slots.first, slots.size).copy_(x);
    return;
  }
  const auto indices = [&](const IndexList& list) {
    return list.run ? at::arange(list.first, list.first + list.size,
                                 at::TensorOptions().dtype(at::kLong).device(cache.device()))
                    : list.index;
  };
  cache.index_put_({indices(requests).unsqueeze(1), indices(slots)}, x);
}

IndexList One(std::int64_t index) { return {.all = false, .run = true, .first = index, .size = 1, .index = {}}; }

}  // namespace

/// Which positions a query does not see: [requests, queries, keys], true for those that the indexer did not choose.
/// (The program has the numbers of those that it chose. They stay on the rank, so that nobody counts these bytes.)
at::Tensor RankProgram::IndexSelect(const Task& task, const TaskPlan& task_plan, LayerCache& cache,
                                    const IndexList& cache_requests, const PassKey& key,
                                    const std::vector<at::Tensor>& held) const {
  const AttentionSpec& a = model_.attention;
  const AttentionPlan& plan = *task_plan.attention;
  const at::Tensor &q = held[static_cast<std::size_t>(task.input)], &k = held[static_cast<std::size_t>(task.input2)];
  const auto n = static_cast<std::int64_t>(plan.requests.size());
  const std::int64_t queries = n == 0 ? 0 : q.size(0) / n, dim = a.index_head_dim, heads = a.index_heads;
  at::Tensor keys = k.narrow(1, 0, dim).reshape({n, queries, dim});
  if (key.phase == Phase::kPrefill) {
    Store(cache.index_keys, cache_requests, plan.slots, Take(keys, 1, plan.kept));
  } else {
    Store(cache.index_keys, cache_requests, One(key.position), keys);
    keys = Rows(cache.index_keys, cache_requests).narrow(1, 0, key.position + 1);
  }
  const at::Tensor of_heads = k.narrow(1, dim, heads).reshape({n, queries, heads, 1}).to(at::kFloat).transpose(1, 2);
  const at::Tensor products = at::matmul(q.reshape({n, queries, heads, dim}).transpose(1, 2),
                                         keys.transpose(1, 2).unsqueeze(1));  // [n, heads, queries, keys]
  at::Tensor scores = (products.to(at::kFloat).relu() * of_heads).sum(1);
  if (plan.hidden.defined()) scores.masked_fill_(plan.hidden, kMinusInfinity);
  // Stable: of equal scores the first position.
  const at::Tensor order = std::get<1>(at::sort(scores, c10::optional<bool>(true), -1, true));
  at::Tensor not_chosen = at::ones_like(scores, at::TensorOptions().dtype(at::kBool));
  return not_chosen.scatter_(2, order.narrow(2, 0, std::min(a.index_topk, scores.size(2))), false);
}

/// q: [requests, heads, queries, dim]; keys [requests, kv, n, dim]; values [requests, kv, n, v], kv being heads, 1 or a
/// divisor: then heads / kv query heads after another read each. Gives [requests, queries, heads, v] and the
/// log-sum-exps [requests, queries, heads].
std::pair<at::Tensor, at::Tensor> RankProgram::Attend(const at::Tensor& q, const at::Tensor& keys,
                                                      const at::Tensor& values, const at::Tensor& hidden) const {
  const at::TensorOptions fp32 = q.options().dtype(at::kFloat);
  if (keys.size(2) == 0 || q.size(0) == 0 || q.size(2) == 0) {
    return {at::zeros({q.size(0), q.size(2), q.size(1), values.size(3)}, q.options()),
            at::full({q.size(0), q.size(2), q.size(1)}, kMinusInfinity, fp32)};
  }
  const std::int64_t n = q.size(0), heads = q.size(1), queries = q.size(2), kv = keys.size(1), seen = keys.size(2);
  // The heads of a group are further queries of one product.
  const at::Tensor grouped = q.reshape({n, kv, heads / kv * queries, q.size(3)});
  at::Tensor scores = at::matmul(grouped, keys.transpose(2, 3)).to(at::kFloat) /
                      std::sqrt(static_cast<double>(model_.attention.QkHeadDim()));
  if (hidden.defined()) scores.view({n, heads, queries, seen}).masked_fill_(hidden, kMinusInfinity);
  const at::Tensor lse = scores.logsumexp(-1, true);
  const at::Tensor safe = lse.masked_fill(lse == kMinusInfinity, 0);  // No key at all: zeros, not 0/0.
  const at::Tensor attended = at::matmul((scores - safe).exp().to(values.scalar_type()), values);
  return {attended.view({n, heads, queries, values.size(3)}).transpose(1, 2).contiguous(),
          lse.view({n, heads, queries}).transpose(1, 2).contiguous()};
}

std::pair<at::Tensor, at::Tensor> RankProgram::Attention(const Task& task, const TaskPlan& task_plan, LayerCache& cache,
                                                         const IndexList& cache_requests, const PassKey& key,
                                                         const std::vector<at::Tensor>& held) {
  const AttentionSpec& a = model_.attention;
  const AttentionPlan& plan = *task_plan.attention;
  const bool grouped = a.kind == AttentionKind::kGrouped, prefill = key.phase == Phase::kPrefill;
  const auto at_value = [&](ValueId id) -> const at::Tensor& { return held[static_cast<std::size_t>(id)]; };
  const at::Tensor& x = at_value(task.input);
  const auto n = static_cast<std::int64_t>(plan.requests.size());
  const std::int64_t q_size = grouped || prefill ? a.QkHeadDim() : a.kv_lora_rank + a.qk_rope_head_dim;
  const std::int64_t v_size = grouped || prefill ? a.VHeadDim() : a.kv_lora_rank;
  const std::int64_t queries = n == 0 ? 0 : x.size(0) / n;
  const at::Tensor q = x.narrow(1, 0, plan.heads * q_size).reshape({n, queries, plan.heads, q_size}).transpose(1, 2);

  // What is new: K and V of the rank's own rows or gathered ones, and MLA's latents.
  const ValueId latent_id = prefill ? task.input3 : task.input2;
  at::Tensor latent, source;
  if (!grouped) latent = at_value(latent_id).reshape({n, -1, a.kv_lora_rank + a.qk_rope_head_dim});
  if (prefill && strategy_.context_parallel_size > 1) {
    source = at_value(task.input2);
  } else if (grouped || prefill) {
    source = x.narrow(1, plan.heads * q_size, x.size(1) - plan.heads * q_size);
  }
  if (source.defined()) source = source.reshape({n, n == 0 ? 0 : source.size(0) / n, source.size(1)});

  IndexList slots = plan.slots, kept = plan.kept;
  std::int64_t held_slots = 0;
  if (!prefill) {
    const bool owns = key.position % modulus_ == offset_;
    slots =
        owns ? One(key.position / modulus_) : IndexList{.all = false, .run = true, .first = 0, .size = 0, .index = {}};
    kept = owns ? IndexList{.all = true, .run = true, .first = 0, .size = 1, .index = {}} : slots;
    held_slots = (key.position - offset_ + modulus_) / modulus_;
  }
  at::Tensor k, v;
  if (grouped) {
    const at::Tensor all = source.view({n, source.size(1), 2, plan.kv_heads, a.head_dim});
    k = all.select(2, 0);
    v = all.select(2, 1);
    Store(cache.keys, cache_requests, slots, Take(k, 1, kept));
    Store(cache.values, cache_requests, slots, Take(v, 1, kept));
  } else {
    Store(cache.keys, cache_requests, slots, Take(latent, 1, kept));
  }

  at::Tensor hidden = plan.hidden;
  if (!prefill && plan.window > 0 && held_slots > 0) {
    const at::Tensor positions =
        at::arange(held_slots, at::TensorOptions().dtype(at::kLong).device(x.device())) * modulus_ + offset_;
    hidden = positions <= key.position - plan.window;
  }
  if (a.HasIndexer()) {
    const at::Tensor& not_chosen = at_value(prefill ? task.input2 : task.input3);
    hidden = (hidden.defined() ? not_chosen.logical_or(hidden) : not_chosen).unsqueeze(1);
  }
  std::pair<at::Tensor, at::Tensor> result;
  if (grouped) {
    if (prefill) {
      k = Take(k, 1, plan.keys);
      v = Take(v, 1, plan.keys);
    } else {
      k = Rows(cache.keys, cache_requests).narrow(1, 0, held_slots);
      v = Rows(cache.values, cache_requests).narrow(1, 0, held_slots);
    }
    k = k.transpose(1, 2);
    v = v.transpose(1, 2);
    if (plan.group == 0) {
      k = Take(k, 1, plan.kv_of_head);
      v = Take(v, 1, plan.kv_of_head);
    }
    result = Attend(q, k, v, hidden);
  } else if (prefill) {
    const std::int64_t nope = a.qk_nope_head_dim;
    const at::Tensor seen = Take(source, 1, plan.keys);
    k = seen.narrow(2, 0, plan.heads * nope).reshape({n, seen.size(1), plan.heads, nope});
    v = seen.narrow(2, plan.heads * nope, plan.heads * v_size).reshape({n, seen.size(1), plan.heads, v_size});
    const at::Tensor rope = Take(latent, 1, plan.keys)
                                .narrow(2, a.kv_lora_rank, a.qk_rope_head_dim)
                                .unsqueeze(2)
                                .expand({n, seen.size(1), plan.heads, a.qk_rope_head_dim});
    k = at::cat({k, rope}, 3);
    result = Attend(q, k.transpose(1, 2), v.transpose(1, 2), hidden);
  } else {
    const at::Tensor latents = Rows(cache.keys, cache_requests).narrow(1, 0, held_slots).unsqueeze(1);
    result = Attend(q, latents, latents.narrow(3, 0, a.kv_lora_rank), hidden);
  }
  return {result.first.view({x.size(0), plan.heads * v_size}), result.second.view({x.size(0), plan.heads})};
}

std::pair<at::Tensor, at::Tensor> RankProgram::Rescale(const Block& block, const Task& task, const TaskPlan& plan,
                                                       const std::vector<at::Tensor>& held) const {
  const at::Tensor& attended = held[static_cast<std::size_t>(task.input)];
  const at::Tensor& stacked = held[static_cast<std::size_t>(task.input2)];
  const Value& value = block.values[static_cast<std::size_t>(task.input)];
  const std::int64_t size = value.absorbed ? model_.attention.kv_lora_rank : model_.attention.VHeadDim();
  const std::int64_t rows = attended.size(0), heads = attended.size(1) / size;
  const at::Tensor all = stacked.view({rows, task.group.size, heads});
  const at::Tensor merged = all.logsumexp(1);
  const at::Tensor safe = merged.masked_fill(merged == kMinusInfinity, 0);
  const at::Tensor weight = (all.select(1, plan.own) - safe).exp().to(attended.scalar_type());
  at::Tensor scaled = (attended.view({rows, heads, size}) * weight.unsqueeze(2)).view({rows, heads * size});
  if (task.output2 == kNoValue) return {scaled, {}};
  return {scaled, Take(Take(merged, 0, plan.rows), 1, plan.columns).contiguous()};
}

}  // namespace shardscout::live
