#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "shardscout/calibration.h"
#include "src/embedded_text.h"
#include "src/export/html_page.h"

namespace shardscout {
namespace {

using exporters::Escaped;
using exporters::Formatted;
using nlohmann::ordered_json;

/// Of a curve, more would only be drawn over each other.
constexpr std::size_t kMostPoints = 400;

std::string Row(const FittedCurve& curve) {
  std::string row = "<tr><td>" + Escaped(curve.type) + "</td><td>" + std::to_string(curve.held_out.count) + "</td>";
  for (const ErrorStatistics* errors : {&curve.held_out, &curve.fitted, &curve.roofline}) {
    row += "<td>" + Formatted("%.1f&nbsp;%%", 100 * errors->median) + "</td><td>" +
           Formatted("%.1f&nbsp;%%", 100 * errors->p90) + "</td>";
  }
  return row + "</tr>\n";
}

/// Measured seconds, and what each prediction is of them.
ordered_json Points(const FittedCurve& curve) {
  ordered_json points = ordered_json::array();
  const std::size_t step = std::max<std::size_t>(1, (curve.measured_s.size() + kMostPoints - 1) / kMostPoints);
  for (std::size_t row = 0; row < curve.measured_s.size(); row += step) {
    const double measured_s = curve.measured_s[row];
    points.push_back({measured_s, curve.held_out_s[row] / measured_s});
  }
  return points;
}

}  // namespace

std::string CalibrationHtml(const std::vector<FittedCurve>& curves) {
  std::string body =
      "<p class=\"note\">Each point is a measurement: how long it took, and how many times as long a fit that did not "
      "see "
      "its shape says. Errors are |predicted / measured - 1|; the roofline is the larger of FLOP / peak and bytes / "
      "bandwidth. At most " +
      std::to_string(kMostPoints) +
      " points a type are drawn; those off by more than a factor of four lie at the edge.</p>\n";
  ordered_json families = ordered_json::array();
  for (const FittedCurve& all : Pooled(curves)) {
    const std::string id = "family-" + std::to_string(families.size());
    body +=
        "<section>\n<h2>" + Escaped(all.device + ": " + all.family) +
        "</h2>\n<div class=\"scroll\"><table><thead><tr><th>type</th><th>measured</th><th>held out, median</th>"
        "<th>p90</th><th>fitted, median</th><th>p90</th><th>roofline, median</th><th>p90</th></tr></thead><tbody>\n";
    ordered_json series = ordered_json::array();
    for (const FittedCurve& curve : curves) {
      if (curve.device != all.device || curve.family != all.family) continue;
      body += Row(curve);
      series.push_back({{"type", curve.type}, {"points", Points(curve)}});
    }
    body += Row(all) + "</tbody></table></div>\n" +
            exporters::ChartElement(id, "Predicted over measured time of " + all.family + " on " + all.device) +
            "</section>\n";
    families.push_back({{"id", id}, {"series", series}});
  }
  return exporters::HtmlPage("Curves fitted to measurements", body, {{"families", families}},
                             internal::CalibrationPageJs());
}

}  // namespace shardscout
