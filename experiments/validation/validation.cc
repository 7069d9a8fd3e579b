// Predicts measured serving points and says how far off the predictions are. README.md has the command and the figures.

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

#include "experiments/guarded_main.h"
#include "experiments/validation/published_report.h"
#include "experiments/validation/published_training.h"
#include "experiments/validation/serving_report.h"
#include "experiments/validation/training_report.h"
#include "shardscout/plan.h"
#include "src/embedded_text.h"

namespace shardscout::validation {
namespace {

/// `csv`: "", or where a row a point is written.
void ValidateTraining(const std::vector<TrainingPoint>& points, const std::string& csv) {
  std::vector<TrainingPrediction> predictions(points.size());
#pragma omp parallel for schedule(dynamic, 1)
  for (std::size_t i = 0; i < points.size(); ++i) predictions[i] = Predict(points[i]);
  std::cout << TrainingTable(points, predictions);
  if (!csv.empty()) WriteFileAtomically(csv, TrainingCsv(points, predictions));
}

int Main(int argc, char** argv) {
  CLI::App app("How far predictions are from measured serving points");
  std::string path, csv, html, only;
  std::vector<std::string> without;
  app.add_option("--points", path,
                 "A table of points, such as data/serving/serving_points.csv or (one JSON record a line) "
                 "data/published/measurements.jsonl")
      ->required();
  app.add_option("--csv", csv, "Where a row a point is written [not written]");
  app.add_option("--html", html, "Where charts of predictions over measurements are written [not written]");
  app.add_option("--only", only, "Points whose id contains this [all]");
  app.add_option("--without", without, "What is left out, to see what it buys: engine, setup, layouts")
      ->delimiter(',')
      ->check(CLI::IsMember({"engine", "setup", "layouts"}));
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? EXIT_SUCCESS : 2;
  }
  for (const std::string* output : {&csv, &html}) {
    if (!output->empty()) CheckCanWrite(*output);
  }
  if (HoldsPublishedRecords(path)) {
    ValidatePublished(std::cout, path, only, csv);
    std::cout << "\nsteps of training\n";
    const PublishedSteps steps = PublishedStepsOf(ReadPublishedRecords(path));
    ValidateTraining(steps.points, csv.empty() ? "" : csv + ".train.csv");
    for (const auto& [why, times] : steps.why_not) std::cout << "not predicted: " << times << "  " << why << '\n';
    return EXIT_SUCCESS;
  }
  if (HoldsTrainingPoints(path)) {
    ValidateTraining(ReadTrainingPoints(path), csv);
    return EXIT_SUCCESS;
  }
  PredictionOptions options;
  for (const std::string& part : without) {
    if (part == "engine") options.engine.emplace();
    if (part == "setup") options.setup = false;
    if (part == "layouts") options.layouts_as_run = false;
  }
  std::vector<ServingPoint> points = ReadServingPoints(path);
  std::erase_if(points, [&](const ServingPoint& point) { return point.id.find(only) == std::string::npos; });
  std::vector<Prediction> predictions(points.size());
#pragma omp parallel for schedule(dynamic, 1)
  for (std::size_t i = 0; i < points.size(); ++i) predictions[i] = Predict(points[i], options);
  std::cout << ServingTable(points, predictions);
  if (!csv.empty()) WriteFileAtomically(csv, ServingCsv(points, predictions));
  if (!html.empty() && !internal::ChartJs().empty()) WriteFileAtomically(html, ServingPage(points, predictions));
  return EXIT_SUCCESS;
}

}  // namespace
}  // namespace shardscout::validation

int main(int argc, char** argv) {
  return shardscout::GuardedMain([&] { return shardscout::validation::Main(argc, argv); });
}
