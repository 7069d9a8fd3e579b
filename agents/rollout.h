#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "agents/guide.h"
#include "agents/policy_network.h"

namespace shardscout::agents {

/// Compound actions drawn from a policy, with all that an update needs of them.
struct Rollout {
  std::vector<Choices> actions;  ///< [num_actions][num_sub_actions]
  ActionRecord record;           ///< The same, with what the masks left.
  at::Tensor logprob;  ///< Under the policy that drew them; 0 where it had no choice. [num_actions, num_sub_actions]
  at::Tensor value;    ///< Before each sub-action. [num_actions, num_sub_actions]
  at::Tensor free;     ///< 1 where the policy had a choice, else 0. [num_actions, num_sub_actions]
};

/// Draws an action for each guide: settled sub-actions are recorded as forced ones, so that what is learned is the
/// policy's own choices after the prefix that they had. Probabilities and their sums are in double precision on the CPU
/// and the draws come from `rng`, one for every sub-action that isn't forced, action by action within a sub-action: the
/// same on any number of threads.
Rollout SampleActions(const PolicyNetwork& network, const at::Tensor& memory, const ActionSpace& space,
                      std::span<const Guide> guides, Rng& rng);

/// The most probable choice at each sub-action, and the lowest of their probabilities over the sub-actions that are not
/// forced (1 when all are). Stops where that falls to `stop_at` or below; `action` then ends there.
struct GreedyRollout {
  Choices action;
  double confidence = 1;
};
GreedyRollout GreedyAction(const PolicyNetwork& network, const at::Tensor& memory, const ActionSpace& space,
                           double stop_at);

}  // namespace shardscout::agents
