#pragma once

#include <vector>

#include "env/calibration/measurement_table.h"
#include "shardscout/calibration.h"

namespace shardscout::env {

/// Fits a GemmCurve to each kind of matrix product in a table with the columns gemm_dtype, m, n, k, latency_ms:
/// C[m, n] = A[m, k] B[k, n] with A and C in bf16. Kinds: bfloat16, fp8 (scales per tensor) and fp8_block (of 128 x
/// 128) and nvfp4 (of 16), whose times hold the quantisation of A, sq (int8 weights, A in int8 already), int8_wo and
/// int4_wo (weights only). Another kind is a SpecError. A shape is (n, k). A kind with too few rows for its parameters
/// starts from the reference's curve, scaled, and moves from there as far as the rows say (FitOptions::belief_width).
std::vector<FittedCurve> CalibrateGemm(const MeasurementTable& table, const DeviceSpec& device);

}  // namespace shardscout::env
