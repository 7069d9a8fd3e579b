#include <algorithm>
#include <bit>

#include "env/live/worker/phase_state.h"
#include "shardscout/error.h"

namespace shardscout::live {
namespace {

using strategies::ExpertOf;
using strategies::Layouts;
using strategies::PositionOf;
using strategies::RequestOf;
using strategies::Tag;
using strategies::Tags;
using strategies::TokenOf;

bool IsPairs(const Value& value) {
  return value.ffn == FfnKind::kExpert && (value.kind == TensorKind::kGate || value.kind == TensorKind::kFfn);
}

bool IsRouted(const Value& value) {
  return value.tokens == TokenSplit::kRouted || value.tokens == TokenSplit::kRoutedBlock || IsPairs(value);
}

bool SameSummands(const Layouts& layouts, std::uint8_t a, std::uint8_t b) {
  for (std::int64_t rank = 0; rank < layouts.Ranks(); ++rank) {
    if (layouts.Summands(a, rank) != layouts.Summands(b, rank)) return false;
  }
  return true;
}

/// Positions of the first request among rising rows; every request has the same.
std::vector<std::int64_t> PositionsOf(const Tags& rows) {
  std::vector<std::int64_t> positions;
  for (const Tag row : rows) {
    if (RequestOf(row) != RequestOf(rows.front())) break;
    positions.push_back(PositionOf(row));
  }
  return positions;
}

std::vector<std::int64_t> RequestsOf(const Tags& rows) {
  std::vector<std::int64_t> requests;
  for (const Tag row : rows) {
    if (requests.empty() || requests.back() != RequestOf(row)) requests.push_back(RequestOf(row));
  }
  return requests;
}

}  // namespace

Communicator* RankProgram::GroupOf(const std::vector<std::int64_t>& stage_ranks) {
  std::vector<std::int64_t> ranks = stage_ranks;
  for (std::int64_t& rank : ranks) rank += base_;
  return &world_.GroupOf(ranks);
}

void RankProgram::PlanPhase(PhaseState& state, const PhaseProgram& phase) {
  state.program = &phase;
  strategies::Pass pass{.phase = phase.phase,
                        .token_shard_by_request = phase.token_shard_by_request,
                        .input_tokens = problem_.workload().input_tokens,
                        .padded_input = phase.padded_input,
                        .position = phase.context,
                        .requests = {}};
  std::int64_t next = 0;
  for (std::int64_t d = 0; d < strategy_.data_parallel_size; ++d) {
    std::vector<std::int64_t>& requests = pass.requests.emplace_back();
    for (std::int64_t j = 0; j < phase.requests; ++j) requests.push_back(next++);
  }
  state.layouts = std::make_unique<Layouts>(model_, strategy_, pass);
  state.passes = phase.phase == Phase::kPrefill ? PrefillPasses(phase) : MicroBatches(phase);
  state.plans.resize(phase.blocks.size());
  for (std::size_t b = 0; b < phase.blocks.size(); ++b) {
    const Block& block = phase.blocks[b];
    if (block.kind == BlockKind::kTransfer) continue;
    for (const Task& task : block.tasks) state.plans[b].push_back(PlanTask(state, block, task));
  }
  PlanCacheRequests(state);
}

/// Where the requests of each pass are in the caches.
void RankProgram::PlanCacheRequests(PhaseState& state) {
  const AttentionPlan* attention = nullptr;
  for (const std::vector<TaskPlan>& plans : state.plans) {
    for (const TaskPlan& plan : plans) {
      if (plan.attention != nullptr) attention = plan.attention.get();
    }
  }
  SHARDSCOUT_CHECK(attention != nullptr);
  for (const Requests& requests : state.passes) {
    std::vector<std::int64_t> places;
    for (const std::int64_t number : attention->requests) {
      const auto d = static_cast<std::size_t>(number / state.program->requests);
      const auto j = static_cast<std::size_t>(number % state.program->requests);
      places.push_back(cache_request_.at(requests[d][j]));
    }
    state.cache_requests.push_back(IndexList::Of(places, kept_requests_, options_.device()));
  }
}

TaskPlan RankProgram::PlanTask(PhaseState& state, const Block& block, const Task& task) {
  Layouts& layouts = *state.layouts;
  const auto value = [&](ValueId id) -> const Value& { return block.values[static_cast<std::size_t>(id)]; };
  TaskPlan plan;
  const at::Device device = options_.device();
  if (task.kind == TaskKind::kCollective) {
    // Made in program order, which is the same on all members, whether or not the routing is known.
    const std::vector<std::int64_t> members = layouts.Members(task.group, stage_rank_);
    plan.group = GroupOf(members);
  }
  if (task.kind == TaskKind::kRoute && strategy_.BlockSize() > 1) {
    plan.group = GroupOf(layouts.Members({strategy_.BlockSize(), 1}, stage_rank_));
  }
  for (const ValueId id : {task.input, task.input2, task.output}) {
    if (id != kNoValue && IsRouted(value(id)) && !state.routing_known) return plan;
  }
  plan.ready = true;
  const Value& out = value(task.output);
  const Tags& out_rows = *layouts.LocalTokens(out, stage_rank_);
  plan.output_rows = static_cast<std::int64_t>(out_rows.size());
  plan.output_columns = static_cast<std::int64_t>(layouts.LocalColumns(out, stage_rank_)->size());
  const auto cut = [&](const Value& from, const Value& to) {
    plan.rows =
        IndexList::Of(SharedTags(*layouts.LocalTokens(from, stage_rank_), *layouts.LocalTokens(to, stage_rank_)).first,
                      static_cast<std::int64_t>(layouts.LocalTokens(from, stage_rank_)->size()), device);
    plan.columns = IndexList::Of(
        SharedTags(*layouts.LocalColumns(from, stage_rank_), *layouts.LocalColumns(to, stage_rank_)).first,
        static_cast<std::int64_t>(layouts.LocalColumns(from, stage_rank_)->size()), device);
  };
  switch (task.kind) {
    case TaskKind::kCollective: {
      const std::vector<std::int64_t> members = layouts.Members(task.group, stage_rank_);
      for (const auto& [from, to] : {std::pair(task.input, task.output), std::pair(task.input2, task.output2)}) {
        if (from == kNoValue) continue;
        const bool adds =
            task.collective == Collective::kAllToAll && !SameSummands(layouts, value(from).partial, value(to).partial);
        plan.exchanges.push_back(
            PlanExchange(task, value(from), value(to), adds, layouts, members, stage_rank_, device));
      }
      break;
    }
    case TaskKind::kSlice:
    case TaskKind::kSelectLast:
    case TaskKind::kSelectKeyValue:
      cut(value(task.input), out);
      break;
    case TaskKind::kRotary:
      if (state.program->phase == Phase::kPrefill) {
        std::vector<std::int64_t> positions;
        for (const Tag row : out_rows) positions.push_back(PositionOf(row));
        const at::Tensor index = at::tensor(positions, at::TensorOptions().dtype(at::kLong)).to(device);
        plan.cos = cos_.index_select(0, index).unsqueeze(1);
        plan.sin = sin_.index_select(0, index).unsqueeze(1);
      }
      break;
    case TaskKind::kAttention:
      plan.attention = PlanAttention(state, block, task);
      break;
    case TaskKind::kIndexSelect:
      plan.attention = PlanSelection(state, block, task);
      break;
    case TaskKind::kLseRescale: {
      const std::vector<std::int64_t> members = layouts.Members(task.group, stage_rank_);
      plan.own = std::find(members.begin(), members.end(), stage_rank_) - members.begin();
      if (task.output2 == kNoValue) break;
      Value merged = value(task.output2);
      merged.tokens = value(task.input).tokens;
      merged.features = value(task.input).features;
      cut(merged, value(task.output2));
      break;
    }
    case TaskKind::kExpertMatmul:
      PlanExperts(state, block, task, &plan);
      break;
    default:
      break;
  }
  return plan;
}

void RankProgram::PlanExperts(PhaseState& state, const Block& block, const Task& task, TaskPlan* plan) {
  Layouts& layouts = *state.layouts;
  const Value& in = block.values[static_cast<std::size_t>(task.input)];
  const Value& out = block.values[static_cast<std::size_t>(task.output)];
  const bool down = out.kind == TensorKind::kHidden;
  const Tags& pairs = *layouts.LocalTokens(down ? in : out, stage_rank_);
  const Tags& tokens = *layouts.LocalTokens(down ? out : in, stage_rank_);
  const std::int64_t first = layouts.FirstExpert(stage_rank_);
  for (std::int64_t e = first; e < first + layouts.NumLocalExperts(); ++e) {
    std::vector<std::int64_t> pair_rows, token_rows;
    std::vector<float> weights;
    for (std::size_t i = 0; i < pairs.size(); ++i) {
      if (ExpertOf(pairs[i]) != e) continue;
      const auto token = std::lower_bound(tokens.begin(), tokens.end(), TokenOf(pairs[i]));
      SHARDSCOUT_CHECK(token != tokens.end() && *token == TokenOf(pairs[i]));
      pair_rows.push_back(static_cast<std::int64_t>(i));
      token_rows.push_back(token - tokens.begin());
      const auto& [experts, shares] = state.routes.at(*token);
      weights.push_back(
          shares[static_cast<std::size_t>(std::find(experts.begin(), experts.end(), e) - experts.begin())]);
    }
    ExpertRows rows;
    rows.tokens = IndexList::Of(token_rows, static_cast<std::int64_t>(tokens.size()), options_.device());
    rows.pairs = IndexList::Of(pair_rows, static_cast<std::int64_t>(pairs.size()), options_.device());
    if (down && !weights.empty()) rows.weights = at::tensor(weights).unsqueeze(1).to(options_);
    plan->experts.push_back(std::move(rows));
  }
}

std::shared_ptr<const AttentionPlan> RankProgram::PlanAttention(PhaseState& state, const Block& block,
                                                                const Task& task) {
  Layouts& layouts = *state.layouts;
  const AttentionSpec& a = model_.attention;
  const bool grouped = a.kind == AttentionKind::kGrouped, prefill = state.program->phase == Phase::kPrefill;
  const at::Device device = options_.device();
  const Value& q = block.values[static_cast<std::size_t>(task.input)];
  const Tags& rows = *layouts.LocalTokens(q, stage_rank_);
  const Tags& columns = *layouts.LocalColumns(q, stage_rank_);
  auto plan = std::make_shared<AttentionPlan>();
  plan->window = WindowOf(model_, block.kind);

  const std::int64_t q_size = grouped || prefill ? a.QkHeadDim() : a.kv_lora_rank + a.qk_rope_head_dim;
  std::vector<std::int64_t> heads, kv_heads, kv_of_head;
  for (std::size_t i = 0; i < columns.size(); i += static_cast<std::size_t>(q_size)) {
    if (columns[i] >= a.num_heads * q_size) break;
    heads.push_back(columns[i] / q_size);
  }
  plan->heads = static_cast<std::int64_t>(heads.size());
  if (grouped) {
    const Tag first = a.num_heads * a.head_dim, end = first + a.num_kv_heads * a.head_dim;
    for (const Tag column : columns) {
      if (column >= first && column < end && (column - first) % a.head_dim == 0) {
        kv_heads.push_back((column - first) / a.head_dim);
      }
    }
    plan->kv_heads = static_cast<std::int64_t>(kv_heads.size());
    for (const std::int64_t head : heads) {
      const auto found = std::find(kv_heads.begin(), kv_heads.end(), head / (a.num_heads / a.num_kv_heads));
      SHARDSCOUT_CHECK(found != kv_heads.end());
      kv_of_head.push_back(found - kv_heads.begin());
    }
    plan->kv_of_head = IndexList::Of(kv_of_head, plan->kv_heads, device);
    const std::int64_t group = plan->heads / plan->kv_heads;
    bool regular = plan->heads % plan->kv_heads == 0;
    for (std::int64_t i = 0; i < plan->heads; ++i) {
      regular = regular && kv_of_head[static_cast<std::size_t>(i)] == i / group;
    }
    if (regular) plan->group = group;
  }

  plan->requests = RequestsOf(rows);
  if (!prefill) return plan;
  // The source of keys: gathered ones under context parallelism, else the rank's own.
  const ValueId gathered = strategy_.context_parallel_size > 1 ? task.input2 : task.input;
  const Tags& source = *layouts.LocalTokens(block.values[static_cast<std::size_t>(gathered)], stage_rank_);
  SHARDSCOUT_CHECK(RequestsOf(source) == plan->requests);
  PlanPrefillKeys(state, task.cache, rows, source, plan.get());
  return plan;
}

/// The indexer looks at all positions of the rank's requests.
std::shared_ptr<const AttentionPlan> RankProgram::PlanSelection(PhaseState& state, const Block& block,
                                                                const Task& task) {
  const Tags& rows = *state.layouts->LocalTokens(block.values[static_cast<std::size_t>(task.input)], stage_rank_);
  auto plan = std::make_shared<AttentionPlan>();
  plan->requests = RequestsOf(rows);
  if (state.program->phase == Phase::kPrefill) PlanPrefillKeys(state, task.cache, rows, rows, plan.get());
  return plan;
}

/// Which of a request's `source` rows the queries in `rows` see, and which of them the rank keeps.
void RankProgram::PlanPrefillKeys(PhaseState& state, const CachePlan& cache, const Tags& rows, const Tags& source,
                                  AttentionPlan* plan) {
  const at::Device device = options_.device();
  const std::vector<std::int64_t> queries = PositionsOf(rows), positions = PositionsOf(source);
  const std::int64_t tp = strategy_.tensor_parallel_size;
  std::vector<std::int64_t> keys, kept, slots;
  for (std::size_t i = 0; i < positions.size(); ++i) {
    const std::int64_t position = positions[i];
    if (!cache.positions_over_tp || position % tp == stage_rank_ % tp) keys.push_back(static_cast<std::int64_t>(i));
    if (position >= problem_.workload().input_tokens || !state.layouts->OwnsPosition(cache, stage_rank_, position)) {
      continue;
    }
    kept.push_back(static_cast<std::int64_t>(i));
    slots.push_back(position / modulus_);
  }
  const auto all = static_cast<std::int64_t>(positions.size());
  plan->keys = IndexList::Of(keys, all, device);
  plan->kept = IndexList::Of(kept, all, device);
  plan->slots = IndexList::Of(slots, -1, device);
  at::Tensor hidden =
      at::zeros({static_cast<std::int64_t>(queries.size()), static_cast<std::int64_t>(keys.size())}, at::kBool);
  auto hide = hidden.accessor<bool, 2>();
  for (std::size_t i = 0; i < queries.size(); ++i) {
    for (std::size_t k = 0; k < keys.size(); ++k) {
      const std::int64_t distance = queries[i] - positions[static_cast<std::size_t>(keys[k])];
      hide[static_cast<std::int64_t>(i)][static_cast<std::int64_t>(k)] =
          distance < 0 || (plan->window > 0 && distance >= plan->window);
    }
  }
  plan->hidden = hidden.to(device);
}

}  // namespace shardscout::live
