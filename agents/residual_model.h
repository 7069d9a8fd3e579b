#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <span>
#include <vector>

namespace shardscout::agents {

/// What is likely left unexplained at one strategy by a prediction, from what was left elsewhere: a Gaussian process
/// over the strategies' features,
///
///     residual(x) ~ N(mean, scale^2 k),   k(x, y) = exp(-|x - y|^2 / (2 length^2))
///
/// seen through noise of variance scale^2 noise. The posterior mean needs no scale; deviations are in units of it.
/// Where the noise is not given, it is the one of kNoises under which the residuals are likeliest, at the scale that
/// makes them so: from 20 of them on, before that the second.
///
/// Source: Rasmussen and Williams, "Gaussian Processes for Machine Learning" (2006), algorithm 2.1 and equation 5.8.
///
/// Worked example: one point with residual 1, mean 0, noise 0: at that point mean 1 and deviation 0; where k is 0.5,
/// mean 0.5 and deviation sqrt(1 - 0.25) = 0.866.
class ResidualModel {
 public:
  struct Config {
    double length = 3;
    double noise = 0;  ///< 0: what is likeliest.
  };
  static constexpr std::array<double, 4> kNoises = {0.03, 0.1, 0.3, 1};
  /// num_features: of a row.
  ResidualModel(std::size_t num_features, const Config& config);
  ~ResidualModel();
  ResidualModel(const ResidualModel&) = delete;
  ResidualModel& operator=(const ResidualModel&) = delete;

  /// rows: [residuals.size(), num_features]. Time grows as the cube of how many there are.
  void Fit(const std::vector<float>& rows, std::span<const double> residuals, double mean);
  double noise() const;  ///< Of the last fit.

  /// Where there are many strategies to choose from, one after another.
  class Candidates;

 private:
  friend class Candidates;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// The posterior at some rows. The model must outlive this and not be fitted meanwhile.
class ResidualModel::Candidates {
 public:
  Candidates(const ResidualModel& model, std::vector<float> rows);
  ~Candidates();

  /// [candidates]
  double Mean(std::size_t i) const;
  double Deviation(std::size_t i) const;
  /// From now on deviations are as if candidate i was known too.
  void Condition(std::size_t i);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace shardscout::agents
