#pragma once

#include <vector>

#include "env/calibration/measurement_table.h"
#include "shardscout/calibration.h"

namespace shardscout::env {

/// Fits the curve of each decode kernel and type of cache (HeadDecodeCurve, GroupDecodeCurve, GroupFp8DecodeCurve) in a
/// table with the columns batch_size, num_heads, num_key_value_heads, step (tokens before the new one), latency_ms and,
/// where they are not 128, 0 (none) and bfloat16: head_dim, window_size, kv_cache_dtype. A type is
/// "KERNEL/kv_cache_dtype" with head, group or group_fp8; a shape is the heads, head_dim and window. Where rows are too
/// few, a fit starts from the reference's curve, scaled, and believes it (calibrate_gemm.h).
std::vector<FittedCurve> CalibrateDecodeAttention(const MeasurementTable& table, const DeviceSpec& device);

/// Fits an MlaDecodeCurve to each kv_cache_dtype of a table with the columns kv_cache_dtype, num_heads, batch_size,
/// step, latency_ms: DeepSeek's latent of 512 and rope key of 64. A shape is the number of heads.
std::vector<FittedCurve> CalibrateDecodeMla(const MeasurementTable& table, const DeviceSpec& device);

}  // namespace shardscout::env
