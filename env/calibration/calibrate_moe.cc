#include "env/calibration/calibrate_moe.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "env/analytical/moe_time.h"
#include "env/calibration/curve_parameters.h"
#include "env/calibration/table_columns.h"
#include "shardscout/error.h"
#include "src/choices.h"

namespace shardscout::env {
namespace {

using internal::ExpertLoads;
using internal::MoeKernel;
using internal::MoeShape;
using internal::Routing;

struct Kind {
  std::string_view name;
  DType peak = DType::kBf16;
  double weight_bytes = 2, activation_bytes = 2;
  MoeKernel kernel = MoeKernel::kLibrary;
};
constexpr std::array<Kind, 5> kKinds = {{
    {"bfloat16"},
    {"fp8", DType::kFp8, 1, 1},
    {"fp8_block", DType::kFp8, 1, 1, MoeKernel::kBlockScaled},
    {"nvfp4", DType::kNvfp4, 9.0 / 16, 9.0 / 16},                     // 4 bits, and a byte for 16 of them
    {"w4a16_mxfp4", DType::kBf16, 17.0 / 32, 2, MoeKernel::kTriton},  // 4 bits, and a byte for 32 of them
}};

MoeCurve StartOf(const Kind& kind) {
  MoeCurve curve;
  if (kind.kernel != MoeKernel::kLibrary) curve.wide_routing_s = 0;  // No such shape is measured.
  if (kind.kernel == MoeKernel::kBlockScaled) curve.quantise_elements_per_s = 1e9;
  if (kind.kernel == MoeKernel::kTriton) {
    curve.launch_s = 60e-6;
    curve.scan_s = curve.feed_bytes_per_s = 0;
  }
  return curve;
}

const MoeCurve& ReferenceOf(const Kind& kind, const DeviceCurves& reference) {
  if (kind.peak == DType::kNvfp4) return reference.experts_nvfp4;
  if (kind.kernel == MoeKernel::kTriton) return reference.experts_4bit_weights;
  if (kind.kernel == MoeKernel::kBlockScaled) return reference.experts_fp8_block;
  return kind.peak == DType::kFp8 ? reference.experts_fp8 : reference.experts_bf16;
}

ExpertLoads LoadsOf(const Routing& routing, const std::string& distribution, const std::string& place) {
  if (distribution == "balanced") return internal::DealtLoads(routing);
  if (distribution == "power_law_1.01") return internal::PowerLawLoads(routing, 1.01);
  if (distribution == "power_law_1.2") return internal::PowerLawLoads(routing, 1.2);
  throw internal::UnknownName(place, distribution, "a distribution of tokens",
                              {"balanced", "power_law_1.01", "power_law_1.2"});
}

struct Layer {
  MoeShape shape;
  ExpertLoads loads;
};

/// How the collector names a shape's tuned kernels.
std::string TuningName(const MoeShape& shape) {
  return std::to_string(std::llround(shape.hidden)) + "_" + std::to_string(static_cast<long long>(shape.inter)) + "_" +
         std::to_string(std::llround(shape.routing.LocalExperts()));
}

/// Marks the rows whose tuned kernels may be another shape's.
void MarkSharedTuning(Measurements<Layer>& measurements) {
  std::map<std::string, std::set<std::uint64_t>> shapes;
  for (std::size_t i = 0; i < measurements.rows.size(); ++i) {
    shapes[TuningName(measurements.shapes[i].shape)].insert(measurements.rows[i].shape);
  }
  for (std::size_t i = 0; i < measurements.rows.size(); ++i) {
    const auto own = shapes.find(TuningName(measurements.shapes[i].shape));
    const auto next = std::next(own);
    const bool prefix = next != shapes.end() && next->first.starts_with(own->first);
    measurements.rows[i].suspect = own->second.size() > 1 || prefix;
  }
}

}  // namespace

std::vector<FittedCurve> CalibrateMoe(const MeasurementTable& table, const DeviceSpec& device) {
  const std::size_t tokens = table.Column("num_tokens"), hidden = table.Column("hidden_size"),
                    inter = table.Column("inter_size"), topk = table.Column("topk"),
                    experts = table.Column("num_experts"), tp = table.Column("moe_tp_size"),
                    ep = table.Column("moe_ep_size"), distribution = table.Column("distribution"),
                    latency = table.Column("latency_ms");
  const OptionalColumn type(table, "moe_dtype"), source(table, "kernel_source");
  std::map<std::string, Measurements<Layer>> by_type;
  for (std::size_t row = 0; row < table.num_rows(); ++row) {
    const std::string place = table.path() + ": row " + std::to_string(row + 1);
    const std::string name = type.Text(row, "bfloat16");
    const Kind& kind = KindOf(kKinds, name, place, "a type of experts");
    Layer layer;
    MoeShape& shape = layer.shape;
    shape.routing = {.tokens = table.Number(row, tokens, 1),
                     .topk = table.Number(row, topk, 1),
                     .experts = table.Number(row, experts, 1),
                     .ranks = table.Number(row, ep, 1)};
    CheckRouting(shape.routing.topk, shape.routing.experts, shape.routing.ranks, place);
    shape.hidden = table.Number(row, hidden, 1);
    const double whole_inter = table.Number(row, inter, 1), parts = table.Number(row, tp, 1);
    shape.inter = whole_inter / parts;
    shape.gated = !source.Text(row, "").ends_with("_nongated");
    shape.weight_bytes = kind.weight_bytes;
    shape.activation_bytes = kind.activation_bytes;
    shape.kernel = kind.kernel;
    layer.loads = LoadsOf(shape.routing, table.Text(row, distribution), place);
    Measurements<Layer>& measurements = by_type[name];
    measurements.rows.push_back(
        {.shape = ShapeKey(
             {shape.hidden, whole_inter, shape.routing.topk, shape.routing.experts, parts, shape.routing.ranks}),
         .measured_s = Seconds(table, row, latency),
         .roofline_s = internal::MoeRoofline(internal::RatesOf(device, kind.peak), shape, layer.loads)});
    measurements.shapes.push_back(layer);
  }
  const DeviceCurves reference = ReferenceCurves(device);
  std::vector<FittedCurve> curves;
  for (auto& entry : by_type) {
    const std::string& name = entry.first;
    Measurements<Layer>& measurements = entry.second;
    const std::string place = table.path() + ": " + name;
    const Kind& kind = KindOf(kKinds, name, place, "a type of experts");
    if (kind.kernel == MoeKernel::kLibrary) MarkSharedTuning(measurements);
    const internal::DeviceRates rates = internal::RatesOf(device, kind.peak);
    const FittedCurve whole = FitMeasurements(StartOf(kind), ReferenceOf(kind, reference), measurements, name, place,
                                              [&](const MoeCurve& curve, const Layer& layer) {
                                                return internal::MoeTime(curve, rates, layer.shape, layer.loads);
                                              });
    for (FittedCurve& part :
         Split(whole, name + "/shared_tuning", [&](std::size_t row) { return measurements.rows[row].suspect; })) {
      curves.push_back(std::move(part));
    }
  }
  return curves;
}

}  // namespace shardscout::env
