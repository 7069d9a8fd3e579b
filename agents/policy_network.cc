#include "agents/policy_network.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "agents/causal_attention.h"
#include "shardscout/error.h"

namespace shardscout::agents {
namespace {

using std::int64_t;

constexpr int kRewardFeatures = 5;

double Uniform(Rng& rng, double deviation) { return (2 * rng.Uniform() - 1) * std::sqrt(3.0) * deviation; }

at::Tensor Indices(std::span<const int> values) {
  at::Tensor out = at::empty({static_cast<int64_t>(values.size())}, at::kLong);
  std::copy(values.begin(), values.end(), out.data_ptr<int64_t>());
  return out;
}

}  // namespace

PolicyNetwork::PolicyNetwork(const std::vector<SubAction>& sub_actions, const PolicySize& size, Rng& rng)
    : sub_actions_(sub_actions), size_(size) {
  SHARDSCOUT_CHECK(!sub_actions.empty());
  SHARDSCOUT_CHECK_OP(size.width % size.num_heads, ==, 0);
  int64_t rows = 0;
  for (int a = 0; a < NumSubActions(); ++a) {
    const int num_choices = static_cast<int>(sub_actions_[static_cast<std::size_t>(a)].NumChoices());
    offsets_.push_back(rows);
    rows += num_choices;
    std::vector<int>& group = num_choices <= kSmall ? small_ : large_;
    slot_.push_back(static_cast<int>(group.size()));
    group.push_back(a);
    if (num_choices <= kSmall) small_width_ = std::max<int64_t>(small_width_, num_choices);
  }
  offset_row_ = at::tensor(offsets_, at::kLong);
  small_index_ = Indices(small_);
  small_rows_ = at::zeros({static_cast<int64_t>(small_.size()), small_width_}, at::kLong);
  std::vector<int> order;  // Row a: where sub-action a is found among the small ones followed by the large ones.
  for (int a = 0; a < NumSubActions(); ++a) {
    const std::size_t i = static_cast<std::size_t>(a);
    const int num_choices = static_cast<int>(sub_actions_[i].NumChoices());
    order.push_back(num_choices <= kSmall ? slot_[i] : static_cast<int>(small_.size()) + slot_[i]);
    if (num_choices > kSmall) continue;
    int64_t* row = small_rows_.data_ptr<int64_t>() + slot_[i] * small_width_;
    for (int64_t c = 0; c < small_width_; ++c) row[c] = offsets_[i] + std::min<int64_t>(c, num_choices - 1);
  }
  order_ = Indices(order);
  Build(rng);
  InitialiseTable(rng);
}

void PolicyNetwork::Build(Rng& rng) {
  struct Slot {
    at::Tensor* tensor;
    std::vector<int64_t> shape;
    double deviation;
    double constant;
  };
  std::vector<Slot> slots;
  const auto matrix = [&](at::Tensor& tensor, std::vector<int64_t> shape, double deviation) {
    slots.push_back({&tensor, std::move(shape), deviation, 0});
  };
  const auto constant = [&](at::Tensor& tensor, int64_t length, double value) {
    slots.push_back({&tensor, {length}, 0, value});
  };
  const auto norm = [&](at::Tensor& scale, at::Tensor& bias) {
    constant(scale, size_.width, 1);
    constant(bias, size_.width, 0);
  };
  const int64_t width = size_.width, table = size_.table_width, actions = NumSubActions();
  const int64_t rows = offsets_.back() + static_cast<int64_t>(sub_actions_.back().NumChoices());
  const double fan = 1 / std::sqrt(static_cast<double>(width));
  const double residual = fan / std::sqrt(3.0 * size_.num_layers);
  matrix(table_, {rows, table}, 0);
  const double table_fan = 1 / std::sqrt(static_cast<double>(table));
  matrix(input_, {table, width}, table_fan);
  matrix(output_, {width, table}, 0.01 * fan);
  matrix(begin_, {width}, 1);
  matrix(position_, {actions, width}, 1);
  matrix(start_, {1, width}, 1);
  matrix(elite_, {actions, table, width}, table_fan);
  matrix(reward_, {kRewardFeatures, width}, 0.5);
  norm(memory_norm_, memory_norm_bias_);
  layers_.resize(static_cast<std::size_t>(size_.num_layers));
  for (Layer& layer : layers_) {
    norm(layer.self_norm, layer.self_norm_bias);
    matrix(layer.qkv, {width, 3 * width}, fan);
    matrix(layer.self_out, {width, width}, residual);
    norm(layer.cross_norm, layer.cross_norm_bias);
    matrix(layer.query, {width, width}, fan);
    matrix(layer.memory_kv, {width, 2 * width}, fan);
    matrix(layer.cross_out, {width, width}, residual);
    norm(layer.ffn_norm, layer.ffn_norm_bias);
    matrix(layer.up, {width, size_.ffn_width}, fan);
    constant(layer.up_bias, size_.ffn_width, 0);
    matrix(layer.down, {size_.ffn_width, width},
           1 / std::sqrt(static_cast<double>(size_.ffn_width) * 3 * size_.num_layers));
    constant(layer.down_bias, width, 0);
  }
  norm(final_norm_, final_norm_bias_);
  matrix(value_, {width}, 0);
  constant(value_bias_, 1, 0);

  int64_t total = 0;
  const auto length = [](const Slot& slot) {
    return std::accumulate(slot.shape.begin(), slot.shape.end(), int64_t{1}, std::multiplies<>());
  };
  for (const Slot& slot : slots) total += length(slot);
  weights_ = at::empty({total});
  gradients_ = at::zeros({total});
  int64_t at = 0;
  for (const Slot& slot : slots) {
    const int64_t n = length(slot);
    float* data = weights_.data_ptr<float>() + at;
    for (int64_t i = 0; i < n; ++i) {
      data[i] = static_cast<float>(slot.deviation > 0 ? Uniform(rng, slot.deviation) : slot.constant);
    }
    *slot.tensor = weights_.narrow(0, at, n).view(slot.shape).detach();
    slot.tensor->requires_grad_(true);
    slot.tensor->mutable_grad() = gradients_.narrow(0, at, n).view(slot.shape);
    at += n;
  }
}

void PolicyNetwork::InitialiseTable(Rng& rng) {
  const std::size_t table_width = static_cast<std::size_t>(size_.table_width);
  float* row = table_.data_ptr<float>();
  for (const SubAction& sub_action : sub_actions_) {
    const std::size_t num_choices = sub_action.NumChoices(), num_features = sub_action.features.size() / num_choices;
    std::vector<double> projection(num_features * table_width);
    for (double& x : projection) x = Uniform(rng, 1);
    for (std::size_t c = 0; c < num_choices; ++c, row += table_width) {
      std::vector<double> shared(table_width, 0);
      double squares = 0;
      for (std::size_t j = 0; j < table_width; ++j) {
        for (std::size_t f = 0; f < num_features; ++f) {
          shared[j] += static_cast<double>(sub_action.features[c * num_features + f]) * projection[f * table_width + j];
        }
        squares += shared[j] * shared[j];
      }
      const double norm = std::sqrt(squares / static_cast<double>(table_width));
      const double noise = norm > 0 ? 0.6 : 1.0;
      for (std::size_t j = 0; j < table_width; ++j) {
        row[j] = static_cast<float>((norm > 0 ? 0.8 * shared[j] / norm : 0.0) + Uniform(rng, noise));
      }
    }
  }
}

PolicyNetwork::Memory PolicyNetwork::Encode(std::span<const Elite> elites) const {
  at::Tensor tokens = start_;
  if (!elites.empty()) {
    const int64_t count = static_cast<int64_t>(elites.size()), actions = NumSubActions();
    at::Tensor rows = at::empty({actions, count}, at::kLong);
    at::Tensor rewards = at::empty({count, kRewardFeatures});
    const double best = elites.front().reward;
    for (int64_t i = 0; i < count; ++i) {
      const Elite& elite = elites[static_cast<std::size_t>(i)];
      for (int64_t a = 0; a < actions; ++a) {
        const std::size_t j = static_cast<std::size_t>(a);
        rows.data_ptr<int64_t>()[a * count + i] = offsets_[j] + elite.choices[j];
      }
      const double features[kRewardFeatures] = {1, elite.reward, std::max(-1.0, 10 * (elite.reward - best)),
                                                i == 0 ? 1.0 : 0.0,
                                                static_cast<double>(i) / static_cast<double>(count)};
      std::transform(features, features + kRewardFeatures, rewards.data_ptr<float>() + i * kRewardFeatures,
                     [](double x) { return static_cast<float>(x); });
    }
    const at::Tensor sum =
        at::bmm(at::embedding(table_, rows), elite_).sum(0) / std::sqrt(static_cast<double>(actions));
    tokens = at::cat({start_, at::addmm(sum, rewards, reward_)});
  }
  tokens = at::layer_norm(tokens, {size_.width}, memory_norm_, memory_norm_bias_);
  Memory memory;
  for (const Layer& layer : layers_) {
    const at::Tensor kv = at::mm(tokens, layer.memory_kv).view({tokens.size(0), 2, size_.num_heads, -1});
    memory.keys.push_back(kv.select(1, 0).permute({1, 2, 0}).contiguous());
    memory.values.push_back(kv.select(1, 1).permute({1, 0, 2}).contiguous());
  }
  return memory;
}

/// [rows, width] -> [heads, rows, head size]
at::Tensor PolicyNetwork::HeadSplit(const at::Tensor& rows) const {
  return rows.view({rows.size(0), size_.num_heads, -1}).transpose(0, 1);
}

/// The rest of a layer: x, attended: [rows, width].
at::Tensor PolicyNetwork::AfterSelfAttention(const Layer& layer, const Memory& memory, std::size_t index,
                                             const at::Tensor& x, const at::Tensor& attended) const {
  at::Tensor y = at::addmm(x, attended, layer.self_out);
  const double scale = 1 / std::sqrt(static_cast<double>(size_.width / size_.num_heads));
  const at::Tensor query =
      at::mm(at::layer_norm(y, {size_.width}, layer.cross_norm, layer.cross_norm_bias), layer.query) * scale;
  const at::Tensor weights = at::softmax(at::bmm(HeadSplit(query), memory.keys[index]), -1);
  const at::Tensor read = at::bmm(weights, memory.values[index]).transpose(0, 1).reshape({y.size(0), size_.width});
  y = at::addmm(y, read, layer.cross_out);
  const at::Tensor up =
      at::addmm(layer.up_bias, at::layer_norm(y, {size_.width}, layer.ffn_norm, layer.ffn_norm_bias), layer.up);
  return y + at::addmm(layer.down_bias, at::relu(up), layer.down);
}

/// [num_actions, num_sub_actions, width]
at::Tensor PolicyNetwork::Hidden(const Memory& memory, const at::Tensor& choices) const {
  const int64_t count = choices.size(0), actions = choices.size(1), width = size_.width;
  at::Tensor x = begin_.view({1, 1, width}).expand({1, count, width});
  if (actions > 1) {
    const at::Tensor rows = (choices + offset_row_).narrow(1, 0, actions - 1).t();
    x = at::cat({x, at::matmul(at::embedding(table_, rows), input_)});
  }
  x = (x + position_.unsqueeze(1)).transpose(0, 1).reshape({count * actions, width});
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const Layer& layer = layers_[i];
    const at::Tensor qkv = at::mm(at::layer_norm(x, {width}, layer.self_norm, layer.self_norm_bias), layer.qkv);
    const at::Tensor attended = CausalAttention(qkv.view({count, actions, 3 * width}), size_.num_heads);
    x = AfterSelfAttention(layer, memory, i, x, attended.view({-1, width}));
  }
  return at::layer_norm(x, {width}, final_norm_, final_norm_bias_).view({count, actions, width});
}

/// [num_sub_actions, num_actions, table width]
at::Tensor PolicyNetwork::Queries(const at::Tensor& hidden) const {
  return at::matmul(hidden, output_ / std::sqrt(static_cast<double>(size_.table_width))).transpose(0, 1);
}

at::Tensor PolicyNetwork::SmallLogits(const at::Tensor& queries) const {
  const at::Tensor rows = at::embedding(table_, small_rows_);
  return at::bmm(queries.index_select(0, small_index_), rows.transpose(1, 2));
}

at::Tensor PolicyNetwork::LargeLogits(const at::Tensor& queries, std::size_t large) const {
  const std::size_t a = static_cast<std::size_t>(large_[large]);
  const int64_t num_choices = static_cast<int64_t>(sub_actions_[a].NumChoices());
  return at::mm(queries.select(0, large_[large]), table_.narrow(0, offsets_[a], num_choices).t());
}

ActionBias PolicyNetwork::EmptyBias(int num_actions) const {
  ActionBias bias;
  bias.small = at::full({static_cast<int64_t>(small_.size()), num_actions, small_width_}, kMasked);
  for (const int a : large_) {
    const int64_t num_choices = static_cast<int64_t>(sub_actions_[static_cast<std::size_t>(a)].NumChoices());
    bias.large.push_back(at::full({num_actions, num_choices}, kMasked));
  }
  return bias;
}

void PolicyNetwork::SetBias(ActionBias& bias, int action, int sub_action, std::span<const std::uint8_t> mask) const {
  const std::size_t a = static_cast<std::size_t>(sub_action);
  const std::vector<double>& log_prior = sub_actions_[a].log_prior;
  SHARDSCOUT_CHECK_OP(mask.size(), ==, log_prior.size());
  float* row = nullptr;
  if (mask.size() <= static_cast<std::size_t>(kSmall)) {
    row = bias.small.data_ptr<float>() + (slot_[a] * bias.small.size(1) + action) * small_width_;
  } else {
    at::Tensor& large = bias.large[static_cast<std::size_t>(slot_[a])];
    row = large.data_ptr<float>() + action * large.size(1);
  }
  for (std::size_t c = 0; c < mask.size(); ++c) row[c] = mask[c] ? static_cast<float>(log_prior[c]) : kMasked;
}

ActionBias PolicyNetwork::SelectBias(const ActionBias& bias, const at::Tensor& actions) {
  ActionBias out;
  out.small = bias.small.index_select(1, actions);
  for (const at::Tensor& large : bias.large) out.large.push_back(large.index_select(0, actions));
  return out;
}

ActionEvaluation PolicyNetwork::Evaluate(const Memory& memory, const at::Tensor& choices,
                                         const ActionBias& bias) const {
  const int64_t count = choices.size(0);
  const at::Tensor hidden = Hidden(memory, choices);
  const at::Tensor queries = Queries(hidden);
  std::vector<at::Tensor> logprobs, entropies;  // [some sub-actions, num_actions] each
  const auto add = [&](const at::Tensor& logits, const at::Tensor& chosen) {
    const at::Tensor all = at::log_softmax(logits, -1);
    logprobs.push_back(all.gather(-1, chosen.unsqueeze(-1)).squeeze(-1));
    entropies.push_back(-(all.exp() * all).sum(-1));
  };
  if (!small_.empty()) add(SmallLogits(queries) + bias.small, choices.t().index_select(0, small_index_));
  for (std::size_t i = 0; i < large_.size(); ++i) {
    add((LargeLogits(queries, i) + bias.large[i]).unsqueeze(0), choices.select(1, large_[i]).view({1, count}));
  }
  const auto join = [&](const std::vector<at::Tensor>& parts) {
    if (large_.empty()) return parts.front().t();
    return at::cat(parts).index_select(0, order_).t();
  };
  const at::Tensor value = at::mv(hidden.view({-1, size_.width}), value_) + value_bias_;
  return {join(logprobs), join(entropies), value.view({count, -1})};
}

at::Tensor PolicyNetwork::AllLogprobs(const Memory& memory, const at::Tensor& choices, const ActionBias& bias,
                                      int sub_action) const {
  const std::size_t a = static_cast<std::size_t>(sub_action);
  const at::Tensor queries = Queries(Hidden(memory, choices));
  const int64_t num_choices = static_cast<int64_t>(sub_actions_[a].NumChoices());
  if (num_choices > kSmall) {
    const std::size_t large = static_cast<std::size_t>(slot_[a]);
    return at::log_softmax(LargeLogits(queries, large) + bias.large[large], -1);
  }
  return at::log_softmax(SmallLogits(queries) + bias.small, -1).select(0, slot_[a]).narrow(1, 0, num_choices);
}

PolicyNetwork::Decoder::Decoder(const PolicyNetwork& network, const Memory& memory, int num_actions)
    : network_(network), memory_(memory) {
  for (std::size_t i = 0; i < network.layers_.size(); ++i) {
    caches_.push_back(at::empty({num_actions, network.NumSubActions(), 2 * network.size_.width}));
  }
}

void PolicyNetwork::Decoder::Advance(std::span<const int> choices) {
  const at::NoGradGuard no_grad;
  ++position_;
  const int64_t count = caches_.front().size(0);
  at::Tensor x;
  if (position_ == 0) {
    x = (network_.begin_ + network_.position_.select(0, 0)).view({1, -1}).expand({count, -1});
  } else {
    const std::size_t before = static_cast<std::size_t>(position_ - 1);
    const at::Tensor rows = at::embedding(network_.table_, Indices(choices) + network_.offsets_[before]);
    x = at::addmm(network_.position_.select(0, position_), rows, network_.input_);
  }
  const int64_t width = network_.size_.width;
  for (std::size_t i = 0; i < network_.layers_.size(); ++i) {
    const Layer& layer = network_.layers_[i];
    const at::Tensor qkv = at::mm(at::layer_norm(x, {width}, layer.self_norm, layer.self_norm_bias), layer.qkv);
    const at::Tensor attended = CausalAttentionStep(qkv, network_.size_.num_heads, position_, caches_[i]);
    x = network_.AfterSelfAttention(layer, memory_, i, x, attended);
  }
  hidden_ = at::layer_norm(x, {width}, network_.final_norm_, network_.final_norm_bias_);
}

at::Tensor PolicyNetwork::Decoder::Logits() const {
  const at::NoGradGuard no_grad;
  const std::size_t a = static_cast<std::size_t>(position_);
  const at::Tensor query =
      at::mm(hidden_, network_.output_ / std::sqrt(static_cast<double>(network_.size_.table_width)));
  const int64_t num_choices = static_cast<int64_t>(network_.sub_actions_[a].NumChoices());
  return at::mm(query, network_.table_.narrow(0, network_.offsets_[a], num_choices).t());
}

at::Tensor PolicyNetwork::Decoder::Values() const {
  const at::NoGradGuard no_grad;
  return at::mv(hidden_, network_.value_) + network_.value_bias_;
}

}  // namespace shardscout::agents
