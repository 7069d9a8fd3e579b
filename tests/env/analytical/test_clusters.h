#pragma once

#include <cstdint>
#include <vector>

#include "shardscout/cluster_spec.h"

/// Clusters made by hand, so that tests of the cost models do not depend on the presets.
namespace shardscout::testing {

/// H100 SXM: 8 a node on NVLink (450 GB/s, NCCL's 20.6 of 25 GB/s a link), 400 Gb/s a device (48 of 50 GB/s).
inline ClusterSpec H100Cluster(std::int64_t num_devices) {
  ClusterSpec cluster;
  cluster.name = "h100";
  cluster.num_devices = num_devices;
  cluster.devices_per_node = 8;
  cluster.device.peak_flop_per_s[static_cast<std::size_t>(DType::kBf16)] = 989e12;
  cluster.device.peak_flop_per_s[static_cast<std::size_t>(DType::kFp8)] = 1978e12;
  cluster.device.hbm_bytes = 85899345920.0;
  cluster.device.hbm_bytes_per_s = 3.35e12;
  cluster.tiers = {{.name = "nvlink",
                    .size = 8,
                    .kind = TierKind::kSwitch,
                    .bytes_per_s = 450e9,
                    .latency_s = 0.6e-6,
                    .achieved_fraction = 0.824,
                    .in_network_reduction = true},
                   {.name = "infiniband",
                    .size = 0,
                    .kind = TierKind::kSwitch,
                    .bytes_per_s = 50e9,
                    .latency_s = 2.7e-6,
                    .achieved_fraction = 0.96}};
  return cluster;
}

/// A100 SXM: NVLink 300 GB/s (20 of 25 a link), no in-network reduction.
inline ClusterSpec A100Cluster(std::int64_t num_devices) {
  ClusterSpec cluster = H100Cluster(num_devices);
  cluster.name = "a100";
  cluster.device.peak_flop_per_s = {};
  cluster.device.peak_flop_per_s[static_cast<std::size_t>(DType::kBf16)] = 312e12;
  cluster.device.hbm_bytes_per_s = 2.039e12;
  cluster.device.num_compute_units = 108;
  cluster.tiers[0].bytes_per_s = 300e9;
  cluster.tiers[0].achieved_fraction = 0.8;
  cluster.tiers[0].latency_s = 0.9e-6;
  cluster.tiers[0].in_network_reduction = false;
  cluster.tiers[1].bytes_per_s = 25e9;
  return cluster;
}

/// H100's rates on other tier sizes, innermost first; the outermost covers the cluster. Rates fall by tier.
inline ClusterSpec TieredCluster(std::int64_t num_devices, const std::vector<std::int64_t>& sizes) {
  ClusterSpec cluster = H100Cluster(num_devices);
  const NetworkTier inner = cluster.tiers[0];
  const NetworkTier outer = cluster.tiers[1];
  cluster.tiers.clear();
  for (std::size_t t = 0; t < sizes.size(); ++t) {
    cluster.tiers.push_back(t == 0 ? inner : outer);
    cluster.tiers.back().size = sizes[t];
    for (std::size_t k = 1; k < t; ++k) cluster.tiers.back().bytes_per_s *= 0.5;
  }
  cluster.tiers.push_back(outer);
  for (std::size_t k = 1; k < sizes.size(); ++k) cluster.tiers.back().bytes_per_s *= 0.5;
  return cluster;
}

}  // namespace shardscout::testing
