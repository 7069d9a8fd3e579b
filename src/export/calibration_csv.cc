#include <string>
#include <vector>

#include "shardscout/calibration.h"
#include "src/export/csv.h"

namespace shardscout {

std::string CalibrationCsv(const std::vector<FittedCurve>& curves) {
  std::string csv;
  exporters::AddRow(csv, {"device", "family", "type", "measurements", "held_out_median", "held_out_p90",
                          "fitted_median", "fitted_p90", "roofline_median", "roofline_p90", "parameters"});
  for (const FittedCurve& curve : curves) {
    std::string parameters;
    for (const auto& [name, value] : curve.parameters) {
      parameters += (parameters.empty() ? "" : " ") + name + "=" + exporters::Shortest(value);
    }
    std::vector<std::string> row = {curve.device, curve.family, curve.type, std::to_string(curve.held_out.count)};
    for (const ErrorStatistics* errors : {&curve.held_out, &curve.fitted, &curve.roofline}) {
      row.push_back(errors->count == 0 ? "" : exporters::Shortest(errors->median));
      row.push_back(errors->count == 0 ? "" : exporters::Shortest(errors->p90));
    }
    row.push_back(parameters);
    exporters::AddRow(csv, row);
  }
  return csv;
}

}  // namespace shardscout
