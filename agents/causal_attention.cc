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

/// Sizes of a call. kHead is the head size where it is a usual one, so that the innermost loops are unrolled, else 0.
template <int kHead>
struct Sizes {
  int64_t length, width, num_heads;
  int64_t head() const { return kHead > 0 ? kHead : width / num_heads; }
};

/// One head of one sequence, q inside a row of [3 * width]. p, out zero at first. p: [length, length].
template <int kHead>
void ForwardHead(const Sizes<kHead>& sizes, const float* q, float* keys, float* p, float* out) {
  const int64_t length = sizes.length, width = sizes.width, stride = 3 * width, head_size = sizes.head();
  const float scale = 1.0F / std::sqrt(static_cast<float>(head_size));
  const float* v = q + 2 * width;
  Transpose(q + width, stride, length, head_size, keys);
  for (int64_t t = 0; t < length; ++t, p += length, q += stride, out += width) {
    for (int64_t d = 0; d < head_size; ++d) {
      const float factor = q[d] * scale;
      const float* key = keys + d * length;
      for (int64_t s = 0; s <= t; ++s) p[s] += factor * key[s];
    }
    Softmax(p, t + 1);
    for (int64_t s = 0; s <= t; ++s) {
      for (int64_t d = 0; d < head_size; ++d) out[d] += p[s] * v[s * stride + d];
    }
  }
}

/// Its gradient: dq zero at first, in a row of [3 * width] like q; ds: [length].
template <int kHead>
void BackwardHead(const Sizes<kHead>& sizes, const float* q, const float* p, const float* dout, float* values,
                  float* ds, float* dq) {
  const int64_t length = sizes.length, width = sizes.width, stride = 3 * width, head_size = sizes.head();
  const float scale = 1.0F / std::sqrt(static_cast<float>(head_size));
  const float* k = q + width;
  float* dk = dq + width;
  float* dv = dk + width;
  Transpose(q + 2 * width, stride, length, head_size, values);
  for (int64_t t = 0; t < length; ++t, p += length, q += stride, dq += stride, dout += width) {
    std::fill(ds, ds + t + 1, 0.0F);
    for (int64_t d = 0; d < head_size; ++d) {
      const float* value = values + d * length;
      for (int64_t s = 0; s <= t; ++s) ds[s] += dout[d] * value[s];
    }
    float mean = 0;
    for (int64_t s = 0; s <= t; ++s) mean += p[s] * ds[s];
    for (int64_t s = 0; s <= t; ++s) {
      const float weight = p[s] * (ds[s] - mean) * scale;
      const float* k_s = k + s * stride;
      float* dk_s = dk + s * stride;
      float* dv_s = dv + s * stride;
      for (int64_t d = 0; d < head_size; ++d) dq[d] += weight * k_s[d];
      for (int64_t d = 0; d < head_size; ++d) dk_s[d] += weight * q[d];
      for (int64_t d = 0; d < head_size; ++d) dv_s[d] += p[s] * dout[d];
    }
  }
}

template <int kHead>
void ForwardAll(const at::Tensor& qkv, at::Tensor& probabilities, at::Tensor& out) {
  const Sizes<kHead> sizes{qkv.size(1), out.size(2), probabilities.size(1)};
  std::vector<float> keys(static_cast<std::size_t>(sizes.head() * sizes.length));
  const int64_t square = sizes.length * sizes.length;
  for (int64_t i = 0; i < qkv.size(0); ++i) {
    for (int64_t h = 0; h < sizes.num_heads; ++h) {
      const int64_t row = i * sizes.length * sizes.width;
      ForwardHead(sizes, qkv.data_ptr<float>() + 3 * row + h * sizes.head(), keys.data(),
                  probabilities.data_ptr<float>() + (i * sizes.num_heads + h) * square,
                  out.data_ptr<float>() + row + h * sizes.head());
    }
  }
}

template <int kHead>
void BackwardAll(const at::Tensor& qkv, const at::Tensor& probabilities, const at::Tensor& gradient,
                 at::Tensor& result) {
  const Sizes<kHead> sizes{qkv.size(1), gradient.size(2), probabilities.size(1)};
  std::vector<float> values(static_cast<std::size_t>(sizes.head() * sizes.length));
  std::vector<float> ds(static_cast<std::size_t>(sizes.length));
  const int64_t square = sizes.length * sizes.length;
  for (int64_t i = 0; i < qkv.size(0); ++i) {
    for (int64_t h = 0; h < sizes.num_heads; ++h) {
      const int64_t row = i * sizes.length * sizes.width;
      BackwardHead(sizes, qkv.data_ptr<float>() + 3 * row + h * sizes.head(),
                   probabilities.data_ptr<float>() + (i * sizes.num_heads + h) * square,
                   gradient.data_ptr<float>() + row + h * sizes.head(), values.data(), ds.data(),
                   result.data_ptr<float>() + 3 * row + h * sizes.head());
    }
  }
}

class CausalAttentionFunction : public torch::autograd::Function<CausalAttentionFunction> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& qkv, int64_t num_heads) {
    const int64_t width = qkv.size(2) / 3;
    at::Tensor out = at::zeros({qkv.size(0), qkv.size(1), width});
    at::Tensor probabilities = at::zeros({qkv.size(0), num_heads, qkv.size(1), qkv.size(1)});
    (width / num_heads == 16 ? ForwardAll<16> : ForwardAll<0>)(qkv, probabilities, out);
    context->save_for_backward({qkv, probabilities});
    return out;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const torch::autograd::variable_list saved = context->get_saved_variables();
    const at::Tensor gradient = gradients[0].contiguous();
    at::Tensor result = at::zeros_like(saved[0]);
    (gradient.size(2) / saved[1].size(1) == 16 ? BackwardAll<16> : BackwardAll<0>)(saved[0], saved[1], gradient,
                                                                                   result);
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
