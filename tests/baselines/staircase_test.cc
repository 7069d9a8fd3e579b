#include "baselines/exact/staircase.h"

#include <gtest/gtest.h>

#include <vector>

namespace shardscout::baselines::exact {
namespace {

Candidate Of(double score, double latency_s, std::int64_t batch = 1) {
  Candidate candidate;
  candidate.strategy.batch_size = batch;
  candidate.worth = {score, latency_s};
  return candidate;
}

std::vector<Worth> WorthsOf(const Staircase& staircase) {
  std::vector<Worth> worths;
  for (const Candidate& step : staircase.steps()) worths.push_back(step.worth);
  return worths;
}

TEST(StaircaseTest, KeepsWhatNothingElseCovers) {
  Staircase staircase;
  for (const Candidate& c : {Of(10, 3), Of(5, 1), Of(8, 4), Of(7, 2), Of(4, 2), Of(12, 9)}) staircase.Add(c);
  EXPECT_EQ(WorthsOf(staircase), (std::vector<Worth>{{5, 1}, {7, 2}, {10, 3}, {12, 9}}));
  staircase.Add(Of(11, 2));
  EXPECT_EQ(WorthsOf(staircase), (std::vector<Worth>{{5, 1}, {11, 2}, {12, 9}}));
}

TEST(StaircaseTest, CoversWhatIsNoBetterInEither) {
  Staircase staircase;
  EXPECT_FALSE(staircase.Covers({1, 1}));
  EXPECT_TRUE(staircase.Covers(kNothing));
  staircase.Add(Of(5, 1));
  staircase.Add(Of(10, 3));
  EXPECT_TRUE(staircase.Covers({5, 1}));
  EXPECT_TRUE(staircase.Covers({5, 2}));
  EXPECT_FALSE(staircase.Covers({6, 2}));
  EXPECT_FALSE(staircase.Covers({4, 0.5}));
  EXPECT_TRUE(staircase.Covers({10, 4}));
  EXPECT_FALSE(staircase.Covers({11, 4}));
}

TEST(StaircaseTest, OfEqualOnesTheFirstStays) {
  Staircase staircase;
  staircase.Add(Of(5, 1, 2));
  staircase.Add(Of(5, 1, 7));
  ASSERT_EQ(staircase.steps().size(), 1U);
  EXPECT_EQ(staircase.steps().front().strategy.batch_size, 2);
}

TEST(StaircaseTest, BoundsOfOneAndOfEither) {
  EXPECT_EQ(Tightest({5, 1}, {4, 0}), (Worth{4, 1}));
  EXPECT_EQ(Loosest({5, 1}, {4, 0}), (Worth{5, 0}));
  EXPECT_EQ(Loosest({5, 1}, kNothing), (Worth{5, 1})) << "nothing has no latency either";
  EXPECT_EQ(Tightest({5, 1}, kNothing).score, 0);
}

}  // namespace
}  // namespace shardscout::baselines::exact
