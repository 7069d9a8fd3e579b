#include "experiments/validation/engine_fit.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <map>

#include "experiments/validation/serving_prediction.h"

namespace shardscout::validation {
namespace {

const double kMostLog = std::log(1.5);

double LogError(double predicted, double measured) {
  if (measured <= 0 || predicted <= 0) return 0;
  const double error = std::abs(std::log(predicted / measured));
  return std::min(error, kMostLog + 0.1 * (error - kMostLog));
}

std::string GroupOfFit(const ServingPoint& point) { return point.model + "|" + point.system + "|" + point.gemm_type; }

/// Where a time begins that was 0, seconds, and whose turn it is.
struct Coordinate {
  double EngineModel::*time;
  double first_s;
};
constexpr std::array<Coordinate, 4> kCoordinates = {{{&EngineModel::layer_gap_s, 10e-6},
                                                     {&EngineModel::arrival_s, 20e-3},
                                                     {&EngineModel::layer_launch_s, 100e-6},
                                                     {&EngineModel::request_host_s, 20e-6}}};
constexpr std::array<double, 2> kSteps = {2, 1.3};

struct Candidate {
  EngineModel engine;
  double error = 0;
};

/// Moves one time while that helps.
bool Descend(std::span<const ServingPoint> points, const Coordinate& coordinate, double step, Candidate& best) {
  bool improved = false;
  const double now_s = best.engine.*coordinate.time;
  const std::array<double, 2> next_s = {now_s > 0 ? now_s * step : coordinate.first_s, now_s / step};
  for (const double time_s : next_s) {
    for (double moved_s = time_s; moved_s > 1e-7; moved_s = time_s > now_s ? moved_s * step : moved_s / step) {
      Candidate moved{.engine = best.engine};
      moved.engine.*coordinate.time = moved_s;
      moved.error = EngineError(points, moved.engine);
      if (moved.error >= best.error) break;
      best = moved;
      improved = true;
    }
    if (improved) return true;
  }
  return improved;
}

Candidate FitWithOverlap(std::span<const ServingPoint> points, const std::string& name, bool overlaps) {
  Candidate best{.engine = {.name = name, .overlaps = overlaps}};
  best.error = EngineError(points, best.engine);
  for (const double step : kSteps) {
    bool improved = true;
    while (improved) {
      improved = false;
      for (const Coordinate& coordinate : kCoordinates) improved = Descend(points, coordinate, step, best) || improved;
    }
  }
  return best;
}

}  // namespace

double EngineError(std::span<const ServingPoint> points, const EngineModel& engine) {
  std::vector<double> errors(points.size(), -1);
#pragma omp parallel for schedule(dynamic, 1)
  for (std::size_t i = 0; i < points.size(); ++i) {
    const Prediction prediction = Predict(points[i], {.engine = engine});
    if (!prediction.evaluation) continue;
    const Metrics& metrics = prediction.evaluation->metrics;
    errors[i] = LogError(metrics.tpot_s, points[i].tpot_s) + LogError(metrics.ttft_s, points[i].ttft_s);
  }
  struct Group {
    double sum = 0;
    int count = 0;
  };
  std::map<std::string, Group> groups;
  for (std::size_t i = 0; i < points.size(); ++i) {
    if (errors[i] < 0) continue;
    Group& group = groups[GroupOfFit(points[i])];
    group.sum += errors[i];
    ++group.count;
  }
  double mean = 0;
  for (const auto& [name, group] : groups) mean += group.sum / group.count / static_cast<double>(groups.size());
  return mean;
}

EngineModel FitEngine(std::span<const ServingPoint> points, const std::string& name) {
  const Candidate apart = FitWithOverlap(points, name, false), overlapped = FitWithOverlap(points, name, true);
  return apart.error < overlapped.error ? apart.engine : overlapped.engine;
}

std::vector<ServingPoint> Thinned(std::span<const ServingPoint> points, std::size_t most) {
  std::map<std::string, std::vector<const ServingPoint*>> groups;
  for (const ServingPoint& point : points) {
    groups[GroupOfFit(point)].push_back(&point);
  }
  std::vector<ServingPoint> thinned;
  for (auto& [name, group] : groups) {
    std::sort(group.begin(), group.end(), [](const ServingPoint* a, const ServingPoint* b) { return a->id < b->id; });
    const std::size_t count = std::min(most, group.size());
    for (std::size_t i = 0; i < count; ++i) thinned.push_back(*group[i * group.size() / count]);
  }
  return thinned;
}

}  // namespace shardscout::validation
