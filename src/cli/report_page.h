#pragma once

// The page of a plan, as search and report write it.

#include <string>

#include "shardscout/plan_report.h"
#include "src/cli/commands.h"

namespace shardscout::cli {

/// SpecError where no page can be written: the place, or a build without Chart.js.
void CheckCanWriteReport(const std::string& path);

/// Gathers what the page says, writes it, and says on stdout where (but to /dev/stdout, or as JSON).
void WriteReport(const Plan& plan, PlanReportRequest request, const std::string& path, const Context& context);

}  // namespace shardscout::cli
