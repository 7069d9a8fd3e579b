// Fits what serving engines add to their devices' kernels (configs/engines) to measured serving points, and prints the
// errors over models and systems that a fit has not seen. README.md has the command and the figures.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <iomanip>
#include <iostream>
#include <set>
#include <string>
#include <vector>

#include "experiments/guarded_main.h"
#include "experiments/validation/engine_fit.h"
#include "experiments/validation/speculation.h"

namespace shardscout::validation {
namespace {

void PrintHeader() {
  std::cout << "errors: |log(predicted / measured)| of TPOT and TTFT, added; of what is left out, by a fit to the "
               "others\n"
            << std::left << std::setw(44) << "" << std::right;
  for (const char* column : {"overlap", "gap us", "launch us", "host us", "enter ms", "without", "with"}) {
    std::cout << std::setw(10) << column;
  }
  std::cout << "\n";
}

void PrintEngine(const std::string& label, const EngineModel& engine, const std::vector<ServingPoint>& of) {
  std::cout << std::left << std::setw(44) << label << std::right << std::setw(10) << (engine.overlaps ? "yes" : "no")
            << std::fixed << std::setprecision(1);
  for (const double value :
       {1e6 * engine.layer_gap_s, 1e6 * engine.layer_launch_s, 1e6 * engine.request_host_s, 1e3 * engine.arrival_s}) {
    std::cout << std::setw(10) << value;
  }
  std::cout << std::setprecision(3) << std::setw(10) << EngineError(of, {}) << std::setw(10) << EngineError(of, engine)
            << std::endl;
}

/// `all` of one engine.
void FitAndPrint(const std::vector<ServingPoint>& all, const std::string& engine,
                 const std::vector<std::string>& systems) {
  std::vector<ServingPoint> points, elsewhere;
  std::set<std::string> models;
  for (const ServingPoint& point : all) {
    const bool fits = std::find(systems.begin(), systems.end(), point.system) != systems.end();
    (fits ? points : elsewhere).push_back(point);
    if (fits) models.insert(ModelNameOf(point));
  }
  const EngineModel fitted = FitEngine(points, engine);
  PrintEngine(engine + ", all that it is fitted to", fitted, points);
  PrintEngine("  on other systems", fitted, elsewhere);
  for (const std::string& model : models) {
    std::vector<ServingPoint> seen, unseen;
    for (const ServingPoint& point : points) (ModelNameOf(point) == model ? unseen : seen).push_back(point);
    if (!seen.empty()) PrintEngine("  left out: " + model, FitEngine(seen, engine), unseen);
  }
}

int Main(int argc, char** argv) {
  CLI::App app("What serving engines add to their devices' kernels, fitted to measured serving points");
  std::string path;
  std::vector<std::string> engines = {"vllm", "sglang", "trtllm"}, systems = {"h100_sxm", "h200_sxm"};
  std::size_t most = 12;
  app.add_option("--points", path, "A table of points, such as data/serving/serving_points.csv")->required();
  app.add_option("--engines", engines, "Which [vllm,sglang,trtllm]")->delimiter(',');
  app.add_option("--systems", systems, "Whose points; the others are held out [h100_sxm,h200_sxm: measured curves]")
      ->delimiter(',');
  app.add_option("--most", most, "Points of each model, system and number format [12]");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? EXIT_SUCCESS : 2;
  }
  const std::vector<ServingPoint> points = ReadServingPoints(path);
  const std::vector<bool> speculates = FindSpeculation(points).shown;
  PrintHeader();
  for (const std::string& engine : engines) {
    std::vector<ServingPoint> of_engine;
    for (std::size_t i = 0; i < points.size(); ++i) {
      if (points[i].engine == engine && !points[i].disaggregated && !speculates[i]) of_engine.push_back(points[i]);
    }
    FitAndPrint(Thinned(of_engine, most), engine, systems);
  }
  return EXIT_SUCCESS;
}

}  // namespace
}  // namespace shardscout::validation

int main(int argc, char** argv) {
  return shardscout::GuardedMain([&] { return shardscout::validation::Main(argc, argv); });
}
