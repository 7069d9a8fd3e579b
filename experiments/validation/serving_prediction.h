#pragma once

#include <optional>
#include <string>

#include "experiments/validation/serving_point.h"
#include "shardscout/cluster_spec.h"
#include "shardscout/evaluation.h"
#include "shardscout/model_spec.h"
#include "shardscout/strategy.h"
#include "shardscout/workload_spec.h"

namespace shardscout::validation {

/// What is predicted of a point, or why nothing is.
struct Prediction {
  std::optional<Evaluation> evaluation;
  std::string reason;  ///< "" where there is an evaluation.
};

/// The preset of a model's path and of a system's name: "deepseek-ai/DeepSeek-V3" is deepseek-v3; nullopt: none.
std::optional<std::string> ModelPresetOf(const std::string& model_path);
std::optional<std::string> ClusterPresetOf(const std::string& system);

/// What may be left out, to see what it buys.
struct PredictionOptions {
  std::optional<EngineModel> engine;  ///< Unset: the preset of the point's engine.
  bool setup = true;                  ///< SetupOf; else defaults, and requests of one length in a steady state.
  bool layouts_as_run = true;         ///< LayoutAsRun; else as the row says.
};

/// The model in the number formats that a row names; nullopt: one that we do not know. `kv_dtype` "": the model's.
std::optional<ModelSpec> ModelOf(const ServingPoint& point, const std::string& preset, const std::string& kv_dtype);

/// Experts whose width a layout cannot split into whole quantisation blocks, as engines do it: squares of FP8 weights
/// are never split, the experts are distributed instead (vLLM's MiniMax recipe and its script in InferenceX); groups
/// (gpt-oss) are padded to 128 features of a rank.
void SplitExpertsAsEngines(ModelSpec& model, PoolLayout& layout);

/// A layout as a strategy: column and row shardings by heads and FFN features, vocabulary split, residual replicated,
/// experts reached by all-gather and reduce.
Strategy StrategyOf(const PoolLayout& layout, const ModelSpec& model);

/// The closed loop that one of so many instances was measured under, with the engine's way of batching.
WorkloadSpec WorkloadOf(const ServingPoint& point, std::int64_t instances, const PredictionOptions& options);

/// By the simulator, request by request. Thread safe.
Prediction Predict(const ServingPoint& point, const PredictionOptions& options = {});

}  // namespace shardscout::validation
