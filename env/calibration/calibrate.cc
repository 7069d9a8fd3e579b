#include <array>
#include <filesystem>
#include <map>
#include <string>
#include <system_error>
#include <utility>

#include "env/calibration/calibrate_collectives.h"
#include "env/calibration/calibrate_decode_attention.h"
#include "env/calibration/calibrate_gemm.h"
#include "env/calibration/calibrate_moe.h"
#include "env/calibration/calibrate_prefill_attention.h"
#include "env/calibration/calibrate_stream.h"
#include "env/calibration/curve_fit.h"
#include "env/calibration/curve_parameters.h"
#include "env/calibration/measurement_table.h"
#include "shardscout/calibration.h"
#include "shardscout/error.h"

namespace shardscout {
namespace {

namespace fs = std::filesystem;

/// One kind of tables and who fits them.
struct Family {
  const char* name;
  const char* table;  ///< The beginning of its files' names.
  std::vector<FittedCurve> (*calibrate)(const env::MeasurementTable& table, const DeviceSpec& device);
};
constexpr std::array<Family, 6> kFamilies = {
    {{"gemm", "gemm", &env::CalibrateGemm},
     {"prefill_attention", "context_attention", &env::CalibratePrefillAttention},
     {"decode_attention", "generation_attention", &env::CalibrateDecodeAttention},
     {"prefill_mla", "context_mla", &env::CalibratePrefillMla},
     {"decode_mla", "generation_mla", &env::CalibrateDecodeMla},
     {"moe", "moe", &env::CalibrateMoe}}};

/// In the first folder that has it; "" where there is none.
std::string FindTable(const std::vector<fs::path>& folders, const std::string& name) {
  for (const fs::path& folder : folders) {
    for (const char* suffix : {".csv", ".csv.gz"}) {
      const fs::path path = folder / (name + suffix);
      std::error_code missing;
      if (fs::exists(path, missing)) return path.string();
    }
  }
  return "";
}

/// Vidur's, named by the device's first word and the model: "h100_Llama-2-70b_mlp.csv"; of several the first. "" where
/// there is none.
std::string FindLayerTable(const std::vector<fs::path>& folders, const std::string& device) {
  const std::string prefix = device.substr(0, device.find('_')) + "_";
  for (const fs::path& folder : folders) {
    std::string found;
    std::error_code missing;
    for (fs::directory_iterator entry(folder, missing), end; !missing && entry != end; entry.increment(missing)) {
      const std::string name = entry->path().filename().string();
      const bool layers = name.ends_with("_mlp.csv") || name.ends_with("_mlp.csv.gz");
      if (layers && name.starts_with(prefix) && (found.empty() || entry->path().string() < found)) {
        found = entry->path().string();
      }
    }
    if (!found.empty()) return found;
  }
  return "";
}

}  // namespace

std::vector<FittedCurve> Calibrate(const std::vector<std::string>& folders, const std::vector<ClusterSpec>& clusters,
                                   const std::function<void(const std::string& path)>& on_table) {
  std::vector<fs::path> operators, collectives;
  std::string places;
  for (const std::string& folder : folders) {
    operators.push_back(fs::path(folder) / "operators");
    collectives.push_back(fs::path(folder) / "collectives");
    places += (places.empty() ? "" : ", ") + folder;
  }
  const auto read = [&](const std::string& path) {
    if (on_table) on_table(path);
    return env::MeasurementTable::Read(path);
  };
  std::map<std::string, env::MeasurementTable> shared;  // By path: the tables that hold all devices.
  const auto read_once = [&](const std::string& path) -> const env::MeasurementTable& {
    const auto known = shared.find(path);
    return known != shared.end() ? known->second : shared.emplace(path, read(path)).first->second;
  };
  std::vector<FittedCurve> curves;
  for (const ClusterSpec& cluster : clusters) {
    const auto add = [&](const char* family, std::vector<FittedCurve> fitted) {
      for (FittedCurve& curve : fitted) {
        curve.device = cluster.device.measured_as;
        curve.family = family;
        curves.push_back(std::move(curve));
      }
    };
    for (const Family& family : kFamilies) {
      const std::string path = FindTable(operators, std::string(family.table) + "_" + cluster.device.measured_as);
      if (!path.empty()) add(family.name, family.calibrate(read(path), cluster.device));
    }
    const std::string layer_path = FindLayerTable(operators, cluster.device.measured_as);
    if (!layer_path.empty()) add("stream", env::CalibrateStream(read(layer_path), cluster.device));
    const std::string deep_ep_path = FindTable(collectives, "deepep_normal");
    if (!deep_ep_path.empty()) add("deep_ep", env::CalibrateDeepEp(read_once(deep_ep_path), cluster));
    const std::string low_latency_path = FindTable(collectives, "deepep_ll");
    if (!low_latency_path.empty()) {
      add("deep_ep_low_latency", env::CalibrateDeepEpLowLatency(read_once(low_latency_path), cluster));
    }
    const std::string nccl_path = FindTable(collectives, "nccl_collectives");
    const std::string engine_path = FindTable(collectives, "custom_allreduce");
    if (nccl_path.empty()) {
      if (engine_path.empty()) continue;
      throw SpecError(engine_path, "needs nccl_collectives.csv beside it, which says what larger messages take");
    }
    std::vector<FittedCurve> nccl = env::CalibrateCollectives(read_once(nccl_path), cluster);
    if (!nccl.empty() && !engine_path.empty()) {
      const auto curve = env::CurveOf<FabricCollectiveCurve>(nccl.front());
      add("engine_all_reduce", env::CalibrateEngineAllReduce(read_once(engine_path), cluster, curve));
    }
    add("collectives", std::move(nccl));
  }
  if (curves.empty()) {
    std::string names;
    for (const ClusterSpec& cluster : clusters) names += (names.empty() ? "" : ", ") + cluster.device.measured_as;
    throw SpecError(places,
                    "no table such as operators/gemm_DEVICE.csv or gemm_DEVICE.csv.gz of a device that is "
                    "known: " +
                        names);
  }
  return curves;
}

std::vector<FittedCurve> Pooled(const std::vector<FittedCurve>& curves) {
  std::vector<FittedCurve> pooled;
  for (const FittedCurve& curve : curves) {
    if (pooled.empty() || pooled.back().device != curve.device || pooled.back().family != curve.family) {
      FittedCurve& all = pooled.emplace_back();
      all.device = curve.device;
      all.family = curve.family;
      all.type = "all";
    }
    FittedCurve& all = pooled.back();
    const auto append = [](std::vector<double>& to, const std::vector<double>& from) {
      to.insert(to.end(), from.begin(), from.end());
    };
    append(all.measured_s, curve.measured_s);
    append(all.held_out_s, curve.held_out_s);
    append(all.fitted_s, curve.fitted_s);
    append(all.roofline_s, curve.roofline_s);
  }
  for (FittedCurve& all : pooled) env::SetStatistics(all);
  return pooled;
}

}  // namespace shardscout
