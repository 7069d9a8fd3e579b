#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace shardscout::agents {

/// Adam (Kingma and Ba 2015, algorithm 1) over one vector, after clipping the gradient's norm. One pass over memory
/// instead of some ten tensor operations a parameter. beta1 0.9, beta2 0.999, epsilon 1e-8.
class Adam {
 public:
  explicit Adam(std::int64_t size) : mean_(static_cast<std::size_t>(size)), square_(mean_.size()) {}

  void Step(float* weights, const float* gradients, double learning_rate, double max_grad_norm) {
    double norm = 0;
    for (std::size_t i = 0; i < mean_.size(); ++i)
      norm += static_cast<double>(gradients[i]) * static_cast<double>(gradients[i]);
    norm = std::sqrt(norm);
    const float scale = static_cast<float>(std::min(1.0, max_grad_norm / (norm + 1e-6)));
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
  std::vector<float> mean_, square_;
  double beta1_power_ = 1, beta2_power_ = 1;
};

}  // namespace shardscout::agents
