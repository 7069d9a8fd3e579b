#pragma once

#include <vector>

#include "env/calibration/measurement_table.h"
#include "shardscout/calibration.h"

namespace shardscout::env {

/// Fits a StreamCurve to each of norm, rotary, activation, add and embedding in a table of Vidur's layout: n_head,
/// n_kv_head, n_embd, n_expanded_embd, num_tokens, num_tensor_parallel_workers, and time_stats.KERNEL.median in
/// milliseconds for input_layernorm, attn_rope, mlp_act, add and emb (bf16; its clock ticks in microseconds). A shape
/// is the number of tensor-parallel workers.
std::vector<FittedCurve> CalibrateStream(const MeasurementTable& table, const DeviceSpec& device);

}  // namespace shardscout::env
