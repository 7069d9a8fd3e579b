#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "shardscout/model_spec.h"

namespace shardscout::live {

using Matrix = Eigen::MatrixXd;
using RowVector = Eigen::RowVectorXd;

/// The matrices of one layer, [in, out], column order as TensorKind says. Only those that the layer has are set.
struct LayerWeights {
  Matrix qkv;                                       ///< Grouped; linear attention: [q | k | v | z].
  Matrix query, query_down, query_up, latent_down;  ///< MLA.
  Matrix key_up, value_up;                          ///< MLA: [kv_lora_rank, heads * (nope | v)].
  Matrix index_query, index_key;                    ///< Indexer.
  Matrix attn_out;                                  ///< [heads * v, hidden]
  Matrix linear_gates;                              ///< Linear attention: [hidden, 2 * value heads], [b | a].
  Matrix linear_conv;                               ///< Linear attention: [channels of q, k and v, conv_width].
  Matrix router;                                    ///< [hidden, experts]
  RowVector router_correction;                      ///< router_correction_bias: [experts]
  Matrix ffn_up, ffn_down, shared_up, shared_down;  ///< Gated: [gate | up].
  std::vector<Matrix> expert_up, expert_down;       ///< By expert.
  RowVector input_norm, post_norm;                  ///< Scales of the RMS norms before attention and FFN.
  RowVector query_head_norm, key_head_norm;         ///< qk_norm: [head_dim]
  RowVector whole_query_norm, whole_key_norm;       ///< whole_qk_norm: [heads * head_dim], [kv * head_dim]
  RowVector query_latent_norm, latent_norm;         ///< MLA.
  RowVector index_key_norm;                         ///< Indexer: [index_head_dim]
  RowVector qkv_bias;                               ///< As the columns of qkv.
  RowVector linear_a_log, linear_dt_bias;           ///< Linear attention: [value heads]
  RowVector linear_norm;                            ///< Linear attention: [value_head_dim]
};

struct ModelWeights {
  Matrix embedding;  ///< [vocab, hidden]
  Matrix lm_head;    ///< [hidden, vocab]; the embedding's transpose where the two are tied.
  RowVector final_norm;
  std::vector<LayerWeights> layers;
};

/// What the unsharded model computes for one request: a full causal forward over all positions at once, which is what
/// prefill and then decode steps with a KV cache must give.
struct ReferenceRequest {
  std::vector<std::int64_t> ids;  ///< [positions]
  Matrix logits;                  ///< [positions, vocab]
  std::vector<Matrix> cache;      ///< By layer: [positions, 2 * kv * d] (keys after the rotary embedding | values), MLA
                                  ///< [positions, kv_lora_rank + rope].
  std::vector<Matrix> index_cache;    ///< By layer: [positions, index_head_dim]; empty without an indexer.
  std::vector<Matrix> linear_inputs;  ///< By layer: [positions, channels], the convolution's inputs; empty but in
                                      ///< linear layers.
  /// By layer and position: of each value head the state before it, [key_head_dim, value_head_dim].
  std::vector<std::vector<std::vector<Matrix>>> linear_states;
};

inline constexpr double kNormEpsilon = 1e-6;
/// Of the rotary embedding, small so that a few positions already turn all pairs.
inline constexpr double kRotaryBase = 100;

/// So much better is the last expert chosen than the first one not chosen, far above what fp32 rounds off.
inline constexpr double kRoutingMargin = 1e-4;

/// Scaled row-wise: x / sqrt(mean(x^2) + epsilon) * scale.
Matrix RmsNorm(const Matrix& x, const RowVector& scale);
/// Rotates columns [first, first + size) of one row by its position: pairs (i, i + size/2).
void Rotate(Eigen::Ref<Matrix> block, std::int64_t position);
double Silu(double x);
double Sigmoid(double x);
double Gelu(double x);
/// The `k` experts with the largest scores, by falling score, with the softmax over these as weights. (The same as a
/// softmax over all scores whose top k are normalised to 1.) A `correction`, where it is not empty, is added for the
/// choice and not for the weights.
void TopExperts(const RowVector& scores, const RowVector& correction, std::int64_t k,
                std::vector<std::int64_t>* experts, std::vector<double>* weights);

/// `window` [conv_width, channels], the latest input last, by `weights` [channels, conv_width], then silu: [1,
/// channels].
RowVector ConvolveChannels(const Matrix& window, const Matrix& weights);
/// g of LinearAttentionSpec.
double DeltaDecay(double a, double a_log, double dt_bias);
/// One step of its recurrence in a value head, with `b` before its sigmoid and the decay g: updates the state
/// [key_head_dim, value_head_dim] and gives o.
RowVector DeltaStep(const RowVector& q, const RowVector& k, const RowVector& v, double b, double decay, Matrix* state);

/// The indexer's scores of `keys` [n, index_head_dim] for one query [1, index_heads * index_head_dim] with the weights
/// of its heads [1, index_heads]: sum over heads of weight * relu(query * key).
RowVector IndexScores(const RowVector& query, const RowVector& head_weights, const Matrix& keys);
/// The positions of the `k` largest scores, by falling score, the first of equal ones first; all where there are fewer.
std::vector<std::int64_t> TopPositions(const RowVector& scores, std::int64_t k);

/// A tiny transformer in double precision with seeded weights, unsharded. Attention is never absorbed: MLA keys and
/// values are up-projected for every position. Not thread safe. Requests are computed when first asked for; a request's
/// token ids are drawn again until, on every token and MoE layer, the last expert chosen beats the first one not chosen
/// by more than kRoutingMargin (in score), so that rounding never changes the routing; alike for the positions that an
/// indexer chooses. Not handled: biases but qkv's and the router's correction, sinks, norms of a block's output,
/// learned positions, the shared expert's gate; the index key's norm is an RMS norm.
class ReferenceModel {
 public:
  ReferenceModel(ModelSpec model, std::uint64_t seed, std::int64_t positions);

  const ModelSpec& model() const { return model_; }
  const ModelWeights& weights() const { return weights_; }
  std::int64_t positions() const { return positions_; }
  const ReferenceRequest& Request(std::int64_t request);

 private:
  /// Appends to the caches of `result`.
  Matrix Attend(std::size_t layer_index, const Matrix& x, ReferenceRequest* result, double* margin) const;
  Matrix AttendLinearly(std::size_t layer_index, const Matrix& x, ReferenceRequest* result) const;
  /// [positions, positions]: 1 where the indexer lets a query see a position.
  Matrix IndexMask(const LayerWeights& layer, const Matrix& x, const Matrix& query_latent, ReferenceRequest* result,
                   double* margin) const;
  Matrix Moe(const LayerWeights& layer, const Matrix& x, double* margin) const;
  ReferenceRequest Forward(std::vector<std::int64_t> ids, double* margin) const;

  ModelSpec model_;
  std::uint64_t seed_;
  std::int64_t positions_;
  ModelWeights weights_;
  std::map<std::int64_t, ReferenceRequest> requests_;
};

/// "" where live runs can execute a model, else what they cannot: what ReferenceModel does not handle, and more.
std::string WhyNotRunnable(const ModelSpec& model);

}  // namespace shardscout::live
