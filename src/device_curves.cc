// The curves of a device that was not measured.

#include "shardscout/device_curves.h"

#include <algorithm>

#include "shardscout/cluster_spec.h"

namespace shardscout {
namespace {

/// Beyond this factor no device is like the measured one; within it every parameter stays in its field's range, so that
/// what is written reads back.
constexpr double kMostRatio = 1e6;

/// How much a device has of what the measured one has.
struct Ratios {
  double unit = 1;       ///< Of a compute unit's part of the bf16 peak.
  double bandwidth = 1;  ///< Of the memory's.
};

void Scale(GemmCurve& curve, const Ratios& ratios) {
  curve.feed_bytes_per_s *= ratios.unit;
  curve.tile_element_s /= ratios.unit;
  curve.missing_row_s /= ratios.unit;
  curve.quantise_elements_per_s *= ratios.unit;
  curve.split_bytes_per_s *= ratios.bandwidth;
}

void Scale(PrefillAttentionCurve& curve, const Ratios& ratios) {
  curve.softmax_s /= ratios.unit;
  curve.row_s_per_byte /= ratios.unit;
}

void Scale(HeadDecodeCurve& curve, const Ratios& ratios) {
  curve.step_s /= ratios.unit;
  curve.busy_step_s /= ratios.unit;
}

void Scale(GroupDecodeCurve& curve, const Ratios& ratios) {
  curve.step_s /= ratios.unit;
  curve.tile_row_s /= ratios.unit;
  curve.split_row_s /= ratios.unit;
}

void Scale(GroupFp8DecodeCurve& curve, const Ratios& ratios) {
  curve.step_s /= ratios.unit;
  curve.tile_row_s /= ratios.unit;
  curve.tile_row_head_s /= ratios.unit;
  curve.miss_row_s /= ratios.unit;
  curve.split_row_s /= ratios.unit;
}

void Scale(MlaDecodeCurve& curve, const Ratios& ratios) {
  curve.step_s /= ratios.unit;
  curve.piece_rows_s /= ratios.unit;
}

void Scale(MoeCurve& curve, const Ratios& ratios) {
  curve.feed_bytes_per_s *= ratios.unit;
  curve.quantise_elements_per_s *= ratios.unit;
}

}  // namespace

DeviceCurves ScaledCurves(const DeviceSpec& measured, const DeviceSpec& device) {
  DeviceCurves curves = measured.curves;
  const auto unit = [](const DeviceSpec& d) {
    return d.PeakFlopPerS(DType::kBf16) / static_cast<double>(d.num_compute_units);
  };
  const auto ratio = [](double have, double measured_has) {
    return std::clamp(have / measured_has, 1 / kMostRatio, kMostRatio);
  };
  const Ratios ratios{.unit = ratio(unit(device), unit(measured)),
                      .bandwidth = ratio(device.hbm_bytes_per_s, measured.hbm_bytes_per_s)};
  const auto scale = [&](auto&... scaled) { (Scale(scaled, ratios), ...); };
  // The reference has no units of four bits. Their kernels are those of fp8, at another peak.
  curves.gemm_nvfp4 = curves.gemm_fp8;
  curves.experts_nvfp4 = curves.experts_fp8;
  scale(curves.gemm_bf16, curves.gemm_fp8, curves.gemm_fp8_block, curves.gemm_nvfp4, curves.gemm_int8,
        curves.gemm_int8_weights, curves.gemm_int4_weights);
  scale(curves.prefill_bf16, curves.prefill_fp8_cache, curves.mla_prefill_bf16, curves.mla_prefill_fp8_cache);
  scale(curves.head_decode_bf16, curves.head_decode_fp8_cache, curves.group_decode, curves.group_decode_fp8_cache,
        curves.mla_decode_bf16, curves.mla_decode_fp8_cache);
  scale(curves.experts_bf16, curves.experts_fp8, curves.experts_fp8_block, curves.experts_nvfp4,
        curves.experts_4bit_weights);
  curves.source = "scaled from " + measured.name;
  return curves;
}

}  // namespace shardscout
