#include <algorithm>
#include <cmath>

#include "env/live/worker/phase_state.h"
#include "shardscout/error.h"

namespace shardscout::live {
namespace {

using strategies::Tag;
using strategies::Tags;

/// x [rows, heads * in] by each head's own [in, out]: [rows, heads * out].
at::Tensor ByHeads(const at::Tensor& x, const at::Tensor& weights) {
  const std::int64_t rows = x.size(0), heads = weights.size(0);
  const at::Tensor products = at::bmm(x.reshape({rows, heads, weights.size(1)}).transpose(0, 1), weights);
  return products.transpose(0, 1);
}

at::Tensor Embed(const at::Tensor& ids, const Task& task, const TaskWeights& weights) {
  const at::Tensor flat = ids.view({-1});
  if (task.weight_split != WeightSplit::kRow) return weights.matrix.index_select(0, flat);
  const at::Tensor local = flat - weights.first_row;
  const at::Tensor foreign = (local < 0).logical_or(local >= weights.matrix.size(0));
  return weights.matrix.index_select(0, local.masked_fill(foreign, 0)).masked_fill(foreign.unsqueeze(1), 0);
}

at::Tensor ExpertUp(const at::Tensor& tokens, const TaskPlan& plan, const TaskWeights& weights) {
  at::Tensor out = at::empty({plan.output_rows, plan.output_columns}, tokens.options());
  for (std::size_t e = 0; e < plan.experts.size(); ++e) {
    const ExpertRows& rows = plan.experts[e];
    if (rows.pairs.size == 0) continue;
    const at::Tensor product = at::mm(Take(tokens, 0, rows.tokens), weights.experts[e]);
    if (rows.pairs.run) {
      out.narrow(0, rows.pairs.first, rows.pairs.size).copy_(product);
    } else {
      out.index_copy_(0, rows.pairs.index, product);
    }
  }
  return out;
}

at::Tensor ExpertDown(const at::Tensor& pairs, const TaskPlan& plan, const TaskWeights& weights) {
  at::Tensor out = at::zeros({plan.output_rows, plan.output_columns}, pairs.options());
  for (std::size_t e = 0; e < plan.experts.size(); ++e) {
    const ExpertRows& rows = plan.experts[e];
    if (rows.pairs.size == 0) continue;
    const at::Tensor product = at::mm(Take(pairs, 0, rows.pairs), weights.experts[e]) * rows.weights;
    if (rows.tokens.run) {
      out.narrow(0, rows.tokens.first, rows.tokens.size).add_(product);
    } else {
      out.index_add_(0, rows.tokens.index, product);
    }
  }
  return out;
}

}  // namespace

at::Tensor RankProgram::Norm(const at::Tensor& x, const at::Tensor* statistic, const at::Tensor& scale) const {
  const at::Tensor wide = x.to(at::kFloat);
  const at::Tensor mean_square = statistic != nullptr ? *statistic : wide.square().mean(1, true);
  return (wide * (mean_square + kNormEpsilon).rsqrt()).to(x.scalar_type()) * scale;
}

at::Tensor RankProgram::QkStatistic(const at::Tensor& qkv) const {
  const AttentionSpec& a = model_.attention;
  const std::int64_t queries = a.num_heads * a.head_dim, keys = a.num_kv_heads * a.head_dim;
  const std::int64_t tp = qkv.size(1) == queries + 2 * keys ? 1 : strategy_.tensor_parallel_size;
  // A KV head that several ranks hold counts once in the sum over the ranks.
  const double holders = std::max(1.0, static_cast<double>(tp) / static_cast<double>(a.num_kv_heads));
  const std::int64_t own_queries = queries / tp, own_keys = std::max(keys / tp, a.head_dim);
  const at::Tensor wide = qkv.to(at::kFloat);
  return at::cat({wide.narrow(1, 0, own_queries).square().sum(1, true) / static_cast<double>(queries),
                  wide.narrow(1, own_queries, own_keys).square().sum(1, true) / (static_cast<double>(keys) * holders)},
                 1);
}

/// `heads`: [rows, heads, size], in place.
void RankProgram::RotateHeads(at::Tensor heads, const TaskPlan& plan, std::int64_t position) const {
  const std::int64_t half = heads.size(2) / 2;
  const at::Tensor cos = plan.cos.defined() ? plan.cos : cos_.select(0, position).view({1, 1, half});
  const at::Tensor sin = plan.sin.defined() ? plan.sin : sin_.select(0, position).view({1, 1, half});
  at::Tensor first = heads.narrow(2, 0, half), second = heads.narrow(2, half, half);
  const at::Tensor a = first.clone(), b = second.clone();
  first.copy_(a * cos - b * sin);
  second.copy_(a * sin + b * cos);
}

at::Tensor RankProgram::Rotary(const Value& value, const at::Tensor& x, const at::Tensor* statistic,
                               const TaskPlan& plan, const TaskWeights& weights, std::int64_t position) const {
  const AttentionSpec& a = model_.attention;
  const std::int64_t rows = x.size(0), rope = a.qk_rope_head_dim;
  if (value.kind == TensorKind::kLatent) {
    const at::Tensor latent = Norm(x.narrow(1, 0, a.kv_lora_rank), nullptr, weights.scale);
    at::Tensor key = x.narrow(1, a.kv_lora_rank, rope).clone().view({rows, 1, rope});
    RotateHeads(key, plan, position);
    return at::cat({latent, key.view({rows, rope})}, 1);
  }
  if (value.kind == TensorKind::kIndexKey) {
    const at::Tensor normed = Norm(x.narrow(1, 0, a.index_head_dim), nullptr, weights.scale).contiguous();
    RotateHeads(normed.view({rows, 1, a.index_head_dim}).narrow(2, 0, rope), plan, position);
    return at::cat({normed, x.narrow(1, a.index_head_dim, a.index_heads)}, 1);
  }
  at::Tensor out = x.contiguous().clone();
  if (value.kind == TensorKind::kIndexQuery) {
    RotateHeads(out.view({rows, -1, a.index_head_dim}).narrow(2, 0, rope), plan, position);
    return out;
  }
  if (value.kind == TensorKind::kQuery) {
    const std::int64_t size = a.QkHeadDim();
    RotateHeads(out.view({rows, -1, size}).narrow(2, a.qk_nope_head_dim, rope), plan, position);
    return out;
  }
  const std::int64_t heads = out.size(1) / a.head_dim;
  // [q | k | v] of so many heads each: k and v have equally many.
  const std::int64_t whole_kv = a.num_kv_heads, whole = a.num_heads + 2 * whole_kv;
  const std::int64_t kv =
      heads == whole ? whole_kv : std::max<std::int64_t>(1, whole_kv / strategy_.tensor_parallel_size);
  const std::int64_t queries = heads - 2 * kv;
  if (a.whole_qk_norm) {
    const at::Tensor mean_squares = statistic != nullptr ? *statistic : QkStatistic(out);
    const at::Tensor inverse = (mean_squares + kNormEpsilon).rsqrt().to(out.scalar_type());
    out.narrow(1, 0, queries * a.head_dim).mul_(inverse.narrow(1, 0, 1)).mul_(weights.scale);
    out.narrow(1, queries * a.head_dim, kv * a.head_dim).mul_(inverse.narrow(1, 1, 1)).mul_(weights.key_scale);
  }
  if (a.qkv_bias) out.add_(weights.bias);
  const at::Tensor by_head = out.view({rows, heads, a.head_dim});
  if (a.qk_norm) {
    const auto norm = [&](std::int64_t first, std::int64_t count, const at::Tensor& scale) {
      at::Tensor part = by_head.narrow(1, first, count);
      const at::Tensor inverse = (part.to(at::kFloat).square().mean(2, true) + kNormEpsilon).rsqrt();
      part.copy_(part * inverse.to(out.scalar_type()) * scale);
    };
    norm(0, queries, weights.scale);
    norm(queries, kv, weights.key_scale);
  }
  RotateHeads(by_head.narrow(1, 0, queries + kv), plan, position);
  return out;
}

at::Tensor RankProgram::Activation(const at::Tensor& gate) const {
  if (!model_.gated_ffn) return at::gelu(gate);
  const std::int64_t n = gate.size(1) / 2;
  return at::silu(gate.narrow(1, 0, n)) * gate.narrow(1, n, n);
}

/// Chooses the experts; where they are not known of the others' tokens yet, the ranks of the expert block tell each
/// other, and the plans of the block's later tasks are made.
at::Tensor RankProgram::Route(PhaseState& phase, const Block& block, const Task& task, std::int64_t layer,
                              const PassKey& key, const at::Tensor& hidden, const at::Tensor& scores,
                              const TaskWeights& task_weights) {
  const at::Tensor wide = scores.to(at::kFloat);
  const at::Tensor choice = task_weights.bias.defined() ? wide + task_weights.bias : wide;
  const at::Tensor experts = std::get<1>(at::topk(choice, model_.moe.num_experts_per_token, 1, true, true));
  const at::Tensor weights = at::softmax(wide.gather(1, experts), 1);
  auto [routed, is_new] = phase.routed.try_emplace({key, layer});
  if (is_new) {
    routed->second = phase.plans[static_cast<std::size_t>(block.kind)];
    LearnRoutes(phase, block, block.values[static_cast<std::size_t>(task.output)], experts, weights, &routed->second);
  }
  return hidden;
}

void RankProgram::LearnRoutes(PhaseState& phase, const Block& block, const Value& routed, const at::Tensor& experts,
                              const at::Tensor& weights, std::vector<TaskPlan>* plans) {
  strategies::Layouts& layouts = *phase.layouts;
  const std::int64_t k = experts.size(1);
  at::Tensor table = at::cat({experts.to(at::kFloat), weights}, 1).contiguous();
  std::vector<std::int64_t> members{stage_rank_}, sizes;
  if (strategy_.BlockSize() > 1) members = layouts.Members({strategy_.BlockSize(), 1}, stage_rank_);
  for (const std::int64_t member : members) {
    sizes.push_back(2 * k * static_cast<std::int64_t>(layouts.LocalTokens(routed, member)->size()));
  }
  table = table.view({-1});
  if (members.size() > 1) table = AllGather(*GroupOf(members), table, sizes);
  table = table.to(at::kCPU).view({-1, 2 * k});
  const auto entries = table.accessor<float, 2>();
  phase.routes.clear();
  std::map<Tag, std::vector<std::int64_t>> routes;
  std::int64_t row = 0;
  for (const std::int64_t member : members) {
    for (const Tag token : *layouts.LocalTokens(routed, member)) {
      auto& [chosen, shares] = phase.routes[token];
      chosen.clear();
      shares.clear();
      for (std::int64_t i = 0; i < k; ++i) {
        chosen.push_back(std::llround(entries[row][i]));
        shares.push_back(entries[row][k + i]);
      }
      routes[token] = chosen;
      ++row;
    }
  }
  layouts.SetRoutes(std::move(routes));
  phase.routing_known = true;
  for (std::size_t i = 0; i < block.tasks.size(); ++i) {
    TaskPlan& plan = (*plans)[i];
    if (!plan.ready) plan = PlanTask(phase, block, block.tasks[i]);
  }
  phase.routes.clear();
  phase.routing_known = false;
}

void RankProgram::RunTask(PhaseState& phase, const Block& block, const Task& task, const TaskPlan& plan,
                          const TaskWeights& weights, std::int64_t layer, const PassKey& key,
                          std::vector<at::Tensor>& held) {
  const AttentionSpec& a = model_.attention;
  const auto value = [&](ValueId id) -> const Value& { return block.values[static_cast<std::size_t>(id)]; };
  const auto at_value = [&](ValueId id) -> at::Tensor& { return held[static_cast<std::size_t>(id)]; };
  const auto maybe = [&](ValueId id) { return id == kNoValue ? nullptr : &at_value(id); };
  const at::Tensor x = at_value(task.input);
  at::Tensor out, out2;
  switch (task.kind) {
    case TaskKind::kEmbed:
      out = Embed(x, task, weights);
      break;
    case TaskKind::kNormStatistic:
      out = value(task.input).kind == TensorKind::kQkv
                ? QkStatistic(x)
                : x.to(at::kFloat).square().sum(1, true) / static_cast<double>(model_.hidden_size);
      break;
    case TaskKind::kNorm:
      out = Norm(x, maybe(task.input2), weights.scale);
      break;
    case TaskKind::kMatmul:
      out = at::mm(x, weights.matrix);
      break;
    case TaskKind::kRotary:
      if (value(task.input).kind == TensorKind::kGatedQkv) {
        const std::int64_t gate =
            model_.attention.head_dim *
            (a.num_heads / (value(task.output).features == FeatureSplit::kTensor ? strategy_.tensor_parallel_size : 1));
        out = Rotary(value(task.output), x.narrow(1, 0, x.size(1) - gate), nullptr, plan, weights, key.position);
        out2 = x.narrow(1, x.size(1) - gate, gate);
        break;
      }
      out = Rotary(value(task.input), x, maybe(task.input3), plan, weights, key.position);
      if (task.input2 != kNoValue) {
        out2 = Rotary(value(task.input2), at_value(task.input2), nullptr, plan, weights, key.position);
      }
      break;
    case TaskKind::kUpProject: {
      const at::Tensor latent = at_value(task.input2).narrow(1, 0, a.kv_lora_rank);
      out = at::cat({x, at::mm(latent, weights.matrix), at::mm(latent, weights.second)}, 1);
      break;
    }
    case TaskKind::kAbsorbKey: {
      const at::Tensor heads = x.view({x.size(0), -1, a.QkHeadDim()});
      const at::Tensor nope = heads.narrow(2, 0, a.qk_nope_head_dim).reshape({x.size(0), -1});
      out = at::cat({ByHeads(nope, weights.matrix), heads.narrow(2, a.qk_nope_head_dim, a.qk_rope_head_dim)}, 2)
                .view({x.size(0), -1});
      break;
    }
    case TaskKind::kValueProject:
      out = ByHeads(x, weights.matrix).reshape({x.size(0), -1});
      break;
    case TaskKind::kSelectKeyValue: {
      const AttentionSpec& spec = model_.attention;
      const bool split = value(task.output).features == FeatureSplit::kTensor;
      const std::int64_t heads = spec.num_heads / (split ? strategy_.tensor_parallel_size : 1);
      const std::int64_t first = heads * spec.QkHeadDim();
      out = Take(x.narrow(1, first, x.size(1) - first), 0, plan.rows);
      if (task.input2 != kNoValue) out2 = Take(at_value(task.input2), 0, plan.rows);
      break;
    }
    case TaskKind::kAttention:
      std::tie(out, out2) = Attention(task, plan, caches_[static_cast<std::size_t>(layer)],
                                      phase.cache_requests[static_cast<std::size_t>(key.index)], key, held);
      break;
    case TaskKind::kIndexSelect:
      out = IndexSelect(task, plan, caches_[static_cast<std::size_t>(layer)],
                        phase.cache_requests[static_cast<std::size_t>(key.index)], key, held);
      break;
    case TaskKind::kLseRescale:
      std::tie(out, out2) = Rescale(block, task, plan, held);
      break;
    case TaskKind::kGateOutput:
      out = x * at_value(task.input2).sigmoid();
      break;
    case TaskKind::kActivation:
      out = Activation(x);
      break;
    case TaskKind::kRoute:
      out = Route(phase, block, task, layer, key, x, at_value(task.input2), weights);
      break;
    case TaskKind::kExpertMatmul:
      out = value(task.output).kind == TensorKind::kHidden ? ExpertDown(x, plan, weights) : ExpertUp(x, plan, weights);
      break;
    case TaskKind::kAdd:
      out = x + at_value(task.input2);
      break;
    case TaskKind::kSlice:
    case TaskKind::kSelectLast:
      out = Take(Take(x, 0, plan.rows), 1, plan.columns).contiguous();
      break;
    case TaskKind::kCollective:
    case TaskKind::kLinearAttention:
    case TaskKind::kLoss:
      SHARDSCOUT_CHECK(false && "not a compute task that live runs know");
  }
  at_value(task.output) = std::move(out);
  if (task.output2 != kNoValue) at_value(task.output2) = std::move(out2);
}

at::Tensor RankProgram::RunBlock(PhaseState& phase, BlockKind kind, std::int64_t layer, const PassKey& key,
                                 at::Tensor input) {
  const Block& block = phase.program->BlockOf(kind);
  const auto index = static_cast<std::size_t>(kind);
  const std::vector<TaskWeights>& weights = phase.weights.at({kind, layer});
  std::vector<at::Tensor> held(block.values.size());
  held[static_cast<std::size_t>(block.input)] = std::move(input);
  const std::vector<TaskPlan>* plans = &phase.plans[index];
  if (kind == BlockKind::kMoe) {
    const auto known = phase.routed.find({key, layer});
    if (known != phase.routed.end()) plans = &known->second;
  }
  for (std::size_t i = 0; i < block.tasks.size(); ++i) {
    const Task& task = block.tasks[i];
    const double started_s = Now();
    double bytes = 0;
    if (task.kind == TaskKind::kCollective) {
      const TaskPlan& plan = (*plans)[i];
      SHARDSCOUT_CHECK(plan.ready);
      std::vector<const ExchangePlan*> exchanges;
      for (const ExchangePlan& exchange : plan.exchanges) exchanges.push_back(&exchange);
      std::vector<at::Tensor> inputs{held[static_cast<std::size_t>(task.input)]};
      if (task.input2 != kNoValue) inputs.push_back(held[static_cast<std::size_t>(task.input2)]);
      std::vector<at::Tensor> outputs = RunExchange(*plan.group, task.collective, exchanges, inputs, &bytes);
      held[static_cast<std::size_t>(task.output)] = std::move(outputs[0]);
      if (task.output2 != kNoValue) held[static_cast<std::size_t>(task.output2)] = std::move(outputs[1]);
    } else {
      RunTask(phase, block, task, (*plans)[i], weights[i], layer, key, held);
      if (task.kind == TaskKind::kRoute) plans = &phase.routed.at({key, layer});
    }
    Record(kind, i, started_s, bytes);
  }
  return held[static_cast<std::size_t>(block.output)];
}

}  // namespace shardscout::live
