#pragma once

#include <cstdint>

namespace shardscout::agents::kernels {

// The loops of a transformer decoder that are not matrix products, forward and backward, on row-major float arrays.
// Free of torch. Sums run in a fixed order, so results do not depend on the compiler's vector width.

/// e^x for x <= 0, relative error below 3e-7; a polynomial that compilers vectorise.
float ExpNonPositive(float x);

/// out[i] = x . table[rows[i]]. x: [width]; table: [.., width]; rows, out: [n]. width is a multiple of 8.
void DotTable(const float* x, const float* table, std::int64_t width, const std::int32_t* rows, std::int64_t n,
              float* out);

/// Adds the gradients to dx and dtable.
void DotTableBackward(const float* dout, const float* x, const float* table, std::int64_t width,
                      const std::int32_t* rows, std::int64_t n, float* dx, float* dtable);

/// Log-probabilities in place of logits; returns the entropy, nats. x: [n], n >= 1.
float LogSoftmax(float* x, std::int64_t n);

/// From the log-probabilities to the gradient of the logits, given those of logp[chosen] and of the entropy:
///
///   dx[c] = dlogprob * ([c = chosen] - p_c) - dentropy * p_c (log p_c + entropy).
void LogSoftmaxBackward(const float* logp, std::int64_t n, float entropy, std::int64_t chosen, float dlogprob,
                        float dentropy, float* dx);

/// y = (x - mean) / sqrt(variance + 1e-5) * scale + bias for each row. width is a multiple of 8. rstd: [rows], for the
/// backward. x, y: [rows, width]; normal: (x - mean) * rstd, for the backward.
void LayerNorm(const float* x, const float* scale, const float* bias, std::int64_t rows, std::int64_t width, float* y,
               float* normal, float* rstd);

/// Adds the gradients to dx, dscale and dbias.
void LayerNormBackward(const float* dy, const float* normal, const float* rstd, const float* scale, std::int64_t rows,
                       std::int64_t width, float* dx, float* dscale, float* dbias);

/// Queries of one head against keys and values of that head:
///
///   p[t] = softmax over s < visible(t) of q[t] . k[s] / sqrt(head_size),     out[t] = sum over s of p[t][s] v[s],
///
/// visible(t) = t + 1 where causal, else num_keys. Strides are between rows, in floats.
struct Attention {
  std::int64_t num_queries = 0, num_keys = 0, head_size = 0;  ///< head_size: a multiple of 4, at most 1024.
  bool causal = false;
  std::int64_t q_stride = 0, kv_stride = 0, out_stride = 0;
  float* scratch = nullptr;  ///< [ScratchSize(num_keys, head_size)]

  static std::int64_t ScratchSize(std::int64_t num_keys, std::int64_t head_size);

  /// p: [num_queries, num_keys], zero above the diagonal where causal. out is overwritten.
  void Forward(const float* q, const float* k, const float* v, float* p, float* out) const;
  /// Adds to dk and dv (which lie like k and v); overwrites dq (like q). dout lies like out.
  void Backward(const float* q, const float* k, const float* v, const float* p, const float* dout, float* dq, float* dk,
                float* dv) const;
};

}  // namespace shardscout::agents::kernels
