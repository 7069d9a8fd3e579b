#include "env/calibration/calibrate_decode_attention.h"

#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "env/analytical/decode_attention_time.h"
#include "env/analytical/mla_decode_time.h"
#include "env/calibration/curve_parameters.h"
#include "env/calibration/table_columns.h"

namespace shardscout::env {
namespace {

using internal::DecodeAttentionShape;
using internal::DecodeKernel;
using internal::HasFp8;

constexpr std::int64_t kSharedMemoryBeforeHopper = 166912;

internal::DeviceRates RatesOfCache(const DeviceSpec& device, bool fp8) {
  return internal::RatesOf(device, fp8 ? DType::kFp8 : DType::kBf16);
}

template <class Curve, class TimeOf>
FittedCurve Fit(const Curve& start, const Curve& reference, const Measurements<DecodeAttentionShape>& measurements,
                const std::string& type, const MeasurementTable& table, const DeviceSpec& device,
                const TimeOf& time_s) {
  const internal::DeviceRates rates = RatesOfCache(device, measurements.shapes.front().fp8);
  return FitMeasurements(
      start, reference, measurements, type, table.path() + ": " + type,
      [&](const Curve& curve, const DecodeAttentionShape& shape) { return time_s(curve, rates, shape); });
}

}  // namespace

std::vector<FittedCurve> CalibrateDecodeAttention(const MeasurementTable& table, const DeviceSpec& device) {
  const std::size_t batch = table.Column("batch_size"), heads = table.Column("num_heads"),
                    kv_heads = table.Column("num_key_value_heads"), step = table.Column("step"),
                    latency = table.Column("latency_ms");
  const OptionalColumn head_dim(table, "head_dim"), window(table, "window_size"), cache(table, "kv_cache_dtype");
  const auto units = static_cast<double>(device.num_compute_units);
  using Key = std::pair<DecodeKernel, std::string>;
  std::map<Key, Measurements<DecodeAttentionShape>> by_kernel;
  for (std::size_t row = 0; row < table.num_rows(); ++row) {
    const std::string cache_type = cache.Text(row, "bfloat16");
    const DecodeAttentionShape shape{.requests = table.Number(row, batch, 1),
                                     .heads = table.Number(row, heads, 1),
                                     .kv_heads = table.Number(row, kv_heads, 1),
                                     .head_dim = head_dim.Number(row, 128, 1),
                                     .window = window.Number(row, 0, 0),
                                     .length = table.Number(row, step, 0) + 1,
                                     .fp8 = IsFp8(cache_type, table, row)};
    auto& measurements = by_kernel[{internal::ChooseDecodeKernel(shape, units, HasFp8(device)), cache_type}];
    measurements.shapes.push_back(shape);
    measurements.rows.push_back({.shape = ShapeKey({shape.heads, shape.kv_heads, shape.head_dim, shape.window}),
                                 .measured_s = Seconds(table, row, latency),
                                 .roofline_s = internal::DecodeRoofline(RatesOfCache(device, shape.fp8), shape)});
  }
  const DeviceCurves reference = ReferenceCurves(device);
  std::vector<FittedCurve> curves;
  for (const auto& [key, measurements] : by_kernel) {
    const auto& [kernel, cache_type] = key;
    switch (kernel) {
      case DecodeKernel::kHead: {
        HeadDecodeCurve start;
        if (!HasFp8(device)) start.shared_memory_bytes = kSharedMemoryBeforeHopper;
        const bool fp8 = measurements.shapes.front().fp8;
        curves.push_back(Fit(start, fp8 ? reference.head_decode_fp8_cache : reference.head_decode_bf16, measurements,
                             "head/" + cache_type, table, device, &internal::HeadDecodeTime));
        break;
      }
      case DecodeKernel::kGroup:
        curves.push_back(Fit(GroupDecodeCurve(), reference.group_decode, measurements, "group/" + cache_type, table,
                             device, &internal::GroupDecodeTime));
        break;
      case DecodeKernel::kGroupFp8:
        curves.push_back(Fit(GroupFp8DecodeCurve(), reference.group_decode_fp8_cache, measurements,
                             "group_fp8/" + cache_type, table, device, &internal::GroupFp8DecodeTime));
        break;
    }
  }
  return curves;
}

std::vector<FittedCurve> CalibrateDecodeMla(const MeasurementTable& table, const DeviceSpec& device) {
  const std::size_t cache = table.Column("kv_cache_dtype"), heads = table.Column("num_heads"),
                    batch = table.Column("batch_size"), step = table.Column("step"),
                    latency = table.Column("latency_ms");
  std::map<std::string, Measurements<internal::MlaDecodeShape>> by_type;
  for (std::size_t row = 0; row < table.num_rows(); ++row) {
    const std::string& type = table.Text(row, cache);
    const bool fp8 = IsFp8(type, table, row);
    internal::MlaDecodeShape shape;
    shape.requests = table.Number(row, batch, 1);
    shape.heads = table.Number(row, heads, 1);
    shape.length = table.Number(row, step, 0) + 1;
    shape.element_bytes = fp8 ? 1 : 2;
    Measurements<internal::MlaDecodeShape>& measurements = by_type[type];
    measurements.shapes.push_back(shape);
    measurements.rows.push_back({.shape = ShapeKey({shape.heads}),
                                 .measured_s = Seconds(table, row, latency),
                                 .roofline_s = internal::MlaDecodeRoofline(RatesOfCache(device, fp8), shape)});
  }
  const DeviceCurves reference = ReferenceCurves(device);
  std::vector<FittedCurve> curves;
  for (const auto& [type, measurements] : by_type) {
    const bool fp8 = measurements.shapes.front().element_bytes < 2;
    const internal::DeviceRates rates = RatesOfCache(device, fp8);
    curves.push_back(FitMeasurements(MlaDecodeCurve(), fp8 ? reference.mla_decode_fp8_cache : reference.mla_decode_bf16,
                                     measurements, type, table.path() + ": " + type,
                                     [&](const MlaDecodeCurve& curve, const internal::MlaDecodeShape& shape) {
                                       return internal::MlaDecodeTime(curve, rates, shape);
                                     }));
  }
  return curves;
}

}  // namespace shardscout::env
