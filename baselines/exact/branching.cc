#include "baselines/exact/branching.h"

#include <algorithm>
#include <limits>
#include <set>
#include <utility>

#include "shardscout/error.h"
#include "shardscout/pareto.h"
#include "shardscout/reward.h"

namespace shardscout::baselines::exact {
namespace {

/// Bounds that are not made by Assemble() are computed in another order than prices are, and so differ in the last
/// bits.
constexpr double kRounding = 1 + 1e-9;
constexpr std::int64_t kTensorsPerRoot = 64;

void AddDivisors(std::int64_t n, std::set<std::int64_t>& divisors) {
  for (std::int64_t d = 1; d * d <= n; ++d) {
    if (n % d == 0) divisors.insert({d, n / d});
  }
}

}  // namespace

double ScoreOf(const Problem& problem, const Evaluation& evaluation) {
  const ObjectiveValue found = ObjectiveOf(evaluation, problem.workload().objective, problem.workload().kind);
  if (found.value <= 0) return 0;
  return found.TimesAsGoodAs(1);
}

Branching::Branching(const StrategySpace& space, Goal goal)
    : space_(space), problem_(space.problem()), goal_(goal), maker_(space) {
  for (std::int64_t ep : Values(Variable::kExpertParallelSize)) {
    for (std::int64_t etp : Values(Variable::kExpertTensorParallelSize)) meshes_.push_back({ep, etp});
  }
  const ModelSpec& model = problem_.model();
  if (model.HasDense()) {
    std::set<std::int64_t> parts;
    AddDivisors(model.ffn_size, parts);
    AddDivisors(model.hidden_size, parts);
    ffn_parts_.assign(parts.begin(), parts.end());
  }
  stages_.resize(static_cast<std::size_t>(Values(Variable::kPipelineParallelSize).back()) + 1);
  for (std::int64_t pp : Values(Variable::kPipelineParallelSize)) {
    stages_[static_cast<std::size_t>(pp)] = env::ClassifyStages(model, SplitLayers(model, pp));
  }
  overlap_ = static_cast<Overlap>(Values(Variable::kOverlap).front());
  if (problem_.workload().IsTraining()) flop_per_token_ = env::ModelFlopPerToken(problem_);
}

bool Branching::HasValue(Variable variable, std::int64_t value) const {
  const auto values = Values(variable);
  return std::binary_search(values.begin(), values.end(), value);
}

const std::vector<env::StageClass>& Branching::StagesOf(std::int64_t pp) const {
  return stages_[static_cast<std::size_t>(pp)];
}

Strategy Branching::StrategyOf(const Node& node, std::int64_t dp) const {
  Strategy s;
  s.pipeline_parallel_size = node.pp;
  s.tensor_parallel_size = node.shape.tp;
  s.context_parallel_size = node.shape.cp;
  s.data_parallel_size = dp;
  s.expert_parallel_size = node.mesh.ep;
  s.expert_tensor_parallel_size = node.mesh.etp;
  s.batch_size = node.shape.requests * node.microbatches;
  s.num_microbatches = node.microbatches;
  s.residual_layout = node.setting.residual;
  s.overlap = overlap_;
  if (node.setting.attention_token) s.SetSharding(Operator::kAttention, Sharding::kToken);
  if (node.setting.head_token) s.SetSharding(Operator::kLmHead, Sharding::kToken);
  s.recomputation = node.setting.recomputation;
  return s;
}

std::int64_t Branching::SmallestDp(const Node& node) const {
  const std::int64_t cell = node.shape.tp * node.shape.cp;
  const auto has_group = [&](DenseFfnGroup group) {
    return HasValue(Variable::kDenseFfnGroup, static_cast<std::int64_t>(group));
  };
  std::int64_t smallest = 0;
  for (std::int64_t dp : Values(Variable::kDataParallelSize)) {
    if (cell * dp > problem_.cluster().num_devices) return 0;
    const Strategy s = StrategyOf(node, dp);
    if (!maker_.rules().ExpertMesh(s) || !maker_.rules().Degrees(s)) continue;
    if (smallest == 0) smallest = dp;
    for (DenseFfnGroup group : {DenseFfnGroup::kTp, DenseFfnGroup::kStage}) {
      if (has_group(group) && maker_.rules().FfnGroup(s, group)) return smallest;
    }
  }
  return 0;
}

std::vector<Node> Branching::Roots() const {
  std::vector<Node> roots;
  const auto tps = static_cast<std::int64_t>(Values(Variable::kTensorParallelSize).size());
  for (std::int64_t first = 0; first < tps; first += kTensorsPerRoot) {
    roots.push_back({.bound = {.score = std::numeric_limits<double>::infinity()}, .first_tp_index = first});
  }
  return roots;
}

Expansion Branching::Expand(const Node& node, const Staircase& known) const {
  Expansion into;
  switch (node.level) {
    case Level::kRoot:
      ExpandRoot(node, known, into);
      break;
    case Level::kTensor:
      ExpandTensor(node, known, into);
      break;
    case Level::kContext:
      ExpandContext(node, known, into);
      break;
    case Level::kShape:
      ExpandShape(node, known, into);
      break;
    case Level::kMesh:
      ExpandMesh(node, known, into);
      break;
    case Level::kPipeline:
      ExpandPipeline(node, known, into);
      break;
  }
  return into;
}

std::shared_ptr<const WorkBound> Branching::WorkOf(std::int64_t tp) const {
  return work_.Get({tp}, [&] { return WorkBound(maker_, tp); });
}

std::shared_ptr<const MoeBound> Branching::MoeBoundOf(std::int64_t tp, Phase phase) const {
  return moe_bounds_.Get({tp, static_cast<std::int64_t>(phase)}, [&] { return MoeBound(maker_, tp, phase, meshes_); });
}

double Branching::RowsOf(const Shape& shape, Phase phase, std::int64_t pass_requests) const {
  Strategy s;
  s.tensor_parallel_size = shape.tp;
  s.context_parallel_size = shape.cp;
  const std::int64_t tokens = phase == Phase::kPrefill ? PaddedInputTokens(problem_, s) : 1;
  return static_cast<double>(pass_requests * tokens) / static_cast<double>(shape.cp);
}

std::vector<double> Branching::LeastMoeSeconds(const Shape& shape, Phase phase, std::int64_t pass_requests) const {
  const std::shared_ptr<const MoeBound> bound = MoeBoundOf(shape.tp, phase);
  std::vector<double> seconds;
  if (phase == Phase::kPrefill) {
    const double rows = RowsOf(shape, phase, pass_requests);
    for (std::size_t i = 0; i < meshes_.size(); ++i) {
      seconds.push_back(bound->ExpertSeconds(i, rows) + bound->RestSeconds(i, rows));
    }
    return seconds;
  }
  // The experts' weights count where rows are few; there are also few numbers of rows then. Of cp and the requests the
  // experts see the quotient only.
  const std::int64_t rows = shape.requests / shape.cp;
  const auto experts = experts_.Get({shape.tp, rows}, [&] {
    std::vector<double> least;
    for (const ExpertMesh& mesh : meshes_) least.push_back(maker_.DecodeExpertSeconds({shape.tp, 1, rows}, mesh));
    return least;
  });
  for (std::size_t i = 0; i < meshes_.size(); ++i) {
    seconds.push_back((*experts)[i] + bound->RestSeconds(i, static_cast<double>(rows)));
  }
  return seconds;
}

void Branching::ExpandRoot(const Node& node, const Staircase& known, Expansion& into) const {
  const auto tps = Values(Variable::kTensorParallelSize);
  const auto first = static_cast<std::size_t>(node.first_tp_index);
  for (std::size_t i = first; i < std::min(tps.size(), first + kTensorsPerRoot); ++i) {
    Node child{.level = Level::kTensor, .shape = {.tp = tps[i]}};
    // As if rows without end came in no time.
    const std::shared_ptr<const WorkBound> work = WorkOf(tps[i]);
    const bool decode = problem_.workload().HasPhase(Phase::kDecode);
    const double rows_per_s = work->MostRowsPerSecond(decode ? Phase::kDecode : Phase::kPrefill);
    child.bound = WorthAtMost(rows_per_s / static_cast<double>(tps[i]), work->LayerSeconds(Phase::kPrefill, 0),
                              work->LayerSeconds(Phase::kDecode, 0));
    if (!known.Covers(child.bound)) into.children.push_back(child);
  }
}

Worth Branching::WorthAtMost(double per_device, double ttft_s, double tpot_s) const {
  const WorkloadSpec& workload = problem_.workload();
  const auto exceeds = [](double seconds, const std::optional<double>& target) {
    return target && seconds > *target * kRounding;
  };
  if (workload.HasPhase(Phase::kPrefill) && exceeds(ttft_s, workload.ttft_target_s)) return kNothing;
  if (workload.HasPhase(Phase::kDecode) && exceeds(tpot_s, workload.tpot_target_s)) return kNothing;
  const DeviceSpec& device = problem_.cluster().device;
  Evaluation evaluation;
  evaluation.metrics.ttft_s = ttft_s;
  evaluation.metrics.tpot_s = tpot_s;
  // A step is a pass over all of the batch, by all devices at best.
  if (workload.IsTraining()) {
    const auto tokens = static_cast<double>(workload.training->global_batch_size * workload.input_tokens);
    evaluation.metrics.step_time_s = tokens / (per_device * static_cast<double>(problem_.cluster().num_devices));
  }
  evaluation.metrics.throughput_per_device = per_device;
  evaluation.metrics.cost_usd_per_million_tokens = device.price_usd_per_hour / 3600 * 1e6 / per_device;
  evaluation.metrics.energy_j_per_token = device.power_w / per_device;
  const Worth worth = WorthOf(evaluation);
  return {worth.score * kRounding, worth.latency_s / kRounding};
}

Worth Branching::WorthOf(const Evaluation& evaluation) const {
  if (!evaluation.Feasible()) return kNothing;
  const double score = ScoreOf(problem_, evaluation);
  if (score <= 0) return kNothing;
  return {score, goal_ == Goal::kFront ? LatencyOf(evaluation, problem_.workload()) : 0};
}

Worth Branching::WorthOfPass(const Shape& shape, std::int64_t prefill_requests, double prefill_s,
                             double decode_s) const {
  const WorkloadSpec& workload = problem_.workload();
  const auto requests = static_cast<double>(shape.requests);
  const auto devices = static_cast<double>(shape.tp * shape.cp);
  const auto output = static_cast<double>(workload.output_tokens);
  switch (workload.kind) {
    case WorkloadKind::kPrefill:
    case WorkloadKind::kTrain:
      return WorthAtMost(requests * static_cast<double>(workload.input_tokens) / (devices * prefill_s), prefill_s, 0);
    case WorkloadKind::kDecode:
      return WorthAtMost(requests / (devices * decode_s), 0, decode_s);
    case WorkloadKind::kServe: {
      const double batch_s = output * decode_s + requests / static_cast<double>(prefill_requests) * prefill_s;
      return WorthAtMost(requests * output / (devices * batch_s), prefill_s + decode_s / 2, batch_s / output);
    }
  }
  return kNothing;
}

double Branching::LeastActivationBytes(const Shape& shape) const {
  const ModelSpec& model = problem_.model();
  const double up = BytesPerElement(model.residual_dtype) * (model.gated_ffn ? 2 : 1);
  const double element_bytes = up + BytesPerElement(model.activation_dtype);
  double width = std::numeric_limits<double>::infinity();
  if (model.HasDense()) width = static_cast<double>(model.ffn_size);
  if (model.HasMoe()) {
    width = std::min(width, static_cast<double>(model.moe.num_experts_per_token * model.moe.expert_ffn_size));
  }
  const double rows = RowsOf(shape, Phase::kPrefill, shape.requests) / static_cast<double>(shape.tp);
  return rows * width * element_bytes;
}

template <class F>
void Branching::ForEachRequests(const Node& node, const WorkBound& work, F f) const {
  const std::int64_t tp = node.shape.tp;
  const WorkloadSpec& workload = problem_.workload();
  const bool moe = problem_.model().HasMoe();
  const auto moe_layers = static_cast<double>(SplitLayers(problem_.model(), 1).front().num_moe);
  bool reduces = false;  // Some mesh admits gather_reduce, which needs no tokens that split over tp.
  for (const ExpertMesh& mesh : meshes_) reduces = reduces || (mesh.Size() > 1 && mesh.Size() % tp == 0);
  for (std::int64_t requests : maker_.requests()) {
    const Shape shape{tp, node.shape.cp, requests};
    Node with = node;
    with.shape = shape;
    const Strategy s = StrategyOf(with, 1);
    if (!maker_.rules().BatchSplits(s)) continue;
    if (moe && !reduces && !maker_.rules().TokensSplit(s)) continue;
    if (workload.IsTraining() && LeastActivationBytes(shape) > problem_.MemoryLimitBytes()) continue;
    const auto seconds = [&](Phase phase, std::int64_t pass_requests) {
      if (!workload.HasPhase(phase)) return 0.0;
      const double others = work.SecondsWithoutMoe(phase, RowsOf(shape, phase, pass_requests));
      if (!moe) return others;
      const std::vector<double> experts = LeastMoeSeconds(shape, phase, pass_requests);
      return others + moe_layers * *std::min_element(experts.begin(), experts.end());
    };
    const double decode_s = seconds(Phase::kDecode, requests);
    Worth bound = kNothing;
    if (workload.kind == WorkloadKind::kServe) {
      for (std::int64_t pass_requests : {std::int64_t{1}, tp}) {
        bound = Loosest(bound, WorthOfPass(shape, pass_requests, seconds(Phase::kPrefill, pass_requests), decode_s));
      }
    } else {
      bound = WorthOfPass(shape, requests, seconds(Phase::kPrefill, requests), decode_s);
    }
    f(requests, Tightest(bound, node.bound));
  }
}

void Branching::ExpandTensor(const Node& node, const Staircase& known, Expansion& into) const {
  const std::shared_ptr<const WorkBound> work = WorkOf(node.shape.tp);
  Node child = node;
  child.level = Level::kContext;
  for (std::int64_t cp : Values(Variable::kContextParallelSize)) {
    if (node.shape.tp * cp > problem_.cluster().num_devices) break;
    child.shape.cp = cp;
    Worth most = kNothing;
    child.bound = node.bound;
    ForEachRequests(child, *work, [&](std::int64_t, const Worth& bound) { most = Loosest(most, bound); });
    child.bound = most;
    if (!known.Covers(child.bound)) into.children.push_back(child);
  }
}

void Branching::ExpandContext(const Node& node, const Staircase& known, Expansion& into) const {
  const Shape& shape = node.shape;
  const WorkBound work(maker_, shape.tp, shape.cp);
  Node child = node;
  child.level = Level::kShape;
  ForEachRequests(node, work, [&](std::int64_t requests, const Worth& bound) {
    child.shape.requests = requests;
    child.bound = bound;
    if (!known.Covers(child.bound)) into.children.push_back(child);
  });
}

void Branching::ExpandShape(const Node& node, const Staircase& known, Expansion& into) const {
  Node child = node;
  child.level = Level::kMesh;
  for (const Setting& setting : maker_.Settings(node.shape)) {
    child.setting = setting;
    if (problem_.workload().IsTraining() && known.Covers(WorthOfFfn(child))) continue;
    const std::shared_ptr<const LeastCosts> least = LeastOf(child);
    if (!least->possible) continue;
    const std::int64_t prefill_requests = PrefillRequests(problem_, StrategyOf(child, 1));
    std::vector<double> moe_s[2];  // By phase and mesh.
    env::BlockCost quickest;
    for (Phase phase : {Phase::kPrefill, Phase::kDecode}) {
      const auto i = static_cast<std::size_t>(phase);
      moe_s[i].assign(meshes_.size(), 0);
      if (!problem_.model().HasMoe() || !problem_.workload().HasPhase(phase)) continue;
      moe_s[i] = LeastMoeSeconds(node.shape, phase, prefill_requests);
      quickest.time_s[i] = *std::min_element(moe_s[i].begin(), moe_s[i].end());
    }
    env::StrategyCost cost = least->cost;
    if (known.Covers(WorthOfLayers(child, cost, quickest))) continue;
    cost.dense_ffn = *LeastDenseOf(child);
    for (std::size_t i = 0; i < meshes_.size(); ++i) {
      child.mesh = meshes_[i];
      if (SmallestDp(child) == 0) continue;
      env::BlockCost moe;
      for (std::size_t phase = 0; phase < 2; ++phase) moe.time_s[phase] = moe_s[phase][i];
      child.bound = Tightest(node.bound, WorthOfLayers(child, cost, moe));
      if (!known.Covers(child.bound)) into.children.push_back(child);
    }
  }
}

Worth Branching::WorthOfFfn(const Node& node) const {
  const Stage all = SplitLayers(problem_.model(), 1).front();
  const env::BlockCost dense = *LeastDenseOf(node);
  const double attention_s =
      WorkOf(node.shape.tp)
          ->AttentionSeconds(Phase::kPrefill, RowsOf(node.shape, Phase::kPrefill, node.shape.requests));
  const double seconds = attention_s + static_cast<double>(all.num_dense) *
                                           (dense.time_s[static_cast<std::size_t>(Phase::kPrefill)] + dense.backward_s);
  return WorthOfPass(node.shape, node.shape.requests, seconds, 0);
}

Worth Branching::WorthOfLayers(const Node& node, const env::StrategyCost& cost, const env::BlockCost& moe) const {
  const Stage all = SplitLayers(problem_.model(), 1).front();
  const std::int64_t windows = NumWindowLayers(problem_.model(), all);
  const std::int64_t linear = NumLinearLayers(problem_.model(), all);
  double seconds[2];
  for (std::size_t phase = 0; phase < 2; ++phase) {
    seconds[phase] = static_cast<double>(all.num_layers - windows - linear) * cost.attention.time_s[phase] +
                     static_cast<double>(windows) * cost.window_attention.time_s[phase] +
                     static_cast<double>(linear) * cost.linear_attention.time_s[phase] +
                     static_cast<double>(all.num_dense) * cost.dense_ffn.time_s[phase] +
                     static_cast<double>(all.num_moe) * moe.time_s[phase] + cost.embedding.time_s[phase] +
                     cost.head.time_s[phase];
  }
  if (problem_.workload().IsTraining()) {
    seconds[0] += static_cast<double>(all.num_layers - windows - linear) * cost.attention.backward_s +
                  static_cast<double>(windows) * cost.window_attention.backward_s +
                  static_cast<double>(linear) * cost.linear_attention.backward_s +
                  static_cast<double>(all.num_dense) * cost.dense_ffn.backward_s +
                  static_cast<double>(all.num_moe) * moe.backward_s + cost.embedding.backward_s + cost.head.backward_s;
  }
  return WorthOfPass(node.shape, PrefillRequests(problem_, StrategyOf(node, 1)), seconds[0], seconds[1]);
}

void Branching::ExpandMesh(const Node& node, const Staircase& known, Expansion& into) const {
  const std::shared_ptr<const LeastCosts> least = LeastOf(node);
  env::StrategyCost cost = least->cost;
  cost.dense_ffn = *LeastDenseOf(node);
  cost.moe = *LeastMoeOf(node);
  if (known.Covers(WorthOfLayers(node, cost, cost.moe))) return;
  const std::int64_t dp = SmallestDp(node);
  const std::int64_t stage = node.shape.tp * node.shape.cp * dp;
  Node child = node;
  child.level = Level::kPipeline;
  for (std::int64_t pp : Values(Variable::kPipelineParallelSize)) {
    if (stage * pp > problem_.cluster().num_devices) break;
    child.pp = pp;
    for (std::int64_t m : Values(Variable::kNumMicrobatches)) {
      const bool training = problem_.workload().IsTraining();
      if (pp == 1 && m > 1 && !training) break;
      child.microbatches = m;
      const std::int64_t batch = node.shape.requests * m;
      if (batch > Values(Variable::kBatchSize).back()) break;
      if (!HasValue(Variable::kBatchSize, batch) || !maker_.rules().Microbatches(StrategyOf(child, dp))) continue;
      if (training) {
        const std::int64_t ranks = problem_.workload().training->global_batch_size / batch;
        if (ranks * node.shape.tp * node.shape.cp * pp > problem_.cluster().num_devices) continue;
        const Strategy s = StrategyOf(child, ranks);
        if (!maker_.rules().ExpertMesh(s)) continue;
        env::SpanCache spans(problem_, s);
        env::TrainingExchanges exchanges(problem_, s, spans, flop_per_token_);
        child.bound = Tightest(node.bound, MostOfTraining(s, TrainingChoices(s), cost, exchanges));
        if (!known.Covers(child.bound)) into.children.push_back(child);
        continue;
      }
      const Evaluation evaluation =
          env::Assemble(problem_, StrategyOf(child, dp), StagesOf(pp), cost, LeastStorage(*least, batch, pp));
      // Time and memory only grow with the micro-batches.
      if (!evaluation.Feasible()) break;
      child.bound = Tightest(node.bound, WorthOf(evaluation));
      if (!known.Covers(child.bound)) into.children.push_back(child);
    }
  }
}

void Branching::ExpandPipeline(const Node& node, const Staircase& known, Expansion& into) const {
  const std::int64_t devices = problem_.cluster().num_devices;
  const std::int64_t cell = node.shape.tp * node.shape.cp;
  const std::int64_t least_dp = SmallestDp(node);
  const auto busy = [&](std::int64_t dp) {
    const std::int64_t instances = devices / (cell * dp * node.pp);
    return static_cast<double>(dp * instances);
  };
  const bool by_devices = problem_.workload().objective != Objective::kLatency;
  const bool training = problem_.workload().IsTraining();
  const std::optional<std::int64_t> concurrency = problem_.workload().WholeBatch();
  for (std::int64_t group : Values(Variable::kDenseFfnGroup)) {
    const auto ffn_group = static_cast<DenseFfnGroup>(group);
    // Of what was solved with this group: the degrees, and their spans where they are not the least.
    double most_busy = 0;
    for (std::int64_t dp : Values(Variable::kDataParallelSize)) {
      const Strategy s = [&] {
        Strategy with = StrategyOf(node, dp);
        with.dense_ffn_group = ffn_group;
        return with;
      }();
      if (s.InstanceSize() > devices) break;
      const strategies::ShardingRules& rules = maker_.rules();
      if (!rules.ExpertMesh(s) || !rules.Degrees(s) || !rules.FfnGroup(s, ffn_group)) continue;
      const std::int64_t replicas = problem_.Replicas(s);
      if (concurrency && (*concurrency + dp * replicas - 1) / (dp * replicas) != s.batch_size) continue;
      if (training && *concurrency % dp != 0) continue;
      // Compared with the node's bound this dp leaves more devices idle.
      Worth bound = node.bound;
      if (by_devices && !training) bound.score *= kRounding * busy(dp) / busy(least_dp);
      if (known.Covers(bound) || into.found.Covers(bound)) continue;
      if (ffn_group == DenseFfnGroup::kTp) {
        // Under group tp nothing depends on dp but the devices in use and, by their number, where groups lie. Where
        // they lie the same, fewer in use are never better.
        const std::int64_t in_use = replicas * s.InstanceSize();
        const bool plain = node.pp == 1 && SpansAreLeast(s, in_use);
        if (plain && busy(dp) <= most_busy) continue;
        if (plain) most_busy = std::max(most_busy, busy(dp));
      } else if (!MayStageBe(node, s, known, into.found)) {
        continue;
      }
      SolveLeaf(node, s, known, into.found);
    }
  }
}

}  // namespace shardscout::baselines::exact
