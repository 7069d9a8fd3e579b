#pragma once

// Files that are built into the library; scripts/cmake/embed_text.cmake makes the definitions.

#include <string_view>

namespace shardscout::internal {

/// Chart.js with its licence, "" where the machine that built had none.
std::string_view ChartJs();

std::string_view PageCss();
std::string_view PageChartsJs();
std::string_view PlanReportJs();
std::string_view ComparisonPageJs();
std::string_view CalibrationPageJs();

/// configs/clusters/h100-sxm.json: the device with the most measurements.
std::string_view ReferenceCluster();

}  // namespace shardscout::internal
