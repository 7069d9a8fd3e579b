#pragma once

#include <vector>

#include "env/calibration/measurement_table.h"
#include "shardscout/calibration.h"

namespace shardscout::env {

/// Fits a MoeCurve to each type of a table with the columns num_tokens, hidden_size, inter_size, topk, num_experts,
/// moe_tp_size, moe_ep_size, distribution (balanced, power_law_1.01, power_law_1.2: expert_loads.h), latency_ms and,
/// where they are not bfloat16 and gated, moe_dtype (bfloat16, fp8, fp8_block, nvfp4, w4a16_mxfp4) and kernel_source
/// (one that ends in "_nongated"). inter_size and num_experts are the model's. A shape is all but the tokens and the
/// distribution. A type with too few rows for its parameters starts from the reference's curve, as in
/// calibrate_gemm.h.
///
/// AIConfigurator's collector keeps the tuned kernels of a shape in a file that it finds by type, hidden size,
/// inter_size / tp and experts / ep, the last by prefix: shapes that share these may have been measured with another
/// one's kernels, which are often several times slower, and which of them is lost differs between devices. Such rows of
/// types that are tuned (bfloat16, fp8, nvfp4) are not fitted to, and are reported as a type of their own,
/// "TYPE/shared_tuning".
std::vector<FittedCurve> CalibrateMoe(const MeasurementTable& table, const DeviceSpec& device);

}  // namespace shardscout::env
