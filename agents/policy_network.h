#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "agents/action_space.h"
#include "agents/decoder_stack.h"
#include "agents/elite_history.h"
#include "agents/torch_prelude.h"
#include "shardscout/random.h"

namespace shardscout::agents {

/// Sizes of a policy network.
struct PolicySize {
  int width = 64;
  int num_layers = 2;
  int num_heads = 4;
  int ffn_width = 128;
  int table_width = 32;
};

/// Additive terms of the logits of recorded actions: log prior where a choice is allowed, kMasked where it is not. The
/// sub-actions with at most PolicyNetwork::kSmall choices share one padded tensor.
struct ActionBias {
  at::Tensor small;               ///< [num_small, num_actions, most choices of a small one]
  std::vector<at::Tensor> large;  ///< For each large one: [num_actions, num_choices]
};

/// What a teacher-forced pass says of recorded actions. [num_actions, num_sub_actions], float32 each.
struct ActionEvaluation {
  at::Tensor logprob;  ///< Of the recorded choices; 0 where forced.
  at::Tensor entropy;  ///< Of the masked distributions, nats.
  at::Tensor value;    ///< Expected reward given the history and the sub-actions before this one.
};

/// A transformer decoder that emits a compound action one sub-action at a time.
///
///   memory    = start token, then one token for each elite: sum over sub-actions a of W_a E[choice of a], plus its
///   reward's embedding x_0       = begin + position_0,    x_a = U E[choice of a-1] + position_a h         = layers(x):
///   causal self-attention, cross-attention to the memory, feed-forward; pre-norm, residual logits_a  = E_a (V h_a) /
///   sqrt(table width) + log prior_a, masked;      value_a = w . h_a
///
/// E is one table with a row of `table_width` numbers for every choice of every sub-action, shared by input and output
/// (24,576 choices of one sub-action: 3 MB, with gradient and Adam's moments 13 MB). Rows of sizes start as random
/// projections of their numeric features plus noise, so that near sizes look alike from the start and yet every size
/// can be learned by itself; V starts near zero, so the first policy is the prior.
///
/// Source: "Learning to Shard" (arXiv 2509.00217) as DESIGN.md section 8 gives it; decoder of Vaswani et al. 2017,
/// pre-norm. Departures: the prior in the logits; a value for each prefix instead of one for the history alone.
///
/// Weights come from `rng` (uniform draws), never from torch's global generator, so that nothing outside is disturbed.
/// Not thread safe.
class PolicyNetwork {
 public:
  static constexpr int kSmall = 64;         ///< Choices of a small sub-action, at most.
  static constexpr float kMasked = -1e30F;  ///< Finite, so that 0 * kMasked is 0 in the entropy; its exp is 0.

  PolicyNetwork(const std::vector<SubAction>& sub_actions, const PolicySize& size, Rng& rng);

  int NumSubActions() const { return static_cast<int>(sub_actions_.size()); }
  const std::vector<SubAction>& sub_actions() const { return sub_actions_; }

  /// The memory's tokens: the start token and one for each elite. [1 + elites.size(), width]. With gradient.
  at::Tensor Encode(std::span<const Elite> elites) const;

  /// Decoding one sub-action after another, for several actions at once. Without gradient.
  class Decoder {
   public:
    Decoder(const PolicyNetwork& network, const at::Tensor& memory, int num_actions);
    /// Takes the choices of the sub-action before (ignored at the first) and moves to the next one. [num_actions]
    void Advance(std::span<const int> choices);
    /// Logits without prior and mask. [num_actions, num_choices of the current sub-action]
    at::Tensor Logits() const;
    /// [num_actions]
    at::Tensor Values() const;

   private:
    const PolicyNetwork& network_;
    DecoderStack::Cache cache_;
    at::Tensor hidden_;
  };

  /// The bias of one action, from `mask` of each sub-action, is written at row `action` of `bias`.
  ActionBias EmptyBias(int num_actions) const;
  void SetBias(ActionBias& bias, int action, int sub_action, std::span<const std::uint8_t> mask) const;
  static ActionBias SelectBias(const ActionBias& bias, const at::Tensor& actions);

  /// choices: [num_actions, num_sub_actions], int64. With gradient.
  ActionEvaluation Evaluate(const at::Tensor& memory, const at::Tensor& choices, const ActionBias& bias) const;

  /// Log-probabilities of every choice of one sub-action under teacher forcing, for tests. [num_actions, num_choices]
  at::Tensor AllLogprobs(const at::Tensor& memory, const at::Tensor& choices, const ActionBias& bias,
                         int sub_action) const;

  /// All weights and their gradients, each in one contiguous vector, float32; the weights of the layers are views of
  /// it.
  const at::Tensor& weights() const { return weights_; }
  const at::Tensor& gradients() const { return gradients_; }

 private:
  void Build(Rng& rng);
  void InitialiseStack(Rng& rng);
  void InitialiseTable(Rng& rng);
  at::Tensor Hidden(const at::Tensor& memory, const at::Tensor& choices) const;
  at::Tensor SmallLogits(const at::Tensor& queries) const;
  at::Tensor LargeLogits(const at::Tensor& queries, std::size_t large) const;
  at::Tensor Queries(const at::Tensor& hidden) const;

  std::vector<SubAction> sub_actions_;
  PolicySize size_;
  DecoderStack stack_;
  std::vector<std::int64_t> offsets_;  ///< First row of a sub-action in the table.
  std::vector<int> small_, large_;     ///< Sub-actions by size.
  std::vector<int> slot_;              ///< Index of a sub-action in small_ or large_.
  std::int64_t small_width_ = 0;
  at::Tensor small_index_, small_rows_, offset_row_, order_;

  at::Tensor weights_, gradients_;
  at::Tensor table_, input_, output_, begin_, position_, start_, elite_, reward_;
  at::Tensor memory_norm_, memory_norm_bias_, stack_weights_, value_, value_bias_;
};

}  // namespace shardscout::agents
