#pragma once

#include <functional>
#include <vector>

#include "agents/action_space.h"
#include "agents/guide.h"
#include "agents/niches.h"
#include "agents/ppo_config.h"
#include "shardscout/random.h"
#include "shardscout/strategy_space.h"

namespace shardscout::agents {

/// What each action of a rollout starts from: nothing, a sharding template, or an elite that is changed a little. The
/// policy decides what these leave open.
///
///   screen    all, from scratch, while less than screen_share of an agent's share is spent: a sample of the space with
///   degrees
///             rounded to powers of two, and the layer variables of one of ShardingTemplates()
///   mutant    mutation_share of a rollout after that, once anything is known: of the best strategies of each tuple of
///             degrees (niches.h), drawn with weight parent_decay^rank,
///               neighbour_share   the next of its moves, whole, until all of them are known
///               crossed_share     its sizes with the layer variables of another
///               the rest          itself with 1 + Geometric(1/2) sub-actions that the policy decides anew, others
///                                 than they were where it has a choice
///   policy    all else: everything is open
///
/// Source: mutation of elites beside a policy's own samples, "neural-guided" genetic search (Mundhenk et al., NeurIPS
/// 2021); niches, moves without replacement, and that the policy fills in what a mutation reopens are ours.
class Proposals {
 public:
  /// All must outlive this.
  Proposals(const StrategySpace& space, const StrategyActionSpace& actions, const PpoConfig& config,
            Niches::Known known);

  /// What the search has learned of a strategy.
  void Add(const Strategy& strategy, double reward) { niches_.Add(strategy, reward); }
  /// `screens`: the rollout is one of the screen.
  std::vector<Guide> Next(bool screens, Rng& rng);

 private:
  Guide Screen(Rng& rng) const;
  Guide Mutant(Rng& rng);
  Guide Reopened(const Choices& parent, Rng& rng) const;
  Guide Crossed(const Choices& parent, const Choices& other) const;
  Guide Settled(const Strategy& member) const;
  Choices Reduced(const Strategy& member) const { return actions_.Reduce(space_.Encode(member)); }

  const StrategySpace& space_;
  const StrategyActionSpace& actions_;
  const PpoConfig& config_;
  Niches::Known known_;
  std::vector<Strategy> templates_;
  Niches niches_;
};

}  // namespace shardscout::agents
