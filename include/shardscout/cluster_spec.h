#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "shardscout/device_curves.h"
#include "shardscout/dtype.h"

namespace shardscout {

/// One accelerator.
struct DeviceSpec {
  std::string name;
  /// What tables of measurements call the device ("h100_sxm" of gemm_h100_sxm.csv); empty: there are none of it.
  std::string measured_as;
  /// Dense peak FLOP/s by the inputs' type; 0 where the device has no such units, then the next wider type is used.
  std::array<double, kNumDTypes> peak_flop_per_s{};
  double hbm_bytes = 0;
  double hbm_bytes_per_s = 0;
  double l2_cache_bytes = 0;
  /// Streaming multiprocessors, or what works on one tile of a kernel at a time.
  std::int64_t num_compute_units = 132;
  double reserved_bytes = 0;  ///< Taken by the runtime, the collective library and fragmentation.
  double power_w = 0;
  double price_usd_per_hour = 0;
  /// How well its kernels reach the peaks. What a cluster file leaves out is the reference device's (H100), scaled
  /// (ReferenceCurves).
  DeviceCurves curves;

  /// Peak for `dtype`, falling back int4/mxfp4 -> fp8 -> bf16 (weights are widened before the product), fp8/int8 ->
  /// bf16, fp16 <-> bf16, and last to fp32; 0 where the device has none of them.
  double PeakFlopPerS(DType dtype) const;
  bool operator==(const DeviceSpec&) const = default;
};

enum class TierKind : std::uint8_t { kSwitch, kFullyConnected, kRing, kTorus2d, kTorus3d };

/// One level of the network. A tier of size n joins n consecutive devices (a multiple of the tier inside it). A torus
/// of size n is that of a whole pod; a cluster of fewer devices is a slice, which is a torus of its own.
struct NetworkTier {
  std::string name;
  std::int64_t size = 0;  ///< Devices in one domain of this tier; 0 on the outermost means the whole cluster.
  TierKind kind = TierKind::kSwitch;
  double bytes_per_s = 0;  ///< A device's share, one direction.
  double latency_s = 0;    ///< Of one step between two devices, NCCL's ring with LL: NVLink 0.6e-6 (H100), NIC 2.7e-6.
  double achieved_fraction =
      1.0;  ///< Of bytes_per_s that a collective's wire sustains (H100: 20.6 of 25 GB/s a link, NCCL's topo.h).
  std::int64_t rails = 0;  ///< NICs of a node, bytes_per_s each, that carry traffic at the same time: a device's share
                           ///< is rails / devices_per_node of bytes_per_s. 0: one a device, the share is bytes_per_s.
  double oversubscription =
      1;  ///< The tier's links carry 1/oversubscription of what its devices can send (leaf to spine).
  bool in_network_reduction =
      false;  ///< The switch adds (NVLink SHARP): all-reduce, reduce-scatter and all-gather by NVLS.
  /// Innermost tier, groups of at most devices_per_node: what NCCL was measured to take. Unset: by its own constants.
  std::optional<FabricCollectiveCurve> nccl{};
  /// The same of the serving engine's own all-reduce, where that is quicker.
  std::optional<EngineAllReduceCurve> engine_all_reduce{};
  bool operator==(const NetworkTier&) const = default;
};

/// Invariants: one or more tiers, innermost first, sizes rising, each a multiple of the one before; the last has size 0
/// or covers num_devices; num_devices >= 1; devices_per_node >= 1.
struct ClusterSpec {
  std::string name;
  DeviceSpec device;
  std::vector<NetworkTier> tiers;
  std::int64_t devices_per_node = 8;
  std::int64_t num_devices = 8;
  bool operator==(const ClusterSpec&) const = default;
};

/// Parses our cluster format; unknown keys are errors. `num_devices` overrides the file's count.
ClusterSpec ParseCluster(std::string_view json, std::string_view place, std::optional<std::int64_t> num_devices);

/// The curves of a device that was not measured, from one that was: shares of peaks and bandwidth and times of a launch
/// or a tile as they are; what one compute unit does in a time, in proportion to its part of the bf16 peak.
DeviceCurves ScaledCurves(const DeviceSpec& measured, const DeviceSpec& device);

/// The curves that a cluster's file need not say: the reference device's (H100), scaled.
DeviceCurves ReferenceCurves(const DeviceSpec& device);

/// A file or a preset under configs/clusters (a100-80-sxm, h100-sxm, gb200-nvl72, mi300x, tpu-v5p, ...).
ClusterSpec LoadCluster(const std::string& name_or_path, std::optional<std::int64_t> num_devices = std::nullopt);

}  // namespace shardscout
