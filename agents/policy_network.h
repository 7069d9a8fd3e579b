#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "agents/action_head.h"
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

/// What a teacher-forced pass says of recorded actions. [num_actions, num_sub_actions], float32 each.
struct ActionEvaluation {
  at::Tensor logprob;  ///< Of the recorded choices; 0 where forced.
  at::Tensor entropy;  ///< Of the masked distributions, nats.
  at::Tensor value;    ///< Expected reward given the history and the sub-actions before this one.
};

/// A transformer decoder that emits a compound action one sub-action at a time.
///
///     memory    a start token, and for each elite the sum over sub-actions a of W_a E[choice of a] plus an embedding
///               of its reward
///     x_0       begin + position_0
///     x_a       U E[choice of a - 1] + position_a
///     h         DecoderStack(x, memory): causal self-attention, cross-attention to the memory, feed-forward
///     logits_a  E_a (V h_a) / sqrt(table width) + log prior_a, over the choices that the mask leaves
///     value_a   w . h_a + b
///
/// E is one table with a row of `table_width` numbers for every choice of every sub-action, shared by input and output
/// (24,576 choices of one sub-action: 3 MB; with gradient and Adam's moments 13 MB). Rows of sizes start as random
/// projections of their numeric features plus noise, so that near sizes look alike from the start and yet every size
/// can be learned by itself; that is one mechanism for small and large domains, where features without a table could
/// not tell 4,099 from 4,111 devices. V starts near zero, so that the first policy is the prior.
///
/// Source: "Learning to Shard" (arXiv 2509.00217); the decoder of Vaswani et al. 2017,
/// pre-norm. Departures: the prior in the logits; a value for each prefix instead of one for the history alone (see
/// ppo.h).
///
/// Weights come from `rng` (uniform draws), never from torch's global generator, so that nothing outside is disturbed.
/// Not thread safe.
class PolicyNetwork {
 public:
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
    /// Unnormalised log-probabilities of what action i may choose now.
    void Logits(std::size_t i, const ActionRecord::Options& allowed, std::vector<float>& logits) const;
    /// [num_actions]
    at::Tensor Values() const;

   private:
    const PolicyNetwork& network_;
    DecoderStack::Cache cache_;
    at::Tensor hidden_, queries_;
  };

  /// The choices that a mask leaves, as an ActionRecord holds them.
  void Allowed(std::size_t sub_action, std::span<const std::uint8_t> mask, ActionRecord::Options& allowed) const;

  /// The index of an allowed choice among all of its sub-action's.
  int ChoiceOf(std::size_t sub_action, std::int32_t row) const { return static_cast<int>(row - offsets_[sub_action]); }

  /// Teacher forcing on `actions` of `record`. With gradient; both must live until the backward is done.
  ActionEvaluation Evaluate(const at::Tensor& memory, const ActionRecord& record,
                            const std::vector<std::size_t>& actions) const;

  /// All weights and their gradients, each in one contiguous vector, float32; the weights of the layers are views of
  /// it.
  const at::Tensor& weights() const { return weights_; }
  const at::Tensor& gradients() const { return gradients_; }

 private:
  void Build(Rng& rng);
  void InitialiseStack(Rng& rng);
  void InitialiseTable(Rng& rng);
  double QueryScale() const;

  std::vector<SubAction> sub_actions_;
  PolicySize size_;
  DecoderStack stack_;
  std::vector<std::int64_t> offsets_;  ///< First row of a sub-action in the table.

  at::Tensor weights_, gradients_;
  at::Tensor table_, input_, output_, begin_, position_, start_, elite_, reward_;
  at::Tensor memory_norm_, memory_norm_bias_, stack_weights_, value_, value_bias_;
};

}  // namespace shardscout::agents
