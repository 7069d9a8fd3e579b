#include "env/calibration/calibrate_collectives.h"

#include <charconv>
#include <cmath>
#include <map>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "env/analytical/fabric_collective_time.h"
#include "env/calibration/curve_parameters.h"
#include "env/calibration/table_columns.h"
#include "shardscout/error.h"
#include "src/choices.h"

namespace shardscout::env {
namespace {

using internal::FabricGroup;

struct Call {
  FabricGroup group;
  Collective collective = Collective::kAllReduce;
  double bytes = 0;
};

/// The group's, which lies within the innermost tier.
double RanksOfFabric(const MeasurementTable& table, std::size_t row, std::size_t column, const NetworkTier& fabric) {
  const double ranks = table.Number(row, column, 2);
  if (fabric.size > 0 && ranks > static_cast<double>(fabric.size)) {
    throw SpecError(table.path() + ": row " + std::to_string(row + 1),
                    "found " + std::to_string(std::llround(ranks)) + " GPUs, expected at most the " +
                        std::to_string(fabric.size) + " of the tier " + fabric.name);
  }
  return ranks;
}

Collective CollectiveOf(const std::string& op, const std::string& place) {
  if (op == "all_reduce") return Collective::kAllReduce;
  if (op == "all_gather") return Collective::kAllGather;
  if (op == "reduce_scatter") return Collective::kReduceScatter;
  if (op == "alltoall") return Collective::kAllToAll;
  throw internal::UnknownName(place, op, "a collective", {"all_reduce", "all_gather", "reduce_scatter", "alltoall"});
}

struct EngineCall {
  FabricGroup group;
  double bytes = 0, limit_bytes = 0;
  double nccl_s = 0;
};

/// "0.24.0" and "1.3.0rc20" by their first two numbers; what is no number is 0.
std::pair<int, int> ParseVersion(std::string_view text) {
  int major = 0, minor = 0;
  const auto [dot, error] = std::from_chars(text.data(), text.data() + text.size(), major);
  if (error == std::errc() && dot != text.data() + text.size() && *dot == '.') {
    std::from_chars(dot + 1, text.data() + text.size(), minor);
  }
  return {major, minor};
}

/// See the header.
double EngineLimit(const std::string& kernel, const std::string& version, double ranks) {
  constexpr double kMebibyte = 1048576;
  const std::pair<int, int> parsed = ParseVersion(version);
  if (kernel == "TRTLLM") return (parsed <= std::pair(1, 0) ? 1.5 : 16) * kMebibyte;
  const bool symmetric_memory = ranks > 2 && parsed >= std::pair(0, 24);
  return (symmetric_memory ? 64 : 8) * kMebibyte;
}

EngineAllReduceCurve StartOf(const std::string& kernel, const std::string& version, const std::string& place) {
  EngineAllReduceCurve curve;
  if (kernel == "TRTLLM") {
    curve.two_shot_base_s = curve.two_shot_peer_s = curve.two_shot_link_fraction = 0;
  } else if (kernel == "vLLM_custom_eager") {
    curve.host_s = 20e-6;
    curve.copy_link_ratio = 3;
  } else if (kernel != "vLLM_custom_graph") {
    throw internal::UnknownName(place, kernel, "an engine's all-reduce",
                                {"TRTLLM", "vLLM_custom_graph", "vLLM_custom_eager"});
  }
  curve.buffer_bytes = std::llround(EngineLimit(kernel, version, 2));
  curve.group_buffer_bytes = std::llround(EngineLimit(kernel, version, 4));
  return curve;
}

}  // namespace

std::vector<FittedCurve> CalibrateCollectives(const MeasurementTable& table, const ClusterSpec& cluster) {
  const std::size_t system = table.Column("system"), op = table.Column("op"), dtype = table.Column("dtype"),
                    gpus = table.Column("num_gpus"), size = table.Column("message_bytes"),
                    latency = table.Column("latency_ms");
  const NetworkTier& fabric = cluster.tiers.front();
  Measurements<Call> measurements;
  for (std::size_t row = 0; row < table.num_rows(); ++row) {
    if (table.Text(row, system) != cluster.device.measured_as) continue;
    Call call;
    call.collective = CollectiveOf(table.Text(row, op), table.path() + ": row " + std::to_string(row + 1));
    call.group = {.ranks = RanksOfFabric(table, row, gpus, fabric),
                  .link_bytes_per_s = fabric.bytes_per_s,
                  .adds = fabric.in_network_reduction && table.Text(row, dtype) != "int8"};
    call.bytes = table.Number(row, size, 1);
    const bool added = call.group.adds && call.collective == Collective::kAllReduce && call.group.ranks > 2;
    measurements.shapes.push_back(call);
    measurements.rows.push_back(
        {.shape = ShapeKey({static_cast<double>(call.collective), call.group.ranks, added ? 1.0 : 0.0}),
         .measured_s = Seconds(table, row, latency),
         .roofline_s = internal::FabricRoofline(call.group, call.collective, call.bytes)});
  }
  if (measurements.rows.empty()) return {};
  FabricCollectiveCurve start;
  if (!fabric.in_network_reduction) {
    start.nvls_base_s = start.nvls_link_fraction = start.nvls_fill_ratio = start.nvls_fill_s = 0;
  }
  return {FitMeasurements(start, measurements, "nccl", table.path() + ": " + cluster.device.measured_as,
                          [](const FabricCollectiveCurve& curve, const Call& call) {
                            return internal::FabricCollectiveTime(curve, call.group, call.collective, call.bytes);
                          })};
}

std::vector<FittedCurve> CalibrateEngineAllReduce(const MeasurementTable& table, const ClusterSpec& cluster,
                                                  const FabricCollectiveCurve& nccl) {
  const std::size_t system = table.Column("system"), version = table.Column("backend_version"),
                    kernel = table.Column("kernel_source"), gpus = table.Column("num_gpus"),
                    size = table.Column("message_bytes"), latency = table.Column("latency_ms");
  const NetworkTier& fabric = cluster.tiers.front();
  std::map<std::string, Measurements<EngineCall>> by_kernel;
  std::map<std::string, std::string> newest;  // Version of each kernel, whose buffers the curve has.
  for (std::size_t row = 0; row < table.num_rows(); ++row) {
    if (table.Text(row, system) != cluster.device.measured_as) continue;
    const std::string& name = table.Text(row, kernel);
    EngineCall call;
    call.group = {.ranks = RanksOfFabric(table, row, gpus, fabric),
                  .link_bytes_per_s = fabric.bytes_per_s,
                  .adds = fabric.in_network_reduction};
    call.bytes = table.Number(row, size, 1);
    call.limit_bytes = EngineLimit(name, table.Text(row, version), call.group.ranks);
    call.nccl_s = internal::FabricCollectiveTime(nccl, call.group, Collective::kAllReduce, call.bytes);
    std::string& newest_version = newest[name];
    if (ParseVersion(table.Text(row, version)) >= ParseVersion(newest_version)) {
      newest_version = table.Text(row, version);
    }
    Measurements<EngineCall>& measurements = by_kernel[name];
    measurements.shapes.push_back(call);
    measurements.rows.push_back(
        {.shape = ShapeKey({call.group.ranks}),
         .measured_s = Seconds(table, row, latency),
         .roofline_s = internal::FabricRoofline(call.group, Collective::kAllReduce, call.bytes)});
  }
  std::vector<FittedCurve> curves;
  for (const auto& [name, measurements] : by_kernel) {
    const std::string place = table.path() + ": " + cluster.device.measured_as + " " + name;
    curves.push_back(FitMeasurements(StartOf(name, newest.at(name), place), measurements, name, place,
                                     [](const EngineAllReduceCurve& curve, const EngineCall& call) {
                                       return internal::EngineAllReduceTime(curve, call.group, call.bytes,
                                                                            call.limit_bytes, call.nccl_s);
                                     }));
  }
  return curves;
}

}  // namespace shardscout::env
