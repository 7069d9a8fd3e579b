#include "agents/decoder_kernels.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstring>

namespace shardscout::agents::kernels {
namespace {

// Vectors of GCC and clang, spelled out because neither vectorises these loops by itself at the baseline of x86-64 (a
// maximum is a branch to them). Four lanes everywhere, so that results do not depend on the processor.
using Float4 = float __attribute__((vector_size(16)));
using Int4 = std::int32_t __attribute__((vector_size(16)));

constexpr std::int64_t kLanes = 8;  // Two vectors.
constexpr std::int64_t kMaxHead = 1024;

constexpr std::int64_t Padded(std::int64_t n) { return (n + kLanes - 1) / kLanes * kLanes; }

inline Float4 Load(const float* from) {
  Float4 x;
  std::memcpy(&x, from, sizeof(x));
  return x;
}
inline void Store(float* to, Float4 x) { std::memcpy(to, &x, sizeof(x)); }

inline Float4 Exp(Float4 x) {
  const Float4 lowest = {-87.0F, -87.0F, -87.0F, -87.0F};
  x = x < lowest ? lowest : x;
  // x = n log 2 + r with n whole (adding and taking away 1.5 * 2^23 rounds) and log 2 in two parts (Cephes); |r| <= log
  // 2 / 2.
  const Float4 n = (x * 1.44269504F + 12582912.0F) - 12582912.0F;
  const Float4 r = (x - n * 0.693359375F) + n * 2.12194440e-4F;
  Float4 p = r * 1.9875691500e-4F + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  p = p * r * r + r + 1.0F;
  return p * std::bit_cast<Float4>((__builtin_convertvector(n, Int4) + 127) << 23);
}

inline float Sum(Float4 x) { return (x[0] + x[2]) + (x[1] + x[3]); }

/// Sum over i of x[i] * y[i]. n is a multiple of 8.
inline float Dot8(const float* x, const float* y, std::int64_t n) {
  Float4 low = {}, high = {};
  for (std::int64_t i = 0; i < n; i += kLanes) {
    low += Load(x + i) * Load(y + i);
    high += Load(x + i + 4) * Load(y + i + 4);
  }
  return Sum(low + high);
}

/// The largest of x. n >= 1.
inline float Top(const float* x, std::int64_t n) {
  float top = x[0];
  std::int64_t i = 0;
  if (n >= 4) {
    Float4 tops = Load(x);
    for (i = 4; i + 4 <= n; i += 4) {
      const Float4 next = Load(x + i);
      tops = tops < next ? next : tops;
    }
    top = std::max(std::max(tops[0], tops[1]), std::max(tops[2], tops[3]));
  }
  for (; i < n; ++i) top = std::max(top, x[i]);
  return top;
}

inline float Sum8(const float* x, std::int64_t n) {
  Float4 low = {}, high = {};
  for (std::int64_t i = 0; i < n; i += kLanes) {
    low += Load(x + i);
    high += Load(x + i + 4);
  }
  return Sum(low + high);
}

/// Softmax of the first n of x; what follows up to the next multiple of kLanes becomes 0.
inline void Softmax(float* x, std::int64_t n) {
  const std::int64_t padded = Padded(n);
  const float top = Top(x, n);
  for (std::int64_t s = n; s < padded; ++s) x[s] = top;
  for (std::int64_t s = 0; s < padded; s += 4) Store(x + s, Exp(Load(x + s) - top));
  for (std::int64_t s = n; s < padded; ++s) x[s] = 0;
  const float factor = 1 / Sum8(x, padded);
  for (std::int64_t s = 0; s < n; ++s) x[s] *= factor;
}

/// Keys or values by dimension, to[d * padded + s] = from[s * stride + d], zero where s >= count, padded =
/// Padded(count).
void Transpose(const float* from, std::int64_t stride, std::int64_t count, std::int64_t head_size, float* to) {
  const std::int64_t padded = Padded(count), whole = count / 4 * 4;
  for (std::int64_t s = 0; s < whole; s += 4) {
    const float* rows = from + s * stride;
    for (std::int64_t d = 0; d < head_size; d += 4) {
      const Float4 a = Load(rows + d), b = Load(rows + stride + d), c = Load(rows + 2 * stride + d),
                   e = Load(rows + 3 * stride + d);
      const Float4 ab_low = __builtin_shufflevector(a, b, 0, 4, 1, 5),
                   ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
      const Float4 ce_low = __builtin_shufflevector(c, e, 0, 4, 1, 5),
                   ce_high = __builtin_shufflevector(c, e, 2, 6, 3, 7);
      Store(to + d * padded + s, __builtin_shufflevector(ab_low, ce_low, 0, 1, 4, 5));
      Store(to + (d + 1) * padded + s, __builtin_shufflevector(ab_low, ce_low, 2, 3, 6, 7));
      Store(to + (d + 2) * padded + s, __builtin_shufflevector(ab_high, ce_high, 0, 1, 4, 5));
      Store(to + (d + 3) * padded + s, __builtin_shufflevector(ab_high, ce_high, 2, 3, 6, 7));
    }
  }
  for (std::int64_t d = 0; d < head_size; ++d) {
    for (std::int64_t s = whole; s < count; ++s) to[d * padded + s] = from[s * stride + d];
    for (std::int64_t s = count; s < padded; ++s) to[d * padded + s] = 0;
  }
}

/// out[s] = sum over d of x[d] * rows[s][d] for s < n and on to the next multiple of kLanes; `by_dimension` as from
/// Transpose.
inline void DotRows(const float* x, const float* by_dimension, std::int64_t head_size, std::int64_t padded,
                    std::int64_t n, float* out) {
  for (std::int64_t s = 0; s < n; s += kLanes) {
    Float4 low = {}, high = {};
    for (std::int64_t d = 0; d < head_size; ++d) {
      low += x[d] * Load(by_dimension + d * padded + s);
      high += x[d] * Load(by_dimension + d * padded + s + 4);
    }
    Store(out + s, low);
    Store(out + s + 4, high);
  }
}

inline void AddTo(float* to, float factor, Float4 x) { Store(to, Load(to) + factor * x); }

/// kVectors: vectors in a head where that is a usual number, so that the innermost loops are unrolled and sums stay in
/// registers, else 0.
template <int kVectors>
void ForwardHead(const Attention& a, const float* q, const float* k, const float* v, float* p, float* out) {
  const std::int64_t vectors = kVectors > 0 ? kVectors : a.head_size / 4, head_size = 4 * vectors;
  const std::int64_t padded = Padded(a.num_keys);
  const float scale = 1.0F / std::sqrt(static_cast<float>(head_size));
  float* scores = a.scratch + head_size * padded;
  Transpose(k, a.kv_stride, a.num_keys, head_size, a.scratch);
  for (std::int64_t t = 0; t < a.num_queries; ++t, q += a.q_stride, p += a.num_keys, out += a.out_stride) {
    const std::int64_t visible = a.causal ? t + 1 : a.num_keys;
    DotRows(q, a.scratch, head_size, padded, visible, scores);
    for (std::int64_t s = 0; s < visible; ++s) scores[s] *= scale;
    Softmax(scores, visible);
    std::copy(scores, scores + visible, p);
    std::fill(p + visible, p + a.num_keys, 0.0F);
    Float4 sum[static_cast<std::size_t>(kVectors > 0 ? kVectors : kMaxHead / 4)];
    for (std::int64_t i = 0; i < vectors; ++i) sum[i] = Float4{};
    for (std::int64_t s = 0; s < visible; ++s) {
      for (std::int64_t i = 0; i < vectors; ++i) sum[i] += scores[s] * Load(v + s * a.kv_stride + 4 * i);
    }
    for (std::int64_t i = 0; i < vectors; ++i) Store(out + 4 * i, sum[i]);
  }
}

template <int kVectors>
void BackwardHead(const Attention& a, const float* q, const float* k, const float* v, const float* p, const float* dout,
                  float* dq, float* dk, float* dv) {
  const std::int64_t vectors = kVectors > 0 ? kVectors : a.head_size / 4, head_size = 4 * vectors;
  const std::int64_t padded = Padded(a.num_keys);
  const float scale = 1.0F / std::sqrt(static_cast<float>(head_size));
  float* ds = a.scratch + head_size * padded;
  Transpose(v, a.kv_stride, a.num_keys, head_size, a.scratch);
  for (std::int64_t t = 0; t < a.num_queries;
       ++t, q += a.q_stride, dq += a.q_stride, p += a.num_keys, dout += a.out_stride) {
    const std::int64_t visible = a.causal ? t + 1 : a.num_keys;
    DotRows(dout, a.scratch, head_size, padded, visible, ds);
    float mean = 0;
    for (std::int64_t s = 0; s < visible; ++s) mean += p[s] * ds[s];
    Float4 sum[static_cast<std::size_t>(kVectors > 0 ? kVectors : kMaxHead / 4)];
    for (std::int64_t i = 0; i < vectors; ++i) sum[i] = Float4{};
    for (std::int64_t s = 0; s < visible; ++s) {
      const float weight = p[s] * (ds[s] - mean) * scale, share = p[s];
      const std::int64_t row = s * a.kv_stride;
      for (std::int64_t i = 0; i < vectors; ++i) sum[i] += weight * Load(k + row + 4 * i);
      for (std::int64_t i = 0; i < vectors; ++i) AddTo(dk + row + 4 * i, weight, Load(q + 4 * i));
      for (std::int64_t i = 0; i < vectors; ++i) AddTo(dv + row + 4 * i, share, Load(dout + 4 * i));
    }
    for (std::int64_t i = 0; i < vectors; ++i) Store(dq + 4 * i, sum[i]);
  }
}

}  // namespace

std::int64_t Attention::ScratchSize(std::int64_t num_keys, std::int64_t head_size) {
  return (head_size + 1) * Padded(num_keys);
}

float ExpNonPositive(float x) { return Exp(Float4{x, x, x, x})[0]; }

void DotTable(const float* x, const float* table, std::int64_t width, const std::int32_t* rows, std::int64_t n,
              float* out) {
  for (std::int64_t i = 0; i < n; ++i) out[i] = Dot8(x, table + rows[i] * width, width);
}

void DotTableBackward(const float* dout, const float* x, const float* table, std::int64_t width,
                      const std::int32_t* rows, std::int64_t n, float* dx, float* dtable) {
  for (std::int64_t i = 0; i < n; ++i) {
    const float* row = table + rows[i] * width;
    float* drow = dtable + rows[i] * width;
    for (std::int64_t j = 0; j < width; j += 4) {
      AddTo(dx + j, dout[i], Load(row + j));
      AddTo(drow + j, dout[i], Load(x + j));
    }
  }
}

float LogSoftmax(float* x, std::int64_t n) {
  const float top = Top(x, n);
  double total = 0, weighted = 0;  // Sums of e^z and z e^z for z = x - top.
  const auto add = [&](Float4 z, std::int64_t lanes) {
    const Float4 e = Exp(z);
    for (std::int64_t l = 0; l < lanes; ++l) {
      total += static_cast<double>(e[l]);
      weighted += static_cast<double>(e[l] * z[l]);
    }
  };
  std::int64_t i = 0;
  for (; i + 4 <= n; i += 4) add(Load(x + i) - top, 4);
  Float4 rest = {};
  for (std::int64_t l = 0; l < n - i; ++l) rest[l] = x[i + l] - top;
  add(rest, n - i);
  const double log_total = std::log(total);
  const float shift = top + static_cast<float>(log_total);
  for (i = 0; i < n; ++i) x[i] -= shift;
  return static_cast<float>(log_total - weighted / total);
}

void LogSoftmaxBackward(const float* logp, std::int64_t n, float entropy, std::int64_t chosen, float dlogprob,
                        float dentropy, float* dx) {
  const auto slope = [&](Float4 z) { return -Exp(z) * (dlogprob + dentropy * (z + entropy)); };
  std::int64_t i = 0;
  for (; i + 4 <= n; i += 4) Store(dx + i, slope(Load(logp + i)));
  Float4 rest = {};
  for (std::int64_t l = 0; l < n - i; ++l) rest[l] = logp[i + l];
  rest = slope(rest);
  for (std::int64_t l = 0; l < n - i; ++l) dx[i + l] = rest[l];
  dx[chosen] += dlogprob;
}

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
  (head_size == 16 ? ForwardHead<4> : head_size == 8 ? ForwardHead<2> : ForwardHead<0>)(*this, q, k, v, p, out);
}

void Attention::Backward(const float* q, const float* k, const float* v, const float* p, const float* dout, float* dq,
                         float* dk, float* dv) const {
  (head_size == 16  ? BackwardHead<4>
   : head_size == 8 ? BackwardHead<2>
                    : BackwardHead<0>)(*this, q, k, v, p, dout, dq, dk, dv);
}

}  // namespace shardscout::agents::kernels
