#include "shardscout/strategy_space.h"

#include <algorithm>
#include <numeric>
#include <set>
#include <utility>

#include "shardscout/error.h"
#include "strategies/space_impl.h"

namespace shardscout {
namespace {

constexpr std::size_t kMaxCachedMasks = 1024;

std::vector<std::int64_t> Range(std::int64_t last) {
  std::vector<std::int64_t> range(static_cast<std::size_t>(last));
  std::iota(range.begin(), range.end(), std::int64_t{1});
  return range;
}

std::vector<std::int64_t> Divisors(std::int64_t n) {
  std::vector<std::int64_t> divisors;
  for (std::int64_t d = 1; d * d <= n; ++d) {
    if (n % d != 0) continue;
    divisors.push_back(d);
    if (d != n / d) divisors.push_back(n / d);
  }
  std::sort(divisors.begin(), divisors.end());
  return divisors;
}

/// Every size that the workload can ask for: the given one, ceil(concurrency / k) for all k, or 2^k and 3*2^k.
std::vector<std::int64_t> BatchValues(const Problem& problem) {
  const WorkloadSpec& w = problem.workload();
  if (w.batch_size) return {*w.batch_size};
  std::set<std::int64_t> sizes;
  if (w.training) {
    for (const std::int64_t dp : Divisors(w.training->global_batch_size)) {
      if (dp <= problem.cluster().num_devices) sizes.insert(w.training->global_batch_size / dp);
    }
  } else if (w.concurrency) {
    for (std::int64_t k = 1; k <= problem.cluster().num_devices; ++k) sizes.insert((*w.concurrency + k - 1) / k);
  } else {
    for (std::int64_t base : {std::int64_t{1}, std::int64_t{3}}) {
      for (std::int64_t size = base; size <= w.max_batch_size; size *= 2) sizes.insert(size);
    }
  }
  return {sizes.begin(), sizes.end()};
}

/// Sizes that start at 0.
bool MayBeZero(int variable) {
  return variable == Index(Variable::kHeadLayers) || variable == Index(Variable::kZeroStage) ||
         variable == Index(Variable::kRecomputedLayers);
}

/// Whether its values are numbers in a strategy's JSON.
bool IsSize(int variable) {
  return variable < Index(Variable::kResidualLayout) || variable == Index(Variable::kVirtualPipelineParallelSize) ||
         MayBeZero(variable);
}

std::int64_t ParseFixed(int variable, const std::string& text) {
  const std::string place = "--fix " + VariableName(variable);
  const std::int64_t least = MayBeZero(variable) ? 0 : 1;
  if (IsSize(variable)) {
    std::int64_t value = 0;
    for (char c : text) {
      if (c < '0' || c > '9' || value > std::int64_t{1} << 40) {
        throw SpecError(place, "found \"" + text + "\"; a positive whole number is needed");
      }
      value = value * 10 + (c - '0');
    }
    if (text.empty() || value < least)
      throw SpecError(place, "found \"" + text + "\"; a positive whole number is needed");
    return value;
  }
  std::vector<std::string> names;
  for (std::int64_t ordinal = 0; ordinal < 8; ++ordinal) {
    std::string name;
    if (IsSharding(variable)) {
      const auto admitted = AdmittedShardings(static_cast<Operator>(variable - kFirstShardingVariable));
      if (ordinal >= static_cast<std::int64_t>(admitted.size())) break;
      name = ToString(admitted[static_cast<std::size_t>(ordinal)]);
      if (name == text) return static_cast<std::int64_t>(admitted[static_cast<std::size_t>(ordinal)]);
    } else if (variable == Index(Variable::kResidualLayout) && ordinal < 3) {
      name = ToString(static_cast<Layout>(ordinal));
    } else if (variable == Index(Variable::kDenseFfnGroup) && ordinal < 2) {
      name = ToString(static_cast<DenseFfnGroup>(ordinal));
    } else if (variable == Index(Variable::kExpertExchange) && ordinal < 3) {
      name = ToString(static_cast<ExpertExchange>(ordinal));
    } else if (variable == Index(Variable::kOverlap) && ordinal < 3) {
      name = ToString(static_cast<Overlap>(ordinal));
    } else if (variable == Index(Variable::kRecomputation) && ordinal < 3) {
      name = ToString(static_cast<Recomputation>(ordinal));
    } else {
      break;
    }
    if (name == text) return ordinal;
    names.push_back(name);
  }
  std::string allowed;
  for (const std::string& name : names) allowed += (allowed.empty() ? "" : ", ") + name;
  throw SpecError(place, "found \"" + text + "\"; allowed: " + allowed);
}

/// As many layers as have the head's weights, of those that a token meets.
std::int64_t HeadInLayers(const ModelSpec& model) {
  const std::int64_t table = model.vocab_size * model.hidden_size;
  const std::int64_t met = CountParameters(model).active - (model.tie_word_embeddings ? 0 : table);
  return table * model.num_layers / std::max<std::int64_t>(1, met - table);
}

/// Layer variables take few values; the order is that of their ordinals.
std::vector<std::int64_t> LayerValues(const Problem& problem, int variable) {
  std::vector<std::int64_t> values;
  if (variable == Index(Variable::kVirtualPipelineParallelSize)) {
    values = {1};
    if (problem.workload().IsTraining()) values = Range(std::max<std::int64_t>(1, problem.model().num_layers / 2));
  } else if (variable == Index(Variable::kRecomputedLayers) || variable == Index(Variable::kHeadLayers)) {
    const bool head = variable == Index(Variable::kHeadLayers);
    const std::int64_t most = head ? HeadInLayers(problem.model()) : problem.model().num_layers - 1;
    values = Range(problem.workload().IsTraining() ? most : 0);
    values.insert(values.begin(), 0);
  } else if (variable >= kNumInferenceVariables) {
    values = {0};
    if (problem.workload().IsTraining()) values = {0, 1, 2};
    if (problem.workload().IsTraining() && variable == Index(Variable::kZeroStage)) values.push_back(3);
  } else if (IsSharding(variable)) {
    for (Sharding sharding : AdmittedShardings(static_cast<Operator>(variable - kFirstShardingVariable))) {
      values.push_back(static_cast<std::int64_t>(sharding));
    }
  } else if (variable == Index(Variable::kDenseFfnGroup)) {
    values = {0, 1};
    if (problem.workload().IsTraining()) values = {0};
  } else if (variable == Index(Variable::kOverlap)) {
    for (Overlap overlap : problem.options().admitted_overlaps) values.push_back(static_cast<std::int64_t>(overlap));
    std::sort(values.begin(), values.end());
    if (problem.options().framework) std::erase_if(values, [](std::int64_t value) { return value != 0; });
  } else {
    values = {0, 1, 2};
  }
  return values;
}

[[noreturn]] void ThrowEmpty(const Problem& problem) {
  const std::optional<Framework>& framework = problem.options().framework;
  if (!framework) {
    throw SpecError("--fix",
                    "no valid strategy is left: the fixed values contradict each other, the model or the batch");
  }
  if (problem.workload().IsTraining() ? !Trains(*framework) : !Infers(*framework)) {
    throw SpecError("--for " + std::string(ToString(*framework)),
                    std::string("plans of ") + (problem.workload().IsTraining() ? "training" : "inference") +
                        " are not for it; search --for " + FrameworksFor(problem.workload().IsTraining()) +
                        ", or without --for");
  }
  throw SpecError("--for " + std::string(ToString(*framework)),
                  "it runs this model in no way here" +
                      std::string(problem.options().fixed.empty() ? "" : " with these fixed values") +
                      "; search without --for, and export --lower names what stands against it");
}

}  // namespace

std::span<const Sharding> AdmittedShardings(Operator op) {
  static constexpr std::array kEmbedding = {Sharding::kNone, Sharding::kHidden, Sharding::kVocab};
  static constexpr std::array kQkv = {Sharding::kNone, Sharding::kToken, Sharding::kHeads, Sharding::kHidden};
  static constexpr std::array kAttention = {Sharding::kNone, Sharding::kToken, Sharding::kHeads, Sharding::kSequence};
  static constexpr std::array kRouter = {Sharding::kNone, Sharding::kToken};
  static constexpr std::array kFfn = {Sharding::kNone, Sharding::kToken, Sharding::kHidden, Sharding::kFfn};
  static constexpr std::array kExpert = {Sharding::kNone, Sharding::kHidden, Sharding::kFfn};
  static constexpr std::array kLmHead = {Sharding::kNone, Sharding::kToken, Sharding::kHidden, Sharding::kVocab};
  switch (op) {
    case Operator::kEmbedding:
      return kEmbedding;
    case Operator::kQkv:
    case Operator::kAttnOut:
      return kQkv;
    case Operator::kAttention:
      return kAttention;
    case Operator::kRouter:
      return kRouter;
    case Operator::kFfnUp:
    case Operator::kFfnDown:
      return kFfn;
    case Operator::kExpertUp:
    case Operator::kExpertDown:
      return kExpert;
    case Operator::kLmHead:
      return kLmHead;
    default:
      return {};
  }
}

StrategySpace::Impl::Impl(const Problem& p) : problem(p), rules(p) {
  for (const auto& [name, text] : problem.options().fixed) {
    int variable = 0;
    std::vector<std::string> names;
    while (variable < kNumVariables && VariableName(variable) != name) names.push_back(VariableName(variable++));
    if (variable == kNumVariables) {
      const std::string near = NearestName(name, names);
      throw SpecError("--fix " + name,
                      "unknown decision variable" + (near.empty() ? std::string() : "; did you mean " + near + "?"));
    }
    fixed_values[static_cast<std::size_t>(variable)] = ParseFixed(variable, text);
    any_fixed = true;
  }

  const ModelSpec& model = problem.model();
  const std::int64_t devices = problem.cluster().num_devices;
  auto all = [&](Variable variable) -> std::vector<std::int64_t>& {
    return values[static_cast<std::size_t>(variable)];
  };
  all(Variable::kPipelineParallelSize) = Range(std::min(model.num_layers, devices));
  all(Variable::kTensorParallelSize) = Range(devices);
  all(Variable::kContextParallelSize) = Range(model.PositionsSplit() ? devices : 1);
  all(Variable::kDataParallelSize) = model.HasMoe() || model.HasDense() ? Range(devices) : std::vector<std::int64_t>{1};
  all(Variable::kExpertParallelSize) = {1};
  all(Variable::kExpertTensorParallelSize) = {1};
  if (model.HasMoe()) {
    all(Variable::kExpertParallelSize) = Divisors(model.moe.num_experts);
    auto& etps = all(Variable::kExpertTensorParallelSize);
    etps.clear();
    for (std::int64_t etp : Divisors(model.moe.expert_ffn_size)) {
      if (etp <= devices && rules.ExpertTensorSplits(etp)) etps.push_back(etp);
    }
  }
  all(Variable::kBatchSize) = BatchValues(problem);
  std::set<std::int64_t> microbatches;
  for (std::int64_t batch : all(Variable::kBatchSize)) {
    for (std::int64_t d : Divisors(batch)) {
      if (problem.workload().IsTraining() || d <= problem.workload().max_batch_size) microbatches.insert(d);
    }
  }
  all(Variable::kNumMicrobatches).assign(microbatches.begin(), microbatches.end());
  for (int v = Index(Variable::kResidualLayout); v < kNumVariables; ++v) {
    values[static_cast<std::size_t>(v)] = LayerValues(problem, v);
  }
  for (int v = 0; v < kNumVariables; ++v) {
    std::erase_if(values[static_cast<std::size_t>(v)], [&](std::int64_t value) { return !Fixed(v, value); });
    if (values[static_cast<std::size_t>(v)].empty()) {
      const std::string why = v == Index(Variable::kContextParallelSize) ? rules.WhyPositionsAreWhole() : "";
      throw SpecError("--fix " + VariableName(v),
                      "the value is not one that this problem admits" + (why.empty() ? "" : ": " + why));
    }
  }
  for (std::int64_t ep : all(Variable::kExpertParallelSize)) {
    for (std::int64_t etp : all(Variable::kExpertTensorParallelSize)) expert_meshes.push_back({ep, etp});
  }

  // Without a pipeline there is one micro-batch.
  if (all(Variable::kNumMicrobatches).front() > 1 && !problem.workload().IsTraining()) {
    auto& pps = all(Variable::kPipelineParallelSize);
    std::erase(pps, 1);
    if (pps.empty())
      throw SpecError("--fix num_microbatches", "more than 1 needs a pipeline, and none is possible here");
  }

  // Keep of tp and cp what can be completed on a large enough cluster: the masks then look at fewer.
  Strategy s;
  std::erase_if(all(Variable::kTensorParallelSize), [&](std::int64_t tp) {
    s.tensor_parallel_size = tp;
    // The fewest stages take the most, unless what follows from pp is fixed: a framework's micro-batches, or chunks.
    const auto& pps = all(Variable::kPipelineParallelSize);
    const bool fixed_by_pp = any_fixed && (Framed() || problem.workload().IsTraining());
    return std::none_of(pps.begin(), fixed_by_pp ? pps.end() : pps.begin() + 1, [&](std::int64_t pp) {
      s.pipeline_parallel_size = pp;
      return tp <= MaxStage(s) && ContextExists(s);
    });
  });
  if (all(Variable::kTensorParallelSize).empty()) ThrowEmpty(problem);
  s = Strategy();
  s.pipeline_parallel_size = all(Variable::kPipelineParallelSize).front();
  if (problem.workload().HasPhase(Phase::kDecode)) {
    std::erase_if(all(Variable::kContextParallelSize), [&](std::int64_t cp) {
      return std::none_of(all(Variable::kBatchSize).begin(), all(Variable::kBatchSize).end(),
                          [&](std::int64_t batch) { return batch % cp == 0; });
    });
  }
  if (!model.HasMoe() && !problem.workload().IsTraining()) {
    // A dense model has dp > 1 only where the FFN spans the stage.
    if (!Fixed(Index(Variable::kDenseFfnGroup), static_cast<std::int64_t>(DenseFfnGroup::kStage))) {
      std::erase_if(all(Variable::kDataParallelSize), [](std::int64_t dp) { return dp > 1; });
    }
  }

  for (int v = 0; v < kNumVariables; ++v) {
    for (std::int64_t value : values[static_cast<std::size_t>(v)]) {
      const bool parallel_size = v <= Index(Variable::kExpertTensorParallelSize);
      prior[static_cast<std::size_t>(v)].push_back(parallel_size ? 1.0 / static_cast<double>(value) : 1.0);
    }
  }
}

std::span<const std::int64_t> StrategySpace::Impl::Batches(const Strategy& s) const {
  const auto& all = values[static_cast<std::size_t>(Index(Variable::kBatchSize))];
  const std::optional<std::int64_t> whole = problem.workload().WholeBatch();
  if (!whole) return all;
  const std::int64_t ranks = s.data_parallel_size * problem.Replicas(s);
  if (problem.workload().IsTraining() && *whole % ranks != 0) return {};
  const std::int64_t batch = (*whole + ranks - 1) / ranks;
  const auto found = std::lower_bound(all.begin(), all.end(), batch);
  if (found == all.end() || *found != batch) return {};
  return {found, found + 1};
}

bool StrategySpace::Impl::Allowed(const Strategy& s, int variable, std::int64_t value) const {
  Strategy with = s;
  SetVariable(with, variable, value);
  switch (static_cast<Variable>(variable)) {
    case Variable::kPipelineParallelSize:
      return value <= problem.cluster().num_devices && TensorExists(with);
    case Variable::kTensorParallelSize:
      return value <= MaxStage(s) && ContextExists(with);
    case Variable::kContextParallelSize:
      return s.tensor_parallel_size * value <= MaxStage(s) && DataExists(with);
    case Variable::kDataParallelSize:
      return with.StageSize() <= MaxStage(s) && rules.Degrees(with) && ExpertMeshExists(with);
    case Variable::kExpertParallelSize: {
      if (s.StageSize() % value != 0) return false;
      for (std::int64_t etp : values[static_cast<std::size_t>(Index(Variable::kExpertTensorParallelSize))]) {
        with.expert_tensor_parallel_size = etp;
        if (rules.ExpertMesh(with) && BatchExists(with)) return true;
      }
      return false;
    }
    case Variable::kExpertTensorParallelSize:
      return rules.ExpertMesh(with) && BatchExists(with);
    case Variable::kBatchSize: {
      const auto batches = Batches(s);
      return std::binary_search(batches.begin(), batches.end(), value) && MicrobatchExists(with);
    }
    case Variable::kNumMicrobatches:
      if (s.batch_size % value != 0 || !rules.Microbatches(with)) return false;
      return rules.BatchSplits(with) && LayersComplete(with);
    default:
      return LayerValueAllowed(s, variable, value);
  }
}

bool StrategySpace::Impl::SizesAreAlike(const Strategy& s, int variable) const {
  if (any_fixed || problem.workload().WholeBatch() || !rules.SizesAreFree()) return false;
  if (variable == Index(Variable::kContextParallelSize)) return !problem.workload().HasPhase(Phase::kDecode);
  if (variable != Index(Variable::kDataParallelSize)) return false;
  // With ep = etp = 1 the number of ranks does not matter, only whether there are two or more.
  Strategy with = s;
  with.data_parallel_size = 2;
  return with.StageSize() <= MaxStage(s) && BatchExists(with);
}

void StrategySpace::Impl::Mask(const Strategy& s, int variable, std::vector<std::uint8_t>& mask) const {
  const auto& candidates = values[static_cast<std::size_t>(variable)];
  const bool cached = variable <= Index(Variable::kDataParallelSize);
  std::array<std::int64_t, 4> key = {variable, s.pipeline_parallel_size, 0, 0};
  if (variable == 0) key[1] = 0;
  if (variable > Index(Variable::kTensorParallelSize)) key[2] = s.tensor_parallel_size;
  if (variable > Index(Variable::kContextParallelSize)) key[3] = s.context_parallel_size;
  if (cached) {
    const std::lock_guard lock(cache_mutex);
    const auto found = mask_cache.find(key);
    if (found != mask_cache.end()) {
      mask = found->second;
      return;
    }
  }
  mask.assign(candidates.size(), 0);
  std::size_t first_alike = candidates.size();
  if (SizesAreAlike(s, variable)) {
    first_alike =
        static_cast<std::size_t>(std::lower_bound(candidates.begin(), candidates.end(), 2) - candidates.begin());
  }
  for (std::size_t i = 0; i < std::min(first_alike + 1, candidates.size()); ++i) {
    mask[i] = Allowed(s, variable, candidates[i]) ? 1 : 0;
  }
  if (first_alike < candidates.size() && mask[first_alike] != 0) {
    Strategy with = s;
    for (std::size_t i = first_alike; i < candidates.size(); ++i) {
      SetVariable(with, variable, candidates[i]);
      mask[i] = with.StageSize() <= MaxStage(s) ? 1 : 0;
    }
  }
  if (cached) {
    const std::lock_guard lock(cache_mutex);
    if (mask_cache.size() < kMaxCachedMasks) mask_cache.emplace(key, mask);
  }
}

StrategySpace::StrategySpace(const Problem& problem) : problem_(problem), impl_(std::make_unique<Impl>(problem)) {
  std::vector<std::uint8_t> mask;
  AllowedChoices({}, mask);
  if (std::none_of(mask.begin(), mask.end(), [](std::uint8_t m) { return m != 0; })) {
    ThrowEmpty(problem);
  }
}

StrategySpace::~StrategySpace() = default;

int StrategySpace::NumVariables() const {
  return problem_.workload().IsTraining() ? kNumVariables : kNumInferenceVariables;
}

std::span<const std::int64_t> StrategySpace::Values(int variable) const {
  return impl_->values.at(static_cast<std::size_t>(variable));
}

std::span<const double> StrategySpace::PriorWeights(int variable) const {
  return impl_->prior.at(static_cast<std::size_t>(variable));
}

void StrategySpace::AllowedChoices(std::span<const int> prefix, std::vector<std::uint8_t>& mask) const {
  SHARDSCOUT_CHECK(prefix.size() < static_cast<std::size_t>(kNumVariables));
  Strategy s;
  for (std::size_t v = 0; v < prefix.size(); ++v) {
    SetVariable(s, static_cast<int>(v), impl_->values[v].at(static_cast<std::size_t>(prefix[v])));
  }
  impl_->Mask(s, static_cast<int>(prefix.size()), mask);
}

std::string StrategySpace::WhyNot(const Strategy& strategy) const {
  Strategy s;  // grows with the variables looked at
  for (int v = 0; v < kNumVariables; ++v) {
    const std::int64_t value = GetVariable(strategy, v);
    if (value >= 1 || !IsSize(v) || (MayBeZero(v) && value == 0)) {
      const auto values = Values(v);
      if (std::binary_search(values.begin(), values.end(), value) && impl_->Allowed(s, v, value)) {
        SetVariable(s, v, value);
        continue;
      }
    }
    std::string why = VariableName(v) + " = ";
    if (IsSharding(v)) {
      const Operator op = static_cast<Operator>(v - kFirstShardingVariable);
      const Sharding sharding = static_cast<Sharding>(value);
      return why + std::string(ToString(sharding)) + " is not possible here: " + impl_->rules.Why(s, op, sharding);
    }
    if (problem_.options().framework) {
      return why + ValueName(v, value) + " is not possible after " + ToShortString(s) + " for " +
             std::string(ToString(*problem_.options().framework)) + " (docs/frameworks.md says what it runs)";
    }
    if (v >= Index(Variable::kResidualLayout)) {
      return why + ValueName(v, value) + " is not valid or not canonical after " + ToShortString(s);
    }
    why += std::to_string(value) + " is not possible after pp " + std::to_string(s.pipeline_parallel_size) + ", tp " +
           std::to_string(s.tensor_parallel_size) + ", cp " + std::to_string(s.context_parallel_size) + ", dp " +
           std::to_string(s.data_parallel_size) + ": ";
    if (v == Index(Variable::kContextParallelSize) && !problem_.model().PositionsSplit()) {
      return why + impl_->rules.WhyPositionsAreWhole();
    }
    if (v <= Index(Variable::kDataParallelSize)) {
      return why + "the product of pp, tp, cp and dp must be at most " +
             std::to_string(problem_.cluster().num_devices) +
             " devices, every stage needs a layer, a dense model has dp 1 unless dense_ffn_group is \"stage\", and "
             "some " +
             "completion must be valid";
    }
    if (v <= Index(Variable::kExpertTensorParallelSize)) {
      return why +
             "ep must divide the experts, etp the experts' width in whole quantisation blocks, ep * etp must "
             "divide tp * cp * dp, and tokens must be exchangeable";
    }
    return why +
           "batch_size must be one that the workload admits, num_microbatches a divisor of it (1 without a "
           "pipeline), and requests must split over the ranks";
  }
  return "";
}

Choices StrategySpace::Encode(const Strategy& strategy) const {
  Choices choices(static_cast<std::size_t>(kNumVariables));
  for (int v = 0; v < kNumVariables; ++v) {
    const auto values = Values(v);
    const auto found = std::lower_bound(values.begin(), values.end(), GetVariable(strategy, v));
    SHARDSCOUT_CHECK(found != values.end() && *found == GetVariable(strategy, v));
    choices[static_cast<std::size_t>(v)] = static_cast<int>(found - values.begin());
  }
  return choices;
}

Strategy StrategySpace::Decode(const Choices& choices) const {
  SHARDSCOUT_CHECK_OP(choices.size(), ==, static_cast<std::size_t>(kNumVariables));
  Strategy s;
  for (int v = 0; v < kNumVariables; ++v) {
    SetVariable(s, v, Values(v)[static_cast<std::size_t>(choices[static_cast<std::size_t>(v)])]);
  }
  return s;
}

void StrategySpace::ForEach(const std::function<bool(const Strategy&)>& visit) const {
  Choices prefix;
  const std::function<bool()> descend = [&] {
    if (std::cmp_equal(prefix.size(), kNumVariables)) return visit(Decode(prefix));
    std::vector<std::uint8_t> mask;
    AllowedChoices(prefix, mask);
    for (std::size_t i = 0; i < mask.size(); ++i) {
      if (mask[i] == 0) continue;
      prefix.push_back(static_cast<int>(i));
      const bool go_on = descend();
      prefix.pop_back();
      if (!go_on) return false;
    }
    return true;
  };
  descend();
}

SpaceSize StrategySpace::Size() const {
  const std::lock_guard lock(impl_->cache_mutex);
  if (!impl_->counted) impl_->counted = impl_->Count();
  return *impl_->counted;
}

}  // namespace shardscout
