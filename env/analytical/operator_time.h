#pragma once

#include "shardscout/cluster_spec.h"
#include "shardscout/program.h"

/// Time of a compute task on one device: OperatorTime (declared in shardscout/collective_time.h). The task's kind and
/// types choose the kernel, its shape goes into the kernel's formula with the device's curve (DeviceCurves):
///
///   kMatmul, kUpProject, kAbsorbKey, kValueProject: gemm_time.h. Inputs fp8, where the device has units for it:
///     gemm_fp8_block with scales of square blocks, unless the device has units for MXFP4, which scale blocks
///     themselves (Blackwell's tcgen05.mma.block_scale): gemm_fp8 then, but for the quantisation, else gemm_fp8; four
///     bits, where it has units: gemm_nvfp4; int8: gemm_int8; else by the weights' bits: gemm_bf16, gemm_int8_weights
///     (8), gemm_int4_weights (4); experts alike
///   kAttention in prefill: prefill_attention_time.h, of `requests * share` (a rank of cp does a share of the tiles)
///   kAttention in decode: decode_attention_time.h by the kernel that the library takes, or mla_decode_time.h
///   kExpertMatmul, kActivation of experts: moe_time.h, in its parts: routing, sorting and first product; activation;
///     second product and sum. Rows are the fullest rank's, spread over its experts as even routing does
///     (expert_loads.h)
///   kNorm, kNormStatistic, kRotary, kActivation, kAdd, kEmbed, others (as kActivation): StreamCurve,
///     kernels * launch_s + bytes / (hbm_fraction * bandwidth)
///   kIndexSelect, kLinearAttention: their launches and the larger of FLOP / (prefill_bf16's fraction * peak) and bytes
///   as
///     above; no kernel of a linear attention has been measured here
///
/// and no task takes less than its floor. A task without kernels is fused into another (its bytes are moved all the
/// same), or a view, which costs nothing.
///
/// Monotone: never faster with less bandwidth or peak or a longer time of any curve, nor with more FLOP or bytes at an
/// equal shape.
namespace shardscout::internal {

/// What no task of this kind and these types is faster than, whatever its shape: the rates that the kernels' formulas
/// approach, of several kernels the best of each.
struct OperatorFloor {
  double flop_per_s = 0;
  double bytes_per_s = 0;
  double fixed_s = 0;
  double FlopSeconds(const Work& work) const { return work.flop > 0 ? work.flop / flop_per_s : 0; }
  /// max(flop / flop_per_s, bytes / bytes_per_s) + fixed_s.
  double Seconds(const Work& work) const;
};
OperatorFloor FloorOf(const DeviceSpec& device, const Task& task);

}  // namespace shardscout::internal
