#include <functional>
#include <set>
#include <string>

#include "env/analytical/deep_ep_time.h"
#include "env/calibration/calibrate_collectives.h"
#include "env/calibration/curve_parameters.h"
#include "env/calibration/table_columns.h"
#include "shardscout/error.h"

namespace shardscout::env {
namespace {

using internal::DeepEpCall;

/// The rows of a device that are measurements of its own.
std::vector<std::size_t> OwnRows(const MeasurementTable& table, const std::string& device) {
  const std::size_t system = table.Column("system");
  std::set<std::string> others;
  std::vector<std::size_t> rows;
  for (std::size_t row = 0; row < table.num_rows(); ++row) {
    std::string cells;
    for (std::size_t column = 0; column < table.num_columns(); ++column) {
      if (column != system) cells += table.Text(row, column) + ",";
    }
    if (table.Text(row, system) != device) {
      if (rows.empty()) others.insert(cells);  // Of systems before.
    } else if (others.count(cells) == 0) {
      rows.push_back(row);
    }
  }
  return rows;
}

/// A device's share of the NICs of its node.
double NicBytesPerS(const MeasurementTable& table, const ClusterSpec& cluster) {
  if (cluster.tiers.size() < 2) {
    throw SpecError(table.path(), "has rows over several nodes, which the cluster " + cluster.name +
                                      " has no tier for; expected a cluster with two tiers or more");
  }
  const NetworkTier& network = cluster.tiers[1];
  const double rails =
      network.rails > 0 ? static_cast<double>(network.rails) : static_cast<double>(cluster.devices_per_node);
  return network.bytes_per_s * rails / static_cast<double>(cluster.devices_per_node);
}

/// Measurements of one of the two calls. `time_us` adds up the columns of its time.
Measurements<DeepEpCall> Collect(const MeasurementTable& table, const ClusterSpec& cluster, bool combine,
                                 bool low_latency, const std::function<double(std::size_t row)>& time_us) {
  const std::size_t nodes = table.Column("node_num"), hidden = table.Column("hidden_size"),
                    tokens = table.Column("num_token"), topk = table.Column("num_topk"),
                    experts = table.Column("num_experts");
  Measurements<DeepEpCall> measurements;
  for (const std::size_t row : OwnRows(table, cluster.device.measured_as)) {
    DeepEpCall call;
    call.combine = combine;
    call.nodes = table.Number(row, nodes, 1);
    call.node_ranks = static_cast<double>(cluster.devices_per_node);
    call.tokens = table.Number(row, tokens, 1);
    call.topk = table.Number(row, topk, 1);
    call.experts = table.Number(row, experts, 1);
    call.hidden = table.Number(row, hidden, 1);
    if (!low_latency) call.sms = table.Number(row, table.Column(combine ? "combine_sms" : "dispatch_sms"), 1);
    call.units = static_cast<double>(cluster.device.num_compute_units);
    call.link_bytes_per_s = cluster.tiers.front().bytes_per_s;
    call.nic_bytes_per_s = call.nodes > 1 ? NicBytesPerS(table, cluster) : 0;
    CheckRouting(call.topk, call.experts, 1, table.path() + ": row " + std::to_string(row + 1));
    measurements.shapes.push_back(call);
    measurements.rows.push_back({.shape = ShapeKey({call.nodes, call.hidden, call.topk, call.experts}),
                                 .measured_s = time_us(row) * 1e-6,
                                 .roofline_s = internal::DeepEpRoofline(call, low_latency)});
  }
  return measurements;
}

bool OverNodes(const Measurements<DeepEpCall>& measurements) {
  for (const DeepEpCall& call : measurements.shapes) {
    if (call.nodes > 1) return true;
  }
  return false;
}

std::string PlaceOf(const MeasurementTable& table, const ClusterSpec& cluster, const std::string& type) {
  return table.path() + ": " + cluster.device.measured_as + " " + type;
}

/// Within a node, and over several.
void AddByNodes(const FittedCurve& whole, const Measurements<DeepEpCall>& measurements,
                std::vector<FittedCurve>& curves) {
  for (FittedCurve& part :
       Split(whole, whole.type + "/nodes", [&](std::size_t row) { return measurements.shapes[row].nodes > 1; })) {
    curves.push_back(std::move(part));
  }
}

}  // namespace

std::vector<FittedCurve> CalibrateDeepEp(const MeasurementTable& table, const ClusterSpec& cluster) {
  std::vector<FittedCurve> curves;
  for (const std::string type : {"dispatch", "combine"}) {
    const std::size_t transmit = table.Column(type + "_transmit_us"), notify = table.Column(type + "_notify_us");
    const Measurements<DeepEpCall> measurements =
        Collect(table, cluster, type == "combine", false,
                [&](std::size_t row) { return table.Number(row, transmit, 1e-3) + table.Number(row, notify); });
    if (measurements.rows.empty()) continue;
    DeepEpCurve start;
    if (!OverNodes(measurements)) {
      start.node_doubling_s = start.notify_s = start.notify_doubling_s = 0;
      start.nic_fraction = start.many_nodes_nic_fraction = 1;
    }
    AddByNodes(FitMeasurements(
                   start, measurements, type, PlaceOf(table, cluster, type),
                   [](const DeepEpCurve& curve, const DeepEpCall& call) { return internal::DeepEpTime(curve, call); }),
               measurements, curves);
  }
  return curves;
}

std::vector<FittedCurve> CalibrateDeepEpLowLatency(const MeasurementTable& table, const ClusterSpec& cluster) {
  std::vector<FittedCurve> curves;
  for (const std::string type : {"dispatch", "combine"}) {
    const std::size_t average = table.Column(type + "_avg_t_us");
    const Measurements<DeepEpCall> measurements = Collect(
        table, cluster, type == "combine", true, [&](std::size_t row) { return table.Number(row, average, 1e-3); });
    if (measurements.rows.empty()) continue;
    DeepEpLowLatencyCurve start;
    if (!OverNodes(measurements)) {
      start.nodes_s = start.node_doubling_s = 0;
      start.nic_fraction = 1;
    }
    AddByNodes(FitMeasurements(start, measurements, type, PlaceOf(table, cluster, type),
                               [](const DeepEpLowLatencyCurve& curve, const DeepEpCall& call) {
                                 return internal::DeepEpLowLatencyTime(curve, call);
                               }),
               measurements, curves);
  }
  return curves;
}

}  // namespace shardscout::env
