#include "experiments/validation/serving_prediction.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <memory>
#include <utility>

#include "env/analytical/analytical_evaluator.h"
#include "env/simulator/simulator_evaluator.h"
#include "experiments/validation/engine_memory.h"
#include "experiments/validation/serving_setup.h"
#include "shardscout/error.h"
#include "shardscout/plan.h"
#include "shardscout/preset_paths.h"
#include "shardscout/strategy_space.h"
#include "shardscout/two_pools.h"

namespace shardscout::validation {
namespace {

std::string Lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

Pool PoolOf(const Problem& problem, const PoolLayout& layout, const ModelSpec& model) {
  Pool pool;
  pool.strategy = StrategyOf(layout, model);
  pool.replicas = layout.workers;
  pool.stages = SplitLayers(problem.model(), pool.strategy.pipeline_parallel_size);
  return pool;
}

/// What leaves the cache the room that the engine gives it.
double MemoryFractionOf(const ModelSpec& model, const ClusterSpec& cluster, WorkloadSpec workload,
                        const Strategy& strategy, const ServingSetup& setup) {
  workload.memory_fraction = 1;
  const MemoryUse memory = env::AnalyticalEvaluator(Problem(model, cluster, workload)).Evaluate(strategy).memory;
  const double step_bytes = PromptStepBytes(model, cluster, strategy, workload.input_tokens, setup.max_batched_tokens);
  return MemoryFractionFor(cluster.device, memory, CacheBytes(cluster.device, setup.cache, memory, step_bytes));
}

std::int64_t DevicesOf(const PoolLayout& layout) { return layout.workers * layout.DevicesOfAWorker(); }

}  // namespace

std::optional<std::string> ModelPresetOf(const std::string& model_path) {
  const std::string name = Lower(model_path.substr(model_path.rfind('/') + 1));
  std::optional<std::string> found;
  for (const std::string& preset : ListPresets("models")) {
    const bool longer = !found || preset.size() > found->size();
    if (longer && name.starts_with(preset)) found = preset;
  }
  return found;
}

std::optional<std::string> ClusterPresetOf(const std::string& system) {
  static const std::map<std::string, std::string> kPresets = {
      {"h100_sxm", "h100-sxm"}, {"h200_sxm", "h200-sxm"}, {"b200_sxm", "b200-sxm"}, {"gb200", "gb200-nvl72"}};
  const auto preset = kPresets.find(system);
  if (preset == kPresets.end()) return std::nullopt;
  return preset->second;
}

std::optional<ModelSpec> ModelOf(const ServingPoint& point, const std::string& preset, const std::string& kv_dtype) {
  const ModelSpec own = LoadModel(preset, {.kv_dtype = kv_dtype});
  if (point.gemm_type.empty()) return own;
  // Checkpoints of DeepSeek and MiniMax are FP8 in blocks, gpt-oss's experts MXFP4, whatever the row calls them.
  if (BitsPerElement(own.weight_dtype) == 4) {
    // With MXFP8 inputs on devices that have units for them.
    const bool blackwell = point.system.find("b200") != std::string::npos;
    return LoadModel(preset, {.activation_dtype = blackwell ? "fp8" : "", .kv_dtype = kv_dtype});
  }
  if (point.gemm_type.starts_with("fp8")) {
    if (own.weight_dtype == DType::kFp8) return own;
    const std::int64_t block = point.gemm_type == "fp8_block" || point.moe_type == "fp8_block" ? 128 : 0;
    return LoadModel(
        preset, {.weight_dtype = "fp8", .activation_dtype = "fp8", .kv_dtype = kv_dtype, .weight_quant_block = block});
  }
  if (point.gemm_type == "nvfp4") {
    ModelSpec model = LoadModel(preset, {.weight_dtype = "nvfp4", .activation_dtype = "nvfp4", .kv_dtype = kv_dtype});
    // NVIDIA's NVFP4 checkpoints of models with experts leave attention alone.
    if (model.HasMoe()) model.attention_quantised = false;
    return model;
  }
  return std::nullopt;
}

void SplitExpertsAsEngines(ModelSpec& model, PoolLayout& layout) {
  const std::int64_t etp = layout.moe_tensor_parallel;
  if (!model.HasMoe() || etp == 1) return;
  const std::int64_t width = model.moe.expert_ffn_size, block = model.weight_quant_block;
  const std::int64_t unit = etp * std::max<std::int64_t>(1, block);
  if (width % unit == 0) return;
  if (!model.weight_quant_grouped && block > 0) {
    layout.moe_expert_parallel *= std::exchange(layout.moe_tensor_parallel, 1);
    return;
  }
  constexpr std::int64_t kTile = 128;
  model.moe.expert_ffn_size = (width + etp * kTile - 1) / (etp * kTile) * (etp * kTile);
}

Strategy StrategyOf(const PoolLayout& layout, const ModelSpec& model) {
  Strategy s;
  s.pipeline_parallel_size = layout.pipeline_parallel;
  s.tensor_parallel_size = layout.tensor_parallel;
  s.data_parallel_size = layout.attention_data_parallel;
  s.batch_size = layout.batch_size;
  if (layout.tensor_parallel > 1) {
    for (const Operator op : {Operator::kEmbedding, Operator::kLmHead}) s.SetSharding(op, Sharding::kVocab);
    for (const Operator op : {Operator::kQkv, Operator::kAttention, Operator::kAttnOut}) {
      s.SetSharding(op, Sharding::kHeads);
    }
    if (model.ffn_size > 0 || model.moe.shared_ffn_size > 0) {
      for (const Operator op : {Operator::kFfnUp, Operator::kFfnDown}) s.SetSharding(op, Sharding::kFfn);
    }
  }
  if (!model.HasMoe()) return s;
  s.expert_tensor_parallel_size = layout.moe_tensor_parallel;
  s.expert_parallel_size = layout.moe_expert_parallel;
  if (layout.moe_tensor_parallel > 1) {
    for (const Operator op : {Operator::kExpertUp, Operator::kExpertDown}) s.SetSharding(op, Sharding::kFfn);
  }
  if (s.BlockSize() > 1) {
    s.expert_exchange = layout.tensor_parallel > 1 ? ExpertExchange::kGatherReduce : ExpertExchange::kGatherScatter;
  }
  return s;
}

WorkloadSpec WorkloadOf(const ServingPoint& point, std::int64_t instances, const PredictionOptions& options) {
  WorkloadSpec workload;
  workload.name = point.id;
  workload.kind = WorkloadKind::kServe;
  workload.input_tokens = point.input_tokens;
  workload.output_tokens = point.output_tokens;
  workload.concurrency = point.concurrency;
  workload.engine = options.engine ? *options.engine : LoadEngine(point.engine);
  RequestModel& requests = workload.requests.emplace();
  requests.policy = point.engine == "sglang" ? BatchPolicy::kPrefillFirst : BatchPolicy::kChunkedPrefill;
  if (!options.setup) return workload;
  const ServingSetup setup = SetupOf(point);
  // What streams to clients less often costs less.
  workload.engine->request_host_s /= static_cast<double>(setup.stream_interval);
  requests.shortest_ratio = setup.shortest_ratio;
  requests.input_cv = requests.output_cv = setup.length_cv;
  requests.max_batched_tokens = setup.max_batched_tokens;
  requests.poll_interval_steps = setup.poll_interval_steps;
  requests.reserves_output = setup.reserves_output;
  requests.prompt_wait_steps = setup.prompt_wait_steps;
  requests.prompt_wait_ratio = setup.prompt_wait_ratio;
  requests.rank_wait_steps = setup.rank_wait_steps;
  requests.num_requests = RequestsOf(point, instances);
  requests.warmup_requests = 0;
  return workload;
}

Prediction Predict(const ServingPoint& point, const PredictionOptions& options) {
  const std::optional<std::string> model_preset = ModelPresetOf(point.model),
                                   cluster_preset = ClusterPresetOf(point.system);
  if (!model_preset) return {std::nullopt, "no preset of the model " + point.model};
  if (point.disaggregated && !point.pools_counted) {
    return {std::nullopt, "the row does not say how many instances its pools have"};
  }
  if (!cluster_preset) return {std::nullopt, "no preset of the system " + point.system};
  try {
    std::optional<ModelSpec> found = ModelOf(point, *model_preset, options.setup ? SetupOf(point).kv_dtype : "");
    if (!found) return {std::nullopt, "number format " + point.gemm_type};
    ModelSpec& model = *found;
    if (point.disaggregated) {
      PoolLayout prefill = point.prefill, decode = point.decode;
      for (PoolLayout* pool : {&prefill, &decode}) {
        if (model.HasMoe()) FillExpertMesh(*pool);
        SplitExpertsAsEngines(model, *pool);
      }
      const std::int64_t devices = DevicesOf(prefill) + DevicesOf(decode);
      const ClusterSpec cluster = LoadCluster(*cluster_preset, 2 * devices + 64);
      const Problem problem(model, cluster, WorkloadOf(point, 1, options));
      return {EvaluateTwoPools(problem, PoolOf(problem, prefill, model), PoolOf(problem, decode, model)), ""};
    }
    PoolLayout layout = options.layouts_as_run ? LayoutAsRun(point, model.HasMoe()) : point.layout;
    SplitExpertsAsEngines(model, layout);
    ClusterSpec cluster = LoadCluster(*cluster_preset, DevicesOf(layout));
    if (options.setup) UseEnginesKernels(SetupOf(point), cluster.device.curves);
    WorkloadSpec workload = WorkloadOf(point, layout.workers, options);
    const Strategy strategy = StrategyOf(layout, model);
    if (options.setup) workload.memory_fraction = MemoryFractionOf(model, cluster, workload, strategy, SetupOf(point));
    const Problem problem(model, cluster, workload);
    // A space holds the batch that serves the whole concurrency; an engine may take fewer requests at a time.
    Strategy whole = strategy;
    const std::int64_t ranks = layout.attention_data_parallel * layout.workers;
    whole.batch_size = (point.concurrency + ranks - 1) / ranks;
    const std::string broken = StrategySpace(problem).WhyNot(whole);
    if (!broken.empty()) return {std::nullopt, "layout: " + broken};
    return {env::SimulatorEvaluator(problem).Evaluate(strategy), ""};
  } catch (const SpecError& error) {
    return {std::nullopt, error.what()};
  }
}

}  // namespace shardscout::validation
