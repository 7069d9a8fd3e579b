#pragma once

#include <optional>
#include <string>
#include <vector>

#include "experiments/validation/published_engine.h"
#include "experiments/validation/published_record.h"
#include "experiments/validation/serving_point.h"
#include "shardscout/cluster_spec.h"
#include "shardscout/model_spec.h"

namespace shardscout::validation {

/// What a record says was run, in this library's terms.
struct PublishedSetup {
  ModelSpec model;      ///< In the record's number format.
  ClusterSpec cluster;  ///< As many devices as the record has.
  PoolLayout layout;    ///< Of one worker; devices / layout.DevicesOfAWorker() of them run side by side.
  Load load;
  std::int64_t input_tokens = 1, output_tokens = 1;
  std::vector<std::string> unstated;  ///< What the record leaves open and was assumed; empty: it states its set-up.
};

/// The preset of a model as tables write it: "LLaMA v3.1 8B" and "nvidia/Llama-3.1-8B-Instruct-FP8" are llama-3.1-8b,
/// "Llama 3.3 70B" and "GLM-4.6-FP8" have the structure of llama-3.1-70b and glm-4.5.
std::optional<std::string> PublishedModelPreset(const std::string& model);

/// "H100-SXM 80GB" is h100-sxm; nullopt: none.
std::optional<std::string> PublishedClusterPreset(const std::string& hardware);

/// The preset in the record's number format; nullopt: one that is not understood.
///   FP8        as the preset where that is FP8; else one scale a tensor, or blocks of 128 in Qwen's own checkpoints
///              (named "...-FP8"); the cache too with TensorRT-LLM on ModelOpt's checkpoints (its perf-overview) and in
///              AMD's, else bf16
///   FP4        NVFP4: a float of 4 bits and an 8-bit scale for 16 of them, weights and activations, FP8 cache;
///              attention of DeepSeek's models stays as it is. gpt-oss, and MXFP4: as the preset
///   INT8       weights; products in 16 bits
std::optional<ModelSpec> ModelInFormat(const std::string& preset, const PublishedRecord& record);

/// The mapping; `unstated` gets what was assumed. nullopt, with `why_not`: none that strategies have.
std::optional<PoolLayout> LayoutOf(const PublishedRecord& record, const ModelSpec& model,
                                   std::vector<std::string>& unstated, std::string& why_not);

/// nullopt, with `why_not`: what is missing.
std::optional<PublishedSetup> SetupOf(const PublishedRecord& record, std::string& why_not);

}  // namespace shardscout::validation
