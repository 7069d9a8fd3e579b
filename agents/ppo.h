#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "agents/action_space.h"
#include "agents/elite_history.h"
#include "agents/guide.h"
#include "agents/ppo_config.h"
#include "shardscout/random.h"

/// Proximal policy optimisation (Schulman et al. 2017, arXiv 1707.06347) on compound actions.
///
/// An episode is one strategy: its sub-actions a_1 .. a_n are the steps, the observation is the elite history, and the
/// only reward r comes at the end. On a rollout of strategies drawn from the policy, for every sub-action t that the
/// mask and the guide (guide.h) did not force:
///
///     A_t       = r - V(history, a_1 .. a_(t-1)), then normalised over the rollout (mean 0, deviation 1)
///     ratio_t   = pi(a_t | history, a_1 .. a_(t-1)) / the same when it was drawn
///     loss      = -mean min(ratio_t A_t, clip(ratio_t, 1 - clip_range, 1 + clip_range) A_t)
///                 + vf_coef * mean (V_t - r)^2 / 2 - ent_coef * mean entropy_t
///                 - elite_coef * mean log pi(e_t | history, e_1 .. e_(t-1)) over the num_imitated best elites e
///
/// minimised by Adam in minibatches of strategies, num_epochs times over each rollout. ent_coef falls linearly with the
/// spent share of the agent's budget. The last term is priority queue training (Abolafia et al. 2018, arXiv
/// 1801.03526): maximum likelihood of the best actions found so far; elite_coef 0 is plain PPO.
///
/// Departures. The source has one state and one action a step; with one observation for a whole rollout a baseline
/// V(history) is the same for all of it and drops out of normalised advantages, so V looks at the prefix as well: what
/// the degrees already decided is not credited to the shardings. That is the usual advantage of a sequence with a
/// terminal reward (discount and lambda 1). Without `critic` the baseline of a strategy is the mean reward of the
/// others of its rollout ("leave one out", Kool et al. 2019), the same for every sub-action. `joint` switches to one
/// ratio and one baseline a strategy, which is the one-step bandit. The space's prior is part of the logits
/// (policy_network.h), so an entropy bonus pulls towards the uniform policy, not towards the prior.
///
/// Randomness: actions by our Rng on probabilities in double precision, weights and minibatches by streams of the same
/// seed; torch's global generator is neither read nor seeded. Matrix products are torch's on one thread
/// (TorchThreadScope): the same seed gives the same strategies on any number of threads, though not with another BLAS
/// or another kind of processor.
///
/// Cost: see experiments/agent_benchmark.cc.
namespace shardscout::agents {

/// What an update did, for logs and tests.
struct UpdateStats {
  double surrogate_loss = 0;  ///< Means over the minibatches of the last epoch.
  double value_loss = 0;
  double entropy = 0;     ///< Nats a free sub-action.
  double elite_loss = 0;  ///< -log probability of an elite's free sub-action, nats.
};

/// One agent of proximal policy optimisation on a compound action space. The header is free of torch.
class PpoAgent {
 public:
  /// Fresh weights and streams of random numbers from `seed`. The space must outlive the agent.
  PpoAgent(const ActionSpace& space, const PpoConfig& config, std::uint64_t seed);
  ~PpoAgent();
  PpoAgent(const PpoAgent&) = delete;
  PpoAgent& operator=(const PpoAgent&) = delete;

  /// Draws an action for each guide from the policy that observes `history` (whose choices are actions of this space).
  const std::vector<Choices>& Sample(const EliteHistory& history, std::span<const Guide> guides);

  /// Learns from the actions of the last Sample, and from the best of `elites`, best first. rewards: in the
  /// actions' order. progress in [0, 1]: the agent's spent share of its budget, for the entropy schedule.
  UpdateStats Update(std::span<const double> rewards, std::span<const Elite> elites, double progress);

  /// The lowest top probability of a sub-action that is not forced on the greedy rollout; exact where it is above
  /// `threshold`, otherwise that of the first sub-action at or below it.
  double GreedyConfidence(const EliteHistory& history, double threshold) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// While it lives, torch runs on one thread; the OpenMP threads that evaluation may use are given back by
/// EvaluationThreads. Restores torch's and OpenMP's numbers of threads at its end. The number of inter-op threads,
/// which can be set only once in a process, is set to one at the first use, if nobody has set it.
class TorchThreadScope {
 public:
  TorchThreadScope();
  ~TorchThreadScope();
  TorchThreadScope(const TorchThreadScope&) = delete;
  TorchThreadScope& operator=(const TorchThreadScope&) = delete;
  int openmp_threads() const { return openmp_threads_; }

 private:
  int openmp_threads_;
  int torch_threads_;
};

}  // namespace shardscout::agents
