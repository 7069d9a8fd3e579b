#pragma once

#include "shardscout/device_curves.h"

/// Time of a dispatch or combine of experts' tokens by DeepEP's kernels, over nodes of `node_ranks` devices.
///
/// T tokens a rank, k experts each of E, N nodes, p = node_ranks; message m: dispatch in fp8 with a scale for 128
/// columns, H (1 + 4 / 128) bytes; combine in bf16, 2 H. W the link's and B the NIC's bandwidth of one direction, U
/// compute units. distinct(parts, E, k) = parts (1 - prod_{i < k} (1 - (E / parts) / (E - i))): of so many equal parts
/// of E experts, those that k distinct random ones fall into.
///
/// For throughput, on s compute units. The router sends a token to g = min(4, N) nodes at most (DeepSeek-V3's limit,
/// taken as the benchmark's): d = distinct(g p, E g / N, k) ranks and, where N > 1, q = distinct(g, E g / N, k) nodes.
///   link  = d (p - 1) / p m / (link_fraction W);   nic = q (N - 1) / N m / (nic_fraction B (N > 4: many_nodes...))
///   copy  = (d (message_s + m / link_copy) + q m / nic_copy + m / token_copy) / s
///   u     = T (link^6 + nic^6 + copy^6)^(1/6)
///   time  = base_s + base_s_per_byte m (1 + d / 8) + node_doubling_s log2 N + (N > 1: notify_s + notify_doubling_s
///   log2 N)
///           + u + fill(fill_ratio u, fill_s_per_byte m),      fill as in fabric_collective_time.h
/// For latency: w = ceil(E / U) experts a unit, s = ceil(E / w) units work; 16 bytes more a message of a dispatch.
///   link  = k / N (p - 1) / p m / (link_fraction W);   nic = k (N - 1) / N m / (nic_fraction B)
///   copy  = (token_s + token_s_per_byte 2 H (combine: k / 8)) / s + k / E w (message_s + m / copy_bytes_per_s)
///   time  = base_s + expert_s E + base_s_per_byte m + (N > 1: nodes_s + node_doubling_s log2 N)
///           + T (link^4 + nic^4 + copy^4)^(1/4)
///
/// Monotone in every bandwidth and time.
///
/// Worked example (a test), in us: N = p = 2, T = 100, k = 2 of E = 8, 5 units, every share 1, no fill. Of link, NIC
/// and copies one at a time moves 1e9 bytes/s (message_s, token_s... are the copies'); the others take nothing.
/// Throughput, a combine of H = 700, so m = 1400; base_s 10, base_s_per_byte 0.01, node_doubling_s 2, notify_s 3,
/// notify_doubling_s 4, message_s 0.7:
///   d     = distinct(4, 8, 2) = 4 (1 - 6/8 * 5/7) = 13/7;   q = distinct(2, 8, 2) = 2 (1 - 4/8 * 3/7) = 11/7
///   link  = 13/7 * 1/2 * 1.4 = 1.3;   nic = 11/7 * 1/2 * 1.4 = 1.1
///   copy  = (13/7 (0.7 + 1.4) + 11/7 * 1.4 + 1.4) / 5 = 1.5
///   time  = 10 + 14 (1 + 13/56) + 2 + (3 + 4) = 36.25, and 130, 110 or 150: 166.25, 146.25 or 186.25
/// Latency, a dispatch of H = 640, so m = 660 + 16; base_s 10, base_s_per_byte 0.01, token_s 2, token_s_per_byte 0.001,
/// expert_s, nodes_s, node_doubling_s and message_s 1:
///   link  = 2/2 * 1/2 * 0.676 = 0.338;   nic = 2 * 1/2 * 0.676 = 0.676
///   w     = 2, s = 4;   copy = (2 + 0.001 * 1280) / 4 + 2/8 * 2 (1 + 0.676) = 1.658
///   time  = 10 + 8 + 6.76 + (1 + 1) = 26.76, and 33.8, 67.6 or 165.8: 60.56, 94.36 or 192.56
///
/// Not handled: skewed routing, other routers' limits. many_nodes_nic_fraction is one cluster's (measured on 8 nodes: a
/// third of what 2 and 4 nodes reach, while the low-latency kernels lose nothing); 1 is no limit.
///
/// Source: DeepEP's description for the structure; parameters fitted (docs/calibration.md).
namespace shardscout::internal {

struct DeepEpCall {
  bool combine = false;
  double nodes = 1, node_ranks = 8;
  double tokens = 1;  ///< A rank's.
  double topk = 8, experts = 256, hidden = 7168;
  double sms = 20;  ///< Compute units that send; for throughput only.
  double units = 132;
  double link_bytes_per_s = 0, nic_bytes_per_s = 0;
};

/// Seconds, notification included.
double DeepEpTime(const DeepEpCurve& curve, const DeepEpCall& call);
double DeepEpLowLatencyTime(const DeepEpLowLatencyCurve& curve, const DeepEpCall& call);

/// The bytes on the slower of link and NIC at its bandwidth: once a node and rank, or once an expert.
double DeepEpRoofline(const DeepEpCall& call, bool low_latency);

/// See above.
double DistinctParts(double parts, double experts, double topk);

}  // namespace shardscout::internal
