#include "agents/residual_model.h"

#include <Eigen/Cholesky>
#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "shardscout/error.h"

namespace shardscout::agents {
namespace {

constexpr std::size_t kFewest = 20;  // Residuals that tell anything of their noise.

using Rows = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

Rows RowsOf(const std::vector<float>& numbers, std::size_t columns) {
  const auto count = static_cast<Eigen::Index>(columns);
  return Eigen::Map<const Rows>(numbers.data(), static_cast<Eigen::Index>(numbers.size()) / count, count);
}

}  // namespace

struct ResidualModel::Impl {
  /// [a.rows(), b.rows()]
  Eigen::MatrixXd Kernel(const Rows& a, const Rows& b) const {
    const Eigen::VectorXf a2 = a.rowwise().squaredNorm(), b2 = b.rowwise().squaredNorm();
    Eigen::MatrixXf distance = -2 * a * b.transpose();
    distance.colwise() += a2;
    distance.rowwise() += b2.transpose();
    return (-distance.cwiseMax(0).cast<double>() / (2 * config.length * config.length)).array().exp();
  }

  /// Whether the residuals are likelier than `likelihood`; then it is theirs, and so are factor and weights.
  void FitWith(double with_noise, const Eigen::MatrixXd& kernel, const Eigen::VectorXd& above, double* likelihood) {
    Eigen::MatrixXd noisy = kernel;
    noisy.diagonal().array() += with_noise;
    const Eigen::LLT<Eigen::MatrixXd> llt(noisy);
    const Eigen::VectorXd solved = llt.solve(above);
    const auto count = static_cast<double>(above.size());
    const double scale2 = std::max(above.dot(solved) / std::max(count, 1.0), 1e-300);
    const double log_determinant = 2 * llt.matrixLLT().diagonal().array().log().sum();
    const double now = -0.5 * (count * std::log(scale2) + log_determinant);
    if (!(now > *likelihood)) return;
    *likelihood = now;
    noise = with_noise;
    factor = llt.matrixL();
    weights = solved;
  }

  std::size_t num_features = 0;
  Config config;
  double mean = 0;
  double noise = kNoises[1];
  Rows rows;
  Eigen::MatrixXd factor;   ///< L, lower.
  Eigen::VectorXd weights;  ///< (K + noise)^-1 (residuals - mean)
};

ResidualModel::ResidualModel(std::size_t num_features, const Config& config) : impl_(std::make_unique<Impl>()) {
  impl_->num_features = num_features;
  impl_->config = config;
}

ResidualModel::~ResidualModel() = default;

void ResidualModel::Fit(const std::vector<float>& rows, std::span<const double> residuals, double mean) {
  SHARDSCOUT_CHECK_OP(rows.size(), ==, residuals.size() * impl_->num_features);
  impl_->rows = RowsOf(rows, impl_->num_features);
  impl_->mean = mean;
  const auto count = static_cast<Eigen::Index>(residuals.size());
  const Eigen::VectorXd above = Eigen::Map<const Eigen::VectorXd>(residuals.data(), count).array() - mean;
  const Eigen::MatrixXd kernel = impl_->Kernel(impl_->rows, impl_->rows);
  double likelihood = -std::numeric_limits<double>::infinity();
  if (impl_->config.noise > 0) {
    impl_->FitWith(impl_->config.noise, kernel, above, &likelihood);
  } else if (residuals.size() < kFewest) {
    impl_->FitWith(kNoises[1], kernel, above, &likelihood);
  } else {
    for (const double noise : kNoises) impl_->FitWith(noise, kernel, above, &likelihood);
  }
}

double ResidualModel::noise() const { return impl_->noise; }

struct ResidualModel::Candidates::Impl {
  const ResidualModel::Impl& model;
  Rows rows;
  Eigen::VectorXd mean, variance;
  Eigen::MatrixXd solved;  ///< L^-1 k(points, candidates), then what was conditioned on. [points, candidates]
  Eigen::Index num_known = 0;
};

ResidualModel::Candidates::Candidates(const ResidualModel& model, std::vector<float> rows)
    : impl_(new Impl{*model.impl_, RowsOf(rows, model.impl_->num_features), {}, {}, {}, 0}) {
  const Eigen::Index count = impl_->rows.rows(), points = impl_->model.rows.rows();
  impl_->mean = Eigen::VectorXd::Constant(count, impl_->model.mean);
  impl_->variance = Eigen::VectorXd::Ones(count);
  if (points == 0 || count == 0) return;
  impl_->solved = impl_->model.Kernel(impl_->model.rows, impl_->rows);
  impl_->mean += impl_->solved.transpose() * impl_->model.weights;
  impl_->model.factor.triangularView<Eigen::Lower>().solveInPlace(impl_->solved);
  impl_->variance -= impl_->solved.colwise().squaredNorm().transpose();
  impl_->num_known = points;
}

ResidualModel::Candidates::~Candidates() = default;

double ResidualModel::Candidates::Mean(std::size_t i) const { return impl_->mean[static_cast<Eigen::Index>(i)]; }

double ResidualModel::Candidates::Deviation(std::size_t i) const {
  return std::sqrt(std::max(0.0, impl_->variance[static_cast<Eigen::Index>(i)]));
}

void ResidualModel::Candidates::Condition(std::size_t i) {
  Impl& impl = *impl_;
  const auto at = static_cast<Eigen::Index>(i);
  const double noise = impl.model.noise;
  // Row of L for the new point, and L^-1 of its kernel with every candidate.
  Eigen::RowVectorXd row = impl.model.Kernel(impl.rows.row(at), impl.rows);
  if (impl.num_known > 0) {
    row -= impl.solved.col(at).head(impl.num_known).transpose() * impl.solved.topRows(impl.num_known);
  }
  row /= std::sqrt(std::max(impl.variance[at], 0.0) + noise);
  impl.variance -= row.cwiseAbs2().transpose();
  if (impl.solved.rows() == impl.num_known) {
    impl.solved.conservativeResize(std::max<Eigen::Index>(16, 2 * impl.num_known), impl.rows.rows());
  }
  impl.solved.row(impl.num_known++) = row;
}

}  // namespace shardscout::agents
