// The menus as the tree asks for them, and the join of them at its leaves.

#include <algorithm>
#include <initializer_list>
#include <optional>
#include <utility>

#include "baselines/exact/branching.h"

namespace shardscout::baselines::exact {
namespace {

/// In decode the feed-forward blocks see of cp and the requests only their quotient.
Shape FfnShape(const Problem& problem, const Shape& shape) {
  if (problem.workload().HasPhase(Phase::kPrefill)) return shape;
  return {shape.tp, 1, shape.requests / shape.cp};
}

Memo<int>::Key KeyOf(const Shape& shape, const Setting& setting, std::initializer_list<std::int64_t> rest = {}) {
  Memo<int>::Key key{shape.tp, shape.cp, shape.requests,
                     static_cast<std::int64_t>(setting.residual) * 4 + (setting.attention_token ? 2 : 0) +
                         (setting.head_token ? 1 : 0) + static_cast<std::int64_t>(setting.recomputation) * 16};
  std::copy(rest.begin(), rest.end(), key.begin() + 4);
  return key;
}

env::BlockCost Sum(const env::BlockCost& a, const env::BlockCost& b) {
  return {.time_s = {a.time_s[0] + b.time_s[0], a.time_s[1] + b.time_s[1]},
          .weight_bytes = a.weight_bytes + b.weight_bytes,
          .peak_activation_bytes = std::max(a.peak_activation_bytes, b.peak_activation_bytes),
          .max_payload_bytes = std::max(a.max_payload_bytes, b.max_payload_bytes),
          .backward_s = a.backward_s + b.backward_s,
          .forward_tasks = a.forward_tasks + b.forward_tasks,
          .backward_tasks = a.backward_tasks + b.backward_tasks,
          .input_bytes = std::min(a.input_bytes, b.input_bytes),
          .kept_bytes = a.kept_bytes + b.kept_bytes,
          .recomputed_bytes = a.recomputed_bytes + b.recomputed_bytes,
          .elements = a.elements + b.elements,
          .expert_elements = a.expert_elements + b.expert_elements,
          .summed_elements = a.summed_elements + b.summed_elements};
}

/// The node with nothing computed again.
Node Kept(Node node) {
  node.setting.recomputation = Recomputation::kNone;
  return node;
}

}  // namespace

env::SpanCache Branching::Spans(std::int64_t devices) const {
  return devices > 0 ? env::SpanCache(problem_.cluster(), devices) : LeastSpans(problem_);
}

bool Branching::SpansAreLeast(const Strategy& s, std::int64_t devices) const {
  const std::int64_t tp = s.tensor_parallel_size;
  const std::int64_t block = s.BlockSize();
  env::SpanCache least = Spans(0);
  env::SpanCache actual = Spans(devices);
  for (const Group& group :
       {Group{tp, 1}, Group{s.context_parallel_size, tp}, Group{block, 1},
        Group{s.expert_parallel_size, s.expert_tensor_parallel_size}, Group{s.expert_tensor_parallel_size, 1},
        Group{std::max<std::int64_t>(1, block / tp), tp}}) {
    if (group.size > 1 && least.Of(group) != actual.Of(group)) return false;
  }
  return true;
}

std::shared_ptr<const AttentionMenu> Branching::AttentionOf(const Node& node, std::int64_t devices) const {
  return attention_.Get(KeyOf(node.shape, node.setting, {devices}), [&] {
    if (node.setting.recomputation == Recomputation::kFull) {
      // What another option beats when it is kept it beats when it is computed again.
      AttentionMenu menu = *AttentionOf(Kept(node), devices);
      for (AttentionOption& option : menu.attention) {
        option.full = env::ComputedAgain(option.full, BlockKind::kAttention);
        option.window = env::ComputedAgain(option.window, BlockKind::kWindowAttention);
        option.linear = env::ComputedAgain(option.linear, BlockKind::kLinearAttention);
      }
      return menu;
    }
    env::SpanCache spans = Spans(devices);
    return maker_.Attention(node.shape, node.setting, spans);
  });
}

std::shared_ptr<const std::vector<DenseOption>> Branching::DenseOf(const Node& node, DenseFfnGroup group,
                                                                   std::int64_t dp, std::int64_t devices) const {
  // Of the stage a dense FFN sees only how many ranks it has beside tp.
  const Shape shape = FfnShape(problem_, node.shape);
  std::int64_t of_dp = 1;
  if (group == DenseFfnGroup::kStage) of_dp = dp * (node.shape.cp / shape.cp);
  return dense_.Get(KeyOf(shape, node.setting, {static_cast<std::int64_t>(group), of_dp, devices}), [&] {
    if (node.setting.recomputation == Recomputation::kFull) {
      std::vector<DenseOption> options = *DenseOf(Kept(node), group, dp, devices);
      for (DenseOption& option : options) option.cost = env::ComputedAgain(option.cost, BlockKind::kDenseFfn);
      return options;
    }
    env::SpanCache spans = Spans(devices);
    return maker_.Dense(shape, node.setting, group, of_dp, spans);
  });
}

std::shared_ptr<const std::vector<MoeOption>> Branching::MoeOf(const Node& node, std::int64_t devices) const {
  const Shape shape = FfnShape(problem_, node.shape);
  return moe_.Get(KeyOf(shape, node.setting, {node.mesh.ep, node.mesh.etp, devices}), [&] {
    if (node.setting.recomputation == Recomputation::kFull) {
      std::vector<MoeOption> options = *MoeOf(Kept(node), devices);
      for (MoeOption& option : options) option.cost = env::ComputedAgain(option.cost, BlockKind::kMoe);
      return options;
    }
    env::SpanCache spans = Spans(devices);
    return maker_.Moe(shape, node.setting, node.mesh, spans);
  });
}

std::shared_ptr<const env::BlockCost> Branching::LeastMoeOf(const Node& node) const {
  const Shape shape = FfnShape(problem_, node.shape);
  return least_moe_.Get(KeyOf(shape, node.setting, {node.mesh.ep, node.mesh.etp}), [&]() -> env::BlockCost {
    if (!problem_.model().HasMoe()) return {};
    if (node.setting.recomputation == Recomputation::kFull) {
      return env::ComputedAgain(*LeastMoeOf(Kept(node)), BlockKind::kMoe);
    }
    env::SpanCache spans = Spans(0);
    env::BlockCost least = kNothingYet;
    for (const MoeOption& option : maker_.RoutedPart(shape, node.setting, node.mesh, spans)) {
      least = Least(least, option.cost);
    }
    const auto shared = shared_.Get(KeyOf(shape, node.setting), [&] {
      env::SpanCache shared_spans = Spans(0);
      return maker_.SharedPart(shape, node.setting, shared_spans);
    });
    return Sum(least, *shared);
  });
}

env::BlockCost Branching::LeastDense(const Node& node) const {
  if (!problem_.model().HasDense()) return {};
  env::BlockCost least = kNothingYet;
  const std::int64_t cell = node.shape.tp * node.shape.cp;
  const std::int64_t devices = problem_.cluster().num_devices;
  const auto has_group = [&](DenseFfnGroup group) {
    return HasValue(Variable::kDenseFfnGroup, static_cast<std::int64_t>(group));
  };
  const auto consider = [&](DenseFfnGroup group, std::int64_t dp) {
    for (const DenseOption& option : *DenseOf(node, group, dp, 0)) least = Least(least, option.cost);
  };
  if (has_group(DenseFfnGroup::kTp)) consider(DenseFfnGroup::kTp, 1);
  if (!has_group(DenseFfnGroup::kStage)) return least;
  for (std::int64_t parts : ffn_parts_) {
    if (parts % cell != 0 || parts > devices || parts / node.shape.tp < 2) continue;
    if (HasValue(Variable::kDataParallelSize, parts / cell)) consider(DenseFfnGroup::kStage, parts / cell);
  }
  const std::int64_t first = cell > node.shape.tp ? 1 : 2;
  if (cell * first <= devices) least = Least(least, maker_.UnsplitStageDense(node.shape, node.setting, first));
  return least;
}

std::shared_ptr<const env::BlockCost> Branching::LeastDenseOf(const Node& node) const {
  return least_dense_.Get(KeyOf(node.shape, node.setting), [&] { return LeastDense(node); });
}

std::shared_ptr<const Branching::LeastCosts> Branching::LeastOf(const Node& node) const {
  return least_.Get(KeyOf(node.shape, node.setting), [&] {
    LeastCosts least;
    const std::shared_ptr<const AttentionMenu> menu = AttentionOf(node, 0);
    if (menu->empty()) return least;
    env::StrategyCost& cost = least.cost;
    const AttentionOption& first = menu->attention.front();
    cost.attention = first.full;
    cost.window_attention = first.window;
    cost.linear_attention = first.linear;
    least.full_cache_bytes = first.full_cache_bytes;
    least.window_cache_bytes = first.window_cache_bytes;
    least.linear_state_bytes = first.linear_state_bytes;
    for (const AttentionOption& option : menu->attention) {
      cost.attention = Least(cost.attention, option.full);
      cost.window_attention = Least(cost.window_attention, option.window);
      cost.linear_attention = Least(cost.linear_attention, option.linear);
      least.full_cache_bytes = std::min(least.full_cache_bytes, option.full_cache_bytes);
      least.window_cache_bytes = std::min(least.window_cache_bytes, option.window_cache_bytes);
      least.linear_state_bytes = std::min(least.linear_state_bytes, option.linear_state_bytes);
    }
    // One request's part of a cache need not be a whole number: what many take together may round.
    constexpr double kRounding = 1 - 1e-12;
    least.full_cache_bytes *= kRounding;
    least.window_cache_bytes *= kRounding;
    least.linear_state_bytes *= kRounding;
    cost.embedding = cost.head = kNothingYet;
    for (const EndOption& option : menu->embedding) cost.embedding = Least(cost.embedding, option.cost);
    for (const EndOption& option : menu->head) cost.head = Least(cost.head, option.cost);
    least.possible = true;
    return least;
  });
}

env::StorageTerms Branching::LeastStorage(const LeastCosts& least, std::int64_t requests, std::int64_t pp) const {
  const auto of = [&](double bytes) { return static_cast<double>(requests) * bytes; };
  return {.full_cache_bytes = of(least.full_cache_bytes),
          .window_cache_bytes = of(least.window_cache_bytes),
          .linear_state_bytes = of(least.linear_state_bytes),
          .shares_embedding = pp == 1 && problem_.model().tie_word_embeddings};
}

bool Branching::MayStageBe(const Node& node, const Strategy& s, const Staircase& known, const Staircase& found) const {
  if (maker_.StageSplits(node.shape, s.data_parallel_size)) return true;
  const std::shared_ptr<const LeastCosts> least = LeastOf(node);
  env::StrategyCost cost = least->cost;
  cost.moe = *LeastMoeOf(node);
  cost.dense_ffn = maker_.UnsplitStageDense(node.shape, node.setting, s.data_parallel_size);
  const env::StorageTerms storage = LeastStorage(*least, s.batch_size, node.pp);
  const Worth worth = WorthOf(env::Assemble(problem_, s, StagesOf(node.pp), cost, storage));
  return !known.Covers(worth) && !found.Covers(worth);
}

void Branching::SolveLeaf(const Node& node, const Strategy& degrees, const Staircase& known, Staircase& found) const {
  const std::int64_t in_use = problem_.Replicas(degrees) * degrees.InstanceSize();
  const std::int64_t devices = SpansAreLeast(degrees, in_use) ? 0 : in_use;
  const std::shared_ptr<const AttentionMenu> menu = AttentionOf(node, devices);
  // A stage-wide FFN's groups depend on dp, so that its spans are not among those compared.
  const bool stage = degrees.dense_ffn_group == DenseFfnGroup::kStage;
  const auto dense = DenseOf(node, degrees.dense_ffn_group, degrees.data_parallel_size, stage ? in_use : devices);
  const auto moe =
      problem_.model().HasMoe() ? MoeOf(node, devices) : std::make_shared<const std::vector<MoeOption>>(1, MoeOption());
  if (menu->empty()) return;

  env::StrategyCost least = LeastOf(node)->cost;
  if (node.pp > 1) {
    env::SpanCache spans(problem_, degrees);
    std::array<Block, 2> blocks;
    for (Phase phase : {Phase::kPrefill, Phase::kDecode}) {
      if (problem_.workload().HasPhase(phase)) {
        blocks[static_cast<std::size_t>(phase)] = LowerBlock(problem_, degrees, phase, BlockKind::kTransfer);
      }
    }
    least.transfer = env::PriceTransfer(problem_.cluster(), &blocks[0], &blocks[1], spans);
  }
  const std::vector<env::StageClass>& stages = StagesOf(node.pp);
  env::SpanCache strategy_spans(problem_, degrees);
  std::optional<env::TrainingExchanges> exchanges;
  std::vector<TrainingChoice> choices;
  if (problem_.workload().IsTraining()) {
    exchanges.emplace(problem_, degrees, strategy_spans, flop_per_token_);
    choices = TrainingChoices(degrees);
  }
  const auto requests = static_cast<double>(degrees.batch_size);
  const env::StorageTerms least_storage = LeastStorage(*LeastOf(node), degrees.batch_size, node.pp);
  const auto covered = [&](const Worth& worth) { return known.Covers(worth) || found.Covers(worth); };
  const auto bound_of = [&](const env::StrategyCost& cost, const env::StorageTerms& storage) {
    if (exchanges) return MostOfTraining(degrees, choices, cost, *exchanges);
    return WorthOf(env::Assemble(problem_, degrees, stages, cost, storage));
  };

  // The feed-forward blocks first: which dense option goes with which of the MoE's is decided by the shared expert.
  struct FfnPair {
    const DenseOption* dense;
    const MoeOption* moe;
    Worth bound;
  };
  const bool coupled = problem_.model().HasSharedExpert() && node.shape.tp > 1;
  std::vector<FfnPair> pairs;
  env::StrategyCost cost = least;
  for (const DenseOption& d : *dense) {
    for (const MoeOption& e : *moe) {
      if (coupled && (d.up != e.ffn_up || d.down != e.ffn_down)) continue;
      cost.dense_ffn = d.cost;
      cost.moe = e.cost;
      const Worth bound = bound_of(cost, least_storage);
      if (!covered(bound)) pairs.push_back({&d, &e, bound});
    }
  }
  std::stable_sort(pairs.begin(), pairs.end(),
                   [](const FfnPair& a, const FfnPair& b) { return a.bound.score > b.bound.score; });
  Strategy s = degrees;
  for (const FfnPair& pair : pairs) {
    if (covered(pair.bound)) continue;
    cost = least;
    cost.dense_ffn = pair.dense->cost;
    cost.moe = pair.moe->cost;
    s.expert_exchange = pair.moe->exchange;
    s.SetSharding(Operator::kRouter, pair.moe->router);
    s.SetSharding(Operator::kExpertUp, pair.moe->expert_up);
    s.SetSharding(Operator::kExpertDown, pair.moe->expert_down);
    s.SetSharding(Operator::kFfnUp, pair.dense->up);
    s.SetSharding(Operator::kFfnDown, pair.dense->down);
    for (const AttentionOption& a : menu->attention) {
      cost.attention = a.full;
      cost.window_attention = a.window;
      cost.linear_attention = a.linear;
      cost.embedding = least.embedding;
      cost.head = least.head;
      env::StorageTerms storage = least_storage;
      storage.full_cache_bytes = std::max(storage.full_cache_bytes, requests * a.full_cache_bytes * (1 - 1e-12));
      storage.window_cache_bytes = std::max(storage.window_cache_bytes, requests * a.window_cache_bytes * (1 - 1e-12));
      storage.linear_state_bytes = std::max(storage.linear_state_bytes, requests * a.linear_state_bytes * (1 - 1e-12));
      if (covered(bound_of(cost, storage))) continue;
      s.SetSharding(Operator::kQkv, a.qkv);
      s.SetSharding(Operator::kAttention, a.attention);
      s.SetSharding(Operator::kAttnOut, a.attn_out);
      for (const EndOption& embedding : menu->embedding) {
        cost.embedding = embedding.cost;
        s.SetSharding(Operator::kEmbedding, embedding.sharding);
        for (const EndOption& head : menu->head) {
          cost.head = head.cost;
          s.SetSharding(Operator::kLmHead, head.sharding);
          if (exchanges) {
            SolveTraining(s, choices, cost, *exchanges, known, found);
            continue;
          }
          const Evaluation evaluation = env::Assemble(problem_, s, stages, cost);
          const Worth worth = WorthOf(evaluation);
          if (!covered(worth)) found.Add({s, evaluation, worth});
        }
      }
    }
  }
}

}  // namespace shardscout::baselines::exact
