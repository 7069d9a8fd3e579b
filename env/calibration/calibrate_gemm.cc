#include "env/calibration/calibrate_gemm.h"

#include <algorithm>
#include <array>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "env/analytical/gemm_time.h"
#include "env/calibration/curve_parameters.h"
#include "env/calibration/table_columns.h"

namespace shardscout::env {
namespace {

constexpr double kOutputBytes = 2;  // bf16

/// How a kind of product works, and where its fit starts.
struct Kind {
  std::string_view name;
  DType peak = DType::kBf16;
  double input_bytes = 2;       ///< Of an element inside the kernel.
  double weight_bytes = 2;      ///< Of one weight in memory.
  double activation_bytes = 2;  ///< Of one activation in memory.
  bool block_scaled = false;
  bool quantises = false;  ///< Its activations, within the measured time.
};
constexpr std::array<Kind, 7> kKinds = {{
    {"bfloat16"},
    {"fp8", DType::kFp8, 1, 1, 2, false, true},
    {"fp8_block", DType::kFp8, 1, 1, 2, true, true},
    {"sq", DType::kInt8, 1, 1, 1},
    {"int8_wo", DType::kBf16, 2, 1},
    {"int4_wo", DType::kBf16, 2, 0.5},
    {"nvfp4", DType::kNvfp4, 9.0 / 16, 9.0 / 16, 2, false, true},  // 4 bits, and a byte for 16 of them
}};

const GemmCurve& ReferenceOf(const Kind& kind, const DeviceCurves& reference) {
  if (kind.peak == DType::kNvfp4) return reference.gemm_nvfp4;
  if (kind.peak == DType::kInt8) return reference.gemm_int8;
  if (kind.peak == DType::kFp8) return kind.block_scaled ? reference.gemm_fp8_block : reference.gemm_fp8;
  if (kind.weight_bytes == 1) return reference.gemm_int8_weights;
  return kind.weight_bytes == 2 ? reference.gemm_bf16 : reference.gemm_int4_weights;
}

GemmCurve StartOf(const Kind& kind) {
  GemmCurve curve;
  if (kind.quantises) {
    curve.launch_s = 0;  // Part of quantise_s until it is split.
    curve.quantise_s = 6e-6;
    curve.quantise_elements_per_s = 5e9;
  }
  if (kind.block_scaled) {
    curve.missing_row_s = 1e-11;
    curve.split_s = 0;
  }
  return curve;
}

/// The measurements of a kind that quantises tell the sum of its two kernels' launches: that of the product is taken
/// from the kind that has it alone, as far as the sum goes.
void SplitLaunches(FittedCurve& fitted, double launch_s) {
  const auto value_of = [&](std::string_view name) -> double& {
    return std::find_if(fitted.parameters.begin(), fitted.parameters.end(),
                        [&](const auto& parameter) { return parameter.first == name; })
        ->second;
  };
  double& product_s = value_of("launch_s");
  double& quantise_s = value_of("quantise_s");
  if (product_s > 0) return;  // The reference's parts.
  product_s = std::min(launch_s, quantise_s);
  quantise_s -= product_s;
}

}  // namespace

std::vector<FittedCurve> CalibrateGemm(const MeasurementTable& table, const DeviceSpec& device) {
  const std::size_t type = table.Column("gemm_dtype"), m = table.Column("m"), n = table.Column("n"),
                    k = table.Column("k"), latency = table.Column("latency_ms");
  std::map<std::string, std::vector<std::size_t>> rows_by_type;
  for (std::size_t row = 0; row < table.num_rows(); ++row) rows_by_type[table.Text(row, type)].push_back(row);

  const DeviceCurves reference = ReferenceCurves(device);
  double launch_s = GemmCurve().launch_s;
  std::vector<FittedCurve> curves;
  for (const auto& [name, rows] : rows_by_type) {
    const std::string place = table.path() + ": " + name;
    const Kind& kind = KindOf(kKinds, name, place, "a kind of matrix product");
    const internal::DeviceRates rates = internal::RatesOf(device, kind.peak);
    Measurements<internal::GemmShape> measurements;
    for (const std::size_t row : rows) {
      internal::GemmShape shape{.m = table.Number(row, m, 1),
                                .n = table.Number(row, n, 1),
                                .k = table.Number(row, k, 1),
                                .input_bytes = kind.input_bytes,
                                .block_scaled = kind.block_scaled};
      shape.bytes = kind.activation_bytes * shape.m * shape.k + kind.weight_bytes * shape.n * shape.k +
                    kOutputBytes * shape.m * shape.n;
      const double flop = 2 * shape.m * shape.n * shape.k;
      measurements.shapes.push_back(shape);
      measurements.rows.push_back(
          {.shape = ShapeKey({shape.n, shape.k}),
           .measured_s = Seconds(table, row, latency),
           .roofline_s = std::max(flop / rates.peak_flop_per_s, shape.bytes / rates.hbm_bytes_per_s)});
    }
    FittedCurve fitted = FitMeasurements(StartOf(kind), ReferenceOf(kind, reference), measurements, name, place,
                                         [&](const GemmCurve& curve, const internal::GemmShape& shape) {
                                           return internal::GemmTime(curve, rates, shape);
                                         });
    if (kind.quantises) SplitLaunches(fitted, launch_s);
    if (name == "bfloat16") launch_s = CurveOf<GemmCurve>(fitted).launch_s;  // The first by name.
    curves.push_back(std::move(fitted));
  }
  return curves;
}

}  // namespace shardscout::env
