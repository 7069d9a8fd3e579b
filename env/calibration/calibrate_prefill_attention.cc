#include "env/calibration/calibrate_prefill_attention.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>

#include "env/analytical/prefill_attention_time.h"
#include "env/calibration/curve_parameters.h"
#include "env/calibration/table_columns.h"

namespace shardscout::env {
namespace {

using internal::HasFp8;
using internal::PrefillAttentionShape;
using internal::RatesOf;

/// Before Hopper, a kernel of smaller tiles, two a unit; its heads all have 128 columns in the tables.
PrefillAttentionCurve StartOf(const DeviceSpec& device) {
  PrefillAttentionCurve curve;
  if (HasFp8(device)) return curve;
  curve.tile_rows = 64;
  curve.tiles_per_unit = 2;
  curve.softmax_s = curve.tile_head_s = curve.row_s_per_byte = 0;
  curve.window_first_steps = curve.window_step_fraction = 0;
  curve.head_128_launch_fraction = 1;
  return curve;
}

void Add(const PrefillAttentionShape& shape, double measured_s, const internal::DeviceRates& rates, std::uint64_t key,
         double columns, Measurements<PrefillAttentionShape>& measurements) {
  const double flop = 2 * columns * shape.requests * shape.heads * internal::CausalPairs(shape.length, shape.window);
  const double bytes =
      shape.requests * shape.length * (shape.heads * shape.core_row_bytes + shape.kv_heads * shape.core_kv_row_bytes);
  measurements.shapes.push_back(shape);
  measurements.rows.push_back({.shape = key,
                               .measured_s = measured_s,
                               .roofline_s = std::max(flop / rates.peak_flop_per_s, bytes / rates.hbm_bytes_per_s)});
}

FittedCurve Fit(const PrefillAttentionCurve& start, const PrefillAttentionCurve& reference,
                const Measurements<PrefillAttentionShape>& measurements, const std::string& type,
                const std::string& place, const internal::DeviceRates& rates) {
  return FitMeasurements(start, reference, measurements, type, place,
                         [&](const PrefillAttentionCurve& curve, const PrefillAttentionShape& shape) {
                           return internal::PrefillAttentionTime(curve, rates, shape);
                         });
}

}  // namespace

std::vector<FittedCurve> CalibratePrefillAttention(const MeasurementTable& table, const DeviceSpec& device) {
  const std::size_t batch = table.Column("batch_size"), length = table.Column("isl"), heads = table.Column("num_heads"),
                    kv_heads = table.Column("num_key_value_heads"), latency = table.Column("latency_ms");
  const OptionalColumn head_dim(table, "head_dim"), window(table, "window_size"), attention(table, "attn_dtype"),
      cache(table, "kv_cache_dtype");
  std::map<std::string, Measurements<PrefillAttentionShape>> by_type;
  std::map<std::string, internal::DeviceRates> rates_of;
  for (std::size_t row = 0; row < table.num_rows(); ++row) {
    const std::string attention_type = attention.Text(row, "bfloat16"), cache_type = cache.Text(row, "bfloat16");
    const std::string type = attention_type + "/" + cache_type;
    const bool fp8 = IsFp8(cache_type, table, row);
    const double d = head_dim.Number(row, 128, 1);
    PrefillAttentionShape shape = internal::GroupedPrefillShape(
        table.Number(row, batch, 1), table.Number(row, length, 1), table.Number(row, heads, 1),
        table.Number(row, kv_heads, 1), d, fp8, IsFp8(attention_type, table, row) ? 1 : 2);
    shape.window = window.Number(row, 0, 0);
    const internal::DeviceRates& rates =
        rates_of.try_emplace(type, RatesOf(device, fp8 ? DType::kFp8 : DType::kBf16)).first->second;
    Add(shape, Seconds(table, row, latency), rates, ShapeKey({shape.heads, shape.kv_heads, d, shape.window}), 2 * d,
        by_type[type]);
  }
  const DeviceCurves reference = ReferenceCurves(device);
  std::vector<FittedCurve> curves;
  curves.reserve(by_type.size());
  for (const auto& [type, measurements] : by_type) {
    const bool fp8_cache = measurements.shapes.front().element_bytes < 2;
    curves.push_back(Fit(StartOf(device), fp8_cache ? reference.prefill_fp8_cache : reference.prefill_bf16,
                         measurements, type, table.path() + ": " + type, rates_of.at(type)));
  }
  return curves;
}

std::vector<FittedCurve> CalibratePrefillMla(const MeasurementTable& table, const DeviceSpec& device) {
  const std::size_t cache = table.Column("kv_cache_dtype"), heads = table.Column("num_heads"),
                    batch = table.Column("batch_size"), length = table.Column("isl"),
                    latency = table.Column("latency_ms");
  std::map<std::string, Measurements<PrefillAttentionShape>> by_type;
  std::map<std::string, internal::DeviceRates> rates_of;
  for (std::size_t row = 0; row < table.num_rows(); ++row) {
    const std::string& type = table.Text(row, cache);
    const bool fp8 = IsFp8(type, table, row);
    const PrefillAttentionShape shape =
        internal::MlaPrefillShape(table.Number(row, batch, 1), table.Number(row, length, 1),
                                  table.Number(row, heads, 1), internal::LatentDims(), fp8);
    const internal::DeviceRates& rates =
        rates_of.try_emplace(type, RatesOf(device, fp8 ? DType::kFp8 : DType::kBf16)).first->second;
    Add(shape, Seconds(table, row, latency), rates, ShapeKey({shape.heads}), shape.qk_dim + shape.v_dim, by_type[type]);
  }
  const DeviceCurves reference = ReferenceCurves(device);
  std::vector<FittedCurve> curves;
  for (const auto& [type, measurements] : by_type) {
    PrefillAttentionCurve start;
    start.softmax_s = start.tile_head_s = start.row_s_per_byte = 0;
    start.window_first_steps = start.window_step_fraction = 0;
    start.head_128_launch_fraction = 1;
    start.cached_saving = 0.1;
    curves.push_back(Fit(start, type == "fp8" ? reference.mla_prefill_fp8_cache : reference.mla_prefill_bf16,
                         measurements, type, table.path() + ": " + type, rates_of.at(type)));
  }
  return curves;
}

}  // namespace shardscout::env
