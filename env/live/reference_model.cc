#include "env/live/reference_model.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "shardscout/error.h"
#include "shardscout/random.h"

namespace shardscout::live {
namespace {

Matrix RandomMatrix(Rng& rng, std::int64_t rows, std::int64_t columns, double scale) {
  Matrix m(rows, columns);
  for (Eigen::Index j = 0; j < m.cols(); ++j) {
    for (Eigen::Index i = 0; i < m.rows(); ++i) m(i, j) = (2 * rng.Uniform() - 1) * std::sqrt(3.0) * scale;
  }
  return m;
}

/// A projection that keeps an input of size O(1) at O(1).
Matrix Projection(Rng& rng, std::int64_t in, std::int64_t out) {
  return RandomMatrix(rng, in, out, 1 / std::sqrt(static_cast<double>(in)));
}

RowVector RandomScale(Rng& rng, std::int64_t size) {
  RowVector v(size);
  for (double& x : v) x = 0.75 + 0.5 * rng.Uniform();
  return v;
}

void AddLinearAttention(const ModelSpec& model, Rng& rng, LayerWeights* w) {
  const LinearAttentionSpec& linear = model.linear_attention;
  const std::int64_t h = model.hidden_size, heads = linear.num_value_heads, channels = linear.ConvChannels();
  w->qkv = Projection(rng, h, channels + linear.ValueWidth());
  w->linear_gates = Projection(rng, h, 2 * heads);
  w->linear_conv = RandomMatrix(rng, channels, linear.conv_width, 0.7);
  // Decays of about 0.7.
  w->linear_a_log = RandomMatrix(rng, 1, heads, 0.3).array() - 1;
  w->linear_dt_bias = RandomMatrix(rng, 1, heads, 0.3);
  w->linear_norm = RandomScale(rng, linear.value_head_dim);
  w->attn_out = Projection(rng, linear.ValueWidth(), h);
}

LayerWeights RandomLayer(const ModelSpec& model, LayerKind kind, bool is_linear, Rng& rng) {
  const AttentionSpec& a = model.attention;
  const std::int64_t h = model.hidden_size;
  LayerWeights w;
  w.input_norm = RandomScale(rng, h);
  w.post_norm = RandomScale(rng, h);
  if (is_linear) {
    AddLinearAttention(model, rng, &w);
  } else if (a.kind == AttentionKind::kGrouped) {
    const std::int64_t width = ((a.output_gate ? 2 : 1) * a.num_heads + 2 * a.num_kv_heads) * a.head_dim;
    w.qkv = Projection(rng, h, width);
    w.qkv_bias = RandomMatrix(rng, 1, width, 0.3);
    w.query_head_norm = RandomScale(rng, a.head_dim);
    w.key_head_norm = RandomScale(rng, a.head_dim);
    w.whole_query_norm = RandomScale(rng, a.num_heads * a.head_dim);
    w.whole_key_norm = RandomScale(rng, a.num_kv_heads * a.head_dim);
    w.attn_out = Projection(rng, a.num_heads * a.head_dim, h);
  } else {
    const std::int64_t query_width = a.num_heads * (a.qk_nope_head_dim + a.qk_rope_head_dim);
    if (a.q_lora_rank > 0) {
      w.query_down = Projection(rng, h, a.q_lora_rank);
      w.query_up = Projection(rng, a.q_lora_rank, query_width);
      w.query_latent_norm = RandomScale(rng, a.q_lora_rank);
    } else {
      w.query = Projection(rng, h, query_width);
    }
    w.latent_down = Projection(rng, h, a.kv_lora_rank + a.qk_rope_head_dim);
    w.latent_norm = RandomScale(rng, a.kv_lora_rank);
    w.key_up = Projection(rng, a.kv_lora_rank, a.num_heads * a.qk_nope_head_dim);
    w.value_up = Projection(rng, a.kv_lora_rank, a.num_heads * a.v_head_dim);
    w.attn_out = Projection(rng, a.num_heads * a.v_head_dim, h);
    if (a.HasIndexer()) {
      w.index_query = Projection(rng, a.q_lora_rank, a.index_heads * a.index_head_dim);
      w.index_key = Projection(rng, h, a.index_head_dim + a.index_heads);
      w.index_key_norm = RandomScale(rng, a.index_head_dim);
    }
  }
  const std::int64_t halves = model.gated_ffn ? 2 : 1;
  if (kind == LayerKind::kDense) {
    w.ffn_up = Projection(rng, h, halves * model.ffn_size);
    w.ffn_down = Projection(rng, model.ffn_size, h);
    return w;
  }
  w.router = Projection(rng, h, model.moe.num_experts);
  if (model.moe.router_correction_bias) w.router_correction = RandomMatrix(rng, 1, model.moe.num_experts, 0.5);
  for (std::int64_t e = 0; e < model.moe.num_experts; ++e) {
    w.expert_up.push_back(Projection(rng, h, halves * model.moe.expert_ffn_size));
    w.expert_down.push_back(Projection(rng, model.moe.expert_ffn_size, h));
  }
  if (model.HasSharedExpert()) {
    w.shared_up = Projection(rng, h, halves * model.moe.shared_ffn_size);
    w.shared_down = Projection(rng, model.moe.shared_ffn_size, h);
  }
  return w;
}

Matrix Ffn(const ModelSpec& model, const Matrix& x, const Matrix& up, const Matrix& down) {
  const Matrix inner = x * up;
  if (!model.gated_ffn) return inner.unaryExpr(&Gelu) * down;
  const Eigen::Index n = inner.cols() / 2;
  return (inner.leftCols(n).unaryExpr(&Silu).array() * inner.rightCols(n).array()).matrix() * down;
}

}  // namespace

Matrix RmsNorm(const Matrix& x, const RowVector& scale) {
  const Eigen::VectorXd inverse =
      (x.rowwise().squaredNorm().array() / static_cast<double>(x.cols()) + kNormEpsilon).rsqrt();
  return inverse.asDiagonal() * x * scale.asDiagonal();
}

void Rotate(Eigen::Ref<Matrix> block, std::int64_t position) {
  const Eigen::Index half = block.cols() / 2;
  for (Eigen::Index i = 0; i < half; ++i) {
    const double angle =
        static_cast<double>(position) * std::pow(kRotaryBase, -static_cast<double>(i) / static_cast<double>(half));
    const double c = std::cos(angle), s = std::sin(angle);
    const double a = block(0, i), b = block(0, i + half);
    block(0, i) = a * c - b * s;
    block(0, i + half) = a * s + b * c;
  }
}

double Silu(double x) { return x * Sigmoid(x); }

double Sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

double Gelu(double x) { return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0))); }

void TopExperts(const RowVector& scores, const RowVector& correction, std::int64_t k,
                std::vector<std::int64_t>* experts, std::vector<double>* weights) {
  const RowVector choice = correction.size() > 0 ? RowVector(scores + correction) : scores;
  std::vector<std::int64_t> order(static_cast<std::size_t>(scores.size()));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) { return choice(a) > choice(b); });
  order.resize(static_cast<std::size_t>(k));
  weights->clear();
  const double largest = scores.maxCoeff();
  double sum = 0;
  for (std::int64_t e : order) sum += std::exp(scores(e) - largest);
  for (std::int64_t e : order) weights->push_back(std::exp(scores(e) - largest) / sum);
  *experts = std::move(order);
}

RowVector ConvolveChannels(const Matrix& window, const Matrix& weights) {
  return window.cwiseProduct(weights.transpose()).colwise().sum().unaryExpr(&Silu);
}

double DeltaDecay(double a, double a_log, double dt_bias) {
  return std::exp(-std::exp(a_log) * std::log1p(std::exp(a + dt_bias)));
}

RowVector DeltaStep(const RowVector& q, const RowVector& k, const RowVector& v, double b, double decay, Matrix* state) {
  const auto unit = [](const RowVector& x) -> RowVector { return x / std::sqrt(x.squaredNorm() + kNormEpsilon); };
  const RowVector key = unit(k);
  *state *= decay;
  const RowVector update = Sigmoid(b) * (v - key * *state);
  *state += key.transpose() * update;
  return unit(q) * *state / std::sqrt(static_cast<double>(q.size()));
}

RowVector IndexScores(const RowVector& query, const RowVector& head_weights, const Matrix& keys) {
  const Eigen::Index dim = keys.cols();
  RowVector scores = RowVector::Zero(keys.rows());
  for (Eigen::Index head = 0; head < head_weights.size(); ++head) {
    const RowVector products = query.segment(head * dim, dim) * keys.transpose();
    scores += head_weights(head) * products.cwiseMax(0.0);
  }
  return scores;
}

std::vector<std::int64_t> TopPositions(const RowVector& scores, std::int64_t k) {
  std::vector<std::int64_t> order(static_cast<std::size_t>(scores.size()));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) { return scores(a) > scores(b); });
  order.resize(std::min(order.size(), static_cast<std::size_t>(k)));
  return order;
}

ReferenceModel::ReferenceModel(ModelSpec model, std::uint64_t seed, std::int64_t positions)
    : model_(std::move(model)), seed_(seed), positions_(positions) {
  SHARDSCOUT_CHECK(!model_.attention.output_bias && !model_.ffn_bias);
  SHARDSCOUT_CHECK(!model_.moe.shared_expert_gate);
  SHARDSCOUT_CHECK(!model_.moe.router_bias && !model_.moe.expert_bias && !model_.attention.sinks);
  SHARDSCOUT_CHECK(!model_.norm_bias && model_.norms_per_layer == 2);
  SHARDSCOUT_CHECK(model_.learned_positions == 0);
  Rng rng = Rng::Stream(seed, "reference-weights");
  weights_.embedding = RandomMatrix(rng, model_.vocab_size, model_.hidden_size, 1.0);
  if (model_.tie_word_embeddings) {
    weights_.lm_head = weights_.embedding.transpose();
  } else {
    weights_.lm_head = Projection(rng, model_.hidden_size, model_.vocab_size);
  }
  weights_.final_norm = RandomScale(rng, model_.hidden_size);
  for (std::size_t l = 0; l < model_.layers.size(); ++l) {
    const bool is_linear = model_.IsLinear(static_cast<std::int64_t>(l));
    weights_.layers.push_back(RandomLayer(model_, model_.layers[l], is_linear, rng));
  }
}

const ReferenceRequest& ReferenceModel::Request(std::int64_t request) {
  auto found = requests_.find(request);
  if (found != requests_.end()) return found->second;
  Rng rng = Rng::Stream(seed_ * 1000003u + static_cast<std::uint64_t>(request), "reference-ids");
  for (int attempt = 0; attempt < 200; ++attempt) {
    std::vector<std::int64_t> ids(static_cast<std::size_t>(positions_));
    for (std::int64_t& id : ids) {
      id = static_cast<std::int64_t>(rng.Below(static_cast<std::size_t>(model_.vocab_size)));
    }
    double margin = std::numeric_limits<double>::infinity();
    ReferenceRequest result = Forward(std::move(ids), &margin);
    if (margin > kRoutingMargin) return requests_.emplace(request, std::move(result)).first->second;
  }
  throw std::runtime_error("no token ids with clear routing found");
}

Matrix ReferenceModel::IndexMask(const LayerWeights& layer, const Matrix& x, const Matrix& query_latent,
                                 ReferenceRequest* result, double* margin) const {
  const AttentionSpec& a = model_.attention;
  const Eigen::Index n = x.rows();
  Matrix query = query_latent * layer.index_query;
  Matrix key = x * layer.index_key;
  key.leftCols(a.index_head_dim) = RmsNorm(key.leftCols(a.index_head_dim), layer.index_key_norm).eval();
  for (Eigen::Index p = 0; p < n; ++p) {
    Rotate(key.block(p, 0, 1, a.qk_rope_head_dim), p);
    for (Eigen::Index head = 0; head < a.index_heads; ++head) {
      Rotate(query.block(p, head * a.index_head_dim, 1, a.qk_rope_head_dim), p);
    }
  }
  result->index_cache.push_back(key.leftCols(a.index_head_dim));
  Matrix mask = Matrix::Zero(n, n);
  for (Eigen::Index i = 0; i < n; ++i) {
    const RowVector scores =
        IndexScores(query.row(i), key.row(i).tail(a.index_heads), key.topLeftCorner(i + 1, a.index_head_dim));
    const std::vector<std::int64_t> chosen = TopPositions(scores, a.index_topk);
    for (std::int64_t j : chosen) mask(i, j) = 1;
    for (Eigen::Index j = 0; j <= i; ++j) {
      const double least = scores(chosen.back());
      // Equal scores are zeros (no head's product is positive) and stay so.
      if (mask(i, j) == 0 && least != scores(j)) *margin = std::min(*margin, least - scores(j));
    }
  }
  return mask;
}

Matrix ReferenceModel::AttendLinearly(std::size_t layer_index, const Matrix& x, ReferenceRequest* result) const {
  const LayerWeights& layer = weights_.layers[layer_index];
  const LinearAttentionSpec& linear = model_.linear_attention;
  const Eigen::Index n = x.rows(), dk = linear.key_head_dim, dv = linear.value_head_dim;
  const Eigen::Index heads = linear.num_value_heads, keys = linear.num_key_heads * dk, channels = linear.ConvChannels();
  const Matrix projected = x * layer.qkv;
  const Matrix gates = x * layer.linear_gates;
  Matrix padded = Matrix::Zero(n + linear.conv_width - 1, channels);
  padded.bottomRows(n) = projected.leftCols(channels);
  std::vector<Matrix> states(static_cast<std::size_t>(heads), Matrix::Zero(dk, dv));
  std::vector<std::vector<Matrix>>& before = result->linear_states[layer_index];
  Matrix attended(n, heads * dv);
  for (Eigen::Index p = 0; p < n; ++p) {
    before.push_back(states);
    const RowVector mixed = ConvolveChannels(padded.middleRows(p, linear.conv_width), layer.linear_conv);
    for (Eigen::Index head = 0; head < heads; ++head) {
      const Eigen::Index key_head = head / (heads / linear.num_key_heads);
      const double decay = DeltaDecay(gates(p, heads + head), layer.linear_a_log(head), layer.linear_dt_bias(head));
      const RowVector o = DeltaStep(mixed.segment(key_head * dk, dk), mixed.segment(keys + key_head * dk, dk),
                                    mixed.segment(2 * keys + head * dv, dv), gates(p, head), decay,
                                    &states[static_cast<std::size_t>(head)]);
      const RowVector z = projected.row(p).segment(channels + head * dv, dv);
      attended.row(p).segment(head * dv, dv) = RmsNorm(o, layer.linear_norm).cwiseProduct(z.unaryExpr(&Silu));
    }
  }
  result->linear_inputs[layer_index] = projected.leftCols(channels);
  return attended * layer.attn_out;
}

Matrix ReferenceModel::Attend(std::size_t layer_index, const Matrix& x, ReferenceRequest* result,
                              double* margin) const {
  const LayerWeights& layer = weights_.layers[layer_index];
  const std::int64_t window = model_.WindowOf(static_cast<std::int64_t>(layer_index));
  const AttentionSpec& a = model_.attention;
  Matrix index_mask;
  const Eigen::Index n = x.rows();
  const bool grouped = a.kind == AttentionKind::kGrouped;
  const Eigen::Index heads = a.num_heads;
  const Eigen::Index dim = a.QkHeadDim(), v_dim = a.VHeadDim();
  std::vector<Matrix> q, k, v;  // By query head: [positions, dim].
  Matrix gate;                  // Of the output.
  if (grouped) {
    Matrix qkv = x * layer.qkv;
    if (a.qkv_bias) qkv.rowwise() += layer.qkv_bias;
    if (a.whole_qk_norm) {
      auto query = qkv.leftCols(heads * dim);
      query = RmsNorm(query, layer.whole_query_norm).eval();
      auto key = qkv.middleCols(heads * dim, a.num_kv_heads * dim);
      key = RmsNorm(key, layer.whole_key_norm).eval();
    }
    const Eigen::Index normed_heads = heads + a.num_kv_heads;
    for (Eigen::Index head = 0; head < normed_heads; ++head) {
      auto block = qkv.middleCols(head * dim, dim);
      if (a.qk_norm) block = RmsNorm(block, head < heads ? layer.query_head_norm : layer.key_head_norm).eval();
      for (Eigen::Index p = 0; p < n; ++p) Rotate(qkv.block(p, head * dim, 1, dim), p);
    }
    result->cache[layer_index] = qkv.middleCols(heads * dim, 2 * a.num_kv_heads * dim);
    if (a.output_gate) gate = qkv.rightCols(heads * dim);
    for (Eigen::Index head = 0; head < heads; ++head) {
      const Eigen::Index kv = head / (heads / a.num_kv_heads);
      q.push_back(qkv.middleCols(head * dim, dim));
      k.push_back(qkv.middleCols((heads + kv) * dim, dim));
      v.push_back(qkv.middleCols((heads + a.num_kv_heads + kv) * dim, dim));
    }
  } else {
    const Eigen::Index nope = a.qk_nope_head_dim, rope = a.qk_rope_head_dim, rank = a.kv_lora_rank;
    const Matrix query_latent = a.q_lora_rank > 0 ? RmsNorm(x * layer.query_down, layer.query_latent_norm) : Matrix();
    if (a.HasIndexer()) index_mask = IndexMask(layer, x, query_latent, result, margin);
    Matrix query = a.q_lora_rank > 0 ? Matrix(query_latent * layer.query_up) : Matrix(x * layer.query);
    Matrix latent = x * layer.latent_down;
    latent.leftCols(rank) = RmsNorm(latent.leftCols(rank), layer.latent_norm).eval();
    for (Eigen::Index p = 0; p < n; ++p) {
      Rotate(latent.block(p, rank, 1, rope), p);
      for (Eigen::Index head = 0; head < heads; ++head) Rotate(query.block(p, head * dim + nope, 1, rope), p);
    }
    result->cache[layer_index] = latent;
    const Matrix keys = latent.leftCols(rank) * layer.key_up;
    const Matrix values = latent.leftCols(rank) * layer.value_up;
    for (Eigen::Index head = 0; head < heads; ++head) {
      q.push_back(query.middleCols(head * dim, dim));
      Matrix key(n, dim);
      key << keys.middleCols(head * nope, nope), latent.rightCols(rope);
      k.push_back(std::move(key));
      v.push_back(values.middleCols(head * v_dim, v_dim));
    }
  }
  Matrix attended(n, heads * v_dim);
  for (Eigen::Index head = 0; head < heads; ++head) {
    const auto index = static_cast<std::size_t>(head);
    Matrix scores = q[index] * k[index].transpose() / std::sqrt(static_cast<double>(dim));
    for (Eigen::Index i = 0; i < n; ++i) {
      for (Eigen::Index j = 0; j < n; ++j) {
        if (j > i || (window > 0 && i - j >= window) || (a.HasIndexer() && index_mask(i, j) == 0)) {
          scores(i, j) = -std::numeric_limits<double>::infinity();
        }
      }
      scores.row(i) = (scores.row(i).array() - scores.row(i).maxCoeff()).exp();
      scores.row(i) /= scores.row(i).sum();
    }
    attended.middleCols(head * v_dim, v_dim) = scores * v[index];
  }
  if (a.output_gate) attended = attended.cwiseProduct(gate.unaryExpr(&Sigmoid)).eval();
  return attended * layer.attn_out;
}

Matrix ReferenceModel::Moe(const LayerWeights& layer, const Matrix& x, double* margin) const {
  const MoeSpec& moe = model_.moe;
  const Matrix scores = x * layer.router;
  Matrix out = Matrix::Zero(x.rows(), x.cols());
  std::vector<std::int64_t> experts;
  std::vector<double> weights;
  for (Eigen::Index i = 0; i < x.rows(); ++i) {
    const RowVector row = scores.row(i);
    TopExperts(row, layer.router_correction, moe.num_experts_per_token, &experts, &weights);
    const RowVector choice = moe.router_correction_bias ? RowVector(row + layer.router_correction) : row;
    for (std::int64_t e = 0; e < moe.num_experts; ++e) {
      if (std::find(experts.begin(), experts.end(), e) == experts.end()) {
        *margin = std::min(*margin, choice(experts.back()) - choice(e));
      }
    }
    for (std::size_t j = 0; j < experts.size(); ++j) {
      const auto e = static_cast<std::size_t>(experts[j]);
      out.row(i) += weights[j] * Ffn(model_, x.row(i), layer.expert_up[e], layer.expert_down[e]);
    }
  }
  if (model_.HasSharedExpert()) out += Ffn(model_, x, layer.shared_up, layer.shared_down);
  return out;
}

ReferenceRequest ReferenceModel::Forward(std::vector<std::int64_t> ids, double* margin) const {
  Matrix x(static_cast<Eigen::Index>(ids.size()), model_.hidden_size);
  for (std::size_t p = 0; p < ids.size(); ++p) {
    x.row(static_cast<Eigen::Index>(p)) = weights_.embedding.row(ids[p]);
  }
  ReferenceRequest result;
  result.cache.resize(weights_.layers.size());
  result.linear_inputs.resize(weights_.layers.size());
  result.linear_states.resize(weights_.layers.size());
  for (std::size_t l = 0; l < weights_.layers.size(); ++l) {
    const LayerWeights& layer = weights_.layers[l];
    const Matrix input = RmsNorm(x, layer.input_norm);
    x += model_.IsLinear(static_cast<std::int64_t>(l)) ? AttendLinearly(l, input, &result)
                                                       : Attend(l, input, &result, margin);
    const Matrix normed = RmsNorm(x, layer.post_norm);
    x += model_.layers[l] == LayerKind::kDense ? Ffn(model_, normed, layer.ffn_up, layer.ffn_down)
                                               : Moe(layer, normed, margin);
  }
  result.logits = RmsNorm(x, weights_.final_norm) * weights_.lm_head;
  result.ids = std::move(ids);
  return result;
}

std::string WhyNotRunnable(const ModelSpec& model) {
  if (model.HasLinearAttention()) return "linear attention";
  if (model.attention.output_bias || model.attention.sinks) return "biases of attention's output or sinks";
  if (model.ffn_bias || model.norm_bias || model.norms_per_layer != 2) return "biases or norms beyond the usual two";
  if (model.moe.shared_expert_gate || model.moe.router_bias || model.moe.expert_bias)
    return "gates or biases of experts";
  if (model.learned_positions != 0) return "learned positions";
  return "";
}

}  // namespace shardscout::live
