#pragma once

#include <cstdint>
#include <vector>

#include "agents/torch_prelude.h"

namespace shardscout::agents {

/// The layers of a transformer decoder (pre-norm) and its final norm, with gradient:
///
///     x = x + CausalSelfAttention(Norm(x)) Wo
///     x = x + CrossAttention(Norm(x) Wq, memory Wkv) Wc
///     x = x + ReLU(Norm(x) Wu + bu) Wd + bd
///
/// One node of the autograd graph with its backward written by hand (loops in decoder_kernels.h, matrix products by
/// torch). The matrices of such a policy are so small that torch's cost for each of some 300 operations, and its loops
/// over the little matrices of batched products, were most of the time: together with the action head (action_head.h)
/// this brought a pass forward and backward over 16 sequences of 21 steps from 18 to 11 ms on a busy core. A test holds
/// it against the same layers made of torch's operations.
///
/// All weights are one vector, `weights`; the order is that of Offsets.
class DecoderStack {
 public:
  struct Shape {
    std::int64_t width = 64;  ///< A multiple of 8 and of 4 * num_heads, at most 1024.
    std::int64_t num_heads = 4;
    std::int64_t ffn_width = 128;
    std::int64_t num_layers = 2;
  };
  /// First elements of one layer's parts in the vector of weights. Matrices are [in, out], row-major.
  struct Offsets {
    std::int64_t self_norm, qkv, self_out, cross_norm, query, memory_kv, cross_out, ffn_norm, up, up_bias, down,
        down_bias;
  };

  explicit DecoderStack(const Shape& shape);

  const Shape& shape() const { return shape_; }
  std::int64_t NumWeights() const { return num_weights_; }
  const std::vector<Offsets>& layers() const { return layers_; }
  /// Scale, then bias, [width] each; so are all norms.
  std::int64_t final_norm() const { return final_norm_; }

  /// x: [num_sequences, length, width]; memory: [num_tokens, width], the same for all sequences; weights:
  /// [NumWeights()]. Returns [num_sequences, length, width].
  at::Tensor Forward(const at::Tensor& x, const at::Tensor& memory, const at::Tensor& weights) const;

  /// Decoding step by step: what was seen of each sequence, and the memory's keys and values, for each layer.
  struct Cache {
    std::vector<at::Tensor> self;    ///< [num_sequences, length, 2 * width]
    std::vector<at::Tensor> memory;  ///< [num_tokens, 2 * width]
    std::int64_t position = 0;
  };
  Cache MakeCache(std::int64_t num_sequences, std::int64_t length, const at::Tensor& memory,
                  const at::Tensor& weights) const;
  /// The row of Forward's result at cache.position, which then moves on by one. x: [num_sequences, width]. No gradient.
  at::Tensor Step(const at::Tensor& x, const at::Tensor& weights, Cache& cache) const;

 private:
  Shape shape_;
  std::int64_t num_weights_ = 0;
  std::vector<Offsets> layers_;
  std::int64_t final_norm_ = 0;
};

}  // namespace shardscout::agents
