#include "experiments/validation/speculation.h"

#include <algorithm>
#include <cstddef>
#include <iomanip>
#include <map>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <utility>

#include "experiments/validation/serving_prediction.h"
#include "shardscout/comparison_statistics.h"
#include "shardscout/model_spec.h"

namespace shardscout::validation {
namespace {

constexpr std::size_t kLeastTwins = 5;
constexpr double kMostTpot = 0.75, kLeastTtft = 0.9;  // Of the twins', in the median.
constexpr double kAsFast = 0.9;                       // Of a twin's TPOT.

/// A number for each structure of a model; each model without a preset is its own.
class Structures {
 public:
  std::size_t Of(const std::string& model_path) {
    const auto [known, added] = by_path_.try_emplace(model_path, 0);
    if (added) known->second = Find(model_path);
    return known->second;
  }

 private:
  std::size_t Find(const std::string& model_path) {
    std::optional<ModelSpec> model;
    if (const std::optional<std::string> preset = ModelPresetOf(model_path)) {
      model = LoadModel(*preset);
      model->name.clear();
    }
    const auto same = model ? std::find(models_.begin(), models_.end(), model) : models_.end();
    if (same != models_.end()) return static_cast<std::size_t>(same - models_.begin());
    models_.push_back(std::move(model));
    return models_.size() - 1;
  }
  std::vector<std::optional<ModelSpec>> models_;
  std::map<std::string, std::size_t> by_path_;
};

/// Ratios of a run's times to another's in the settings of both.
struct Twins {
  std::vector<std::string> settings;
  std::vector<double> tpot, ttft;  ///< Of each setting.
  bool ShowSpeculation() const {
    return settings.size() >= kLeastTwins && Quantile(tpot, 0.5) <= kMostTpot && Quantile(ttft, 0.5) >= kLeastTtft;
  }
  std::string Describe() const {
    std::ostringstream text;
    text << std::fixed << std::setprecision(2) << "TPOT " << Quantile(tpot, 0.5) << " (" << Quantile(tpot, 0) << " to "
         << Quantile(tpot, 1) << "), TTFT " << Quantile(ttft, 0.5) << " of the other's in " << settings.size()
         << " settings";
    return text.str();
  }
};

using Run = std::map<std::string, const ServingPoint*>;  // By setting; of several points the first.

Twins TwinsOf(const Run& run, const Run& other) {
  Twins twins;
  for (const auto& [setting, point] : run) {
    const auto twin = other.find(setting);
    if (twin == other.end()) continue;
    twins.settings.push_back(setting);
    twins.tpot.push_back(point->tpot_s / twin->second->tpot_s);
    twins.ttft.push_back(point->ttft_s / twin->second->ttft_s);
  }
  return twins;
}

}  // namespace

Speculation FindSpeculation(const std::vector<ServingPoint>& points) {
  Structures structures;
  // What a point's model and engine are but for names and versions, which tell runs of it apart.
  std::map<std::string, std::map<std::string, Run>> kinds;
  const auto setting_of = [](ServingPoint point) {
    point.model = point.engine_version = point.precision = "";
    return GroupOf(point) + DescribeLayout(point);
  };
  const auto kind_of = [&](const ServingPoint& point) {
    return std::to_string(structures.Of(point.model)) + "|" + point.system + "|" + point.engine + "|" +
           point.gemm_type + "|" + point.moe_type;
  };
  const auto run_of = [](const ServingPoint& point) { return ModelNameOf(point) + " " + point.engine_version; };
  for (const ServingPoint& point : points) {
    if (point.disaggregated || point.tpot_s <= 0 || point.ttft_s <= 0) continue;
    kinds[kind_of(point)][run_of(point)].emplace(setting_of(point), &point);
  }
  Speculation found;
  std::set<std::pair<std::string, std::string>> speculative;                     // Kind and run.
  std::map<std::pair<std::string, std::string>, std::set<std::string>> as_fast;  // Their settings.
  for (const auto& [kind, runs] : kinds) {
    for (const auto& [name, run] : runs) {
      for (const auto& [other_name, other] : runs) {
        const Twins twins = TwinsOf(run, other);
        if (!twins.ShowSpeculation()) continue;
        speculative.emplace(kind, name);
        found.evidence.push_back(kind.substr(kind.find('|') + 1) + ": " + name + " beside " + other_name + ", " +
                                 twins.Describe());
        for (std::size_t i = 0; i < twins.settings.size(); ++i) {
          if (twins.tpot[i] >= kAsFast) as_fast[{kind, name}].insert(twins.settings[i]);
        }
      }
    }
  }
  std::set<std::pair<double, double>> measurements;
  for (const ServingPoint& point : points) {
    const std::pair run{kind_of(point), run_of(point)};
    if (point.disaggregated || !speculative.contains(run) || as_fast[run].contains(setting_of(point))) continue;
    measurements.emplace(point.ttft_s, point.tpot_s);
  }
  found.shown.reserve(points.size());
  for (const ServingPoint& point : points) found.shown.push_back(measurements.contains({point.ttft_s, point.tpot_s}));
  return found;
}

}  // namespace shardscout::validation
