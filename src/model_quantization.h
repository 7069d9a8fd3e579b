#pragma once

#include <string>
#include <vector>

#include "shardscout/model_spec.h"
#include "src/config_reader.h"

namespace shardscout::internal {

/// Reads `quantization_config` into the model's weight and activation types, scales and quantised parts. To be called
/// when structure and unquantised types are there. Nothing where the key is missing. By quant_method:
///
///   fp8                 weights and activations FP8; weight_block_size [n, n], or null for one scale a tensor
///   mxfp4               routed experts MXFP4 (32 weights with one 8-bit exponent), activations as they are
///   modelopt            quant_algo NVFP4 (16 weights with one fp8 scale) or FP8 (per tensor), activations alike, the
///                       KV cache FP8 where kv_cache_scheme says so
///   awq, gptq           weights INT4 or INT8, groups of group_size with fp16 scales; activations as they are
///   compressed-tensors  weights and, where it says so, activations of one scheme: INT4, INT8, FP8; per tensor,
///   channel,
///                       group or square block
///
/// Not understood and refused at their key: other methods, schemes that differ between modules, a module list that
/// excepts a part of attention's, a dense FFN's, the shared expert's or the experts' projections but not all of them,
/// and a quantised lm_head or KV cache.
void ReadQuantization(ConfigReader& config, ModelSpec& model, std::vector<std::string>* warnings);

}  // namespace shardscout::internal
