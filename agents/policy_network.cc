#include "agents/policy_network.h"

#include <algorithm>
#include <cmath>
#include <numeric>

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
    : sub_actions_(sub_actions), size_(size), stack_({size.width, size.num_heads, size.ffn_width, size.num_layers}) {
  SHARDSCOUT_CHECK(!sub_actions.empty());
  int64_t rows = 0;
  for (const SubAction& sub_action : sub_actions_) {
    offsets_.push_back(rows);
    rows += static_cast<int64_t>(sub_action.NumChoices());
  }
  Build(rng);
  InitialiseStack(rng);
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
  constant(stack_weights_, stack_.NumWeights(), 0);
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

/// Matrices by the width that they read; those that write to the residual stream smaller by the number of such writes.
void PolicyNetwork::InitialiseStack(Rng& rng) {
  float* weights = stack_weights_.data_ptr<float>();
  const int64_t width = size_.width, ffn_width = size_.ffn_width;
  const auto fill = [&](int64_t offset, int64_t rows, int64_t columns, double gain) {
    const double deviation = gain / std::sqrt(static_cast<double>(rows));
    for (int64_t i = 0; i < rows * columns; ++i) weights[offset + i] = static_cast<float>(Uniform(rng, deviation));
  };
  const auto one = [&](int64_t offset) { std::fill(weights + offset, weights + offset + width, 1.0F); };
  const double residual = 1 / std::sqrt(3.0 * size_.num_layers);
  for (const DecoderStack::Offsets& layer : stack_.layers()) {
    one(layer.self_norm);
    one(layer.cross_norm);
    one(layer.ffn_norm);
    fill(layer.qkv, width, 3 * width, 1);
    fill(layer.self_out, width, width, residual);
    fill(layer.query, width, width, 1);
    fill(layer.memory_kv, width, 2 * width, 1);
    fill(layer.cross_out, width, width, residual);
    fill(layer.up, width, ffn_width, 1);
    fill(layer.down, ffn_width, width, residual);
  }
  one(stack_.final_norm());
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

at::Tensor PolicyNetwork::Encode(std::span<const Elite> elites) const {
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
  return at::layer_norm(tokens, {size_.width}, memory_norm_, memory_norm_bias_);
}

double PolicyNetwork::QueryScale() const { return 1 / std::sqrt(static_cast<double>(size_.table_width)); }

void PolicyNetwork::Allowed(std::size_t sub_action, std::span<const std::uint8_t> mask,
                            ActionRecord::Options& allowed) const {
  const std::vector<double>& log_prior = sub_actions_[sub_action].log_prior;
  SHARDSCOUT_CHECK_OP(mask.size(), ==, log_prior.size());
  allowed.rows.clear();
  allowed.log_prior.clear();
  for (std::size_t c = 0; c < mask.size(); ++c) {
    if (mask[c] == 0) continue;
    allowed.rows.push_back(static_cast<std::int32_t>(offsets_[sub_action]) + static_cast<std::int32_t>(c));
    allowed.log_prior.push_back(static_cast<float>(log_prior[c]));
  }
}

ActionEvaluation PolicyNetwork::Evaluate(const at::Tensor& memory, const ActionRecord& record,
                                         const std::vector<std::size_t>& actions) const {
  const int64_t count = static_cast<int64_t>(actions.size()), length = NumSubActions(), width = size_.width;
  at::Tensor x = begin_.view({1, 1, width}).expand({count, 1, width});
  if (length > 1) {
    at::Tensor rows = at::empty({count, length - 1}, at::kLong);
    int64_t* row = rows.data_ptr<int64_t>();
    for (const std::size_t action : actions) {
      for (std::size_t a = 0; a + 1 < static_cast<std::size_t>(length); ++a) {
        *row++ = record.ChosenRow(action, a);
      }
    }
    x = at::cat({x, at::matmul(at::embedding(table_, rows), input_)}, 1);
  }
  const at::Tensor hidden = stack_.Forward(x + position_, memory, stack_weights_);
  const at::Tensor queries = at::matmul(hidden, output_ * QueryScale());
  const at::Tensor out = ActionLogprobs(queries, table_, record, actions);
  const at::Tensor value = at::mv(hidden.view({-1, width}), value_) + value_bias_;
  return {out.select(0, 0), out.select(0, 1), value.view({count, length})};
}

PolicyNetwork::Decoder::Decoder(const PolicyNetwork& network, const at::Tensor& memory, int num_actions)
    : network_(network),
      cache_(network.stack_.MakeCache(num_actions, network.NumSubActions(), memory, network.stack_weights_)) {}

void PolicyNetwork::Decoder::Advance(std::span<const int> choices) {
  const at::NoGradGuard no_grad;
  const int64_t position = cache_.position, count = cache_.self.front().size(0);
  at::Tensor x;
  if (position == 0) {
    x = (network_.begin_ + network_.position_.select(0, 0)).view({1, -1}).expand({count, -1});
  } else {
    const int64_t offset = network_.offsets_[static_cast<std::size_t>(position - 1)];
    const at::Tensor rows = at::embedding(network_.table_, Indices(choices) + offset);
    x = at::addmm(network_.position_.select(0, position), rows, network_.input_);
  }
  hidden_ = network_.stack_.Step(x, network_.stack_weights_, cache_);
  queries_ = at::mm(hidden_, network_.output_ * network_.QueryScale());
}

void PolicyNetwork::Decoder::Logits(std::size_t i, const ActionRecord::Options& allowed,
                                    std::vector<float>& logits) const {
  const int64_t row = static_cast<int64_t>(i) * queries_.size(1);
  AllowedLogits(queries_.data_ptr<float>() + row, network_.table_, allowed.rows, allowed.log_prior, logits);
}

at::Tensor PolicyNetwork::Decoder::Values() const {
  const at::NoGradGuard no_grad;
  return at::mv(hidden_, network_.value_) + network_.value_bias_;
}

}  // namespace shardscout::agents
