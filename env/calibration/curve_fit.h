#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "shardscout/calibration.h"

/// Fits the parameters of a curve to measured times, and says how well it predicts shapes that it was not fitted to.
///
/// Solves: min over the parameters of the mean of huber(ln(predicted / measured)), quadratic up to 0.08 and linear
/// beyond, by Levenberg and Marquardt's damped least squares with Huber's weights (iteratively reweighted). Each
/// parameter moves on an unbounded scale: ln(x / (1 - x)) of a share, else ln(x - least); derivatives are forward
/// differences there. A parameter that is 0 at the start stays 0, and a share that is 1 stays 1: the curve
/// has no such part. With belief in the start (`belief_width`) each parameter adds a squared residual,
/// 0.08 * (its distance from the start on its scale / belief_width): few measurements move only what they tell.
///
/// Held-out errors: rows of one shape fall into one of five folds, shapes dealt out by a hash; each fold is predicted
/// by the curve that was fitted to the other four. A fit takes at most `max_rows` of its rows, drawn by a hash.
///
/// Deterministic: the same rows give the same parameters on any number of threads.
///
/// Source: Marquardt (1963); Huber (1964); Eigen's LDLT solves the normal equations, some ten unknowns.
namespace shardscout::env {

/// A number of a curve that is fitted, in place.
struct FitParameter {
  std::string name;
  double* value = nullptr;
  bool share = false;  ///< In (0, 1); else above `least`.
  double least = 0;
};

/// One measurement as the fit sees it.
struct FitRow {
  std::uint64_t shape = 0;  ///< Rows of one shape are held out together.
  double measured_s = 0;
  double roofline_s = 0;  ///< What max(FLOP / peak, bytes / bandwidth) predicts.
  bool suspect = false;   ///< Predicted, but not fitted to.
};

struct FitProblem {
  std::vector<FitRow> rows;
  std::vector<FitParameter> parameters;
  /// Seconds of a row with the parameters' present values; called from several threads at once.
  std::function<double(std::size_t row)> predict;
};

struct FitOptions {
  int num_folds = 5;
  int max_iterations = 40;
  std::size_t max_rows = 2500;
  /// Above 0: the parameters' values at the start are believed like a measurement of each, with this standard
  /// deviation on its scale, and one row beside each fold is enough.
  double belief_width = 0;
};

/// Whether the rows are too few for a fit without belief.
bool TooFewToFit(const std::vector<FitRow>& rows, const std::vector<FitParameter>& parameters,
                 const FitOptions& options = {});

ErrorStatistics StatisticsOf(std::vector<double> errors);

/// Fills in held_out, fitted and roofline from the seconds of each row.
void SetStatistics(FittedCurve& curve);

/// Seconds of each row.
struct FitReport {
  std::vector<double> held_out_s;  ///< What the fit without its fold predicts.
  std::vector<double> fitted_s;    ///< What the fit to all rows predicts.
};

/// Leaves the parameters at their values for all rows. Throws a SpecError naming `place` where there are fewer rows
/// than five a parameter that are not suspect, all in all or beside a fold (with belief: than one), and where the curve
/// has no finite time for one.
FitReport FitCurve(const FitProblem& problem, const std::string& place, const FitOptions& options = {});

}  // namespace shardscout::env
