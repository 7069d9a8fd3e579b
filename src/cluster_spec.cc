#include "shardscout/cluster_spec.h"

#include <array>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <utility>

#include "shardscout/error.h"
#include "shardscout/preset_paths.h"
#include "src/embedded_text.h"
#include "src/json/json_text.h"
#include "src/spec_fields.h"

namespace shardscout {
namespace {

void CheckTiers(const ClusterSpec& cluster, std::string_view place) {
  const auto fail = [&](std::size_t tier, const std::string& message) {
    throw SpecError(json::Place(place, "/tiers/" + std::to_string(tier) + "/size"),
                    "found " + std::to_string(cluster.tiers[tier].size) + ", expected " + message);
  };
  std::int64_t inner = 1;
  for (std::size_t i = 0; i < cluster.tiers.size(); ++i) {
    const std::int64_t size = cluster.tiers[i].size;
    const bool outermost = i + 1 == cluster.tiers.size();
    if (outermost && size == 0) return;
    if (size <= inner && !(i == 0 && size == 1)) {
      fail(i,
           "more than the " + std::to_string(inner) + " of the tier inside it" + (outermost ? ", or 0 for all" : ""));
    }
    if (size % inner != 0) fail(i, "a multiple of the " + std::to_string(inner) + " of the tier inside it");
    if (outermost && size < cluster.num_devices) {
      fail(i, "0, or at least the " + std::to_string(cluster.num_devices) + " devices of the cluster");
    }
    inner = size;
  }
}

/// Measured collectives are those of the innermost tier, and an engine's falls back on NCCL's.
void CheckCollectiveCurves(const ClusterSpec& cluster, std::string_view place) {
  for (std::size_t i = 0; i < cluster.tiers.size(); ++i) {
    const NetworkTier& tier = cluster.tiers[i];
    const std::string at = "/tiers/" + std::to_string(i);
    const auto fail = [&](const char* field, const char* expected) {
      throw SpecError(json::Place(place, at + field), std::string("found a curve, expected ") + expected);
    };
    if (i > 0 && tier.nccl) fail("/nccl", "curves of the innermost tier only");
    if (i > 0 && tier.engine_all_reduce) fail("/engine_all_reduce", "curves of the innermost tier only");
    if (tier.engine_all_reduce && !tier.nccl) fail("/engine_all_reduce", "nccl beside it");
  }
}

}  // namespace

std::string_view ToString(TierKind kind) {
  static constexpr std::array<std::string_view, 5> kNames = {"switch", "fully_connected", "ring", "torus_2d",
                                                             "torus_3d"};
  return kNames.at(static_cast<std::size_t>(kind));
}

double DeviceSpec::PeakFlopPerS(DType dtype) const {
  const auto peak_of = [&](DType candidate) { return peak_flop_per_s[static_cast<std::size_t>(candidate)]; };
  if (peak_of(dtype) > 0 || dtype == DType::kFp32) return peak_of(dtype);
  if (dtype == DType::kNvfp4 && peak_of(DType::kMxfp4) > 0) return peak_of(DType::kMxfp4);
  if (BitsPerElement(dtype) == 4 && peak_of(DType::kFp8) > 0) return peak_of(DType::kFp8);
  for (const DType wider : {DType::kBf16, DType::kFp16, DType::kFp32}) {
    if (peak_of(wider) > 0) return peak_of(wider);
  }
  return 0;
}

void internal::CheckCluster(const ClusterSpec& cluster, std::string_view place) {
  if (cluster.tiers.empty()) throw SpecError(json::Place(place, "/tiers"), "found [], expected one or more tiers");
  CheckTiers(cluster, place);
  CheckCollectiveCurves(cluster, place);
  for (std::size_t i = 0; i < cluster.device.peak_flop_per_s.size(); ++i) {
    const double peak = cluster.device.peak_flop_per_s[i];
    if (peak > 0 && peak < 1) {
      throw SpecError(
          json::Place(place, std::string("/device/peak_flop_per_s/").append(ToString(static_cast<DType>(i)))),
          "found " + nlohmann::json(peak).dump() + ", expected 0 for no such units, or 1 and more");
    }
  }
  if (cluster.device.PeakFlopPerS(DType::kBf16) <= 0) {
    throw SpecError(json::Place(place, "/device/peak_flop_per_s"),
                    "no peak for bf16, fp16 or fp32; expected at least one");
  }
}

DeviceCurves ReferenceCurves(const DeviceSpec& device) {
  const std::string_view reference = internal::ReferenceCluster();
  const DeviceSpec measured = json::ReadJson<ClusterSpec>(json::ParseText(reference, "h100-sxm"), "h100-sxm").device;
  return ScaledCurves(measured, device);
}

ClusterSpec ParseCluster(std::string_view text, std::string_view place, std::optional<std::int64_t> num_devices) {
  const nlohmann::json document = json::ParseText(text, place);
  // Read twice: what the curves are by default follows from the rest of the device.
  ClusterSpec cluster = json::ReadJson<ClusterSpec>(document, place);
  ClusterSpec defaults;
  defaults.device.curves = ReferenceCurves(cluster.device);
  cluster = json::ReadJson<ClusterSpec>(document, place, std::move(defaults));
  if (num_devices) {
    if (*num_devices < 1 || *num_devices > kMaxDevices) {
      throw SpecError("--devices", "found " + std::to_string(*num_devices) + ", expected an integer in [1, " +
                                       std::to_string(kMaxDevices) + "]");
    }
    cluster.num_devices = *num_devices;
  }
  internal::CheckCluster(cluster, place);
  return cluster;
}

ClusterSpec LoadCluster(const std::string& name_or_path, std::optional<std::int64_t> num_devices) {
  const std::string path = ResolvePreset("clusters", name_or_path, "--cluster");
  return ParseCluster(ReadTextFile(path), path, num_devices);
}

}  // namespace shardscout
