#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "agents/ppo_config.h"
#include "agents/pretrained_weights.h"
#include "shardscout/searcher.h"

namespace shardscout::agents {

/// Why an agent ended.
enum class AgentEnd : std::uint8_t { kShareSpent, kConfident, kStale, kNoGain, kSearchOver };

/// What one agent did, for logs and tests.
struct AgentReport {
  std::int64_t index = 0;
  std::int64_t share = 0;        ///< Evaluations that it was given.
  std::int64_t evaluations = 0;  ///< That it was charged.
  std::int64_t updates = 0;
  double inherited_best = 0;  ///< -infinity for the first.
  AgentEnd end = AgentEnd::kSearchOver;
};

/// `ppo`, `ppo-from-scratch` and `ppo-paper`: sequential PPO agents with confidence early exit, as in "Learning to
/// Shard" (arXiv 2509.00217). `ppo` also screens and changes what was found (proposals.h); its
/// policy learns from these as it does from its own strategies, at the sub-actions that it decided.
///
/// With pretrained weights, what they and the search so far make of the problem chooses the first experience_first
/// strategies of a search and those of experience_share of the rollouts after that, without a pass of the agent's own
/// network (experience.h). There is no screening then. The agent imitates the elites that it finds.
///
/// Agents run one after another on one elite history, which begins with what the environment was started from. Agent k
/// gets ceil(remaining budget / agents left) evaluations, and one agent is always left: after num_agents, each new one
/// gets all that remains. It starts with fresh weights and trains on
///
///     r - inherit_penalty * max(0, best reward inherited - r);
///
/// the first has inherited nothing (unless there were start strategies) and trains on r. Elites and plans use r.
///
/// An agent ends when its share is spent (to the end of the rollout that spends it), when the greedy rollout after each
/// of exit_updates consecutive updates had a top probability above exit_probability at every sub-action that is not
/// forced, after exit_stale_rollouts rollouts without a new strategy, or (exit_patience) when nothing is to be expected
/// of it: that part of its share brought no new best. What it left is shared among the agents after it.
///
/// Example: budget 4,000, four agents: shares 1,000; the first ends at 400: the second gets 3,600 / 3 = 1,200.
///
/// Strategies drawn twice, or known to the environment, cost nothing; their reward is known and they stay in the
/// update, which so remains on-policy: without them a policy that has found a mode would see only what is worse.
/// Nothing is drawn again in their place.
///
/// An agent that found nothing new in all its life shows that sampling is exhausted, at least nearly: the searcher then
/// asks for the strategies that are still unknown in lexicographic order, until budget or space end. Only small spaces
/// come to that.
///
/// After each update the environment is told (SearchEnvironment::Record): ppo/agent (its index), of the rollout
/// ppo/rollout_reward_mean, _best (unshaped rewards) and ppo/rollout_new_share (charged strategies / all), UpdateStats
/// as ppo/surrogate_loss, value_loss, entropy and elite_loss, and ppo/greedy_confidence (PpoAgent::GreedyConfidence).
///
/// Example of the cost of confidence: with 15 free sub-actions at 0.95 the mode may hold no more than 0.95^15 = 46 % of
/// the probability.
class PpoSearcher : public Searcher {
 public:
  /// SpecError where settings do not fit together.
  /// weights: of other problems; shared by the searchers of one process, nullptr: from scratch, whatever the settings
  /// say.
  explicit PpoSearcher(const PpoConfig& config = {}, std::string name = "ppo",
                       std::shared_ptr<const PretrainedWeights> weights = nullptr);

  std::string_view Name() const override { return name_; }
  SearchStatus Search(SearchEnvironment& environment, std::uint64_t seed) override;
  std::string ConfigJson() const override;

  /// Called after each agent; for tests and logs.
  std::function<void(const AgentReport&)> on_agent;

 private:
  PpoConfig config_;
  std::string name_;
  std::shared_ptr<const PretrainedWeights> weights_;
};

}  // namespace shardscout::agents
