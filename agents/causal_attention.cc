#include "agents/causal_attention.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace shardscout::agents {
namespace {

using std::int64_t;

/// Softmax in place of the first n of `scores`.
void Softmax(float* scores, int64_t n) {
  const float top = *std::max_element(scores, scores + n);
  float total = 0;
  for (int64_t s = 0; s < n; ++s) {
    scores[s] = std::exp(scores[s] - top);
    total += scores[s];
  }
  for (int64_t s = 0; s < n; ++s) scores[s] /= total;
}

/// The keys or values of one head, transposed: to[d * length + s] = from[s * stride + d].
void Transpose(const float* from, int64_t stride, int64_t length, int64_t head_size, float* to) {
  for (int64_t s = 0; s < length; ++s) {
    for (int64_t d = 0; d < head_size; ++d) to[d * length + s] = from[s * stride + d];
  }
}

class CausalAttentionFunction : public torch::autograd::Function<CausalAttentionFunction> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& qkv, int64_t num_heads) {
    const int64_t count = qkv.size(0), length = qkv.size(1), width = qkv.size(2) / 3, head_size = width / num_heads;
    const float scale = 1.0F / std::sqrt(static_cast<float>(head_size));
    at::Tensor out = at::zeros({count, length, width});
    at::Tensor probabilities = at::zeros({count, num_heads, length, length});
    const float* in = qkv.data_ptr<float>();
    float* out_data = out.data_ptr<float>();
    float* p = probabilities.data_ptr<float>();
    std::vector<float> keys(static_cast<std::size_t>(head_size * length));
    for (int64_t i = 0; i < count; ++i) {
      for (int64_t h = 0; h < num_heads; ++h) {
        const float* q = in + i * length * 3 * width + h * head_size;
        const float* v = q + 2 * width;
        Transpose(q + width, 3 * width, length, head_size, keys.data());
        for (int64_t t = 0; t < length; ++t, p += length) {
          for (int64_t d = 0; d < head_size; ++d) {
            const float factor = q[t * 3 * width + d] * scale;
            const float* key = keys.data() + d * length;
            for (int64_t s = 0; s <= t; ++s) p[s] += factor * key[s];
          }
          Softmax(p, t + 1);
          float* o = out_data + (i * length + t) * width + h * head_size;
          for (int64_t s = 0; s <= t; ++s) {
            for (int64_t d = 0; d < head_size; ++d) o[d] += p[s] * v[s * 3 * width + d];
          }
        }
      }
    }
    context->save_for_backward({qkv, probabilities});
    return out;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const torch::autograd::variable_list saved = context->get_saved_variables();
    const at::Tensor& qkv = saved[0];
    const at::Tensor gradient = gradients[0].contiguous();
    const int64_t num_heads = saved[1].size(1);
    const int64_t count = qkv.size(0), length = qkv.size(1), width = qkv.size(2) / 3, head_size = width / num_heads;
    const int64_t stride = 3 * width;
    const float scale = 1.0F / std::sqrt(static_cast<float>(head_size));
    at::Tensor result = at::zeros({count, length, stride});
    const float* p = saved[1].data_ptr<float>();
    std::vector<float> values(static_cast<std::size_t>(head_size * length));
    std::vector<float> ds(static_cast<std::size_t>(length));
    for (int64_t i = 0; i < count; ++i) {
      for (int64_t h = 0; h < num_heads; ++h) {
        const int64_t offset = i * length * stride + h * head_size;
        const float* q = qkv.data_ptr<float>() + offset;
        const float* k = q + width;
        float* dq = result.data_ptr<float>() + offset;
        float* dk = dq + width;
        float* dv = dk + width;
        Transpose(q + 2 * width, stride, length, head_size, values.data());
        for (int64_t t = 0; t < length; ++t, p += length) {
          const float* dout = gradient.data_ptr<float>() + (i * length + t) * width + h * head_size;
          std::fill(ds.begin(), ds.end(), 0.0F);
          for (int64_t d = 0; d < head_size; ++d) {
            const float* value = values.data() + d * length;
            for (int64_t s = 0; s <= t; ++s) ds[static_cast<std::size_t>(s)] += dout[d] * value[s];
          }
          float mean = 0;
          for (int64_t s = 0; s <= t; ++s) mean += p[s] * ds[static_cast<std::size_t>(s)];
          for (int64_t s = 0; s <= t; ++s) {
            const float weight = p[s] * (ds[static_cast<std::size_t>(s)] - mean) * scale;
            for (int64_t d = 0; d < head_size; ++d) dq[t * stride + d] += weight * k[s * stride + d];
            for (int64_t d = 0; d < head_size; ++d) dk[s * stride + d] += weight * q[t * stride + d];
            for (int64_t d = 0; d < head_size; ++d) dv[s * stride + d] += p[s] * dout[d];
          }
        }
      }
    }
    return {result, at::Tensor()};
  }
};

}  // namespace

at::Tensor CausalAttention(const at::Tensor& qkv, int num_heads) {
  return CausalAttentionFunction::apply(qkv.contiguous(), num_heads);
}

at::Tensor CausalAttentionStep(const at::Tensor& qkv, int num_heads, int position, at::Tensor& cache) {
  const int64_t count = qkv.size(0), width = qkv.size(1) / 3, head_size = width / num_heads, length = cache.size(1);
  const float scale = 1.0F / std::sqrt(static_cast<float>(head_size));
  at::Tensor out = at::zeros({count, width});
  std::vector<float> p(static_cast<std::size_t>(position + 1));
  for (int64_t i = 0; i < count; ++i) {
    const float* q = qkv.data_ptr<float>() + i * 3 * width;
    float* held = cache.data_ptr<float>() + i * length * 2 * width;
    std::copy(q + width, q + 3 * width, held + position * 2 * width);
    for (int64_t h = 0; h < num_heads; ++h) {
      for (int64_t s = 0; s <= position; ++s) {
        float score = 0;
        const float* k = held + s * 2 * width + h * head_size;
        for (int64_t d = 0; d < head_size; ++d) score += q[h * head_size + d] * scale * k[d];
        p[static_cast<std::size_t>(s)] = score;
      }
      Softmax(p.data(), position + 1);
      float* o = out.data_ptr<float>() + i * width + h * head_size;
      for (int64_t s = 0; s <= position; ++s) {
        const float* v = held + s * 2 * width + width + h * head_size;
        for (int64_t d = 0; d < head_size; ++d) o[d] += p[static_cast<std::size_t>(s)] * v[d];
      }
    }
  }
  return out;
}

}  // namespace shardscout::agents
