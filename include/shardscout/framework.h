#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "shardscout/model_spec.h"

namespace shardscout {

/// What runs a plan. Most take parallel degrees (by their own words: deployment.h) and fix most of the rest of a
/// strategy; kDtensor and kShardy take a sharding an operator. docs/frameworks.md says what each can and cannot
/// express.
enum class Framework : std::uint8_t {
  kVllm,
  kSglang,
  kTensorRtLlm,
  kMegatron,
  kDeepSpeed,
  kTorchtitan,    ///< Training alone.
  kMaxText,       ///< Training alone.
  kTransformers,  ///< Hugging Face's tp_plan.
  kDtensor,       ///< A plan for PyTorch's parallelize_module.
  kShardy,        ///< A mesh and a sharding a tensor, for JAX and XLA.
};

std::span<const Framework> AllFrameworks();

/// "vllm", "sglang", "tensorrt-llm", "megatron", "deepspeed", "torchtitan", "maxtext", "transformers", "dtensor",
/// "shardy".
std::string_view ToString(Framework framework);

/// The release, or the commit, whose source the flags and rules were read from: "0.24", "001067ff".
std::string_view VersionOf(Framework framework);

/// Whether it runs plans of this kind, training or inference.
bool Trains(Framework framework);
bool Infers(Framework framework);

/// "megatron, deepspeed, torchtitan or maxtext": the names of those that train, or of those that infer.
std::string FrameworksFor(bool training);

/// "vllm" or "vllm@0.24" ("trtllm" is TensorRT-LLM too); SpecError at `place` for another name, with the nearest, and
/// for another version.
Framework ParseFramework(std::string_view name, std::string_view place);

/// Whether vLLM lets `dcp` of `tp` ranks share one request's KV cache by position (vllm/config/model.py
/// verify_with_parallel_config): with MLA always, else where tp exceeds the KV heads, dcp <= tp / KV heads and divides
/// the heads a KV head.
bool AdmitsDecodeContextParallel(const ModelSpec& model, std::int64_t tp, std::int64_t dcp);

}  // namespace shardscout
