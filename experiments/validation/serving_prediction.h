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

/// The number formats that a row names, as overrides of the preset's; nullopt: one that we do not know.
std::optional<ModelOverrides> NumberFormatsOf(const ServingPoint& point);

/// A layout as a strategy: column and row shardings by heads and FFN features, vocabulary split, residual replicated,
/// experts reached by all-gather and reduce.
Strategy StrategyOf(const PoolLayout& layout, const ModelSpec& model);

/// The closed loop that the point was measured under, with the engine's way of batching.
WorkloadSpec WorkloadOf(const ServingPoint& point);

/// By the simulator, request by request. Thread safe.
Prediction Predict(const ServingPoint& point);

}  // namespace shardscout::validation
