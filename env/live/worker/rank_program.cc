#include "env/live/worker/rank_program.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>
#include <stdexcept>

#include "env/live/worker/phase_state.h"
#include "shardscout/error.h"

namespace shardscout::live {
namespace {

using strategies::PositionOf;
using strategies::RequestOf;
using strategies::Tag;
using strategies::Tags;

constexpr int kResidualTag = 1, kIdsTag = 2;

/// The plan by which a phase keeps its cache; its attention task says it.
const CachePlan& CachePlanOf(const PhaseProgram& phase) {
  for (const BlockKind kind : {BlockKind::kAttention, BlockKind::kWindowAttention}) {
    for (const Task& task : phase.BlockOf(kind).tasks) {
      if (task.kind == TaskKind::kAttention) return task.cache;
    }
  }
  throw std::runtime_error("a program without attention");
}

/// The request of a row of a pass: PhaseState::layouts numbers them 0, 1, ... from dp rank to dp rank.
std::int64_t RequestOfRow(const std::vector<std::vector<std::int64_t>>& requests, const PhaseProgram& phase, Tag row) {
  const std::int64_t number = RequestOf(row);
  return requests[static_cast<std::size_t>(number / phase.requests)][static_cast<std::size_t>(number % phase.requests)];
}

at::TensorOptions TensorOptionsFor(const ModelSpec& model, at::Device device) {
  // CPUs have no fast narrow types: they compute in fp32 whatever the model's, and only the bytes are counted by it.
  const bool narrow = !device.is_cpu() && model.residual_dtype != DType::kFp32;
  return at::TensorOptions().dtype(narrow ? at::kBFloat16 : at::kFloat).device(device);
}

}  // namespace

RankProgram::~RankProgram() = default;

RankProgram::RankProgram(const Problem& problem, const Strategy& strategy, World& world, ReferenceModel* reference)
    : problem_(problem),
      model_(problem.model()),
      strategy_(strategy),
      world_(world),
      reference_(reference),
      program_(Lower(problem, strategy)),
      options_(TensorOptionsFor(model_, world.options().device)),
      instance_(strategy.InstanceSize()),
      replicas_(world.size() / instance_) {
  const std::int64_t rank = world.rank(), stage_size = strategy_.StageSize();
  replica_ = rank / instance_;
  stage_ = rank % instance_ / stage_size;
  stage_rank_ = rank % stage_size;
  base_ = replica_ * instance_ + stage_ * stage_size;
  if (replicas_ == 0) {
    throw std::runtime_error("the strategy needs " + std::to_string(instance_) + " processes, there are " +
                             std::to_string(world.size()));
  }
  if (idle()) return;
  MakeCaches();
  for (const PhaseProgram& phase : program_.phases) {
    auto& state = phases_[phase.phase];
    state = std::make_unique<PhaseState>();
    PlanPhase(*state, phase);
    const Stage& stage = program_.stages[static_cast<std::size_t>(stage_)];
    const auto shard = [&](BlockKind kind, std::int64_t layer, const LayerWeights* weights) {
      const Block& block = phase.BlockOf(kind);
      std::vector<TaskWeights>& shards = state->weights[{kind, layer}];
      for (const Task& task : block.tasks) shards.push_back(WeightsOf(*state, block, task, weights));
    };
    if (stage_ == 0) shard(BlockKind::kEmbedding, 0, nullptr);
    for (std::int64_t layer = stage.first_layer; layer < stage.first_layer + stage.num_layers; ++layer) {
      const auto index = static_cast<std::size_t>(layer);
      const LayerWeights* weights = reference_ == nullptr ? nullptr : &reference_->weights().layers[index];
      shard(AttentionBlockOf(model_, layer), layer, weights);
      shard(model_.layers[index] == LayerKind::kMoe ? BlockKind::kMoe : BlockKind::kDenseFfn, layer, weights);
    }
    if (stage_ + 1 == strategy_.pipeline_parallel_size) shard(BlockKind::kHead, 0, nullptr);
  }
}

double RankProgram::Now() const {
  if (calls_ == nullptr) return 0;
  world_.Synchronise();
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void RankProgram::Record(BlockKind block, std::size_t task, double started_s, double bytes) const {
  if (calls_ == nullptr) return;
  calls_->push_back({block, static_cast<std::int32_t>(task), Now() - started_s, bytes});
}

void RankProgram::FinishSends() {
  for (PendingSend& send : sends_) send.Wait();
  sends_.clear();
}

std::vector<RankProgram::Requests> RankProgram::MicroBatches(const PhaseProgram& phase) const {
  std::vector<Requests> passes;
  for (std::int64_t m = 0; m < phase.num_microbatches; ++m) {
    Requests requests(static_cast<std::size_t>(strategy_.data_parallel_size));
    for (std::int64_t d = 0; d < strategy_.data_parallel_size; ++d) {
      for (std::int64_t j = 0; j < phase.requests; ++j) {
        requests[static_cast<std::size_t>(d)].push_back(d * strategy_.batch_size + m * phase.requests + j);
      }
    }
    passes.push_back(std::move(requests));
  }
  return passes;
}

/// Serve: passes over the decode batch; where a pass has tp requests, request j is one of tp rank j's in decode.
std::vector<RankProgram::Requests> RankProgram::PrefillPasses(const PhaseProgram& phase) const {
  if (problem_.workload().kind != WorkloadKind::kServe) return MicroBatches(phase);
  const std::int64_t micro = program_.phases.back().requests;
  const std::int64_t share = micro / phase.requests;
  std::vector<Requests> passes;
  for (std::int64_t first = 0; first < strategy_.batch_size; first += micro) {
    for (std::int64_t i = 0; i < share; ++i) {
      Requests requests(static_cast<std::size_t>(strategy_.data_parallel_size));
      for (std::int64_t d = 0; d < strategy_.data_parallel_size; ++d) {
        for (std::int64_t j = 0; j < phase.requests; ++j) {
          requests[static_cast<std::size_t>(d)].push_back(d * strategy_.batch_size + first + j * share + i);
        }
      }
      passes.push_back(std::move(requests));
    }
  }
  return passes;
}

/// Room for every position of the requests that this rank keeps, and the angles of the rotary embedding.
void RankProgram::MakeCaches() {
  const PhaseProgram& last = program_.phases.back();
  const CachePlan& plan = CachePlanOf(last);
  const std::int64_t tp = strategy_.tensor_parallel_size, cp = strategy_.context_parallel_size;
  const std::int64_t t = stage_rank_ % tp, c = stage_rank_ / tp % cp, d = stage_rank_ / tp / cp;
  const std::int64_t parts = plan.positions_over_tp ? tp : 1;
  modulus_ = cp * parts;
  offset_ = c * parts + (parts > 1 ? t : 0);
  for (const Requests& requests : MicroBatches(last)) {
    const std::vector<std::int64_t>& mine = requests[static_cast<std::size_t>(d)];
    const auto share = plan.requests_over_tp ? std::ssize(mine) / tp : std::ssize(mine);
    for (std::int64_t j = 0; j < share; ++j) {
      cache_request_[mine[static_cast<std::size_t>(j + (plan.requests_over_tp ? t * share : 0))]] = kept_requests_++;
    }
  }

  std::int64_t positions = problem_.workload().CachePositions() + 1;
  const std::int64_t slots = (positions + modulus_ - 1) / modulus_;
  const AttentionSpec& a = model_.attention;
  caches_.resize(static_cast<std::size_t>(model_.num_layers));
  const Stage& stage = program_.stages[static_cast<std::size_t>(stage_)];
  for (std::int64_t layer = stage.first_layer; layer < stage.first_layer + stage.num_layers; ++layer) {
    LayerCache& cache = caches_[static_cast<std::size_t>(layer)];
    if (a.kind == AttentionKind::kMultiLatent) {
      cache.keys = at::zeros({kept_requests_, slots, a.kv_lora_rank + a.qk_rope_head_dim}, options_);
      if (a.HasIndexer()) cache.index_keys = at::zeros({kept_requests_, slots, a.index_head_dim}, options_);
      continue;
    }
    const std::int64_t heads = plan.heads_over_tp ? std::max<std::int64_t>(1, a.num_kv_heads / tp) : a.num_kv_heads;
    cache.keys = at::zeros({kept_requests_, slots, heads, a.head_dim}, options_);
    cache.values = at::zeros({kept_requests_, slots, heads, a.head_dim}, options_);
  }

  for (const PhaseProgram& phase : program_.phases) positions = std::max(positions, phase.padded_input);
  const std::int64_t half = (a.kind == AttentionKind::kGrouped ? a.head_dim : a.qk_rope_head_dim) / 2;
  const at::TensorOptions fp64 = at::TensorOptions().dtype(at::kDouble);
  const at::Tensor frequency = at::pow(at::scalar_tensor(kRotaryBase, fp64),
                                       -at::arange(half, fp64) / static_cast<double>(std::max<std::int64_t>(half, 1)));
  const at::Tensor angle = at::arange(positions, fp64).unsqueeze(1) * frequency.unsqueeze(0);
  cos_ = angle.cos().to(options_);
  sin_ = angle.sin().to(options_);
}

/// Decode alone starts from what the unsharded model has in its caches.
void RankProgram::LoadCaches(const PhaseProgram& phase) {
  const CachePlan& plan = CachePlanOf(phase);
  const AttentionSpec& a = model_.attention;
  const PhaseState& state = *phases_.at(Phase::kDecode);
  Tags columns;
  {
    Value value;
    const bool grouped = a.kind == AttentionKind::kGrouped;
    value.kind = grouped ? TensorKind::kKeyValue : TensorKind::kLatent;
    value.features = plan.heads_over_tp && grouped ? FeatureSplit::kTensor : FeatureSplit::kNone;
    columns = *state.layouts->LocalColumns(value, stage_rank_);
  }
  Tags positions;
  for (std::int64_t p = offset_; p < phase.context; p += modulus_) positions.push_back(p);
  if (positions.empty()) return;
  const auto slots = std::ssize(positions);
  const Stage& stage = program_.stages[static_cast<std::size_t>(stage_)];
  for (std::int64_t layer = stage.first_layer; layer < stage.first_layer + stage.num_layers; ++layer) {
    LayerCache& cache = caches_[static_cast<std::size_t>(layer)];
    if (reference_ == nullptr) {
      cache.keys.uniform_(-1, 1);
      if (cache.values.defined()) cache.values.uniform_(-1, 1);
      if (cache.index_keys.defined()) cache.index_keys.uniform_(-1, 1);
      continue;
    }
    for (const auto& [request, place] : cache_request_) {
      const auto index = static_cast<std::size_t>(layer);
      const ReferenceRequest& computed = reference_->Request(request);
      const Matrix& whole = computed.cache[index];
      const at::Tensor part = Part(&whole, positions, columns);
      if (a.kind == AttentionKind::kMultiLatent) {
        cache.keys.select(0, place).narrow(0, 0, slots).copy_(part);
        if (!a.HasIndexer()) continue;
        Tags whole_key(static_cast<std::size_t>(a.index_head_dim));
        std::iota(whole_key.begin(), whole_key.end(), Tag{0});
        cache.index_keys.select(0, place)
            .narrow(0, 0, slots)
            .copy_(Part(&computed.index_cache[index], positions, whole_key));
        continue;
      }
      const at::Tensor both = part.view({slots, 2, cache.keys.size(2), a.head_dim});
      cache.keys.select(0, place).narrow(0, 0, slots).copy_(both.select(1, 0));
      cache.values.select(0, place).narrow(0, 0, slots).copy_(both.select(1, 1));
    }
  }
}

at::Tensor RankProgram::Ids(PhaseState& phase, const Value& value, const Requests& requests, std::int64_t position) {
  const Tags& rows = *phase.layouts->LocalTokens(value, stage_rank_);
  std::vector<std::int64_t> ids;
  for (const Tag row : rows) {
    const std::int64_t request = RequestOfRow(requests, *phase.program, row);
    const std::int64_t p = phase.program->phase == Phase::kDecode ? position : PositionOf(row);
    if (reference_ == nullptr) {
      ids.push_back((request * 31 + p * 7) % model_.vocab_size);
    } else if (phase.program->phase == Phase::kPrefill && p >= problem_.workload().input_tokens) {
      ids.push_back(0);  // Padding.
    } else {
      ids.push_back(reference_->Request(request).ids[static_cast<std::size_t>(p)]);
    }
  }
  return at::tensor(ids, at::TensorOptions().dtype(at::kLong)).view({-1, 1}).to(options_.device());
}

void RankProgram::SendOn(PhaseState& phase, const at::Tensor& residual) {
  const double started_s = Now();
  const Block& block = phase.program->BlockOf(BlockKind::kTransfer);
  const Value& value = block.values[static_cast<std::size_t>(block.input)];
  sends_.push_back(Send(world_, residual.contiguous().view({-1}), world_.rank() + strategy_.StageSize(), kResidualTag));
  Record(BlockKind::kTransfer, 0, started_s, static_cast<double>(residual.numel()) * BytesPerElement(value.dtype));
}

at::Tensor RankProgram::ReceiveResidual(PhaseState& phase) {
  const Block& block = phase.program->BlockOf(BlockKind::kTransfer);
  const Value& value = block.values[static_cast<std::size_t>(block.input)];
  at::Tensor residual = at::empty({std::ssize(*phase.layouts->LocalTokens(value, stage_rank_)),
                                   std::ssize(*phase.layouts->LocalColumns(value, stage_rank_))},
                                  options_);
  Receive(world_, residual.view({-1}), world_.rank() - strategy_.StageSize(), kResidualTag);
  return residual;
}

/// The last stage tells the first which tokens it chose.
void RankProgram::ReturnIds(PhaseState& phase, const at::Tensor& logits) {
  const double started_s = Now();
  const Block& block = phase.program->BlockOf(BlockKind::kTransfer);
  const Value& value = block.values[static_cast<std::size_t>(block.tasks[1].input)];
  Value held;  // Logits end gathered to every rank of a cell.
  held.tokens = TokenSplit::kCell;
  const Tags& rows = *phase.layouts->LocalTokens(held, stage_rank_);
  const auto shared = SharedTags(rows, *phase.layouts->LocalTokens(value, stage_rank_)).first;
  const at::Tensor ids =
      Take(logits.argmax(1), 0, IndexList::Of(shared, std::ssize(rows), options_.device())).to(at::kInt).contiguous();
  const std::int64_t back = (strategy_.pipeline_parallel_size - 1) * strategy_.StageSize();
  sends_.push_back(Send(world_, ids, world_.rank() - back, kIdsTag));
  Record(BlockKind::kTransfer, 1, started_s, static_cast<double>(ids.numel()) * BytesPerElement(value.dtype));
}

void RankProgram::ReceiveIds(PhaseState& phase, const PassKey& key, const Requests& requests) {
  const Block& block = phase.program->BlockOf(BlockKind::kTransfer);
  const Value& value = block.values[static_cast<std::size_t>(block.tasks[1].input)];
  const Tags& rows = *phase.layouts->LocalTokens(value, stage_rank_);
  at::Tensor ids = at::empty({std::ssize(rows)}, options_.dtype(at::kInt));
  const std::int64_t ahead = (strategy_.pipeline_parallel_size - 1) * strategy_.StageSize();
  Receive(world_, ids, world_.rank() + ahead, kIdsTag);
  if (reference_ == nullptr) return;
  ids = ids.to(at::kCPU);
  for (std::int64_t i = 0; i < std::ssize(rows); ++i) {
    const std::int64_t request = RequestOfRow(requests, *phase.program, rows[static_cast<std::size_t>(i)]);
    const auto expected = reference_->Request(request).logits.row(key.position);
    const double found = expected(ids[i].item<int>()), best = expected.maxCoeff();
    // Another id may win a tie to rounding.
    const double error = (best - found) / expected.cwiseAbs().maxCoeff();
    if (!(error <= proof_.max_error)) proof_.max_error = error;
  }
}

at::Tensor RankProgram::RunPass(PhaseState& phase, const PassKey& key, const Requests& requests) {
  const Stage& stage = program_.stages[static_cast<std::size_t>(stage_)];
  at::Tensor x;
  if (stage_ == 0) {
    const Block& embedding = phase.program->BlockOf(BlockKind::kEmbedding);
    const Value& ids = embedding.values[static_cast<std::size_t>(embedding.input)];
    x = RunBlock(phase, BlockKind::kEmbedding, 0, key, Ids(phase, ids, requests, key.position));
  } else {
    x = ReceiveResidual(phase);
  }
  for (std::int64_t layer = stage.first_layer; layer < stage.first_layer + stage.num_layers; ++layer) {
    const bool moe = model_.layers[static_cast<std::size_t>(layer)] == LayerKind::kMoe;
    x = RunBlock(phase, AttentionBlockOf(model_, layer), layer, key, std::move(x));
    x = RunBlock(phase, moe ? BlockKind::kMoe : BlockKind::kDenseFfn, layer, key, std::move(x));
  }
  const bool last = stage_ + 1 == strategy_.pipeline_parallel_size;
  if (!last) {
    SendOn(phase, x);
    return {};
  }
  x = RunBlock(phase, BlockKind::kHead, 0, key, std::move(x));
  if (key.phase == Phase::kDecode && stage_ > 0) ReturnIds(phase, x);
  return x;
}

void RankProgram::Compare(PhaseState& phase, const Requests& requests, std::int64_t position,
                          const at::Tensor& logits) {
  Value held;  // "lm_head ends with the gather to the sampler": every rank of a cell has its logits.
  held.tokens = TokenSplit::kCell;
  held.last_only = phase.program->phase == Phase::kPrefill;
  const Tags& rows = *phase.layouts->LocalTokens(held, stage_rank_);
  SHARDSCOUT_CHECK_OP(logits.size(0), ==, std::ssize(rows));
  SHARDSCOUT_CHECK_OP(logits.size(1), ==, model_.vocab_size);
  const at::Tensor found = logits.to(at::kCPU, at::kDouble).contiguous();
  const auto values = found.accessor<double, 2>();
  for (std::int64_t i = 0; i < std::ssize(rows); ++i) {
    const std::int64_t request = RequestOfRow(requests, *phase.program, rows[static_cast<std::size_t>(i)]);
    const auto expected = reference_->Request(request).logits.row(position);
    double difference = 0;
    for (std::int64_t j = 0; j < model_.vocab_size; ++j) {
      const double one = std::abs(values[i][j] - expected(j));
      if (!(one <= difference)) difference = one;  // NaN as well.
    }
    const double error = difference / expected.cwiseAbs().maxCoeff();
    if (!(error <= proof_.max_error)) proof_.max_error = error;
    ++proof_.logits_rows;
  }
}

Proof RankProgram::Prove() {
  proof_ = {};
  SHARDSCOUT_CHECK(reference_ != nullptr);
  if (idle()) return proof_;
  const WorkloadSpec& workload = problem_.workload();
  const auto run = [&](PhaseState& phase, std::int64_t position) {
    for (std::size_t m = 0; m < phase.passes.size(); ++m) {
      const PassKey key{phase.program->phase, static_cast<std::int64_t>(m), position};
      const at::Tensor logits = RunPass(phase, key, phase.passes[m]);
      const bool prefill = key.phase == Phase::kPrefill;
      if (logits.defined()) Compare(phase, phase.passes[m], prefill ? workload.input_tokens - 1 : position, logits);
      ++proof_.passes;
    }
    if (phase.program->phase == Phase::kDecode && stage_ == 0 && strategy_.pipeline_parallel_size > 1) {
      for (std::size_t m = 0; m < phase.passes.size(); ++m) {
        ReceiveIds(phase, {Phase::kDecode, static_cast<std::int64_t>(m), position}, phase.passes[m]);
      }
    }
    FinishSends();
  };
  std::int64_t position = workload.input_tokens;
  for (const PhaseProgram& program : program_.phases) {
    PhaseState& phase = *phases_.at(program.phase);
    if (program.phase == Phase::kPrefill) {
      run(phase, 0);
      continue;
    }
    if (workload.kind != WorkloadKind::kServe) {
      position = program.context;
      LoadCaches(program);
    }
    for (; position < workload.CachePositions(); ++position) run(phase, position);
  }
  return proof_;
}

void RankProgram::Step(Phase phase_kind, std::int64_t position, std::vector<Call>* calls) {
  if (idle()) return;
  PhaseState& phase = *phases_.at(phase_kind);
  calls_ = calls;
  const bool serves = problem_.workload().kind == WorkloadKind::kServe && phase_kind == Phase::kPrefill;
  const std::size_t passes = serves ? 1 : phase.passes.size();
  for (std::size_t m = 0; m < passes; ++m) {
    RunPass(phase, {phase_kind, static_cast<std::int64_t>(m), position}, phase.passes[m]);
  }
  calls_ = nullptr;
  if (phase_kind == Phase::kDecode && stage_ == 0 && strategy_.pipeline_parallel_size > 1) {
    for (std::size_t m = 0; m < phase.passes.size(); ++m) {
      ReceiveIds(phase, {phase_kind, static_cast<std::int64_t>(m), position}, phase.passes[m]);
    }
  }
  FinishSends();
}

}  // namespace shardscout::live
