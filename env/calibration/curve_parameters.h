#pragma once

// What the families share: a curve's fields as the fit's parameters, and the fitted curve as it is reported.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "env/calibration/curve_fit.h"
#include "shardscout/calibration.h"
#include "src/choices.h"
#include "src/device_curve_fields.h"

namespace shardscout::env {

/// How far a device's parameters may be from a relative's, scaled, on a fit's scale: a choice, of the order in which
/// an A100's differ from an H100's.
constexpr double kBeliefInRelatives = 0.5;

/// The real numbers of a curve, in place: shares where the largest value is 1. Whole numbers are its structure.
template <class Curve>
std::vector<FitParameter> ParametersOf(Curve& curve) {
  std::vector<FitParameter> parameters;
  auto visit = [&](std::string_view name, auto& value, const json::Field& field) {
    if constexpr (std::is_same_v<decltype(value), double&>) {
      parameters.push_back({.name = std::string(name),
                            .value = &value,
                            .share = field.max == 1,
                            .least = std::max(field.min, field.above)});
    }
  };
  VisitFields(visit, curve);
  return parameters;
}

/// One number for what makes rows the same shape (FNV-1a over the numbers' bytes).
inline std::uint64_t ShapeKey(std::initializer_list<double> numbers) {
  std::uint64_t key = 0xcbf29ce484222325u;
  for (const double number : numbers) {
    std::uint64_t bits = 0;
    std::memcpy(&bits, &number, sizeof bits);
    for (int byte = 0; byte < 8; ++byte) key = (key ^ (bits >> (8 * byte) & 0xff)) * 0x100000001b3u;
  }
  return key;
}

/// Measurements of one type: what each row is, for the kernel's formula and for the fit.
template <class Shape>
struct Measurements {
  std::vector<Shape> shapes;
  std::vector<FitRow> rows;
};

/// Fits `curve`, which holds the values to start from, to the measurements. `time_s` is the kernel's formula: seconds
/// of (curve, shape). `place` names the measurements in errors.
template <class Curve, class Shape, class TimeOf>
FittedCurve FitMeasurements(Curve curve, const Measurements<Shape>& measurements, const std::string& type,
                            const std::string& place, const TimeOf& time_s, const FitOptions& options = {}) {
  FitProblem problem;
  problem.rows = measurements.rows;
  problem.parameters = ParametersOf(curve);
  problem.predict = [&](std::size_t row) { return time_s(curve, measurements.shapes[row]); };
  FitReport report = FitCurve(problem, place, options);
  FittedCurve fitted;
  fitted.type = type;
  auto list = [&](std::string_view name, auto& value, const json::Field&) {
    fitted.parameters.emplace_back(std::string(name), static_cast<double>(value));
  };
  VisitFields(list, curve);
  fitted.held_out_s = std::move(report.held_out_s);
  fitted.fitted_s = std::move(report.fitted_s);
  for (const FitRow& row : measurements.rows) {
    fitted.measured_s.push_back(row.measured_s);
    fitted.roofline_s.push_back(row.roofline_s);
  }
  SetStatistics(fitted);
  return fitted;
}

/// The same, or where there are too few measurements for that from `reference`: a relative's curve, which is believed.
template <class Curve, class Shape, class TimeOf>
FittedCurve FitMeasurements(const Curve& start, Curve reference, const Measurements<Shape>& measurements,
                            const std::string& type, const std::string& place, const TimeOf& time_s) {
  Curve free = start;
  if (!TooFewToFit(measurements.rows, ParametersOf(free))) {
    return FitMeasurements(start, measurements, type, place, time_s);
  }
  return FitMeasurements(reference, measurements, type, place, time_s, {.belief_width = kBeliefInRelatives});
}

/// The rows of a curve for which `takes` holds, as a curve of its own, without parameters.
template <class Predicate>
FittedCurve RowsOf(const FittedCurve& whole, const std::string& type, const Predicate& takes) {
  FittedCurve part;
  part.type = type;
  for (std::size_t row = 0; row < whole.measured_s.size(); ++row) {
    if (!takes(row)) continue;
    part.measured_s.push_back(whole.measured_s[row]);
    part.held_out_s.push_back(whole.held_out_s[row]);
    part.fitted_s.push_back(whole.fitted_s[row]);
    part.roofline_s.push_back(whole.roofline_s[row]);
  }
  SetStatistics(part);
  return part;
}

/// Splits a curve in two: the rows for which `takes` holds become a curve of the name `type`, the others keep the name
/// and the parameters. One that has no rows is left out, and leaves the parameters to the other.
template <class Predicate>
std::vector<FittedCurve> Split(const FittedCurve& whole, const std::string& type, const Predicate& takes) {
  std::vector<FittedCurve> parts;
  parts.push_back(RowsOf(whole, whole.type, [&](std::size_t row) { return !takes(row); }));
  parts.push_back(RowsOf(whole, type, takes));
  std::erase_if(parts, [](const FittedCurve& part) { return part.measured_s.empty(); });
  if (!parts.empty()) parts.front().parameters = whole.parameters;
  return parts;
}

/// The curve that was fitted.
template <class Curve>
Curve CurveOf(const FittedCurve& fitted) {
  Curve curve;
  std::size_t next = 0;
  auto restore = [&](std::string_view, auto& value, const json::Field&) {
    value = static_cast<std::remove_reference_t<decltype(value)>>(fitted.parameters.at(next++).second);
  };
  VisitFields(restore, curve);
  return curve;
}

/// The one of that name of the kinds that a table may name; another name is a SpecError. `what` comes with its article.
template <class Kinds>
const typename Kinds::value_type& KindOf(const Kinds& kinds, const std::string& name, const std::string& place,
                                         std::string_view what) {
  const auto found = std::find_if(kinds.begin(), kinds.end(), [&](const auto& kind) { return kind.name == name; });
  if (found != kinds.end()) return *found;
  std::vector<std::string> names;
  names.reserve(kinds.size());
  for (const auto& kind : kinds) names.emplace_back(kind.name);
  throw internal::UnknownName(place, name, what, names);
}

}  // namespace shardscout::env
