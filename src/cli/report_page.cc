#include "src/cli/report_page.h"

#include <iostream>

#include "shardscout/comparison_report.h"
#include "shardscout/error.h"

namespace shardscout::cli {

void CheckCanWriteReport(const std::string& path) {
  if (!HaveCharts()) {
    throw SpecError(path, "no page can be written: this build has no Chart.js; install libjs-chart.js and build again");
  }
  CheckCanWrite(path);
}

void WriteReport(const Plan& plan, PlanReportRequest request, const std::string& path, const Context& context) {
  request.stop = context.stop;
  const PlanReport report = MakePlanReport(plan, request, context.searchers, context.evaluators, context.exporters);
  WriteFileAtomically(path, PlanReportHtml(report));
  if (!context.json && path != "/dev/stdout") std::cout << "report    " << path << "\n";
}

}  // namespace shardscout::cli
