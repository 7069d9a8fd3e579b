#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "agents/torch_prelude.h"

namespace shardscout::agents {

/// Recorded compound actions: for each of their sub-actions the choices that its mask left, and the one taken. Masked
/// choices are not stored: they have probability 0 by construction, and cost nothing.
class ActionRecord {
 public:
  /// Choices of one sub-action: rows of the table of choices, rising, and the logarithms of their prior weights.
  struct Options {
    std::vector<std::int32_t> rows;
    std::vector<float> log_prior;
    std::size_t size() const { return rows.size(); }
  };

  ActionRecord() = default;
  ActionRecord(std::size_t num_actions, std::size_t num_sub_actions)
      : num_sub_actions_(num_sub_actions), cells_(num_actions * num_sub_actions) {}

  /// Room for more actions behind those that are there.
  void Resize(std::size_t num_actions) { cells_.resize(num_actions * num_sub_actions_); }
  void Set(std::size_t action, std::size_t sub_action, const Options& allowed, std::size_t chosen);

  std::size_t num_sub_actions() const { return num_sub_actions_; }
  std::size_t num_actions() const { return num_sub_actions_ == 0 ? 0 : cells_.size() / num_sub_actions_; }
  /// The choices that the mask left.
  std::span<const std::int32_t> Rows(std::size_t action, std::size_t sub_action) const;
  std::span<const float> LogPrior(std::size_t action, std::size_t sub_action) const;
  std::size_t Chosen(std::size_t action, std::size_t sub_action) const;  ///< Index in Rows.
  std::int32_t ChosenRow(std::size_t action, std::size_t sub_action) const;
  bool Forced(std::size_t action, std::size_t sub_action) const { return Rows(action, sub_action).size() == 1; }

 private:
  struct Cell {
    std::size_t begin = 0, end = 0, chosen = 0;
  };
  const Cell& At(std::size_t action, std::size_t sub_action) const {
    return cells_[action * num_sub_actions_ + sub_action];
  }
  std::size_t num_sub_actions_ = 0;
  std::vector<Cell> cells_;
  std::vector<std::int32_t> rows_;
  std::vector<float> log_prior_;
};

/// Unnormalised log-probability of each allowed choice: query . table[row] + log_prior. query: [table width].
void AllowedLogits(const float* query, const at::Tensor& table, std::span<const std::int32_t> rows,
                   std::span<const float> log_prior, std::vector<float>& logits);

/// The masked policy at recorded actions, with gradient: for action i of `actions` and each of its sub-actions, over
/// the allowed choices c,
///
///     z_c      = query . table[c] + log_prior_c
///     log p_c  = z_c - log sum exp z
///     logprob  = log p_chosen
///     entropy  = -sum p_c log p_c
///
/// both are 0 where the sub-action was forced. queries: [actions.size(), num_sub_actions, table width]; table: [rows,
/// table width]. Returns [2, actions.size(), num_sub_actions]: logprob, entropy. `record` and `actions` must live until
/// the backward is done.
at::Tensor ActionLogprobs(const at::Tensor& queries, const at::Tensor& table, const ActionRecord& record,
                          const std::vector<std::size_t>& actions);

}  // namespace shardscout::agents
