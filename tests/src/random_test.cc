#include "shardscout/random.h"

#include <gtest/gtest.h>

#include <array>
#include <map>
#include <set>
#include <stdexcept>
#include <vector>

namespace shardscout {
namespace {

TEST(RngTest, IsMersenneTwister64) {
  // The C++ standard's own check value: the 10000th output of the default-seeded engine.
  Rng rng(5489);
  std::uint64_t last = 0;
  for (int i = 0; i < 10000; ++i) last = rng.Next();
  EXPECT_EQ(last, 9981545732273789042u);
}

TEST(RngTest, StreamsDifferByNameAndSeedAndRepeat) {
  std::set<std::uint64_t> firsts;
  for (std::uint64_t seed : {0u, 1u, 2u}) {
    for (const char* name : {"", "a", "b", "ab", "ba"}) firsts.insert(Rng::Stream(seed, name).Next());
  }
  EXPECT_EQ(firsts.size(), 15u);
  EXPECT_EQ(Rng::Stream(7, "annealing").Next(), Rng::Stream(7, "annealing").Next());
}

TEST(RngTest, StreamIsTheSameOnEveryMachine) {
  // FNV-1a of "annealing", mixed by SplitMix64 with the seed; the numbers are those of an independent computation.
  EXPECT_EQ(Rng::Stream(1, "annealing").Next(), 15234313196890720373u);
}

TEST(RngTest, UniformIsInTheUnitIntervalAndEven) {
  Rng rng(1);
  double sum = 0;
  for (int i = 0; i < 100000; ++i) {
    const double x = rng.Uniform();
    ASSERT_GE(x, 0.0);
    ASSERT_LT(x, 1.0);
    sum += x;
  }
  EXPECT_NEAR(sum / 100000, 0.5, 0.005);
}

TEST(RngTest, BelowIsEvenAndInRange) {
  Rng rng(2);
  std::array<int, 7> counts{};
  for (int i = 0; i < 70000; ++i) ++counts.at(rng.Below(7));
  for (const int count : counts) EXPECT_NEAR(count, 10000, 400);
  EXPECT_EQ(rng.Below(1), 0u);
  EXPECT_THROW(rng.Below(0), std::logic_error);
}

TEST(RngTest, BelowHasNoBiasWhereTheRunsDoNotFit) {
  // n = 3 * 2^62: taking the remainder alone would give the lowest quarter of 2^64 twice as often, half of all draws.
  Rng rng(3);
  const std::size_t n = std::size_t{3} << 62;
  int low = 0;
  for (int i = 0; i < 30000; ++i) low += rng.Below(n) < (std::size_t{1} << 62) ? 1 : 0;
  EXPECT_NEAR(low, 10000, 400);
}

TEST(RngTest, ChoiceFollowsTheWeights) {
  Rng rng(4);
  const std::array<double, 5> weights = {0, 1, 0, 3, 0};
  std::array<int, 5> counts{};
  for (int i = 0; i < 40000; ++i) ++counts.at(rng.Choice(weights));
  EXPECT_EQ(counts[0] + counts[2] + counts[4], 0);
  EXPECT_NEAR(counts[1], 10000, 400);
  const std::array<double, 2> nothing = {0, 0};
  EXPECT_THROW(rng.Choice(nothing), std::logic_error);
}

TEST(RngTest, ShuffleIsAnEvenPermutationOfAllOrders) {
  Rng rng(5);
  std::map<std::vector<int>, int> counts;
  for (int i = 0; i < 60000; ++i) {
    std::vector<int> items = {0, 1, 2};
    rng.Shuffle(items);
    ++counts[items];
  }
  EXPECT_EQ(counts.size(), 6u);
  for (const auto& [order, count] : counts) EXPECT_NEAR(count, 10000, 400);
}

}  // namespace
}  // namespace shardscout
