#include "baselines/exact/menu.h"

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "env/analytical/operator_time.h"

namespace shardscout::baselines::exact {
namespace {

ModelSpec WithoutSharedExpert(ModelSpec model) {
  model.moe.shared_ffn_size = 0;
  model.moe.shared_expert_gate = false;
  return model;
}

bool NoWorse(const env::BlockCost& a, const env::BlockCost& b) {
  return a.time_s[0] <= b.time_s[0] && a.time_s[1] <= b.time_s[1] && a.weight_bytes <= b.weight_bytes &&
         a.peak_activation_bytes <= b.peak_activation_bytes && a.max_payload_bytes <= b.max_payload_bytes &&
         a.backward_s <= b.backward_s && a.forward_tasks <= b.forward_tasks && a.backward_tasks <= b.backward_tasks &&
         a.kept_bytes <= b.kept_bytes && a.recomputed_bytes <= b.recomputed_bytes && a.elements <= b.elements &&
         a.expert_elements <= b.expert_elements && a.summed_elements <= b.summed_elements;
}

bool NoWorse(const AttentionOption& a, const AttentionOption& b) {
  return NoWorse(a.full, b.full) && NoWorse(a.window, b.window) && NoWorse(a.linear, b.linear) &&
         a.full_cache_bytes <= b.full_cache_bytes && a.window_cache_bytes <= b.window_cache_bytes &&
         a.linear_state_bytes <= b.linear_state_bytes;
}
bool NoWorse(const DenseOption& a, const DenseOption& b) { return NoWorse(a.cost, b.cost); }
bool NoWorse(const MoeOption& a, const MoeOption& b) { return NoWorse(a.cost, b.cost); }

/// Adds an option to a front; of equal ones the earlier stays.
template <class Option>
void AddToFront(std::vector<Option>& front, const Option& option) {
  if (std::any_of(front.begin(), front.end(), [&](const Option& known) { return NoWorse(known, option); })) return;
  std::erase_if(front, [&](const Option& known) { return NoWorse(option, known); });
  front.push_back(option);
}

using Operators = std::span<const Operator>;
constexpr Operators kNoOperators;

/// Those of the shared expert that are split: over one rank nothing is, whatever the dense layers are.
Operators SharedOperators(const Shape& shape) { return shape.tp > 1 ? Operators(kFfnOperators) : kNoOperators; }

/// Of `s` what a block of a `serve` strategy depends on (LowerBlock): a prompt's pass has as many requests whatever the
/// batch is.
Strategy WhatIsRead(const Strategy& s, Phase phase, BlockKind kind) {
  Strategy read = s;
  read.shardings = {};
  const auto keep = [&](std::span<const Operator> operators) {
    for (Operator op : operators) read.SetSharding(op, s.ShardingOf(op));
  };
  if (phase == Phase::kPrefill) {
    read.batch_size = 0;
    for (Operator op : {Operator::kAttention, Operator::kLmHead}) {
      if (s.ShardingOf(op) == Sharding::kToken) read.SetSharding(op, Sharding::kToken);
    }
  }
  switch (kind) {
    case BlockKind::kEmbedding:
      read.SetSharding(Operator::kEmbedding, s.ShardingOf(Operator::kEmbedding));
      break;
    case BlockKind::kHead:
      read.SetSharding(Operator::kLmHead, s.ShardingOf(Operator::kLmHead));
      break;
    case BlockKind::kDenseFfn:
      keep(kFfnOperators);
      break;
    case BlockKind::kMoe:
      keep(kMoeOperators);
      keep(kFfnOperators);
      break;
    default:
      keep(kAttentionOperators);
  }
  return read;
}

void Add(env::BlockCost& sum, const Task& task, Phase phase, double time_s) {
  if (task.kind != TaskKind::kCollective) sum.time_s[static_cast<std::size_t>(phase)] += time_s;
}

}  // namespace

env::BlockCost Least(const env::BlockCost& a, const env::BlockCost& b) {
  return {.time_s = {std::min(a.time_s[0], b.time_s[0]), std::min(a.time_s[1], b.time_s[1])},
          .weight_bytes = std::min(a.weight_bytes, b.weight_bytes),
          .table_bytes = std::max(a.table_bytes, b.table_bytes),
          .peak_activation_bytes = std::min(a.peak_activation_bytes, b.peak_activation_bytes),
          .max_payload_bytes = std::min(a.max_payload_bytes, b.max_payload_bytes),
          .backward_s = std::min(a.backward_s, b.backward_s),
          .forward_tasks = std::min(a.forward_tasks, b.forward_tasks),
          .backward_tasks = std::min(a.backward_tasks, b.backward_tasks),
          .input_bytes = std::min(a.input_bytes, b.input_bytes),
          .kept_bytes = std::min(a.kept_bytes, b.kept_bytes),
          .recomputed_bytes = std::min(a.recomputed_bytes, b.recomputed_bytes),
          .elements = std::min(a.elements, b.elements),
          .expert_elements = std::min(a.expert_elements, b.expert_elements),
          .summed_elements = std::min(a.summed_elements, b.summed_elements)};
}

double CellRows(const Problem& problem, const Strategy& s, Phase phase) {
  const std::int64_t tokens = phase == Phase::kPrefill ? PrefillRequests(problem, s) * PaddedInputTokens(problem, s)
                                                       : s.batch_size / s.num_microbatches;
  return static_cast<double>(tokens) / static_cast<double>(s.context_parallel_size);
}

env::SpanCache LeastSpans(const Problem& problem) {
  const ClusterSpec& cluster = problem.cluster();
  return {cluster, problem.workload().IsTraining() ? 1 : cluster.num_devices / 2 + 1};
}

MenuMaker::MenuMaker(const StrategySpace& space)
    : space_(space),
      rules_(space.problem()),
      routed_only_(WithoutSharedExpert(space.problem().model()), space.problem().cluster(), space.problem().workload(),
                   space.problem().options()) {
  std::set<std::int64_t> requests;
  for (std::int64_t batch : space.Values(static_cast<int>(Variable::kBatchSize))) {
    for (std::int64_t m : space.Values(static_cast<int>(Variable::kNumMicrobatches))) {
      if (m <= batch && batch % m == 0) requests.insert(batch / m);
    }
  }
  requests_.assign(requests.begin(), requests.end());
}

std::int64_t MenuMaker::SplittingRequests(std::int64_t tp, std::int64_t cp) const {
  // In decode cp splits requests too.
  const bool decode = problem().workload().HasPhase(Phase::kDecode);
  for (std::int64_t parts : {decode ? tp * cp : tp, decode ? cp : 1}) {
    const auto splits =
        std::find_if(requests_.begin(), requests_.end(), [&](std::int64_t r) { return r % parts == 0; });
    if (splits != requests_.end()) return *splits;
  }
  return requests_.front();
}

Strategy MenuMaker::Base(const Shape& shape, const Setting& setting) const {
  Strategy s;
  s.tensor_parallel_size = shape.tp;
  s.context_parallel_size = shape.cp;
  s.batch_size = shape.requests;
  s.residual_layout = setting.residual;
  if (setting.attention_token) s.SetSharding(Operator::kAttention, Sharding::kToken);
  if (setting.head_token) s.SetSharding(Operator::kLmHead, Sharding::kToken);
  s.recomputation = setting.recomputation;
  return s;
}

std::vector<Sharding> MenuMaker::Admitted(const Strategy& s, Operator op) const {
  std::vector<Sharding> admitted;
  for (std::int64_t value : space_.Values(kFirstShardingVariable + static_cast<int>(op))) {
    const auto sharding = static_cast<Sharding>(value);
    if (rules_.Admits(s, op, sharding)) admitted.push_back(sharding);
  }
  return admitted;
}

std::vector<ExpertExchange> MenuMaker::Exchanges(const Strategy& s) const {
  std::vector<ExpertExchange> admitted;
  for (std::int64_t value : space_.Values(static_cast<int>(Variable::kExpertExchange))) {
    const auto exchange = static_cast<ExpertExchange>(value);
    if (rules_.Exchange(s, exchange)) admitted.push_back(exchange);
  }
  return admitted;
}

void MenuMaker::ForEachSharding(Strategy s, std::span<const Operator> operators,
                                const std::function<void(const Strategy&)>& f) const {
  if (operators.empty()) {
    f(s);
    return;
  }
  for (Sharding sharding : Admitted(s, operators.front())) {
    s.SetSharding(operators.front(), sharding);
    ForEachSharding(s, operators.subspan(1), f);
  }
}

env::BlockCost MenuMaker::Price(const Problem& problem, const Strategy& s, BlockKind kind,
                                env::SpanCache& spans) const {
  if (problem.workload().kind == WorkloadKind::kServe) {
    const std::shared_ptr<const Pass> prefill = PassOf(problem, s, Phase::kPrefill, kind, spans);
    const std::shared_ptr<const Pass> decode = PassOf(problem, s, Phase::kDecode, kind, spans);
    env::BlockCost cost = env::PriceBlock(problem.cluster(), &prefill->stored, &decode->stored, spans);
    cost.time_s[static_cast<std::size_t>(Phase::kPrefill)] = prefill->time_s;
    cost.time_s[static_cast<std::size_t>(Phase::kDecode)] = decode->time_s;
    return cost;
  }
  std::array<Block, 2> blocks;
  for (Phase phase : {Phase::kPrefill, Phase::kDecode}) {
    if (problem.workload().HasPhase(phase)) {
      blocks[static_cast<std::size_t>(phase)] = LowerBlock(problem, s, phase, kind);
    }
  }
  return env::PriceBlock(problem.cluster(), &blocks[0], &blocks[1], spans);
}

std::shared_ptr<const MenuMaker::Pass> MenuMaker::PassOf(const Problem& problem, const Strategy& s, Phase phase,
                                                         BlockKind kind, env::SpanCache& spans) const {
  const Strategy read = WhatIsRead(s, phase, kind);
  const std::tuple key(&problem == &routed_only_, phase, kind, spans.least_devices());
  {
    const std::lock_guard lock(passes_mutex_);
    const Passes& known = passes_[key];
    const auto found = known.find(read);
    if (found != known.end()) return found->second;
  }
  auto pass = std::make_shared<Pass>();
  Block block = LowerBlock(problem, s, phase, kind);
  const bool prefill = phase == Phase::kPrefill;
  const env::BlockCost cost =
      env::PriceBlock(problem.cluster(), prefill ? &block : nullptr, prefill ? nullptr : &block, spans);
  pass->time_s = cost.time_s[static_cast<std::size_t>(phase)];
  pass->stored.weights = std::move(block.weights);
  pass->stored.peak_activation_bytes = block.peak_activation_bytes;
  pass->stored.max_payload_bytes = block.max_payload_bytes;
  const std::lock_guard lock(passes_mutex_);
  return passes_[key].emplace(read, std::move(pass)).first->second;
}

std::vector<Setting> MenuMaker::Settings(const Shape& shape) const {
  const WorkloadSpec& workload = problem().workload();
  const Strategy s = Base(shape, {});
  const auto token_values = [&](Operator op, bool matters) -> std::vector<bool> {
    if (!matters) return {false};
    std::vector<bool> values;
    const std::vector<Sharding> admitted = Admitted(s, op);
    const auto tokens = std::count(admitted.begin(), admitted.end(), Sharding::kToken);
    if (std::cmp_less(tokens, admitted.size())) values.push_back(false);
    if (tokens > 0) values.push_back(true);
    return values;
  };
  // Some layers computed again are priced from what costs nothing again (training_leaf.cc).
  std::set<Recomputation> recomputations;
  for (std::int64_t again : space_.Values(static_cast<int>(Variable::kRecomputation))) {
    if (rules_.Training(s, Variable::kRecomputation, again)) recomputations.insert(static_cast<Recomputation>(again));
  }
  const bool some = space_.Values(static_cast<int>(Variable::kRecomputedLayers)).back() > 0;
  if (some && recomputations.contains(Recomputation::kFull)) recomputations.insert(Recomputation::kNone);
  std::vector<Setting> settings;
  for (std::int64_t value : space_.Values(static_cast<int>(Variable::kResidualLayout))) {
    const auto layout = static_cast<Layout>(value);
    if (!rules_.Residual(s, layout)) continue;
    for (bool attention : token_values(Operator::kAttention, workload.HasPhase(Phase::kPrefill))) {
      for (bool head : token_values(Operator::kLmHead, workload.kind == WorkloadKind::kServe)) {
        for (const Recomputation again : recomputations) settings.push_back({layout, attention, head, again});
      }
    }
  }
  return settings;
}

AttentionMenu MenuMaker::Attention(const Shape& shape, const Setting& setting, env::SpanCache& spans) const {
  const WorkloadSpec& workload = problem().workload();
  const bool attention_matters = workload.HasPhase(Phase::kPrefill);
  const bool head_matters = workload.kind == WorkloadKind::kServe;
  const bool windows = problem().model().HasMixedWindows();
  const bool linear = problem().model().HasLinearAttention();
  AttentionMenu menu;
  Strategy s = Base(shape, setting);
  for (Sharding embedding : Admitted(s, Operator::kEmbedding)) {
    s.SetSharding(Operator::kEmbedding, embedding);
    menu.embedding.push_back({embedding, Price(problem(), s, BlockKind::kEmbedding, spans)});
  }
  for (Sharding qkv : Admitted(s, Operator::kQkv)) {
    s.SetSharding(Operator::kQkv, qkv);
    for (Sharding attention : Admitted(s, Operator::kAttention)) {
      if (attention_matters && (attention == Sharding::kToken) != setting.attention_token) continue;
      s.SetSharding(Operator::kAttention, attention);
      // A batch that divides by tp, so that one request's share is exact.
      Strategy whole = s;
      whole.batch_size = shape.tp;
      const env::StorageTerms storage = env::StorageOf(problem(), whole);
      for (Sharding attn_out : Admitted(s, Operator::kAttnOut)) {
        s.SetSharding(Operator::kAttnOut, attn_out);
        AttentionOption option{.qkv = qkv,
                               .attention = attention,
                               .attn_out = attn_out,
                               .full = Price(problem(), s, BlockKind::kAttention, spans),
                               .window = {},
                               .linear = {}};
        if (windows) option.window = Price(problem(), s, BlockKind::kWindowAttention, spans);
        if (linear) option.linear = Price(problem(), s, BlockKind::kLinearAttention, spans);
        option.full_cache_bytes = storage.full_cache_bytes / static_cast<double>(shape.tp);
        option.window_cache_bytes = storage.window_cache_bytes / static_cast<double>(shape.tp);
        option.linear_state_bytes = storage.linear_state_bytes / static_cast<double>(shape.tp);
        AddToFront(menu.attention, option);
      }
    }
  }
  s = Base(shape, setting);
  for (Sharding head : Admitted(s, Operator::kLmHead)) {
    if (head_matters && (head == Sharding::kToken) != setting.head_token) continue;
    s.SetSharding(Operator::kLmHead, head);
    menu.head.push_back({head, Price(problem(), s, BlockKind::kHead, spans)});
  }
  return menu;
}

std::vector<DenseOption> MenuMaker::Dense(const Shape& shape, const Setting& setting, DenseFfnGroup group,
                                          std::int64_t dp, env::SpanCache& spans) const {
  Strategy s = Base(shape, setting);
  s.data_parallel_size = dp;
  s.dense_ffn_group = group;
  std::vector<DenseOption> options;
  if (group == DenseFfnGroup::kStage && !rules_.FfnGroup(s, group)) return options;
  const bool dense = problem().model().HasDense();
  // With a shared expert its sharding is this one too, so that none may be left out here.
  const bool shared = problem().model().HasSharedExpert();
  ForEachSharding(s, kFfnOperators, [&](const Strategy& with) {
    const DenseOption option{.up = with.ShardingOf(Operator::kFfnUp),
                             .down = with.ShardingOf(Operator::kFfnDown),
                             .cost = dense ? Price(problem(), with, BlockKind::kDenseFfn, spans) : env::BlockCost()};
    if (shared) {
      options.push_back(option);
    } else {
      AddToFront(options, option);
    }
  });
  return options;
}

std::vector<MoeOption> MenuMaker::ListMoe(const Problem& priced, bool with_shared, const Shape& shape,
                                          const Setting& setting, const ExpertMesh& mesh, env::SpanCache& spans) const {
  Strategy s = Base(shape, setting);
  s.expert_parallel_size = mesh.ep;
  s.expert_tensor_parallel_size = mesh.etp;
  std::vector<MoeOption> all;
  ForEachSharding(s, with_shared ? SharedOperators(shape) : kNoOperators, [&](Strategy with) {
    std::vector<MoeOption> front;
    for (ExpertExchange exchange : Exchanges(with)) {
      with.expert_exchange = exchange;
      ForEachSharding(with, kMoeOperators, [&](const Strategy& option) {
        AddToFront(front, MoeOption{.exchange = exchange,
                                    .router = option.ShardingOf(Operator::kRouter),
                                    .expert_up = option.ShardingOf(Operator::kExpertUp),
                                    .expert_down = option.ShardingOf(Operator::kExpertDown),
                                    .ffn_up = option.ShardingOf(Operator::kFfnUp),
                                    .ffn_down = option.ShardingOf(Operator::kFfnDown),
                                    .cost = Price(priced, option, BlockKind::kMoe, spans)});
      });
    }
    all.insert(all.end(), front.begin(), front.end());
  });
  return all;
}

std::vector<MoeOption> MenuMaker::Moe(const Shape& shape, const Setting& setting, const ExpertMesh& mesh,
                                      env::SpanCache& spans) const {
  return ListMoe(problem(), problem().model().HasSharedExpert(), shape, setting, mesh, spans);
}

std::vector<MoeOption> MenuMaker::RoutedPart(const Shape& shape, const Setting& setting, const ExpertMesh& mesh,
                                             env::SpanCache& spans) const {
  return ListMoe(routed_only_, false, shape, setting, mesh, spans);
}

double MenuMaker::DecodeExpertSeconds(const Shape& shape, const ExpertMesh& mesh) const {
  Strategy s = Base(shape, {});
  s.expert_parallel_size = mesh.ep;
  s.expert_tensor_parallel_size = mesh.etp;
  double least = std::numeric_limits<double>::infinity();
  ForEachSharding(s, kExpertOperators, [&](const Strategy& with) {
    double seconds = 0;
    for (const Task& task : LowerBlock(routed_only_, with, Phase::kDecode, BlockKind::kMoe).tasks) {
      if (task.kind == TaskKind::kExpertMatmul) seconds += OperatorTime(problem().cluster().device, task);
    }
    least = std::min(least, seconds);
  });
  return least;
}

env::BlockCost MenuMaker::SharedPart(const Shape& shape, const Setting& setting, env::SpanCache& spans) const {
  if (!problem().model().HasSharedExpert()) return {};
  // The shared expert's kernels know nothing of the expert mesh.
  env::BlockCost least = kNothingYet;
  ForEachSharding(Base(shape, setting), SharedOperators(shape), [&](const Strategy& s) {
    env::BlockCost cost;
    for (Phase phase : {Phase::kPrefill, Phase::kDecode}) {
      if (!problem().workload().HasPhase(phase)) continue;
      const Block block = LowerBlock(problem(), s, phase, BlockKind::kMoe);
      for (const Task& task : block.tasks) {
        if (task.ffn != FfnKind::kShared) continue;
        Add(cost, task, phase, env::TaskTime(problem().cluster(), task, spans));
      }
      double bytes = 0;
      for (const Weight& weight : block.weights) bytes += weight.ffn == FfnKind::kShared ? weight.bytes : 0;
      cost.weight_bytes = std::max(cost.weight_bytes, bytes);
    }
    least = Least(least, cost);
  });
  return least;
}

env::BlockCost MenuMaker::UnsplitStageDense(const Shape& shape, const Setting& setting, std::int64_t dp) const {
  Strategy s = Base(shape, setting);
  s.data_parallel_size = dp;
  s.dense_ffn_group = DenseFfnGroup::kStage;
  env::BlockCost cost;
  for (Phase phase : {Phase::kPrefill, Phase::kDecode}) {
    if (!problem().workload().HasPhase(phase)) continue;
    const Block block = LowerBlock(problem(), s, phase, BlockKind::kDenseFfn);
    double bytes = 0;
    for (const Weight& weight : block.weights) bytes += weight.bytes;
    cost.weight_bytes = std::max(cost.weight_bytes, bytes);
    for (const Task& task : block.tasks) {
      if (task.kind == TaskKind::kCollective) continue;
      // The price of a shape has steps, the work itself only grows with the stage.
      Add(cost, task, phase, shardscout::internal::FloorOf(problem().cluster().device, task).Seconds(task.work));
    }
  }
  return cost;
}

bool MenuMaker::StageSplits(const Shape& shape, std::int64_t dp) const {
  Strategy s = Base(shape, {});
  s.data_parallel_size = dp;
  s.dense_ffn_group = DenseFfnGroup::kStage;
  for (Operator op : kFfnOperators) {
    for (Sharding sharding : Admitted(s, op)) {
      if (sharding != Sharding::kNone) return true;
    }
  }
  return false;
}

}  // namespace shardscout::baselines::exact
