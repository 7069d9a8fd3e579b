// Fitted curves as part of a cluster's file.

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "env/calibration/curve_parameters.h"
#include "shardscout/calibration.h"
#include "shardscout/error.h"
#include "src/json/fields.h"
#include "src/json/format.h"

namespace shardscout {
namespace {

using nlohmann::ordered_json;

/// Four digits: more than the measurements are good for.
double Rounded(double value) {
  std::array<char, 32> text{};
  const int length = std::snprintf(text.data(), text.size(), "%.4g", value);
  double rounded = value;
  std::from_chars(text.data(), text.data() + length, rounded);
  return rounded;
}

template <class Curve>
ordered_json CurveJson(const FittedCurve& fitted) {
  auto curve = env::CurveOf<Curve>(fitted);
  // The fit knows the least of a parameter but not the most.
  auto round = [](std::string_view, auto& value, const json::Field& field) {
    if constexpr (std::is_same_v<decltype(value), double&>) value = std::clamp(Rounded(value), field.min, field.max);
  };
  VisitFields(round, curve);
  return json::WriteJson(curve);
}

/// Which curve of a device a fit is.
struct Place {
  std::string_view family, type;
  std::string_view field;  ///< Of DeviceCurves, or of the innermost tier.
  ordered_json (*write)(const FittedCurve& fitted);
};
constexpr std::array<Place, 27> kDevicePlaces = {{
    {"gemm", "bfloat16", "gemm_bf16", &CurveJson<GemmCurve>},
    {"gemm", "fp8", "gemm_fp8", &CurveJson<GemmCurve>},
    {"gemm", "fp8_block", "gemm_fp8_block", &CurveJson<GemmCurve>},
    {"gemm", "nvfp4", "gemm_nvfp4", &CurveJson<GemmCurve>},
    {"gemm", "sq", "gemm_int8", &CurveJson<GemmCurve>},
    {"gemm", "int8_wo", "gemm_int8_weights", &CurveJson<GemmCurve>},
    {"gemm", "int4_wo", "gemm_int4_weights", &CurveJson<GemmCurve>},
    {"prefill_attention", "bfloat16/bfloat16", "prefill_bf16", &CurveJson<PrefillAttentionCurve>},
    {"prefill_attention", "bfloat16/fp8", "prefill_fp8_cache", &CurveJson<PrefillAttentionCurve>},
    {"prefill_mla", "bfloat16", "mla_prefill_bf16", &CurveJson<PrefillAttentionCurve>},
    {"prefill_mla", "fp8", "mla_prefill_fp8_cache", &CurveJson<PrefillAttentionCurve>},
    {"decode_attention", "head/bfloat16", "head_decode_bf16", &CurveJson<HeadDecodeCurve>},
    {"decode_attention", "head/fp8", "head_decode_fp8_cache", &CurveJson<HeadDecodeCurve>},
    {"decode_attention", "group/bfloat16", "group_decode", &CurveJson<GroupDecodeCurve>},
    {"decode_attention", "group_fp8/fp8", "group_decode_fp8_cache", &CurveJson<GroupFp8DecodeCurve>},
    {"decode_mla", "bfloat16", "mla_decode_bf16", &CurveJson<MlaDecodeCurve>},
    {"decode_mla", "fp8", "mla_decode_fp8_cache", &CurveJson<MlaDecodeCurve>},
    {"moe", "bfloat16", "experts_bf16", &CurveJson<MoeCurve>},
    {"moe", "fp8", "experts_fp8", &CurveJson<MoeCurve>},
    {"moe", "fp8_block", "experts_fp8_block", &CurveJson<MoeCurve>},
    {"moe", "nvfp4", "experts_nvfp4", &CurveJson<MoeCurve>},
    {"moe", "w4a16_mxfp4", "experts_4bit_weights", &CurveJson<MoeCurve>},
    {"stream", "norm", "norm", &CurveJson<StreamCurve>},
    {"stream", "rotary", "rotary", &CurveJson<StreamCurve>},
    {"stream", "activation", "activation", &CurveJson<StreamCurve>},
    {"stream", "add", "add", &CurveJson<StreamCurve>},
    {"stream", "embedding", "embedding", &CurveJson<StreamCurve>},
}};
/// Of two engines' all-reduces the first that was measured.
constexpr std::array<Place, 3> kTierPlaces = {{
    {"collectives", "nccl", "nccl", &CurveJson<FabricCollectiveCurve>},
    {"engine_all_reduce", "vLLM_custom_graph", "engine_all_reduce", &CurveJson<EngineAllReduceCurve>},
    {"engine_all_reduce", "TRTLLM", "engine_all_reduce", &CurveJson<EngineAllReduceCurve>},
}};

std::string InPercent(double fraction) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.1f", 100 * fraction);
  return text.data();
}

/// What `places` find among the curves of the device, in their order.
template <class Places>
ordered_json Collect(const Places& places, const std::string& device, const std::vector<FittedCurve>& curves) {
  ordered_json found = ordered_json::object();
  std::string errors;
  for (const Place& place : places) {
    for (const FittedCurve& curve : curves) {
      if (curve.device != device || curve.family != place.family || curve.type != place.type) continue;
      const std::string field(place.field);
      if (found.contains(field)) continue;
      found[field] = place.write(curve);
      errors += (errors.empty() ? "" : ", ") + field + " " + InPercent(curve.held_out.median) + "/" +
                InPercent(curve.held_out.p90);
    }
  }
  if (!errors.empty()) found["_held_out_errors"] = "median/p90 in percent: " + errors;
  return found;
}

}  // namespace

std::string ClusterFileWithCurves(const std::string& text, const std::string& place,
                                  const std::vector<FittedCurve>& curves) {
  const ClusterSpec cluster = ParseCluster(text, place, std::nullopt);
  const std::string& measured_as = cluster.device.measured_as;
  ordered_json file = ordered_json::parse(text);
  const ordered_json of_device = Collect(kDevicePlaces, measured_as, curves);
  if (!of_device.empty()) {
    ordered_json& written = file["device"]["curves"];
    written = {{"source", "fitted to the tables of " + measured_as +
                              " by shardscout calibrate; curves that are not "
                              "here: scaled from an H100's"}};
    written.update(of_device);
  }
  const ordered_json of_tier = Collect(kTierPlaces, measured_as, curves);
  ordered_json& tier = file["tiers"][0];
  for (const char* field : {"nccl", "engine_all_reduce", "_held_out_errors"}) tier.erase(field);
  tier.update(of_tier);
  std::string written = json::FormatDocument(file) + "\n";
  ParseCluster(written, place, std::nullopt);  // It reads back.
  return written;
}

}  // namespace shardscout
