#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "shardscout/cluster_spec.h"

/// Fits the curves of devices to tables of measurements, and says how well they predict what they were not fitted to.
/// The tables and their columns: docs/calibration.md.
namespace shardscout {

/// Of |predicted / measured - 1|.
struct ErrorStatistics {
  std::size_t count = 0;
  double median = 0;
  double p90 = 0;  ///< Nine in ten are smaller.
  bool operator==(const ErrorStatistics&) const = default;
};

/// One kind of kernel on one device, fitted.
struct FittedCurve {
  std::string device;                                      ///< DeviceSpec::measured_as
  std::string family;                                      ///< "gemm", ...
  std::string type;                                        ///< As the table calls it: "bfloat16", "fp8_block", ...
  std::vector<std::pair<std::string, double>> parameters;  ///< In SI units, in the order of the curve's fields.
  ErrorStatistics held_out;  ///< Each shape predicted by a fit that did not see it: five folds by shape.
  ErrorStatistics fitted;    ///< By the fit to all.
  ErrorStatistics roofline;  ///< By max(FLOP / peak, bytes / bandwidth) with the device's data-sheet figures.
  std::vector<double> measured_s, held_out_s, fitted_s, roofline_s;  ///< By row.
};

/// Fits every table of FOLDER/operators that belongs to the device of one of the clusters (FAMILY_DEVICE.csv, or
/// .csv.gz), and its rows in FOLDER/collectives, over the cluster's innermost tier; of several folders that have a
/// table the first. In the order of the clusters, then of families. A SpecError where there is nothing for any of them,
/// and for a table that is not as documented. Deterministic; takes seconds a table. `on_table`, where given, is called
/// before a table is read.
std::vector<FittedCurve> Calibrate(const std::vector<std::string>& folders, const std::vector<ClusterSpec>& clusters,
                                   const std::function<void(const std::string& path)>& on_table = nullptr);

/// The same of all types of a device's family together, as one curve of type "all" without parameters.
std::vector<FittedCurve> Pooled(const std::vector<FittedCurve>& curves);

/// `text`, the file of a cluster whose device is among the curves', with them as its device's curves and as its
/// innermost tier's, in place of those that it had: parameters to four digits, held-out errors as comments. Where
/// none of them is the device's, it keeps its own, such as a relative's. `place` names the file in errors.
std::string ClusterFileWithCurves(const std::string& text, const std::string& place,
                                  const std::vector<FittedCurve>& curves);

/// RFC 4180: a header and one row a curve; lines end with CR LF; no rows of measurements.
std::string CalibrationCsv(const std::vector<FittedCurve>& curves);

/// One page that needs nothing else: a table and a chart of the held-out residuals of each device's families, drawn by
/// the embedded Chart.js. HaveCharts() (comparison_report.h) must be true.
std::string CalibrationHtml(const std::vector<FittedCurve>& curves);

}  // namespace shardscout
