#include "strategies/strategy_features.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <map>

#include "shardscout/error.h"

namespace shardscout {
namespace {

double D(std::int64_t n) { return static_cast<double>(n); }
/// Logarithm to base 2, of 0 as of something tiny.
double Log(double x) { return std::log2(std::max(x, 1e-12)); }
int At(Variable variable) { return static_cast<int>(variable); }
bool IsSize(int variable) { return variable < At(Variable::kResidualLayout); }
std::string SizeName(int variable) { return "log2 " + VariableName(variable); }
std::string AtIssueName(int variable) { return "deciding " + VariableName(variable); }
std::string ValueFeatureName(int variable, std::int64_t value) {
  return VariableName(variable) + " " + ValueName(variable, value);
}

/// Parameters of all layers by part: what a token uses (`used`), and what is stored.
struct Parameters {
  double attention = 0, dense = 0, shared = 0, expert = 0, expert_used = 0, ends = 0;
};

Parameters ParametersOf(const ModelSpec& m) {
  const double matrices = m.gated_ffn ? 3 : 2, hidden = D(m.hidden_size);
  const double moe_layers = D(m.NumLayers(LayerKind::kMoe));
  Parameters p;
  p.dense = D(m.NumLayers(LayerKind::kDense)) * matrices * hidden * D(m.ffn_size);
  p.shared = moe_layers * matrices * hidden * D(m.moe.shared_ffn_size);
  const double expert = moe_layers * matrices * hidden * D(m.moe.expert_ffn_size);
  p.expert = expert * D(m.moe.num_experts);
  p.expert_used = expert * D(m.moe.num_experts_per_token);
  p.ends = hidden * D(m.vocab_size);
  const double ends = p.ends * (m.tie_word_embeddings ? 1 : 2);
  p.attention = std::max(1.0, D(CountParameters(m).total) - p.dense - p.shared - p.expert - ends);
  return p;
}

double WeightBytes(const ModelSpec& m, bool quantised) {
  return BytesPerElement(quantised ? m.weight_dtype : m.embedding_dtype);
}

double CacheBytes(const ModelSpec& m, double positions) {
  return positions * (D(KvElementsPerToken(m)) * BytesPerElement(m.kv_dtype) +
                      D(m.num_layers) * D(IndexCacheBytesPerToken(m))) +
         D(static_cast<std::int64_t>(m.linear_attention_layers.size())) * LinearStateBytes(m);
}

double TierBytesPerS(const ClusterSpec& cluster, const NetworkTier& tier) {
  const double rails = tier.rails > 0 ? std::min(1.0, D(tier.rails) / D(cluster.devices_per_node)) : 1;
  return tier.bytes_per_s * tier.achieved_fraction * rails / tier.oversubscription;
}

double PeakOf(const Problem& problem) {
  return std::max(1.0, problem.cluster().device.PeakFlopPerS(problem.model().activation_dtype));
}

/// Names and values of a problem's features, one visit for both.
template <class Visit>
void VisitProblem(const Problem* problem, Visit visit) {
  static const ModelSpec kNoModel;
  static const ClusterSpec kNoCluster{.name = "", .device = {}, .tiers = {NetworkTier{}}};
  static const WorkloadSpec kNoWorkload;
  const ModelSpec& m = problem ? problem->model() : kNoModel;
  const ClusterSpec& c = problem ? problem->cluster() : kNoCluster;
  const WorkloadSpec& w = problem ? problem->workload() : kNoWorkload;
  const Parameters p = problem ? ParametersOf(m) : Parameters{};
  const double limit = problem ? problem->MemoryLimitBytes() : 1, peak = problem ? PeakOf(*problem) : 1;
  const double positions = D(w.CachePositions());
  const NetworkTier &inner = c.tiers.front(), &outer = c.tiers.back();
  const auto flag = [](bool set) { return set ? 1.0 : 0.0; };

  visit("devices", Log(D(c.num_devices)) / 5 - 1);
  visit("devices of a node", Log(D(c.devices_per_node)) / 3 - 1);
  visit("devices of the inner tier", Log(D(inner.size == 0 ? c.num_devices : inner.size)) / 4 - 1);
  visit("inner tier is the whole cluster", flag(inner.size == 0 || inner.size >= c.num_devices));
  visit("nodes", Log(D(c.num_devices) / D(c.devices_per_node)) / 4);
  visit("inner torus",
        flag(inner.kind == TierKind::kTorus2d || inner.kind == TierKind::kTorus3d || inner.kind == TierKind::kRing));
  visit("inner switch adds", flag(inner.in_network_reduction));
  visit("peak", Log(peak) / 2 - 25);
  visit("memory", Log(limit) / 2 - 18);
  visit("memory bandwidth", Log(c.device.hbm_bytes_per_s) / 2 - 20.5);
  visit("balance", Log(peak / c.device.hbm_bytes_per_s) / 2 - 4);
  visit("inner bandwidth", Log(TierBytesPerS(c, inner)) / 2 - 18.5);
  visit("outer bandwidth", Log(TierBytesPerS(c, outer)) / 2 - 17.5);
  visit("inner latency", Log(inner.latency_s) / 2 + 10);
  visit("outer latency", Log(outer.latency_s) / 2 + 9);

  visit("layers", Log(D(m.num_layers)) / 2 - 2.5);
  visit("hidden", Log(D(m.hidden_size)) - 12);
  visit("vocabulary", Log(D(m.vocab_size)) - 16.5);
  visit("heads", Log(D(m.attention.num_heads)) / 2 - 2.5);
  visit("kv heads", Log(D(m.attention.num_kv_heads)) / 2 - 1.5);
  visit("queries a kv head", Log(D(m.attention.num_heads) / D(m.attention.num_kv_heads)) / 2 - 1);
  visit("latent attention", flag(m.attention.kind == AttentionKind::kMultiLatent));
  visit("window", flag(m.attention.sliding_window > 0));
  visit("linear attention", flag(m.HasLinearAttention()));
  visit("indexer", flag(m.attention.HasIndexer()));
  visit("experts", Log(D(m.moe.num_experts) + 1) / 4);
  visit("experts a token", Log(D(m.moe.num_experts_per_token) + 1) / 2);
  visit("expert width", m.HasMoe() ? Log(D(m.moe.expert_ffn_size)) / 2 - 5 : 0.0);
  visit("shared expert", flag(m.HasSharedExpert()));
  visit("dense layers", m.num_layers > 0 ? D(m.NumLayers(LayerKind::kDense)) / D(m.num_layers) : 0.0);
  visit("gated", flag(m.gated_ffn));
  visit("weight bytes", BytesPerElement(m.weight_dtype));
  visit("cache bytes", BytesPerElement(m.kv_dtype));
  visit("activation bytes", BytesPerElement(m.activation_dtype));
  const double stored = (p.attention + p.dense + p.shared + p.expert) * WeightBytes(m, true);
  visit("weights over a device", Log(stored / limit) / 3);
  visit("weights over the cluster", Log(stored / limit / D(c.num_devices)) / 3 + 1);
  visit("weights used", Log((p.attention + p.dense + p.shared + p.expert_used + 1) /
                            (p.attention + p.dense + p.shared + p.expert + 1)) /
                            2);
  visit("attention's weights", p.attention / (p.attention + p.dense + p.shared + p.expert_used + 1));
  visit("a request's cache", Log(CacheBytes(m, positions) / limit) / 4 + 1.5);

  visit("prefill", flag(w.kind == WorkloadKind::kPrefill));
  visit("decode", flag(w.kind == WorkloadKind::kDecode));
  visit("serve", flag(w.kind == WorkloadKind::kServe));
  visit("input", Log(D(w.input_tokens)) / 2 - 6);
  visit("output", Log(D(w.output_tokens)) / 2 - 5);
  visit("batch given", flag(w.batch_size.has_value()));
  visit("concurrency given", flag(w.concurrency.has_value()));
  visit("concurrency", w.concurrency ? Log(D(*w.concurrency)) / 4 - 2 : 0.0);
  visit("largest batch", Log(D(w.max_batch_size)) / 4 - 2);
  visit("ttft target given", flag(w.ttft_target_s.has_value()));
  visit("ttft target", w.ttft_target_s ? Log(*w.ttft_target_s) / 2 : 0.0);
  visit("tpot target given", flag(w.tpot_target_s.has_value()));
  visit("tpot target", w.tpot_target_s ? Log(*w.tpot_target_s) / 2 + 2 : 0.0);
  const double read = c.device.hbm_bytes_per_s * (w.tpot_target_s ? *w.tpot_target_s : 1);
  visit("weights read in the tpot target", w.tpot_target_s ? Log(stored / read) / 3 : 0.0);
  const double used = 2 * (p.attention + p.dense + p.shared + p.expert_used) * D(w.input_tokens);
  visit("prompt in the ttft target", w.ttft_target_s ? Log(used / peak / *w.ttft_target_s) / 3 : 0.0);
  visit("throughput", flag(w.objective == Objective::kThroughputPerDevice));
  visit("latency", flag(w.objective == Objective::kLatency));
  visit("cost", flag(w.objective == Objective::kCostPerMillionTokens));
  visit("energy", flag(w.objective == Objective::kEnergyPerToken));
}

}  // namespace

std::span<const std::string> ProblemFeatureNames() {
  static const std::vector<std::string> kNames = [] {
    std::vector<std::string> names;
    VisitProblem(nullptr, [&](const char* name, double) { names.emplace_back(name); });
    return names;
  }();
  return kNames;
}

std::vector<float> ProblemFeatures(const Problem& problem) {
  std::vector<float> features;
  VisitProblem(&problem, [&](const char*, double value) { features.push_back(static_cast<float>(value)); });
  return features;
}

/// A strategy's sizes, with its weights and cache on one device of one stage.
struct StrategyFeatures::Split {
  double pp = 1, tp = 1, cp = 1, dp = 1, ep = 1, etp = 1, stage = 1, block = 1, replicas = 1, used_devices = 1;
  double attention_bytes = 0, dense_bytes = 0, shared_bytes = 0, expert_bytes = 0, end_bytes = 0;
  double cache_bytes = 0;  ///< Of one request.
  double room = 0;         ///< Requests that fit beside the weights.
  double batch = 1, microbatches = 1;
  double StaticBytes() const { return attention_bytes + dense_bytes + shared_bytes + expert_bytes + end_bytes; }
};

/// Of one micro-batch in one stage.
struct StrategyFeatures::StageSeconds {
  double weights = 0, cache = 0, products = 0, tensor = 0, experts = 0;
  double Sum() const { return std::max(weights + cache, products) + tensor + experts; }
};

const StrategyFeatures::Tier& StrategyFeatures::TierOf(double ranks) const {
  for (const Tier& tier : tiers_) {
    if (ranks <= tier.span) return tier;
  }
  return tiers_.back();
}

StrategyFeatures::Split StrategyFeatures::SplitOf(const Strategy& s, int num_decided) const {
  const Problem& problem = space_.problem();
  const auto decided = [&](Variable v) { return num_decided > At(v); };
  const auto sharding = [&](Operator op) {
    return num_decided > kFirstShardingVariable + static_cast<int>(op) ? s.ShardingOf(op) : Sharding::kHeads;
  };
  const auto whole = [&](Operator op) { return sharding(op) == Sharding::kNone || sharding(op) == Sharding::kToken; };
  Split x;
  const auto size = [&](Variable v) { return decided(v) ? D(GetVariable(s, At(v))) : 1.0; };
  x.pp = size(Variable::kPipelineParallelSize);
  x.tp = size(Variable::kTensorParallelSize);
  x.cp = size(Variable::kContextParallelSize);
  x.dp = size(Variable::kDataParallelSize);
  x.ep = size(Variable::kExpertParallelSize);
  x.etp = size(Variable::kExpertTensorParallelSize);
  x.stage = x.tp * x.cp * x.dp;
  x.block = decided(Variable::kExpertTensorParallelSize) ? x.ep * x.etp : x.stage;
  const double devices = D(problem.cluster().num_devices);
  x.replicas = std::max(1.0, std::floor(devices / (x.stage * x.pp)));
  x.used_devices = x.replicas * x.stage * x.pp / devices;
  const bool staged = decided(Variable::kDenseFfnGroup) && s.dense_ffn_group == DenseFfnGroup::kStage;
  const auto half = [&](Operator a, Operator b, double parts) {
    return ((whole(a) ? 1 : 1 / parts) + (whole(b) ? 1 : 1 / parts)) / 2;
  };
  x.attention_bytes = totals_.attention_bytes / x.pp * half(Operator::kQkv, Operator::kAttnOut, x.tp);
  x.dense_bytes = totals_.dense_bytes / x.pp * half(Operator::kFfnUp, Operator::kFfnDown, staged ? x.stage : x.tp);
  x.shared_bytes = totals_.shared_bytes / x.pp * half(Operator::kFfnUp, Operator::kFfnDown, x.tp);
  x.expert_bytes = totals_.expert_bytes / x.pp / x.block;
  x.end_bytes = totals_.end_bytes * half(Operator::kEmbedding, Operator::kLmHead, x.tp) * (x.pp > 1 ? 0.5 : 1.0);
  const AttentionSpec& attention = problem.model().attention;
  const bool undecided = num_decided <= kFirstShardingVariable + static_cast<int>(Operator::kAttention);
  double parts = x.tp;
  if (!undecided && s.ShardingOf(Operator::kAttention) == Sharding::kNone) parts = 1;
  if (!undecided && s.ShardingOf(Operator::kAttention) == Sharding::kHeads) {
    parts = std::min(x.tp, D(attention.num_kv_heads));
  }
  x.cache_bytes = std::max(1.0, totals_.cache_bytes / x.pp / x.cp / parts);
  x.room = std::max(0.0, totals_.limit_bytes - x.StaticBytes()) / x.cache_bytes;
  const WorkloadSpec& workload = problem.workload();
  if (decided(Variable::kBatchSize)) {
    x.batch = D(s.batch_size);
  } else if (workload.batch_size) {
    x.batch = D(*workload.batch_size);
  } else if (workload.concurrency) {
    x.batch = std::ceil(D(*workload.concurrency) / (x.dp * x.replicas));
  } else {
    const bool prefill = workload.kind == WorkloadKind::kPrefill;
    x.batch = std::clamp(x.room, 1.0, prefill ? 4.0 : D(workload.max_batch_size));
  }
  x.microbatches = decided(Variable::kNumMicrobatches) ? D(s.num_microbatches) : std::min(x.pp, x.batch);
  return x;
}

StrategyFeatures::StageSeconds StrategyFeatures::SecondsOf(const Split& x, Phase phase) const {
  const ModelSpec& m = space_.problem().model();
  const WorkloadSpec& w = space_.problem().workload();
  const double bandwidth = space_.problem().cluster().device.hbm_bytes_per_s;
  const double positions = phase == Phase::kPrefill ? D(w.input_tokens) : 1;
  const double requests = x.batch / x.microbatches, layers = D(m.num_layers) / x.pp;
  const double tokens = requests * positions / (phase == Phase::kPrefill ? x.cp : 1);  // Of a tp group.
  StageSeconds t;
  const double routed = requests * positions * x.dp * x.block / x.stage;
  const double hit = m.HasMoe() ? 1 - std::pow(1 - D(m.moe.num_experts_per_token) / D(m.moe.num_experts), routed) : 0;
  t.weights = (x.StaticBytes() - x.expert_bytes * (1 - hit)) / bandwidth;
  t.cache = phase == Phase::kDecode ? requests * x.cache_bytes / bandwidth : 0;
  const double context = phase == Phase::kPrefill ? D(w.input_tokens) / 2 : D(w.DecodeContext());
  const double scores = 4 * context * D(m.attention.num_heads) * static_cast<double>(m.attention.QkHeadDim()) * layers;
  t.products = (tokens / x.tp * (2 * totals_.layer_parameters / x.pp + scores / (phase == Phase::kDecode ? x.cp : 1)) +
                requests * positions * x.dp / x.stage * 2 * totals_.expert_parameters / x.pp) /
               totals_.peak_flop_per_s;
  const double row = tokens * D(m.hidden_size) * BytesPerElement(m.residual_dtype);
  if (x.tp > 1) {
    const Tier& tier = TierOf(x.tp);
    t.tensor = layers * 2 * (2 * row * (x.tp - 1) / x.tp / tier.bytes_per_s + tier.latency_s * (1 + std::log2(x.tp)));
  }
  if (m.HasMoe() && x.block > 1) {
    const Tier& tier = TierOf(x.block);
    const double sent = std::min(x.ep, D(m.moe.num_experts_per_token));
    t.experts = layers * 2 * (row / x.tp * sent / tier.bytes_per_s + tier.latency_s * (1 + std::log2(x.block)));
  }
  return t;
}

/// visit(value, name, phase): the features that follow from the strategy, always the same names in the same order.
template <class Visit>
void StrategyFeatures::VisitDerived(const Strategy& s, int num_decided, Visit visit_named) const {
  const Problem& problem = space_.problem();
  const WorkloadSpec& w = problem.workload();
  const AttentionSpec& attention = problem.model().attention;
  const Split x = SplitOf(s, num_decided);
  const double devices = D(problem.cluster().num_devices), node = D(problem.cluster().devices_per_node);
  const double inner = tiers_.front().span;
  const auto flag = [](bool set) { return set ? 1.0 : 0.0; };
  const char* of = "";
  const auto visit = [&](const char* name, double value) { visit_named(std::clamp(value, -6.0, 6.0), name, of); };
  visit("replicas", Log(x.replicas) / 4);
  visit("idle devices", 1 - x.used_devices);
  visit("instance over the cluster", Log(x.stage * x.pp / devices) / 4);
  visit("tp over a node", Log(x.tp / node) / 3);
  visit("tp leaves the inner tier", flag(x.tp > inner));
  visit("tp over the inner tier", Log(x.tp / inner) / 4);
  visit("stage over a node", Log(x.stage / node) / 3);
  visit("stage leaves the inner tier", flag(x.stage > inner));
  visit("block over a node", Log(x.block / node) / 3);
  visit("block leaves the inner tier", flag(x.block > inner));
  visit("block over tp", Log(x.block / x.tp) / 4);
  visit("block over the stage", Log(x.block / x.stage) / 3);
  visit("tp over kv heads", Log(x.tp / D(attention.num_kv_heads)) / 3);
  visit("heads of a rank", Log(D(attention.num_heads) / x.tp) / 3);
  visit("experts of a rank", problem.model().HasMoe() ? Log(D(problem.model().moe.num_experts) / x.ep) / 4 : 0.0);
  const auto power = [](double size) { return std::has_single_bit(static_cast<std::uint64_t>(size)) ? 1.0 : 0.0; };
  visit("pp divides layers", flag(std::fmod(D(problem.model().num_layers), x.pp) == 0));
  visit("tp divides heads", flag(std::fmod(D(attention.num_heads), x.tp) == 0));
  visit("pp is a power of two", power(x.pp));
  visit("tp is a power of two", power(x.tp));
  visit("dp is a power of two", power(x.dp));
  visit("batch is a power of two", power(std::floor(x.batch)));

  const double fixed = x.StaticBytes() / totals_.limit_bytes;
  const double filled = fixed + x.batch * x.cache_bytes / totals_.limit_bytes;
  visit("weights of a device", Log(fixed) / 3);
  visit("weights do not fit", flag(fixed > 1));
  visit("memory in use", Log(filled) / 3);
  visit("memory is full", std::clamp((filled - 1) * 4, -3.0, 3.0));
  visit("room for requests", Log(x.room) / 4);
  visit("expert weights over others", Log(x.expert_bytes / (x.StaticBytes() - x.expert_bytes + 1) + 1e-3) / 4);
  visit("batch", Log(x.batch) / 4);
  visit("requests a micro-batch", Log(x.batch / x.microbatches) / 4);
  visit("micro-batches over stages", Log(x.microbatches / x.pp) / 3);
  visit("requests of the cluster", Log(x.batch * x.dp * x.replicas / devices) / 4);

  double decode_step = 0, prefill_step = 0;
  const auto phase_features = [&](Phase phase, double& step) {
    const bool has = w.HasPhase(phase);
    const StageSeconds t = has ? SecondsOf(x, phase) : StageSeconds{};
    const double sum = has ? std::max(t.Sum(), 1e-12) : 1;
    const double passes = phase == Phase::kPrefill ? x.pp + x.microbatches - 1 : std::max(x.pp, x.microbatches);
    step = has ? passes * sum : 0;
    of = phase == Phase::kPrefill ? "prefill: " : "decode: ";
    const std::optional<double>& target = phase == Phase::kPrefill ? w.ttft_target_s : w.tpot_target_s;
    visit("stage time", has ? Log(sum) / 4 + 2 : 0.0);
    visit("step", has ? Log(step) / 4 + 1 : 0.0);
    visit("step over the target", has && target ? Log(step / *target) / 3 : 0.0);
    visit("step misses the target", has && target ? std::clamp((step / *target - 1) * 4, -3.0, 3.0) : 0.0);
    visit("weights' share", has ? t.weights / sum : 0.0);
    visit("cache's share", has ? t.cache / sum : 0.0);
    visit("products' share", has ? t.products / sum : 0.0);
    visit("tensor collectives' share", has ? t.tensor / sum : 0.0);
    visit("expert collectives' share", has ? t.experts / sum : 0.0);
    visit("products over reads", has ? Log(t.products / std::max(t.weights + t.cache, 1e-12)) / 4 : 0.0);
  };
  phase_features(Phase::kDecode, decode_step);
  phase_features(Phase::kPrefill, prefill_step);
  of = "";
  // A request's seconds on the whole cluster, for an order among the strategies of a problem.
  const double served = D(w.output_tokens) * decode_step + (w.HasPhase(Phase::kDecode) ? x.batch : 1.0) * prefill_step;
  const double throughput = x.batch * x.dp * x.replicas / devices / std::max(served, 1e-12);
  const double limited = Log(throughput) - std::max(0.0, Log(filled)) * 3;
  visit("throughput", Log(throughput) / 3);
  visit("throughput that fits", limited / 3);
}

std::vector<std::string> StrategyFeatureNames(const StrategySpace& space) {
  std::vector<std::string> names = StrategyFeatures(space, {}).DerivedNames();
  for (int variable = 0; variable < kNumVariables; ++variable) {
    names.push_back(AtIssueName(variable));
    if (IsSize(variable)) {
      names.push_back(SizeName(variable));
      continue;
    }
    for (const std::int64_t value : space.Values(variable)) names.push_back(ValueFeatureName(variable, value));
  }
  return names;
}

StrategyFeatures::StrategyFeatures(const StrategySpace& space, std::span<const std::string> names)
    : space_(space), size_(names.size()) {
  const Problem& problem = space.problem();
  const ModelSpec& m = problem.model();
  const Parameters p = ParametersOf(m);
  totals_ = {.attention_bytes = p.attention * WeightBytes(m, m.attention_quantised),
             .dense_bytes = p.dense * WeightBytes(m, m.dense_ffn_quantised),
             .shared_bytes = p.shared * WeightBytes(m, m.shared_expert_quantised),
             .expert_bytes = p.expert * WeightBytes(m, true),
             .end_bytes = p.ends * 2 * WeightBytes(m, false),
             .cache_bytes = CacheBytes(m, D(problem.workload().CachePositions())),
             .limit_bytes = std::max(1.0, problem.MemoryLimitBytes() - problem.cluster().device.reserved_bytes),
             .layer_parameters = p.attention + p.dense + p.shared,
             .expert_parameters = p.expert_used,
             .peak_flop_per_s = PeakOf(problem)};
  for (const NetworkTier& tier : problem.cluster().tiers) {
    tiers_.push_back({.span = D(tier.size == 0 ? problem.cluster().num_devices : tier.size),
                      .bytes_per_s = TierBytesPerS(problem.cluster(), tier),
                      .latency_s = tier.latency_s});
  }
  std::map<std::string, int> column_of;
  for (const std::string& name : names) column_of.emplace(name, static_cast<int>(column_of.size()));
  SHARDSCOUT_CHECK_OP(column_of.size(), ==, names.size());
  const auto column = [&](const std::string& name) {
    const auto found = column_of.find(name);
    return found == column_of.end() ? -1 : found->second;
  };
  for (const std::string& name : DerivedNames()) derived_column_.push_back(column(name));
  for (int variable = 0; variable < kNumVariables; ++variable) {
    const auto v = static_cast<std::size_t>(variable);
    variable_column_[v] = column(AtIssueName(variable));
    size_column_[v] = IsSize(variable) ? column(SizeName(variable)) : -1;
    if (IsSize(variable)) continue;
    for (const std::int64_t value : space.Values(variable)) {
      value_column_[v].emplace_back(value, column(ValueFeatureName(variable, value)));
    }
  }
}

std::vector<std::string> StrategyFeatures::DerivedNames() const {
  std::vector<std::string> names;
  VisitDerived(Strategy{}, 1,
               [&](double, const char* name, const char* of) { names.push_back(of + std::string(name)); });
  return names;
}

void StrategyFeatures::Write(const Strategy& strategy, int num_decided, std::span<float> row) const {
  SHARDSCOUT_CHECK_OP(row.size(), ==, size_);
  SHARDSCOUT_CHECK(num_decided >= 1 && num_decided <= kNumVariables);
  std::fill(row.begin(), row.end(), 0.0F);
  const auto set = [&](int column, double value) {
    if (column >= 0) row[static_cast<std::size_t>(column)] = static_cast<float>(value);
  };
  std::size_t next = 0;
  VisitDerived(strategy, num_decided,
               [&](double value, const char*, const char*) { set(derived_column_[next++], value); });
  for (int variable = 0; variable < num_decided; ++variable) {
    const auto v = static_cast<std::size_t>(variable);
    const std::int64_t value = GetVariable(strategy, variable);
    set(size_column_[v], Log(D(value)) / 4);
    for (const auto& [named, column] : value_column_[v]) {
      if (named == value) set(column, 1);
    }
  }
  set(variable_column_[static_cast<std::size_t>(num_decided - 1)], 1);
}

}  // namespace shardscout
