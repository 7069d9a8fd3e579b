#include "env/calibration/curve_fit.h"

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <iterator>
#include <map>
#include <numeric>

#include "shardscout/error.h"

namespace shardscout::env {
namespace {

using Eigen::MatrixXd;
using Eigen::VectorXd;

constexpr Eigen::Index kRowsWorthThreads = 1024;
constexpr std::size_t kRowsAParameter = 5;
constexpr double kHuberWidth = 0.08;
constexpr double kDifference = 2e-3;        // Of a parameter on its unbounded scale.
constexpr double kLargestStep = 0.5;        // On that scale, in one iteration.
constexpr double kLeastImprovement = 1e-5;  // Of the cost; less ends the fit.
constexpr double kMostLogit = 12;           // A share stays below 1, and has a place on its scale.
constexpr double kRidge = 1e-6;             // Beside the damping: what no row depends on stays.

/// The parameters that are fitted, on their unbounded scales.
class Coordinates {
 public:
  explicit Coordinates(const std::vector<FitParameter>& parameters) {
    for (const FitParameter& p : parameters) {
      if (*p.value != 0 && !(p.share && *p.value == 1)) free_.push_back(p);
    }
  }
  Eigen::Index size() const { return static_cast<Eigen::Index>(free_.size()); }
  VectorXd Get() const {
    VectorXd x(size());
    for (Eigen::Index i = 0; i < size(); ++i) {
      const FitParameter& p = At(i);
      x[i] = p.share ? std::log(*p.value / (1 - *p.value)) : std::log(*p.value - p.least);
    }
    return x;
  }
  void Set(const VectorXd& x) const {
    for (Eigen::Index i = 0; i < size(); ++i) {
      const FitParameter& p = At(i);
      *p.value = p.share ? 1 / (1 + std::exp(-std::clamp(x[i], -kMostLogit, kMostLogit))) : p.least + std::exp(x[i]);
    }
  }

 private:
  const FitParameter& At(Eigen::Index i) const { return free_[static_cast<std::size_t>(i)]; }
  std::vector<FitParameter> free_;
};

class LeastSquares {
 public:
  LeastSquares(const FitProblem& problem, const std::string& place, const Coordinates& coordinates,
               std::vector<std::size_t> rows, VectorXd believed, double belief_width)
      : problem_(problem),
        place_(place),
        coordinates_(coordinates),
        rows_(std::move(rows)),
        believed_(std::move(believed)),
        belief_width_(belief_width) {}

  VectorXd Minimise(VectorXd x, int max_iterations) const {
    VectorXd residuals = Residuals(x);
    double cost = Cost(residuals);
    if (!std::isfinite(cost)) throw SpecError(place_, "its curve predicts no finite time for some measurement");
    double damping = 1e-2;
    for (int iteration = 0; iteration < max_iterations; ++iteration) {
      MatrixXd jacobian(residuals.size(), x.size());
      for (Eigen::Index i = 0; i < x.size(); ++i) {
        VectorXd moved = x;
        moved[i] += kDifference;
        jacobian.col(i) = (Residuals(moved) - residuals) / kDifference;
      }
      const auto [normal, gradient] = NormalEquations(jacobian, residuals);
      const double before = cost;
      for (int attempt = 0; attempt < 10 && cost == before; ++attempt) {
        MatrixXd damped = normal;
        damped.diagonal() += damping * normal.diagonal() + VectorXd::Constant(x.size(), kRidge);
        const VectorXd step = damped.ldlt().solve(gradient).cwiseMax(-kLargestStep).cwiseMin(kLargestStep);
        const VectorXd next = x - step;
        const VectorXd next_residuals = Residuals(next);
        const double next_cost = Cost(next_residuals);
        damping *= next_cost < cost ? 0.3 : 4;
        if (!(next_cost < cost)) continue;
        x = next;
        residuals = next_residuals;
        cost = next_cost;
      }
      if (before - cost <= kLeastImprovement * before) break;
    }
    return x;
  }

 private:
  VectorXd Residuals(const VectorXd& x) const {
    coordinates_.Set(x);
    const auto count = static_cast<Eigen::Index>(rows_.size());
    VectorXd residuals(count + (belief_width_ > 0 ? x.size() : 0));
#pragma omp parallel for schedule(static) if (count >= kRowsWorthThreads)
    for (Eigen::Index i = 0; i < count; ++i) {
      const std::size_t row = rows_[static_cast<std::size_t>(i)];
      residuals[i] = std::log(problem_.predict(row) / problem_.rows[row].measured_s);
    }
    if (belief_width_ > 0) residuals.tail(x.size()) = kHuberWidth / belief_width_ * (x - believed_);
    return residuals;
  }
  /// Those of rows come first; those of the belief are never wild.
  bool IsWild(const VectorXd& residuals, Eigen::Index i) const {
    return i < static_cast<Eigen::Index>(rows_.size()) && std::abs(residuals[i]) >= kHuberWidth;
  }

  struct Normal {
    MatrixXd matrix;
    VectorXd gradient;
  };
  /// Of the weighted rows, added up one by one: the same on any machine, while Eigen's products choose their order by
  /// the threads and the caches that there are.
  Normal NormalEquations(const MatrixXd& jacobian, const VectorXd& residuals) const {
    const Eigen::Index n = jacobian.cols();
    Normal normal{MatrixXd::Zero(n, n), VectorXd::Zero(n)};
    for (Eigen::Index row = 0; row < jacobian.rows(); ++row) {
      const double weight = IsWild(residuals, row) ? kHuberWidth / std::abs(residuals[row]) : 1;
      for (Eigen::Index i = 0; i < n; ++i) {
        const double scaled = weight * jacobian(row, i);
        normal.gradient[i] += scaled * residuals[row];
        for (Eigen::Index j = 0; j <= i; ++j) normal.matrix(i, j) += scaled * jacobian(row, j);
      }
    }
    normal.matrix.triangularView<Eigen::StrictlyUpper>() = normal.matrix.transpose();
    return normal;
  }

  double Cost(const VectorXd& residuals) const {
    double sum = 0;
    for (Eigen::Index i = 0; i < residuals.size(); ++i) {
      const double size = std::abs(residuals[i]);
      sum += IsWild(residuals, i) ? kHuberWidth * (size - kHuberWidth / 2) : size * size / 2;
    }
    return sum / static_cast<double>(residuals.size());
  }

  const FitProblem& problem_;
  const std::string& place_;
  const Coordinates& coordinates_;
  const std::vector<std::size_t> rows_;
  const VectorXd believed_;
  const double belief_width_;
};

/// splitmix64's finaliser.
std::uint64_t Mixed(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

/// At most `most` of the rows, spread evenly over a fixed shuffled order.
std::vector<std::size_t> Thinned(std::vector<std::size_t> rows, std::size_t most) {
  if (rows.size() <= most) return rows;
  std::sort(rows.begin(), rows.end(), [](std::size_t a, std::size_t b) { return Mixed(a + 1) < Mixed(b + 1); });
  rows.resize(most);
  std::sort(rows.begin(), rows.end());
  return rows;
}

/// The fold of each row: shapes are dealt out in a shuffled order, so that folds have as many.
std::vector<int> FoldsOf(const std::vector<FitRow>& rows, int num_folds) {
  std::map<std::uint64_t, int> fold_of_shape;  // By the shuffled shape.
  for (const FitRow& row : rows) fold_of_shape[Mixed(row.shape)] = 0;
  int next = 0;
  for (auto& [shape, fold] : fold_of_shape) fold = next++ % num_folds;
  std::vector<int> folds;
  folds.reserve(rows.size());
  for (const FitRow& row : rows) folds.push_back(fold_of_shape.at(Mixed(row.shape)));
  return folds;
}

std::size_t LeastRows(const Coordinates& coordinates) {
  return std::max<std::size_t>(kRowsAParameter * static_cast<std::size_t>(coordinates.size()), 1);
}

}  // namespace

bool TooFewToFit(const std::vector<FitRow>& rows, const std::vector<FitParameter>& parameters,
                 const FitOptions& options) {
  const std::vector<int> folds = FoldsOf(rows, options.num_folds);
  std::vector<std::size_t> in_fold(static_cast<std::size_t>(options.num_folds), 0);
  std::size_t told = 0;
  for (std::size_t row = 0; row < rows.size(); ++row) {
    if (rows[row].suspect) continue;
    ++told;
    ++in_fold[static_cast<std::size_t>(folds[row])];
  }
  return told - *std::max_element(in_fold.begin(), in_fold.end()) < LeastRows(Coordinates(parameters));
}

ErrorStatistics StatisticsOf(std::vector<double> errors) {
  if (errors.empty()) return {};
  std::sort(errors.begin(), errors.end());
  const std::size_t n = errors.size();
  return {.count = n, .median = errors[n / 2], .p90 = errors[n * 9 / 10]};
}

void SetStatistics(FittedCurve& curve) {
  const auto errors_of = [&](const std::vector<double>& predicted_s) {
    std::vector<double> errors;
    for (std::size_t row = 0; row < predicted_s.size(); ++row) {
      errors.push_back(std::abs(predicted_s[row] / curve.measured_s[row] - 1));
    }
    return StatisticsOf(std::move(errors));
  };
  curve.held_out = errors_of(curve.held_out_s);
  curve.fitted = errors_of(curve.fitted_s);
  curve.roofline = errors_of(curve.roofline_s);
}

FitReport FitCurve(const FitProblem& problem, const std::string& place, const FitOptions& options) {
  const std::size_t n = problem.rows.size();
  const Coordinates coordinates(problem.parameters);
  const VectorXd start = coordinates.Get();
  const std::size_t least_rows = options.belief_width > 0 ? 1 : LeastRows(coordinates);
  const auto fit = [&](std::vector<std::size_t> rows, const std::string& held_out) {
    std::erase_if(rows, [&](std::size_t row) { return problem.rows[row].suspect; });
    if (rows.size() < least_rows) {
      throw SpecError(place, "found " + std::to_string(rows.size()) + " measurements" + held_out + " for " +
                                 std::to_string(coordinates.size()) + " parameters, expected " +
                                 (options.belief_width > 0 ? "one" : "five a parameter") + " or more");
    }
    const LeastSquares solver(problem, place, coordinates, Thinned(std::move(rows), options.max_rows), start,
                              options.belief_width);
    coordinates.Set(solver.Minimise(start, options.max_iterations));
  };

  std::vector<std::size_t> all(n);
  std::iota(all.begin(), all.end(), std::size_t{0});
  fit(all, "");
  const VectorXd best = coordinates.Get();
  FitReport report;
  report.fitted_s.resize(n);
  for (const std::size_t row : all) report.fitted_s[row] = problem.predict(row);
  report.held_out_s.resize(n);
  const std::vector<int> folds = FoldsOf(problem.rows, options.num_folds);
  for (int fold = 0; fold < options.num_folds; ++fold) {
    std::vector<std::size_t> rest;
    const auto held = [&](std::size_t row) { return folds[row] == fold; };
    if (std::none_of(all.begin(), all.end(), held)) continue;
    std::copy_if(all.begin(), all.end(), std::back_inserter(rest), [&](std::size_t row) { return !held(row); });
    fit(rest, " beside the shapes that are held out");
    for (const std::size_t row : all) {
      if (held(row)) report.held_out_s[row] = problem.predict(row);
    }
  }
  coordinates.Set(best);
  return report;
}

}  // namespace shardscout::env
