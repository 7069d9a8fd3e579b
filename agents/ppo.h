#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "agents/action_space.h"
#include "agents/elite_history.h"
#include "agents/ppo_config.h"
#include "shardscout/random.h"

namespace shardscout::agents {

/// What an update did, for logs and tests.
struct UpdateStats {
  double surrogate_loss = 0;  ///< Means over the minibatches of the last epoch.
  double value_loss = 0;
  double entropy = 0;  ///< Nats a free sub-action.
};

/// One agent of proximal policy optimisation on a compound action space. The header is free of torch.
class PpoAgent {
 public:
  /// Fresh weights and streams of random numbers from `seed`. The space must outlive the agent.
  PpoAgent(const ActionSpace& space, const PpoConfig& config, std::uint64_t seed);
  ~PpoAgent();
  PpoAgent(const PpoAgent&) = delete;
  PpoAgent& operator=(const PpoAgent&) = delete;

  /// Draws config.rollout_size actions from the policy that observes `history` (whose choices are actions of this
  /// space).
  const std::vector<Choices>& Sample(const EliteHistory& history);

  /// Learns from the actions of the last Sample. rewards: [rollout_size], in their order. progress in [0, 1]: the
  /// agent's spent share of its budget, for the entropy schedule.
  UpdateStats Update(std::span<const double> rewards, double progress);

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
