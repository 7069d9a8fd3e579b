#include "agents/decoder_kernels.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace shardscout::agents::kernels {
namespace {

constexpr std::int64_t kLanes = 8;

inline float Exp(float x) {
  x = std::max(x, -87.0F);
  // x = n log 2 + r with n whole (adding and taking away 1.5 * 2^23 rounds) and log 2 in two parts (Cephes); |r| <= log
  // 2 / 2.
  const float n = (x * 1.44269504F + 12582912.0F) - 12582912.0F;
  const float r = (x - n * 0.693359375F) + n * 2.12194440e-4F;
  float p = 1.9875691500e-4F;
  p = p * r + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  p = p * r * r + r + 1.0F;
  return p * std::bit_cast<float>((static_cast<std::int32_t>(n) + 127) << 23);
}

/// Sum over i of x[i] * y[i] in eight interleaved parts. n is a multiple of 8.
inline float Dot8(const float* x, const float* y, std::int64_t n) {
  float part[kLanes] = {};
  for (std::int64_t i = 0; i < n; i += kLanes) {
    for (std::int64_t l = 0; l < kLanes; ++l) part[l] += x[i + l] * y[i + l];
  }
  return ((part[0] + part[4]) + (part[1] + part[5])) + ((part[2] + part[6]) + (part[3] + part[7]));
}

inline float Sum8(const float* x, std::int64_t n) {
  float part[kLanes] = {};
  for (std::int64_t i = 0; i < n; i += kLanes) {
    for (std::int64_t l = 0; l < kLanes; ++l) part[l] += x[i + l];
  }
  return ((part[0] + part[4]) + (part[1] + part[5])) + ((part[2] + part[6]) + (part[3] + part[7]));
}

inline void Softmax(float* x, std::int64_t n) {
  float top = x[0];
  for (std::int64_t s = 1; s < n; ++s) top = std::max(top, x[s]);
  for (std::int64_t s = 0; s < n; ++s) x[s] = Exp(x[s] - top);
  float total = 0;
  for (std::int64_t s = 0; s < n; ++s) total += x[s];
  const float factor = 1 / total;
  for (std::int64_t s = 0; s < n; ++s) x[s] *= factor;
}

/// to[d * count + s] = from[s * stride + d]: the loops over s below then run over neighbours.
void Transpose(const float* from, std::int64_t stride, std::int64_t count, std::int64_t head_size, float* to) {
  for (std::int64_t s = 0; s < count; ++s) {
    for (std::int64_t d = 0; d < head_size; ++d) to[d * count + s] = from[s * stride + d];
  }
}

/// kHead: the head size where it is a usual one, so that the innermost loops are unrolled, else 0.
template <int kHead>
void ForwardHead(const Attention& a, const float* q, const float* k, const float* v, float* p, float* out) {
  const std::int64_t head_size = kHead > 0 ? kHead : a.head_size;
  const float scale = 1.0F / std::sqrt(static_cast<float>(head_size));
  Transpose(k, a.kv_stride, a.num_keys, head_size, a.scratch);
  for (std::int64_t t = 0; t < a.num_queries; ++t, q += a.q_stride, p += a.num_keys, out += a.out_stride) {
    const std::int64_t visible = a.causal ? t + 1 : a.num_keys;
    std::fill(p, p + a.num_keys, 0.0F);
    for (std::int64_t d = 0; d < head_size; ++d) {
      const float factor = q[d] * scale;
      const float* key = a.scratch + d * a.num_keys;
      for (std::int64_t s = 0; s < visible; ++s) p[s] += factor * key[s];
    }
    Softmax(p, visible);
    std::fill(out, out + head_size, 0.0F);
    for (std::int64_t s = 0; s < visible; ++s) {
      for (std::int64_t d = 0; d < head_size; ++d) out[d] += p[s] * v[s * a.kv_stride + d];
    }
  }
}

template <int kHead>
void BackwardHead(const Attention& a, const float* q, const float* k, const float* v, const float* p, const float* dout,
                  float* dq, float* dk, float* dv) {
  const std::int64_t head_size = kHead > 0 ? kHead : a.head_size;
  const float scale = 1.0F / std::sqrt(static_cast<float>(head_size));
  Transpose(v, a.kv_stride, a.num_keys, head_size, a.scratch);
  float* ds = a.scratch + head_size * a.num_keys;
  for (std::int64_t t = 0; t < a.num_queries;
       ++t, q += a.q_stride, dq += a.q_stride, p += a.num_keys, dout += a.out_stride) {
    const std::int64_t visible = a.causal ? t + 1 : a.num_keys;
    std::fill(ds, ds + visible, 0.0F);
    for (std::int64_t d = 0; d < head_size; ++d) {
      const float* value = a.scratch + d * a.num_keys;
      for (std::int64_t s = 0; s < visible; ++s) ds[s] += dout[d] * value[s];
    }
    float mean = 0;
    for (std::int64_t s = 0; s < visible; ++s) mean += p[s] * ds[s];
    std::fill(dq, dq + head_size, 0.0F);
    for (std::int64_t s = 0; s < visible; ++s) {
      const float weight = p[s] * (ds[s] - mean) * scale;
      const float* k_s = k + s * a.kv_stride;
      float* dk_s = dk + s * a.kv_stride;
      float* dv_s = dv + s * a.kv_stride;
      for (std::int64_t d = 0; d < head_size; ++d) dq[d] += weight * k_s[d];
      for (std::int64_t d = 0; d < head_size; ++d) dk_s[d] += weight * q[d];
      for (std::int64_t d = 0; d < head_size; ++d) dv_s[d] += p[s] * dout[d];
    }
  }
}

}  // namespace

float ExpNonPositive(float x) { return Exp(x); }

void LayerNorm(const float* x, const float* scale, const float* bias, std::int64_t rows, std::int64_t width, float* y,
               float* normal, float* rstd) {
  const float inverse = 1.0F / static_cast<float>(width);
  for (std::int64_t r = 0; r < rows; ++r, x += width, y += width, normal += width) {
    const float mean = Sum8(x, width) * inverse;
    for (std::int64_t i = 0; i < width; ++i) normal[i] = x[i] - mean;
    rstd[r] = 1.0F / std::sqrt(Dot8(normal, normal, width) * inverse + 1e-5F);
    for (std::int64_t i = 0; i < width; ++i) {
      normal[i] *= rstd[r];
      y[i] = normal[i] * scale[i] + bias[i];
    }
  }
}

void LayerNormBackward(const float* dy, const float* normal, const float* rstd, const float* scale, std::int64_t rows,
                       std::int64_t width, float* dx, float* dscale, float* dbias) {
  const float inverse = 1.0F / static_cast<float>(width);
  float g[1024];
  for (std::int64_t r = 0; r < rows; ++r, dy += width, normal += width, dx += width) {
    for (std::int64_t i = 0; i < width; ++i) {
      g[i] = dy[i] * scale[i];
      dscale[i] += dy[i] * normal[i];
      dbias[i] += dy[i];
    }
    const float mean = Sum8(g, width) * inverse, slope = Dot8(g, normal, width) * inverse;
    for (std::int64_t i = 0; i < width; ++i) dx[i] += (g[i] - mean - normal[i] * slope) * rstd[r];
  }
}

void Attention::Forward(const float* q, const float* k, const float* v, float* p, float* out) const {
  (head_size == 16 ? ForwardHead<16> : ForwardHead<0>)(*this, q, k, v, p, out);
}

void Attention::Backward(const float* q, const float* k, const float* v, const float* p, const float* dout, float* dq,
                         float* dk, float* dv) const {
  (head_size == 16 ? BackwardHead<16> : BackwardHead<0>)(*this, q, k, v, p, dout, dq, dk, dv);
}

}  // namespace shardscout::agents::kernels
