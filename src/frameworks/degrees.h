#pragma once

// The table of shardscout/deployment.h as functions: each framework's own numbers and what they mean, both ways.

#include "shardscout/deployment.h"
#include "src/frameworks/megatron.h"
#include "src/frameworks/sglang.h"
#include "src/frameworks/tensorrt_llm.h"
#include "src/frameworks/vllm.h"

namespace shardscout::frameworks {

/// As for a model with experts. The decode context parallel ranks of vLLM are part of attention_tensor.
Degrees DegreesOf(const VllmArguments& arguments);
Degrees DegreesOf(const SglangArguments& arguments);
Degrees DegreesOf(const TensorRtLlmArguments& arguments);
Degrees DegreesOf(const MegatronArguments& arguments);

/// Only the arguments that the degrees decide. The degrees must be ones that the framework has (the table).
void SetDegrees(SglangArguments& arguments, const Degrees& degrees);
void SetDegrees(TensorRtLlmArguments& arguments, const Degrees& degrees);
void SetDegrees(MegatronArguments& arguments, const Degrees& degrees);

}  // namespace shardscout::frameworks
