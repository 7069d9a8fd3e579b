// Predicts measured serving points and says how far off the predictions are. README.md has the command and the figures.

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <exception>
#include <iomanip>
#include <iostream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "experiments/validation/prediction_error.h"
#include "experiments/validation/serving_prediction.h"
#include "shardscout/plan.h"
#include "src/export/csv.h"

namespace shardscout::validation {
namespace {

/// Measured and predicted seconds of one metric.
struct Pairs {
  std::vector<double> measured, predicted;
  void Add(double measured_s, double predicted_s) {
    if (measured_s <= 0) return;
    measured.push_back(measured_s);
    predicted.push_back(predicted_s);
  }
  ErrorSummary Summary() const { return SummariseErrors(measured, predicted); }
};

struct Errors {
  Pairs ttft, tpot;
};

std::string Percent(double share) {
  std::ostringstream text;
  text << std::fixed << std::setprecision(1) << 100 * share << " %";
  return text.str();
}

void PrintRow(const std::string& name, const Errors& errors) {
  const ErrorSummary tpot = errors.tpot.Summary(), ttft = errors.ttft.Summary();
  std::cout << std::left << std::setw(64) << name << std::right << std::setw(6) << tpot.count;
  for (const ErrorSummary& summary : {tpot, ttft}) {
    std::cout << std::setw(10) << Percent(summary.mean) << std::setw(10) << Percent(summary.median) << std::setw(10)
              << (summary.median_signed > 0 ? "+" : "") + Percent(summary.median_signed);
  }
  std::cout << "\n";
}

const char* ModeOf(const ServingPoint& point) { return point.disaggregated ? "disagg" : "agg"; }

std::string FormatsOf(const ServingPoint& point) {
  return point.gemm_type.empty() ? "as the model's" : point.gemm_type + " " + point.moe_type;
}

/// Groups of points that differ in their layout only: whether predictions order and choose as measurements do.
void PrintChoices(const std::vector<ServingPoint>& points, const std::vector<Prediction>& predictions) {
  struct Group {
    std::set<std::string> layouts;
    Pairs tpot;
  };
  std::map<std::string, Group> groups;
  for (std::size_t i = 0; i < points.size(); ++i) {
    if (!predictions[i].evaluation) continue;
    Group& group = groups[GroupOf(points[i])];
    group.layouts.insert(DescribeLayout(points[i]));
    group.tpot.Add(points[i].tpot_s, predictions[i].evaluation->metrics.tpot_s);
  }
  double tau = 0, regret = 0;
  int count = 0;
  for (const auto& [name, group] : groups) {
    if (group.layouts.size() < 2) continue;
    ++count;
    tau += KendallTau(group.tpot.measured, group.tpot.predicted);
    regret += Regret(group.tpot.measured, group.tpot.predicted);
  }
  if (count == 0) return;
  std::cout << "\nchoice of the layout by TPOT, " << count << " groups that differ in nothing else: mean regret "
            << Percent(regret / count) << ", mean tau " << std::fixed << std::setprecision(2) << tau / count << "\n";
}

void Print(const std::vector<ServingPoint>& points, const std::vector<Prediction>& predictions) {
  std::map<std::string, Errors> groups, all;
  std::map<std::string, int> reasons;
  for (std::size_t i = 0; i < points.size(); ++i) {
    const ServingPoint& point = points[i];
    if (!predictions[i].evaluation) {
      ++reasons[predictions[i].reason];
      continue;
    }
    const std::string mode = ModeOf(point);
    const std::string group = point.model.substr(point.model.rfind('/') + 1) + ", " + point.system + ", " +
                              point.engine + ", " + FormatsOf(point) + ", " + mode;
    for (Errors* errors : {&groups[group], &all["all " + mode + ", " + point.engine], &all["all " + mode],
                           &all["all " + mode + ", " + point.system]}) {
      errors->tpot.Add(point.tpot_s, predictions[i].evaluation->metrics.tpot_s);
      errors->ttft.Add(point.ttft_s, predictions[i].evaluation->metrics.ttft_s);
    }
  }
  std::cout << std::setw(70) << "points" << std::setw(10) << "TPOT mean" << std::setw(10) << "median" << std::setw(10)
            << "signed" << std::setw(10) << "TTFT mean" << std::setw(10) << "median" << std::setw(10) << "signed"
            << "\n";
  for (const auto& [name, errors] : groups) PrintRow(name, errors);
  for (const auto& [name, errors] : all) PrintRow(name, errors);
  PrintChoices(points, predictions);
  std::cout << "\nnot predicted:\n";
  for (const auto& [reason, count] : reasons) std::cout << std::setw(6) << count << "  " << reason << "\n";
}

std::string Csv(const std::vector<ServingPoint>& points, const std::vector<Prediction>& predictions) {
  std::string csv;
  exporters::AddRow(
      csv, {"id", "model", "system", "engine", "formats", "mode", "input_tokens", "output_tokens", "concurrency",
            "layout", "ttft_s", "tpot_s", "predicted_ttft_s", "predicted_tpot_s", "reason"});
  for (std::size_t i = 0; i < points.size(); ++i) {
    const ServingPoint& point = points[i];
    const auto& evaluation = predictions[i].evaluation;
    exporters::AddRow(
        csv, {point.id, point.model, point.system, point.engine, FormatsOf(point), ModeOf(point),
              std::to_string(point.input_tokens), std::to_string(point.output_tokens),
              std::to_string(point.concurrency), DescribeLayout(point), exporters::Shortest(point.ttft_s),
              exporters::Shortest(point.tpot_s), evaluation ? exporters::Shortest(evaluation->metrics.ttft_s) : "",
              evaluation ? exporters::Shortest(evaluation->metrics.tpot_s) : "", predictions[i].reason});
  }
  return csv;
}

int Main(int argc, char** argv) {
  CLI::App app("How far predictions are from measured serving points");
  std::string path, csv, only;
  app.add_option("--points", path, "A table of points, such as data/serving/serving_points.csv")->required();
  app.add_option("--csv", csv, "Where a row a point is written [not written]");
  app.add_option("--only", only, "Points whose id contains this [all]");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? EXIT_SUCCESS : 2;
  }
  if (!csv.empty()) CheckCanWrite(csv);
  std::vector<ServingPoint> points = ReadServingPoints(path);
  std::erase_if(points, [&](const ServingPoint& point) { return point.id.find(only) == std::string::npos; });
  std::vector<Prediction> predictions(points.size());
#pragma omp parallel for schedule(dynamic, 1)
  for (std::size_t i = 0; i < points.size(); ++i) predictions[i] = Predict(points[i]);
  Print(points, predictions);
  if (!csv.empty()) WriteFileAtomically(csv, Csv(points, predictions));
  return EXIT_SUCCESS;
}

}  // namespace
}  // namespace shardscout::validation

int main(int argc, char** argv) {
  try {
    return shardscout::validation::Main(argc, argv);
  } catch (const std::exception& error) {
    std::cerr << "error: " << error.what() << '\n';
    return EXIT_FAILURE;
  }
}
