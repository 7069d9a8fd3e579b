#pragma once

#include <vector>

#include "env/calibration/measurement_table.h"
#include "shardscout/calibration.h"

namespace shardscout::env {

/// Fits a PrefillAttentionCurve to each pair of types in a table with the columns batch_size, isl, num_heads,
/// num_key_value_heads, latency_ms and, where they are not 128, 0 (none), bfloat16 and bfloat16: head_dim, window_size,
/// attn_dtype, kv_cache_dtype. A type is "attn_dtype/kv_cache_dtype"; a shape is the heads, head_dim and window. Where
/// rows are too few, a fit starts from the reference's curve, scaled, and believes it (calibrate_gemm.h).
std::vector<FittedCurve> CalibratePrefillAttention(const MeasurementTable& table, const DeviceSpec& device);

/// The same for DeepSeek's multi-latent attention: kv_cache_dtype, num_heads, batch_size, isl, latency_ms; heads of 128
/// + 64 columns, values of 128, a latent of 512. A type is the kv_cache_dtype; a shape is the number of heads.
std::vector<FittedCurve> CalibratePrefillMla(const MeasurementTable& table, const DeviceSpec& device);

}  // namespace shardscout::env
