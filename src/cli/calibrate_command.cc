#include <spdlog/spdlog.h>

#include <algorithm>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "shardscout/calibration.h"
#include "shardscout/comparison_report.h"
#include "shardscout/error.h"
#include "shardscout/plan.h"
#include "shardscout/preset_paths.h"
#include "src/cli/commands.h"
#include "src/cli/describe.h"
#include "src/cli/option_table.h"
#include "src/cli/output.h"

namespace shardscout::cli {
namespace {

using nlohmann::ordered_json;

struct Arguments {
  std::vector<std::string> data;
  std::vector<std::string> clusters;
  std::string csv;
  std::string html;
  std::string out;
};

/// Clusters whose devices have a name in tables; of presets with the same device the first.
std::vector<ClusterSpec> Clusters(const Arguments& arguments) {
  const bool named = !arguments.clusters.empty();
  std::vector<ClusterSpec> clusters;
  for (const std::string& name : named ? arguments.clusters : ListPresets("clusters")) {
    ClusterSpec cluster = LoadCluster(name);
    if (cluster.device.measured_as.empty()) {
      if (named) throw SpecError("--cluster " + name, "its device has no measured_as, the name that tables give it");
      continue;
    }
    const bool known = std::any_of(clusters.begin(), clusters.end(), [&](const ClusterSpec& other) {
      return other.device.measured_as == cluster.device.measured_as;
    });
    if (named || !known) clusters.push_back(std::move(cluster));
  }
  return clusters;
}

ordered_json ToJson(const ErrorStatistics& errors) {
  return {{"measurements", errors.count}, {"median", errors.median}, {"p90", errors.p90}};
}

ordered_json ToJson(const FittedCurve& curve) {
  ordered_json row = {{"device", curve.device}, {"family", curve.family}, {"type", curve.type}};
  row["held_out"] = ToJson(curve.held_out);
  row["fitted"] = ToJson(curve.fitted);
  row["roofline"] = ToJson(curve.roofline);
  row["parameters"] = ordered_json::object();
  for (const auto& [name, value] : curve.parameters) row["parameters"][name] = value;
  return row;
}

void Print(const std::vector<FittedCurve>& curves) {
  std::cout << "Errors are |predicted / measured - 1|. Held out: each shape predicted by a fit that did not see it.\n"
               "Roofline: the larger of FLOP / peak and bytes / bandwidth, from the data sheet.\n\n";
  Table table({"device", "family", "type", ">measured", ">held out, median", ">p90", ">roofline, median", ">p90"});
  const auto add = [&](const FittedCurve& curve) {
    table.AddRow({curve.device, curve.family, curve.type, Grouped(static_cast<std::int64_t>(curve.held_out.count)),
                  Percent(curve.held_out.median), Percent(curve.held_out.p90), Percent(curve.roofline.median),
                  Percent(curve.roofline.p90)});
  };
  for (const FittedCurve& all : Pooled(curves)) {
    for (const FittedCurve& curve : curves) {
      if (curve.device == all.device && curve.family == all.family) add(curve);
    }
    add(all);
  }
  table.Print(std::cout);
}

int Run(const Arguments& arguments, const Context& context) {
  if (!arguments.html.empty() && !HaveCharts()) {
    throw SpecError("--html",
                    "this build has no Chart.js; install libjs-chart.js and build again, or leave --html out");
  }
  if (!arguments.out.empty() && arguments.clusters.size() != 1) {
    throw SpecError("--out", "found " + std::to_string(arguments.clusters.size()) +
                                 " clusters, expected one: --cluster says whose file is written");
  }
  for (const std::string& path : {arguments.csv, arguments.html, arguments.out}) {
    if (!path.empty()) CheckCanWrite(path);
  }
  const std::vector<FittedCurve> curves =
      Calibrate(arguments.data, Clusters(arguments), [](const std::string& path) { spdlog::info("reading {}", path); });
  if (!arguments.csv.empty()) WriteFileAtomically(arguments.csv, CalibrationCsv(curves));
  if (!arguments.html.empty()) WriteFileAtomically(arguments.html, CalibrationHtml(curves));
  if (!arguments.out.empty()) {
    const std::string path = ResolvePreset("clusters", arguments.clusters.front(), "--cluster");
    WriteFileAtomically(arguments.out, ClusterFileWithCurves(ReadTextFile(path), path, curves));
  }
  if (context.json) {
    ordered_json rows = ordered_json::array(), families = ordered_json::array();
    for (const FittedCurve& curve : curves) rows.push_back(ToJson(curve));
    for (const FittedCurve& all : Pooled(curves)) families.push_back(ToJson(all));
    PrintDocument({{"curves", rows}, {"families", families}});
  } else {
    Print(curves);
  }
  return kExitResult;
}

}  // namespace

void AddCalibrateCommand(CLI::App& app, Context& context) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("calibrate", "Fit a device's curves to tables of measurements");
  command
      ->add_option("--data", arguments->data, "Folders of tables (docs/calibration.md); of the same table the first's")
      ->type_name(takes::kFolder)
      ->delimiter(',')
      ->required();
  command
      ->add_option("--cluster", arguments->clusters,
                   "Whose device to fit: presets or files, with measured_as set (default: every preset that has it)")
      ->type_name(takes::kCluster)
      ->delimiter(',');
  command->add_option("--csv", arguments->csv, "Write each curve's errors and parameters to this file")
      ->type_name(takes::kFile);
  command->add_option("--html", arguments->html, "Write a page with plots of the held-out residuals to this file")
      ->type_name(takes::kFile);
  command->add_option("--out", arguments->out, "Write the cluster's file with the fitted curves in it to this file")
      ->type_name(takes::kFile);
  AddCommonOptions(*command, context);
  command->footer(
      "Prints how well each curve predicts shapes that it was not fitted to, beside a plain roofline.\n\n"
      "Examples:\n"
      "  shardscout calibrate --data measurements --csv curves.csv\n"
      "  shardscout calibrate --data measurements --cluster my-cluster.json --out my-cluster.json");
  command->callback(
      [arguments, &context] { context.run = [arguments, &context] { return Run(*arguments, context); }; });
}

}  // namespace shardscout::cli
