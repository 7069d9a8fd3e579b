// A training step from the costs of its blocks.
//
// A micro-batch takes f_i forward and b_i backward on stage i, transfers included. With pp stages, m micro-batches and
// v chunks a stage (Narayanan et al., arXiv 2104.04473, sections 2.2.1 and 2.2.2; stages may differ):
//
//   pipeline_s = m max_i(f_i + b_i) + (sum_i (f_i + b_i) - max_i(f_i + b_i)) / v
//
// A layer that is computed again (StageClass::again counts those of a stage) adds its forward to b_i and keeps its
// input alone. Kernels are launched by a host that runs ahead of the device: a pass takes the longer of what the device
// and what the host needs, and their sum where launches block. With equal stages that is (m + (pp - 1) / v) (f + b).
// Each of v chunks sends on its own: v transfers a stage.
//
// Gradients of a stage are all-reduced (ZeRO 0) or reduce-scattered (1 up) over its data parallel ranks: cp * dp for
// what is not of experts, edp for experts; where overlapped, beside the backward of the last micro-batch's last chunk,
// but for the last layer's. Parameters are gathered then (ZeRO 1, 2), or broadcast by as many ranks as have any
// (BroadcastTime), where overlapped beside the next forward. From
// ZeRO 2 on gradients are exchanged for each micro-batch, and with ZeRO 3 weights are gathered before each forward and
// backward of a layer, both beside the computing. The optimizer reads and writes its states once.
//
// Memory of stage i: weights (2 bytes), gradients (4 or 2, or both; with ZeRO 0 to 2 those of 2 are cast for the
// update), the optimizer's states, each over the ranks that share it; what is kept of the micro-batches in flight,
// min(m, pp - i + (v > 1: (pp - 1) / v)) of them (arXiv 2205.05198, section 4.2.3), and their outputs where they stay;
// the largest block's passing values, forward and gradients; and the buckets of exchanges.

#include "env/analytical/training_cost.h"

#include <algorithm>

namespace shardscout::env {
namespace {

constexpr std::size_t kForward = static_cast<std::size_t>(Phase::kPrefill);
/// Of a weight as products read it, and as it is gathered.
constexpr double kWeightBytes = 2;
constexpr double kMasterBytes = 4;

/// Matrices, scales and biases of a dense layer; what experts have is counted as such a layer's.
double TensorsOfALayer(const ModelSpec& model) {
  const double matrices = 2 + (model.gated_ffn ? 3 : 2);
  const double norms = static_cast<double>(model.norms_per_layer) * (model.norm_bias ? 2 : 1);
  const double biases = (model.attention.qkv_bias ? 1 : 0) + (model.attention.output_bias ? 1 : 0) +
                        (model.ffn_bias ? (model.gated_ffn ? 3 : 2) : 0);
  return matrices + norms + biases;
}

/// Sums over what a stage holds.
struct StageTotals {
  double forward_s = 0, backward_s = 0;
  double forward_tasks = 0, backward_tasks = 0;
  double elements = 0, expert_elements = 0, summed_elements = 0;
  double kept_bytes = 0;
  double largest_layer_elements = 0, largest_layer_expert_elements = 0;
  double layers = 0;
};

StageTotals TotalsOf(const StageClass& c, const TrainingBlocks& blocks) {
  StageTotals t;
  const auto add = [&](const BlockCost& block, std::int64_t count) {
    if (count == 0) return;
    const auto n = static_cast<double>(count);
    t.forward_s += n * block.time_s[kForward];
    t.backward_s += n * block.backward_s;
    t.forward_tasks += n * block.forward_tasks;
    t.backward_tasks += n * block.backward_tasks;
    t.elements += n * block.elements;
    t.expert_elements += n * block.expert_elements;
    t.summed_elements += n * block.summed_elements;
    t.kept_bytes += n * block.kept_bytes;
    t.largest_layer_elements = std::max(t.largest_layer_elements, block.elements);
    t.largest_layer_expert_elements = std::max(t.largest_layer_expert_elements, block.expert_elements);
  };
  const LayerCounts layers = c.Layers();
  const auto add_layers = [&](BlockCost StrategyCost::*block, std::int64_t LayerCounts::*count) {
    add(blocks.kept.*block, layers.*count - c.again.*count);
    add(blocks.again.*block, c.again.*count);
  };
  add_layers(&StrategyCost::attention, &LayerCounts::full);
  add_layers(&StrategyCost::window_attention, &LayerCounts::windows);
  add_layers(&StrategyCost::linear_attention, &LayerCounts::linear);
  add_layers(&StrategyCost::dense_ffn, &LayerCounts::dense);
  add_layers(&StrategyCost::moe, &LayerCounts::moe);
  if (c.first) add(blocks.kept.embedding, 1);
  if (c.last) add(blocks.kept.head, 1);
  t.layers = static_cast<double>(c.stage.num_layers);
  return t;
}

TrainingStage StageOf(const Problem& problem, const Strategy& s, const StageClass& c, const StageTotals& t,
                      const TrainingBlocks& blocks, TrainingExchanges& exchanges) {
  const TrainingSpec& training = *problem.workload().training;
  const auto with_host = [&](double device_s, double tasks) {
    const double host_s = tasks * training.host_task_s;
    return training.blocking_launches ? device_s + host_s : std::max(device_s, host_s);
  };
  TrainingStage stage{.forward_s = with_host(t.forward_s, t.forward_tasks),
                      .backward_s = with_host(t.backward_s, t.backward_tasks),
                      .layers = std::max(t.layers, 1.0)};
  stage.send_s = blocks.kept.transfer.send_s[kForward];
  stage.neighbours = (c.last ? 0 : 1) + (c.first ? 0 : 1);
  const Collective sum = s.zero_stage == 0 ? Collective::kAllReduce : Collective::kReduceScatter;
  const double gradients_s = exchanges.GradientsTime(sum, t.elements, t.expert_elements, t.summed_elements);
  const double gather_s = s.zero_stage == 0 ? 0 : exchanges.GatherTime(t.elements, t.expert_elements);
  const auto v = static_cast<double>(s.virtual_pipeline_parallel_size);
  if (s.zero_stage >= 2) {
    const double again_s = s.zero_stage == 3 ? gather_s : 0;
    stage.forward_s += ExposedExchange(again_s, stage.forward_s, stage.layers, training.overlap_parameters);
    stage.backward_s +=
        ExposedExchange(again_s + gradients_s, stage.backward_s, stage.layers, training.overlap_gradients);
  } else {
    stage.gradients_s = gradients_s;
  }
  if (s.zero_stage == 1 || s.zero_stage == 2) {
    const double shared_s =
        training.parameter_exchange == ParameterExchange::kGather
            ? gather_s
            : exchanges.BroadcastTime(t.elements, t.expert_elements, t.layers * TensorsOfALayer(problem.model()));
    stage.parameters_s = ExposedExchange(shared_s, stage.forward_s / v, stage.layers, training.overlap_parameters);
  }
  // Gradients are set to zero, read for their norm and read for the update, which reads and writes each state; the
  // master copy is read again for the 16-bit weight.
  const double states = s.zero_stage == 0
                            ? t.elements + t.expert_elements
                            : t.elements / exchanges.SharedRanks() + t.expert_elements / exchanges.ExpertRanks();
  const double bytes = 3 * training.GradientBytes() + 2 * training.OptimizerBytes() + kMasterBytes + kWeightBytes;
  const DeviceSpec& device = problem.cluster().device;
  stage.optimizer_s = states * bytes / (device.curves.add.hbm_fraction * device.hbm_bytes_per_s);
  return stage;
}

/// Micro-batches whose activations stage `index` holds at most.
double InFlight(const Strategy& s, std::int64_t index) {
  const auto pp = static_cast<double>(s.pipeline_parallel_size);
  const auto v = static_cast<double>(s.virtual_pipeline_parallel_size);
  const double most = pp - static_cast<double>(index) + (v > 1 ? (pp - 1) / v : 0);
  return std::min(static_cast<double>(s.num_microbatches), most);
}

/// Of TrainingSpec::exchange_bucket_elements: gradients' where they have 16 bits, weights' where ranks share them.
double BucketBytes(const TrainingSpec& training, bool gathers_weights) {
  return static_cast<double>(training.exchange_bucket_elements) *
         ((training.fp32_gradients ? 0 : training.GradientBytes()) + (gathers_weights ? kWeightBytes : 0));
}

MemoryUse MemoryOf(const Problem& problem, const Strategy& s, const StageClass& c, const StageTotals& t,
                   const TrainingBlocks& blocks, const TrainingExchanges& exchanges) {
  const TrainingSpec& training = *problem.workload().training;
  const StrategyCost& cost = blocks.kept;
  MemoryUse memory;
  memory.limit_bytes = problem.MemoryLimitBytes();
  memory.reserved_bytes = problem.cluster().device.reserved_bytes;
  const auto share = [&](std::int64_t from_stage, double bytes) {
    const bool shared = s.zero_stage >= from_stage;
    return bytes * (t.elements / (shared ? exchanges.SharedRanks() : 1) +
                    t.expert_elements / (shared ? exchanges.ExpertRanks() : 1));
  };
  const double fp8 = training.precision == TrainingPrecision::kFp8 ? 1 : 0;
  memory.weight_bytes = share(3, kWeightBytes + fp8);
  memory.gradient_bytes =
      share(2, training.KeptGradientBytes()) + (s.zero_stage < 3 ? share(1, training.CastGradientBytes()) : 0);
  memory.optimizer_bytes = share(1, training.OptimizerBytes());
  double passing = 0, recomputed = 0, payload = cost.transfer.max_payload_bytes;
  for (const BlockCost* block : {&cost.embedding, &cost.attention, &cost.window_attention, &cost.linear_attention,
                                 &cost.dense_ffn, &cost.moe, &cost.head}) {
    passing = std::max(passing, 2 * block->peak_activation_bytes);
    payload = std::max(payload, block->max_payload_bytes);
  }
  // The head's values are of one micro-batch only: its backward follows at once.
  const double head = c.last ? cost.head.kept_bytes : 0;
  if (c.stage.num_layers > 0) {
    const bool layers = s.recomputation == Recomputation::kFull;
    const StrategyCost& again = layers ? blocks.again : blocks.kept;
    recomputed = std::max({again.attention.recomputed_bytes, again.window_attention.recomputed_bytes,
                           again.linear_attention.recomputed_bytes});
    if (layers) recomputed += std::max(again.dense_ffn.recomputed_bytes, again.moe.recomputed_bytes);
  }
  // The output of the last layer is what the next stage keeps as its input.
  const double residual =
      std::max({cost.attention.input_bytes, cost.window_attention.input_bytes, cost.linear_attention.input_bytes});
  const double output = training.keep_stage_outputs && !c.last ? residual : 0;
  memory.activation_bytes = InFlight(s, c.first_index) * (t.kept_bytes - head + output) + head + recomputed + passing;
  memory.communication_bytes = payload + BucketBytes(training, s.zero_stage > 0 && exchanges.SharedRanks() > 1);
  if (s.zero_stage == 3) {
    // The layer at hand and the next one.
    memory.communication_bytes += 2 * kWeightBytes * (t.largest_layer_elements + t.largest_layer_expert_elements);
  }
  return memory;
}

}  // namespace

double ModelFlopPerToken(const Problem& problem) {
  const ModelSpec& model = problem.model();
  const auto tables = static_cast<double>(model.vocab_size * model.hidden_size);
  const double weights = static_cast<double>(CountParameters(model).active) - (model.tie_word_embeddings ? 0 : tables);
  const AttentionSpec& a = model.attention;
  const auto layers = static_cast<double>(model.num_layers) - static_cast<double>(model.linear_attention_layers.size());
  const auto sequence = static_cast<double>(problem.workload().input_tokens);
  return 6 * weights + 6 * layers * static_cast<double>(a.num_heads * (a.QkHeadDim() + a.VHeadDim())) * sequence;
}

TrainingExchanges::TrainingExchanges(const Problem& problem, const Strategy& s, SpanCache& spans, double flop_per_token)
    : cluster_(problem.cluster()),
      gradient_bytes_(problem.workload().training->GradientBytes()),
      flop_per_token_(flop_per_token),
      groups_{{{s.context_parallel_size * s.data_parallel_size, s.tensor_parallel_size},
               {s.ExpertDataParallelSize(), s.BlockSize()},
               {s.tensor_parallel_size, 1}}},
      spans_(spans) {}

double TrainingExchanges::GradientsTime(Collective collective, double elements, double expert_elements,
                                        double summed_elements) {
  return Time(collective, kShared, elements * gradient_bytes_) +
         Time(collective, kExperts, expert_elements * gradient_bytes_) +
         Time(Collective::kAllReduce, kTensor, summed_elements * gradient_bytes_);
}

double TrainingExchanges::GatherTime(double elements, double expert_elements) {
  return Time(Collective::kAllGather, kShared, elements * kWeightBytes) +
         Time(Collective::kAllGather, kExperts, expert_elements * kWeightBytes);
}

double TrainingExchanges::BroadcastTime(double elements, double expert_elements, double tensors) {
  const auto of = [&](Where where, double bytes) {
    const double count = std::min(static_cast<double>(groups_[where].size), tensors);
    return groups_[where].size == 1 ? 0 : shardscout::BroadcastTime(cluster_, count, bytes, spans_.Of(groups_[where]));
  };
  return of(kShared, elements * kWeightBytes) + of(kExperts, expert_elements * kWeightBytes);
}

double TrainingExchanges::Time(Collective collective, Where where, double bytes) {
  if (groups_[where].size == 1 || bytes <= 0) return 0;
  for (const Known& known : known_) {
    if (known.collective == collective && known.where == where && known.bytes == bytes) return known.seconds;
  }
  const double seconds = CollectiveTime(cluster_, collective, bytes, spans_.Of(groups_[where]));
  constexpr std::size_t kMost = 64;  // Beyond, looking up takes as long.
  if (known_.size() < kMost) known_.push_back({collective, where, bytes, seconds});
  return seconds;
}

double ExposedExchange(double exchange_s, double computing_s, double parts, bool overlapped) {
  return overlapped ? std::max(exchange_s - computing_s, exchange_s / parts) : exchange_s;
}

std::vector<TrainingStage> TrainingStages(const Problem& problem, const Strategy& s,
                                          const std::vector<StageClass>& stages, const TrainingBlocks& blocks,
                                          TrainingExchanges& exchanges) {
  std::vector<TrainingStage> of_stages;
  of_stages.reserve(stages.size());
  for (const StageClass& c : stages) {
    of_stages.push_back(StageOf(problem, s, c, TotalsOf(c, blocks), blocks, exchanges));
  }
  return of_stages;
}

std::vector<MemoryUse> TrainingMemories(const Problem& problem, const Strategy& s,
                                        const std::vector<StageClass>& stages, const TrainingBlocks& blocks,
                                        const TrainingExchanges& exchanges) {
  std::vector<MemoryUse> memories;
  memories.reserve(stages.size());
  for (const StageClass& c : stages) {
    memories.push_back(MemoryOf(problem, s, c, TotalsOf(c, blocks), blocks, exchanges));
  }
  return memories;
}

Evaluation TrainingEvaluation(const Problem& problem, const Strategy& s, double step_s, const MemoryUse& memory,
                              double flop_per_token) {
  const WorkloadSpec& workload = problem.workload();
  Evaluation e;
  e.memory = memory;
  Metrics& metrics = e.metrics;
  metrics.step_time_s = step_s;
  metrics.replicas = 1;
  metrics.idle_devices = problem.cluster().num_devices - s.InstanceSize();
  metrics.concurrency = s.batch_size * s.data_parallel_size;
  const auto sequence = static_cast<double>(workload.input_tokens);
  metrics.throughput_tokens_per_s = static_cast<double>(metrics.concurrency) * sequence / step_s;
  DeriveMetrics(problem, e);
  const bool fp8 = workload.training->precision == TrainingPrecision::kFp8;
  const double peak = problem.cluster().device.PeakFlopPerS(fp8 ? DType::kFp8 : DType::kBf16);
  metrics.model_flops_utilisation = flop_per_token * metrics.throughput_per_device / peak;
  return e;
}

Evaluation AssembleTraining(const Problem& problem, const Strategy& s, const std::vector<StageClass>& stages,
                            const TrainingBlocks& blocks, TrainingExchanges& exchanges) {
  const TrainingSpec& training = *problem.workload().training;
  const auto v = static_cast<double>(s.virtual_pipeline_parallel_size);
  double sum_s = 0, slowest_s = 0, rest_s = 0;
  MemoryUse fullest;
  for (const StageClass& c : stages) {
    const StageTotals totals = TotalsOf(c, blocks);
    const TrainingStage stage = StageOf(problem, s, c, totals, blocks, exchanges);
    const double microbatch_s =
        stage.forward_s + stage.backward_s + static_cast<double>(stage.neighbours) * v * stage.send_s;
    sum_s += static_cast<double>(c.count) * microbatch_s;
    slowest_s = std::max(slowest_s, microbatch_s);
    const double gradients_s =
        ExposedExchange(stage.gradients_s, stage.backward_s / v, stage.layers, training.overlap_gradients);
    rest_s = std::max(rest_s, gradients_s + stage.parameters_s + stage.optimizer_s);
    const MemoryUse memory = MemoryOf(problem, s, c, totals, blocks, exchanges);
    if (memory.TotalBytes() > fullest.TotalBytes()) fullest = memory;
  }
  const auto m = static_cast<double>(s.num_microbatches);
  return TrainingEvaluation(problem, s, m * slowest_s + (sum_s - slowest_s) / v + rest_s, fullest,
                            exchanges.flop_per_token());
}

}  // namespace shardscout::env
