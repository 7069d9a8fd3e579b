#include "experiments/validation/serving_prediction.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <memory>

#include "env/simulator/simulator_evaluator.h"
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

std::optional<ModelOverrides> NumberFormatsOf(const ServingPoint& point) {
  const bool native = point.model.find("gpt-oss") != std::string::npos;  // MXFP4 experts, whatever the row calls it.
  if (native || point.gemm_type.empty()) return ModelOverrides{};
  if (point.gemm_type == "fp8") {
    const bool blocks = point.moe_type == "fp8_block";
    return ModelOverrides{.weight_dtype = "fp8", .activation_dtype = "fp8", .weight_quant_block = blocks ? 128 : 0};
  }
  if (point.gemm_type == "fp8_block") {
    return ModelOverrides{.weight_dtype = "fp8", .activation_dtype = "fp8", .weight_quant_block = 128};
  }
  return std::nullopt;
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

WorkloadSpec WorkloadOf(const ServingPoint& point) {
  WorkloadSpec workload;
  workload.name = point.id;
  workload.kind = WorkloadKind::kServe;
  workload.input_tokens = point.input_tokens;
  workload.output_tokens = point.output_tokens;
  workload.concurrency = point.concurrency;
  RequestModel& requests = workload.requests.emplace();
  requests.policy = point.engine == "sglang" ? BatchPolicy::kPrefillFirst : BatchPolicy::kChunkedPrefill;
  return workload;
}

Prediction Predict(const ServingPoint& point) {
  const std::optional<std::string> model_preset = ModelPresetOf(point.model),
                                   cluster_preset = ClusterPresetOf(point.system);
  if (!model_preset) return {std::nullopt, "no preset of the model " + point.model};
  if (!cluster_preset) return {std::nullopt, "no preset of the system " + point.system};
  const std::optional<ModelOverrides> formats = NumberFormatsOf(point);
  if (!formats) return {std::nullopt, "number format " + point.gemm_type};
  try {
    const ModelSpec model = LoadModel(*model_preset, *formats);
    if (point.disaggregated) {
      const std::int64_t devices = DevicesOf(point.prefill) + DevicesOf(point.decode);
      const ClusterSpec cluster = LoadCluster(*cluster_preset, 2 * devices + 64);
      const Problem problem(model, cluster, WorkloadOf(point));
      return {EvaluateTwoPools(problem, PoolOf(problem, point.prefill, model), PoolOf(problem, point.decode, model)),
              ""};
    }
    const Problem problem(model, LoadCluster(*cluster_preset, DevicesOf(point.layout)), WorkloadOf(point));
    const Strategy strategy = StrategyOf(point.layout, model);
    // A space holds the batch that serves the whole concurrency; an engine may take fewer requests at a time.
    Strategy whole = strategy;
    whole.batch_size = (point.concurrency + strategy.data_parallel_size - 1) / strategy.data_parallel_size;
    const std::string broken = StrategySpace(problem).WhyNot(whole);
    if (!broken.empty()) return {std::nullopt, "layout: " + broken};
    return {env::SimulatorEvaluator(problem).Evaluate(strategy), ""};
  } catch (const SpecError& error) {
    return {std::nullopt, error.what()};
  }
}

}  // namespace shardscout::validation
