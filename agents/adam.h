#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <numeric>
#include <vector>

namespace shardscout::agents {

/// Adam (Kingma and Ba 2015, algorithm 1) over one vector, after clipping the gradient's norm. One pass over memory
/// instead of some ten tensor operations a parameter. beta1 0.9, beta2 0.999, epsilon 1e-8.
class Adam {
 public:
  explicit Adam(std::int64_t size) : mean_(static_cast<std::size_t>(size)), square_(mean_.size()) {}

  void Step(float* weights, const float* gradients, double learning_rate, double max_grad_norm) {
    const float scale = static_cast<float>(std::min(1.0, max_grad_norm / (Norm(gradients, mean_.size()) + 1e-6)));
    beta1_power_ *= 0.9;
    beta2_power_ *= 0.999;
    const float rate = static_cast<float>(learning_rate / (1 - beta1_power_));
    const float correction = static_cast<float>(1 / std::sqrt(1 - beta2_power_));
    for (std::size_t i = 0; i < mean_.size(); ++i) {
      const float gradient = gradients[i] * scale;
      const float mean = 0.9F * mean_[i] + 0.1F * gradient;
      mean_[i] =
          std::abs(mean) < 1e-30F ? 0.0F : mean;  // Numbers that decay into denormals would cost 100 cycles each.
      square_[i] = 0.999F * square_[i] + 0.001F * gradient * gradient;
      weights[i] -= rate * mean_[i] / (std::sqrt(square_[i]) * correction + 1e-8F);
    }
  }

 private:
  /// Eight sums, so that one addition need not wait for the one before it.
  static double Norm(const float* x, std::size_t size) {
    constexpr std::size_t kLanes = 8;
    double sums[kLanes] = {};
    std::size_t i = 0;
    for (; i + kLanes <= size; i += kLanes) {
      for (std::size_t l = 0; l < kLanes; ++l) sums[l] += static_cast<double>(x[i + l]) * static_cast<double>(x[i + l]);
    }
    for (; i < size; ++i) sums[0] += static_cast<double>(x[i]) * static_cast<double>(x[i]);
    return std::sqrt(std::accumulate(std::begin(sums), std::end(sums), 0.0));
  }

  std::vector<float> mean_, square_;
  double beta1_power_ = 1, beta2_power_ = 1;
};

}  // namespace shardscout::agents
