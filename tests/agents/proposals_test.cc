#include "agents/proposals.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "agents/niches.h"
#include "strategies/local_moves.h"
#include "strategies/sharding_templates.h"
#include "tests/test_evaluators.h"

namespace shardscout::agents {
namespace {

class ProposalsTest : public testing::Test {
 protected:
  Problem problem_{test::TinyModel(), test::TinyCluster(8), test::TinyWorkload()};
  StrategySpace space_{problem_};
  StrategyActionSpace actions_{space_};
  Rng rng_{3};
  std::set<std::string> known_;
  Niches::Known Known() {
    return [this](const Strategy& s) { return known_.contains(ToShortString(s)); };
  }
  Strategy Member(std::int64_t tp) {
    Strategy wanted;
    wanted.tensor_parallel_size = tp;
    wanted.batch_size = 4;
    return WithLayers(space_, wanted, ShardingTemplates().front());
  }
};

TEST_F(ProposalsTest, ANicheIsTheBestOfItsDegrees) {
  Niches niches(space_);
  EXPECT_TRUE(niches.empty());
  const Strategy two = Member(2), four = Member(4);
  Strategy other = two;
  other.batch_size = 8;
  niches.Add(two, 0.5);
  niches.Add(four, 0.4);
  niches.Add(other, 0.3);
  EXPECT_EQ(niches.Draw(0, rng_).best, two) << "the other is no better";
  niches.Add(other, 0.6);
  EXPECT_EQ(niches.Draw(0, rng_).best, other);
  niches.Add(four, 0.7);
  EXPECT_EQ(niches.Draw(0, rng_).best, four);
  std::set<std::int64_t> drawn;
  for (int i = 0; i < 50; ++i) drawn.insert(niches.Draw(1, rng_).best.tensor_parallel_size);
  EXPECT_EQ(drawn, (std::set<std::int64_t>{2, 4}));
}

/// Every move from the best one once, then those of the next niche; what is known is left out.
TEST_F(ProposalsTest, MovesAreMadeOnce) {
  std::set<std::string> reachable;
  const Strategy two = Member(2), four = Member(4);
  for (const Strategy& from : {two, four}) {
    for (int group = 0; group < NumMoveGroups(space_); ++group) {
      for (const Strategy& move : Moves(space_, from, group)) reachable.insert(ToShortString(move));
    }
  }
  Niches niches(space_);
  niches.Add(two, 1);
  niches.Add(four, 0.5);
  for (const Strategy& from : {two, four}) known_.insert(ToShortString(from));
  known_.insert(*reachable.begin());
  std::size_t made = 0;
  while (const Strategy* move = niches.NextMove(0, Known(), rng_)) {
    ASSERT_TRUE(space_.Contains(*move));
    ASSERT_TRUE(known_.insert(ToShortString(*move)).second) << "not twice";
    ASSERT_LT(++made, 100000U);
  }
  for (const std::string& move : reachable) EXPECT_TRUE(known_.contains(move)) << move;
  // A better one has moves of its own.
  Strategy better = two;
  better.batch_size = 8;
  niches.Add(better, 2);
  EXPECT_NE(niches.NextMove(0, Known(), rng_), nullptr);
}

TEST_F(ProposalsTest, ScreensThenChangesThenLeavesToThePolicy) {
  PpoConfig config;
  config.rollout_size = 40;
  config.screen_share = 0.5;
  config.mutation_share = 0.75;
  config.neighbour_share = 0;
  config.crossed_share = 0;
  Proposals proposals(space_, actions_, config, Known());
  const auto open = [](const Choices& settled) { return std::count(settled.begin(), settled.end(), Guide::kOpen); };
  for (const Guide& guide : proposals.Next(true, rng_)) {
    ASSERT_EQ(guide.settled.size(), actions_.variables().size());
    EXPECT_EQ(open(guide.settled), 0);
    const Strategy screened = space_.Decode(actions_.Expand(guide.settled));
    EXPECT_EQ(WithRoundedDegrees(space_, screened), screened);
  }
  for (const Guide& guide : proposals.Next(false, rng_)) EXPECT_TRUE(guide.settled.empty()) << "nothing to change yet";

  const Strategy parent = Member(4);
  const Choices choices = actions_.Reduce(space_.Encode(parent));
  proposals.Add(parent, 1);
  const std::vector<Guide> guides = proposals.Next(false, rng_);
  ASSERT_EQ(guides.size(), 40U);
  for (std::size_t i = 0; i < guides.size(); ++i) {
    if (i >= 30) {
      EXPECT_TRUE(guides[i].settled.empty());
      continue;
    }
    EXPECT_GE(open(guides[i].settled), 1);
    for (std::size_t a = 0; a < choices.size(); ++a) {
      const bool reopened = guides[i].settled[a] == Guide::kOpen;
      EXPECT_EQ(guides[i].avoided[a], reopened ? choices[a] : Guide::kOpen);
      if (!reopened) {
        EXPECT_EQ(guides[i].settled[a], choices[a]);
      }
    }
  }
}

/// The sizes of one and the layers of another.
TEST_F(ProposalsTest, CrossesSizesWithLayers) {
  PpoConfig config;
  config.screen_share = config.neighbour_share = 0;
  config.mutation_share = config.crossed_share = 1;
  config.parent_decay = 1;
  Proposals proposals(space_, actions_, config, Known());
  const Strategy two = Member(2);
  Strategy four = Member(4);
  four = WithLayers(space_, four, ShardingTemplates()[3]);
  proposals.Add(two, 1);
  proposals.Add(four, 0.9);
  bool crossed = false;
  for (const Guide& guide : proposals.Next(false, rng_)) {
    const Choices full = actions_.Expand(guide.settled);
    const auto tp = space_.Values(static_cast<int>(Variable::kTensorParallelSize))[static_cast<std::size_t>(full[1])];
    const auto layout_variable = static_cast<int>(Variable::kResidualLayout);
    const auto layout =
        space_.Values(layout_variable)[static_cast<std::size_t>(full[static_cast<std::size_t>(layout_variable)])];
    crossed = crossed || (tp == 2 && layout == GetVariable(four, layout_variable));
  }
  ASSERT_NE(GetVariable(two, static_cast<int>(Variable::kResidualLayout)),
            GetVariable(four, static_cast<int>(Variable::kResidualLayout)));
  EXPECT_TRUE(crossed);
}

}  // namespace
}  // namespace shardscout::agents
