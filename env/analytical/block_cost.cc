#include "env/analytical/block_cost.h"

#include <algorithm>

#include "shardscout/error.h"

namespace shardscout::env {
namespace {

constexpr std::size_t kPrefill = static_cast<std::size_t>(Phase::kPrefill);
constexpr std::size_t kDecode = static_cast<std::size_t>(Phase::kDecode);

/// A weight that both phases use is stored once; where one phase needs more of it, that much.
double UnionBytes(const Block* a, const Block* b) {
  double bytes = 0;
  auto find = [](const Block* block, const Weight& w) -> const Weight* {
    if (block == nullptr) return nullptr;
    for (const Weight& other : block->weights) {
      if (other.kind == w.kind && other.ffn == w.ffn) return &other;
    }
    return nullptr;
  };
  if (a != nullptr) {
    for (const Weight& w : a->weights) {
      const Weight* other = find(b, w);
      bytes += other == nullptr ? w.bytes : std::max(w.bytes, other->bytes);
    }
  }
  if (b != nullptr) {
    for (const Weight& w : b->weights) {
      if (find(a, w) == nullptr) bytes += w.bytes;
    }
  }
  return bytes;
}

struct StageSums {
  double sum_s = 0;
  double slowest_s = 0;
};

StageSums SumStages(const std::vector<StageClass>& stages, const StrategyCost& cost, std::size_t phase) {
  StageSums sums;
  for (const StageClass& c : stages) {
    double time_s = static_cast<double>(c.NumFull()) * cost.attention.time_s[phase] +
                    static_cast<double>(c.num_windows) * cost.window_attention.time_s[phase] +
                    static_cast<double>(c.num_linear) * cost.linear_attention.time_s[phase] +
                    static_cast<double>(c.stage.num_dense) * cost.dense_ffn.time_s[phase] +
                    static_cast<double>(c.stage.num_moe) * cost.moe.time_s[phase];
    if (c.first) time_s += cost.embedding.time_s[phase];
    if (c.last) time_s += cost.head.time_s[phase];
    if (!c.last) {
      time_s += cost.transfer.send_s[phase];
    } else if (!c.first && phase == kDecode) {
      time_s += cost.transfer.return_s;
    }
    sums.sum_s += static_cast<double>(c.count) * time_s;
    sums.slowest_s = std::max(sums.slowest_s, time_s);
  }
  return sums;
}

/// What every stage has alike: the reserve, activations and staging.
MemoryUse CommonMemory(const Problem& problem, const StrategyCost& cost) {
  MemoryUse memory;
  memory.limit_bytes = problem.MemoryLimitBytes();
  memory.reserved_bytes = problem.cluster().device.reserved_bytes;
  for (const BlockCost* block : {&cost.embedding, &cost.attention, &cost.window_attention, &cost.linear_attention,
                                 &cost.dense_ffn, &cost.moe, &cost.head}) {
    memory.activation_bytes = std::max(memory.activation_bytes, block->peak_activation_bytes);
    memory.communication_bytes = std::max(memory.communication_bytes, block->max_payload_bytes);
  }
  memory.communication_bytes = std::max(memory.communication_bytes, cost.transfer.max_payload_bytes);
  return memory;
}

/// Adds what the layers of a stage hold.
MemoryUse WithStage(MemoryUse memory, const StageClass& c, const StrategyCost& cost, const StorageTerms& storage) {
  memory.weight_bytes = static_cast<double>(c.stage.num_layers - c.num_linear) * cost.attention.weight_bytes +
                        static_cast<double>(c.num_linear) * cost.linear_attention.weight_bytes +
                        static_cast<double>(c.stage.num_dense) * cost.dense_ffn.weight_bytes +
                        static_cast<double>(c.stage.num_moe) * cost.moe.weight_bytes;
  if (c.first) memory.weight_bytes += cost.embedding.weight_bytes;
  if (c.last) memory.weight_bytes += cost.head.weight_bytes;
  if (storage.shares_embedding) memory.weight_bytes -= cost.embedding.table_bytes;
  memory.kv_cache_bytes = static_cast<double>(c.NumFull()) * storage.full_cache_bytes +
                          static_cast<double>(c.num_windows) * storage.window_cache_bytes;
  memory.linear_state_bytes = static_cast<double>(c.num_linear) * storage.linear_state_bytes;
  return memory;
}

MemoryUse FullestStage(const Problem& problem, const std::vector<StageClass>& stages, const StrategyCost& cost,
                       const StorageTerms& storage) {
  const MemoryUse common = CommonMemory(problem, cost);
  const auto held = [](const MemoryUse& m) { return m.weight_bytes + m.kv_cache_bytes + m.linear_state_bytes; };
  MemoryUse fullest = common;
  for (const StageClass& c : stages) {
    const MemoryUse memory = WithStage(common, c, cost, storage);
    if (held(memory) > held(fullest)) fullest = memory;
  }
  return fullest;
}

}  // namespace

const std::vector<GroupSpan>& SpanCache::Find(const Group& group, std::int64_t ranks, std::int64_t times) {
  for (const auto& [known, spans] : spans_) {
    if (known == group) return *spans;
  }
  auto spans = std::make_unique<std::vector<GroupSpan>>(SpansOf(cluster_, group, ranks, times));
  return *spans_.emplace_back(group, std::move(spans)).second;
}

namespace {

LayerCounts CountsOf(const ModelSpec& model, const Stage& stage) {
  const std::int64_t windows = NumWindowLayers(model, stage), linear = NumLinearLayers(model, stage);
  return {.full = stage.num_layers - windows - linear,
          .windows = windows,
          .linear = linear,
          .dense = stage.num_dense,
          .moe = stage.num_moe};
}

/// The first layers of a chunk.
Stage FirstOf(const ModelSpec& model, Stage chunk, std::int64_t layers) {
  if (layers >= chunk.num_layers) return chunk;
  chunk.num_layers = layers;
  chunk.num_dense = 0;
  for (std::int64_t layer = chunk.first_layer; layer < chunk.first_layer + layers; ++layer) {
    chunk.num_dense += model.layers[static_cast<std::size_t>(layer)] == LayerKind::kDense ? 1 : 0;
  }
  chunk.num_moe = layers - chunk.num_dense;
  return chunk;
}

bool Alike(const StageClass& a, const StageClass& b) {
  return a.first == b.first && a.last == b.last && a.num_windows == b.num_windows && a.num_linear == b.num_linear &&
         a.stage.num_layers == b.stage.num_layers && a.stage.num_dense == b.stage.num_dense && a.again == b.again;
}

std::vector<StageClass> Merged(const std::vector<StageClass>& apart) {
  std::vector<StageClass> classes;
  for (const StageClass& next : apart) {
    const auto alike =
        std::find_if(classes.begin(), classes.end(), [&](const StageClass& c) { return Alike(c, next); });
    if (alike == classes.end()) {
      classes.push_back(next);
    } else {
      ++alike->count;
    }
  }
  return classes;
}

}  // namespace

LayerCounts& LayerCounts::operator+=(const LayerCounts& more) {
  full += more.full;
  windows += more.windows;
  linear += more.linear;
  dense += more.dense;
  moe += more.moe;
  return *this;
}

std::vector<StageClass> ClassifyStages(const ModelSpec& model, const std::vector<Stage>& stages) {
  std::vector<StageClass> apart;
  for (std::size_t i = 0; i < stages.size(); ++i) {
    apart.push_back({.stage = stages[i],
                     .num_windows = NumWindowLayers(model, stages[i]),
                     .num_linear = NumLinearLayers(model, stages[i]),
                     .first_index = static_cast<std::int64_t>(i),
                     .first = i == 0,
                     .last = i + 1 == stages.size(),
                     .again = {}});
  }
  return Merged(apart);
}

std::vector<StageClass> StagesApart(const ModelSpec& model, const Strategy& s) {
  const std::vector<std::vector<Stage>> chunks = ChunksOf(model, s);
  const std::vector<Stage> stages = StagesOf(model, s);
  std::vector<StageClass> apart;
  for (std::size_t i = 0; i < chunks.size(); ++i) {
    LayerCounts all, again;
    for (const Stage& chunk : chunks[i]) {
      all += CountsOf(model, chunk);
      if (s.recomputation != Recomputation::kFull) continue;
      const std::int64_t layers = s.recomputed_layers == 0 ? chunk.num_layers : s.recomputed_layers;
      again += CountsOf(model, FirstOf(model, chunk, layers));
    }
    apart.push_back({.stage = stages[i],
                     .num_windows = all.windows,
                     .num_linear = all.linear,
                     .first_index = static_cast<std::int64_t>(i),
                     .first = i == 0,
                     .last = i + 1 == chunks.size(),
                     .again = again});
  }
  return apart;
}

std::vector<StageClass> ClassifyStages(const ModelSpec& model, const Strategy& s) {
  return Merged(StagesApart(model, s));
}

const std::vector<GroupSpan>& SpanCache::Of(const Group& group) {
  if (stage_size_ == 0) {
    const std::int64_t period = group.size * group.stride;
    return Find(group, period, (replicas_ + period - 1) / period);
  }
  return Find(group, stage_size_, stages_ * replicas_);
}

const std::vector<GroupSpan>& SpanCache::OfPipeline() {
  SHARDSCOUT_CHECK_OP(stage_size_, >, 0);
  return Find({stages_, stage_size_}, stage_size_ * stages_, replicas_);
}

const std::vector<GroupSpan>& SpansOfTask(const Task& task, SpanCache& spans) {
  return task.collective == Collective::kSendRecv ? spans.OfPipeline() : spans.Of(task.group);
}

double TaskTime(const ClusterSpec& cluster, const Task& task, SpanCache& spans) {
  if (task.kind == TaskKind::kCollective) {
    return CollectiveTime(cluster, task.collective, task.payload_bytes, SpansOfTask(task, spans));
  }
  return OperatorTime(cluster.device, task);
}

namespace {

/// Of the compute units, those that NCCL's kernels take from a product beside them: its channels on NVLink, a unit each
/// (24 of an A100's 108, 32 of an H100's 132).
constexpr double kTakenByCollectives = 0.23;

void AddBackward(const ClusterSpec& cluster, const Block& block, SpanCache& spans, BlockCost& cost) {
  const auto launches = [](const std::vector<Task>& tasks) {
    return static_cast<double>(
        std::count_if(tasks.begin(), tasks.end(), [](const Task& task) { return task.kind != TaskKind::kSlice; }));
  };
  cost.forward_tasks = launches(block.tasks);
  cost.backward_tasks = launches(block.backward);
  cost.input_bytes = block.input == kNoValue ? 0 : block.values[static_cast<std::size_t>(block.input)].Bytes();
  // What is computed again comes first; it is added up apart, as ComputedAgain has it.
  double again_s = 0;
  double product_s = 0;  // Of the last product, beside which nothing runs yet.
  bool gradients = false;
  for (const Task& task : block.backward) {
    const double task_s = TaskTime(cluster, task, spans);
    gradients = gradients || task.of_gradients;
    if (!gradients) {
      again_s += task_s;
      continue;
    }
    if (task.kind == TaskKind::kMatmul && task.gradient != Gradient::kNone) product_s = task_s;
    if (!task.beside_product) {
      cost.backward_s += task_s;
      continue;
    }
    const double together_s = std::min(task_s, product_s);
    cost.backward_s += task_s - together_s + kTakenByCollectives * together_s;
    product_s = 0;
  }
  cost.backward_s += again_s;
  cost.kept_bytes = block.kept_bytes;
  cost.recomputed_bytes = block.recomputed_bytes;
  for (const Weight& weight : block.weights) {
    const bool expert = weight.kind == WeightKind::kExpertUp || weight.kind == WeightKind::kExpertDown ||
                        (weight.kind == WeightKind::kNorms && weight.ffn == FfnKind::kExpert);
    (expert ? cost.expert_elements : cost.elements) += weight.elements;
    if (weight.gradient_over_tp) cost.summed_elements += weight.elements;
  }
}

}  // namespace

BlockCost ComputedAgain(BlockCost cost, BlockKind kind) {
  cost.backward_s += cost.time_s[kPrefill];
  cost.backward_tasks += cost.forward_tasks;
  cost.recomputed_bytes = cost.kept_bytes;
  // A layer is an attention block and an FFN block; its input is the former's.
  const bool ffn = kind == BlockKind::kDenseFfn || kind == BlockKind::kMoe;
  cost.kept_bytes = ffn ? 0 : cost.input_bytes;
  return cost;
}

StrategyCost ComputedAgain(StrategyCost cost) {
  for (const auto& [block, kind] :
       {std::pair(&cost.attention, BlockKind::kAttention),
        std::pair(&cost.window_attention, BlockKind::kWindowAttention),
        std::pair(&cost.linear_attention, BlockKind::kLinearAttention),
        std::pair(&cost.dense_ffn, BlockKind::kDenseFfn), std::pair(&cost.moe, BlockKind::kMoe)}) {
    *block = ComputedAgain(*block, kind);
  }
  return cost;
}

BlockCost PriceBlock(const ClusterSpec& cluster, const Block* prefill, const Block* decode, SpanCache& spans) {
  BlockCost cost;
  cost.weight_bytes = UnionBytes(prefill, decode);
  for (const auto& [block, phase] : {std::pair(prefill, kPrefill), std::pair(decode, kDecode)}) {
    if (block == nullptr) continue;
    for (const Task& task : block->tasks) cost.time_s[phase] += TaskTime(cluster, task, spans);
    for (const Weight& weight : block->weights) {
      const bool table = weight.kind == WeightKind::kEmbedding || weight.kind == WeightKind::kLmHead;
      if (table) cost.table_bytes = std::max(cost.table_bytes, weight.bytes);
    }
    cost.peak_activation_bytes = std::max(cost.peak_activation_bytes, block->peak_activation_bytes);
    cost.max_payload_bytes = std::max(cost.max_payload_bytes, block->max_payload_bytes);
    if (!block->backward.empty()) AddBackward(cluster, *block, spans, cost);
  }
  return cost;
}

TransferCost PriceTransfer(const ClusterSpec& cluster, const Block* prefill, const Block* decode, SpanCache& spans) {
  TransferCost cost;
  for (const auto& [block, phase] : {std::pair(prefill, kPrefill), std::pair(decode, kDecode)}) {
    if (block == nullptr || block->tasks.empty()) continue;
    const bool training = !block->backward.empty();
    cost.send_s[phase] = TaskTime(cluster, block->tasks.front(), spans);
    for (std::size_t t = 1; t < block->tasks.size(); ++t) {
      (training ? cost.send_s[phase] : cost.return_s) += TaskTime(cluster, block->tasks[t], spans);
    }
    cost.max_payload_bytes = std::max(cost.max_payload_bytes, block->max_payload_bytes);
  }
  return cost;
}

StorageTerms StorageOf(const Problem& problem, const Strategy& s) {
  const ModelSpec& model = problem.model();
  const double index_bytes = IndexCacheBytesPerLayer(problem, s);
  const auto cache_bytes = [&](BlockKind kind) {
    return CacheElementsPerLayer(problem, s, kind) * BytesPerElement(model.kv_dtype) + index_bytes;
  };
  return {.full_cache_bytes = cache_bytes(BlockKind::kAttention),
          .window_cache_bytes = model.HasMixedWindows() ? cache_bytes(BlockKind::kWindowAttention) : 0,
          .linear_state_bytes = LinearStateBytesPerLayer(problem, s),
          .shares_embedding = SharesEmbedding(model, s)};
}

Evaluation Assemble(const Problem& problem, const Strategy& s, const std::vector<StageClass>& stages,
                    const StrategyCost& cost) {
  return Assemble(problem, s, stages, cost, StorageOf(problem, s));
}

namespace {

PassTimes WithHost(const EngineModel& engine, const Problem& problem, const Strategy& s, const PassTimes& device) {
  const std::int64_t layers = problem.model().num_layers;
  return {.prefill_pass_s = engine.StepTime(device.prefill_pass_s, PrefillRequests(problem, s), layers, true),
          .prefill_s = engine.StepTime(device.prefill_s, s.batch_size, layers, true),
          .decode_s = engine.StepTime(device.decode_s, s.batch_size, layers, false)};
}

}  // namespace

Evaluation EvaluationOf(const Problem& problem, const Strategy& s, PassTimes times, const MemoryUse& memory) {
  const WorkloadSpec& workload = problem.workload();
  if (workload.engine) times = WithHost(*workload.engine, problem, s, times);
  Evaluation e;
  Metrics& m = e.metrics;
  m.replicas = problem.Replicas(s);
  m.idle_devices = problem.cluster().num_devices - m.replicas * s.InstanceSize();
  m.concurrency = s.batch_size * s.data_parallel_size * m.replicas;
  const auto concurrency = static_cast<double>(m.concurrency);
  const auto input = static_cast<double>(workload.input_tokens);
  const auto output = static_cast<double>(workload.output_tokens);
  switch (workload.kind) {
    case WorkloadKind::kPrefill:
      m.ttft_s = times.prefill_s;
      m.throughput_tokens_per_s = concurrency * input / m.ttft_s;
      break;
    case WorkloadKind::kDecode:
      m.tpot_s = times.decode_s;
      m.throughput_tokens_per_s = concurrency / m.tpot_s;
      break;
    case WorkloadKind::kServe: {
      const auto passes = static_cast<double>(s.batch_size) / static_cast<double>(PrefillRequests(problem, s));
      const double batch_s = output * times.decode_s + passes * times.prefill_pass_s;
      m.tpot_s = batch_s / output;
      m.throughput_tokens_per_s = concurrency * output / batch_s;
      m.ttft_s = times.prefill_pass_s + times.decode_s / 2;
      break;
    }
    case WorkloadKind::kTrain:
      SHARDSCOUT_CHECK(false && "a step is not made of passes: AssembleTraining");
      break;
  }
  if (workload.engine && workload.HasPhase(Phase::kPrefill)) m.ttft_s += workload.engine->arrival_s;
  e.memory = memory;
  DeriveMetrics(problem, e);
  return e;
}

void DeriveMetrics(const Problem& problem, Evaluation& e) {
  const WorkloadSpec& workload = problem.workload();
  const DeviceSpec& device = problem.cluster().device;
  const auto devices = static_cast<double>(problem.cluster().num_devices);
  Metrics& m = e.metrics;
  m.throughput_per_device = m.throughput_tokens_per_s / devices;
  m.cost_usd_per_million_tokens = device.price_usd_per_hour / 3600 * devices / m.throughput_tokens_per_s * 1e6;
  m.energy_j_per_token = device.power_w * devices / m.throughput_tokens_per_s;
  e.excess.memory = e.memory.TotalBytes() / e.memory.limit_bytes - 1;
  e.excess.ttft = -1;
  e.excess.tpot = -1;
  if (workload.ttft_target_s && workload.HasPhase(Phase::kPrefill))
    e.excess.ttft = m.ttft_s / *workload.ttft_target_s - 1;
  if (workload.tpot_target_s && workload.HasPhase(Phase::kDecode))
    e.excess.tpot = m.tpot_s / *workload.tpot_target_s - 1;
}

Evaluation Assemble(const Problem& problem, const Strategy& s, const std::vector<StageClass>& stages,
                    const StrategyCost& cost, const StorageTerms& storage) {
  const auto microbatches = static_cast<double>(s.num_microbatches);
  const StageSums prefill = SumStages(stages, cost, kPrefill);
  const StageSums decode = SumStages(stages, cost, kDecode);
  const PassTimes times{.prefill_pass_s = prefill.sum_s,
                        .prefill_s = prefill.sum_s + (microbatches - 1) * prefill.slowest_s,
                        .decode_s = std::max(microbatches * decode.slowest_s, decode.sum_s)};
  return EvaluationOf(problem, s, times, FullestStage(problem, stages, cost, storage));
}

std::vector<MemoryUse> StageMemories(const Problem& problem, const Strategy& s, const std::vector<Stage>& stages,
                                     const StrategyCost& cost) {
  const MemoryUse common = CommonMemory(problem, cost);
  const StorageTerms storage = StorageOf(problem, s);
  std::vector<MemoryUse> memories;
  for (std::size_t i = 0; i < stages.size(); ++i) {
    StageClass stage = ClassifyStages(problem.model(), {stages[i]}).front();
    stage.first = i == 0;
    stage.last = i + 1 == stages.size();
    memories.push_back(WithStage(common, stage, cost, storage));
  }
  return memories;
}

}  // namespace shardscout::env
