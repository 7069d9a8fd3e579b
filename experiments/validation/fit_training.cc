// Fits the two constants of training that no data sheet has, and prints how well they fit where they were not fitted:
// what the host takes to launch a task, to step times of one node (each shape of model left out in turn), and the share
// of the bandwidth that a kernel over attention's scores reaches, to a table of softmaxes. README.md has the command.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "experiments/guarded_main.h"
#include "experiments/validation/prediction_error.h"
#include "experiments/validation/training_prediction.h"
#include "shardscout/preset_paths.h"

namespace shardscout::validation {
namespace {

/// By candidate, each point's predicted step.
using Table = std::vector<std::vector<double>>;

std::vector<double> Candidates() {
  std::vector<double> seconds;
  for (int i = 40; i <= 130; i += 2) seconds.push_back(i * 1e-6);
  return seconds;
}

/// Mean absolute error of the points that `of` takes.
template <class Of>
double ErrorOf(const std::vector<TrainingPoint>& points, const std::vector<double>& predicted, Of of) {
  std::vector<double> measured, same;
  for (std::size_t i = 0; i < points.size(); ++i) {
    if (!of(points[i])) continue;
    measured.push_back(points[i].step_s);
    same.push_back(predicted[i]);
  }
  return SummariseErrors(measured, same).mean;
}

void FitHost(const std::string& path) {
  std::vector<TrainingPoint> points = ReadTrainingPoints(path);
  std::erase_if(points, [](const TrainingPoint& point) { return !Predict(point).why_not.empty(); });
  const std::vector<double> candidates = Candidates();
  Table table(candidates.size(), std::vector<double>(points.size()));
#pragma omp parallel for schedule(dynamic, 8) collapse(2)
  for (std::size_t c = 0; c < candidates.size(); ++c) {
    for (std::size_t i = 0; i < points.size(); ++i) {
      TrainingPoint point = points[i];
      point.workload.training->host_task_s = candidates[c];
      table[c][i] = Predict(point).evaluation.metrics.step_time_s;
    }
  }
  const auto best = [&](auto of) {
    std::size_t least = 0;
    for (std::size_t c = 1; c < candidates.size(); ++c) {
      if (ErrorOf(points, table[c], of) < ErrorOf(points, table[least], of)) least = c;
    }
    return least;
  };
  const auto all = [](const TrainingPoint&) { return true; };
  const std::size_t chosen = best(all);
  std::printf(
      "host_task_s %.0f us: mean error %.1f %% over %zu points; 0 us: %.1f %%\n", 1e6 * candidates[chosen],
      100 * ErrorOf(points, table[chosen], all), points.size(), 100 * [&] {
        std::vector<double> without;
        for (TrainingPoint point : points) {
          point.workload.training->host_task_s = 0;
          without.push_back(Predict(point).evaluation.metrics.step_time_s);
        }
        return ErrorOf(points, without, all);
      }());
  std::set<std::pair<std::int64_t, std::int64_t>> shapes;
  const auto shape = [](const TrainingPoint& point) {
    return std::pair(point.model.hidden_size, point.model.num_layers);
  };
  for (const TrainingPoint& point : points) shapes.insert(shape(point));
  for (const auto& left_out : shapes) {
    const std::size_t c = best([&](const TrainingPoint& point) { return shape(point) != left_out; });
    std::printf("  without hidden %lld, %lld layers: %.0f us; mean error there %.1f %%\n",
                static_cast<long long>(left_out.first), static_cast<long long>(left_out.second), 1e6 * candidates[c],
                100 * ErrorOf(points, table[c], [&](const TrainingPoint& point) { return shape(point) == left_out; }));
  }
}

/// Rows of "rows, columns, 1e9 elements a second": launch + 4 bytes an element over fraction * bandwidth.
void FitSoftmax(const std::string& path, double hbm_bytes_per_s) {
  std::istringstream lines(ReadTextFile(path));
  std::vector<double> bytes, seconds;
  for (std::string line; std::getline(lines, line);) {
    double rows = 0, columns = 0, rate = 0;
    if (std::sscanf(line.c_str(), "%lf, %lf, %lf", &rows, &columns, &rate) != 3) continue;
    bytes.push_back(4 * rows * columns);
    seconds.push_back(rows * columns / (rate * 1e9));
  }
  double least = 1e9, at = 0, launch = 0;
  for (double fraction = 0.3; fraction < 1; fraction += 0.01) {
    for (double launch_s = 0; launch_s < 3e-5; launch_s += 1e-6) {
      double error = 0;
      for (std::size_t i = 0; i < bytes.size(); ++i) {
        error += std::abs((launch_s + bytes[i] / (fraction * hbm_bytes_per_s)) / seconds[i] - 1);
      }
      if (error >= least) continue;
      least = error;
      at = fraction;
      launch = launch_s;
    }
  }
  std::printf("softmax: fraction %.2f of the bandwidth, launch %.0f us: mean error %.1f %% over %zu shapes\n", at,
              1e6 * launch, 100 * least / static_cast<double>(bytes.size()), bytes.size());
}

int Main(int argc, char** argv) {
  CLI::App app("Fits training's constants");
  std::string points, softmax;
  app.add_option("--points", points, "Step times of one node, such as data/training's")->required();
  app.add_option("--softmax", softmax, "A table of softmaxes on an A100, such as LLMCompass's")->required();
  CLI11_PARSE(app, argc, argv);
  FitHost(points);
  FitSoftmax(softmax, LoadCluster("a100-80-sxm", 8).device.hbm_bytes_per_s);
  return EXIT_SUCCESS;
}

}  // namespace
}  // namespace shardscout::validation

int main(int argc, char** argv) {
  return shardscout::GuardedMain([&] { return shardscout::validation::Main(argc, argv); });
}
