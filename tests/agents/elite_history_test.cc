#include "agents/elite_history.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "shardscout/random.h"

namespace shardscout::agents {
namespace {

TEST(EliteHistoryTest, KeepsTheBestDistinctOnes) {
  const Choices a = {0}, b = {1}, c = {2};
  EliteHistory history(2);
  EXPECT_TRUE(history.empty());
  EXPECT_TRUE(history.Add(a, 0.5));
  EXPECT_TRUE(history.Add(b, 0.9));
  EXPECT_FALSE(history.Add(a, 0.5)) << "known";
  EXPECT_TRUE(history.Add(c, 0.7));
  ASSERT_EQ(history.elites().size(), 2u);
  EXPECT_EQ(history.elites()[0], (Elite{b, 0.9}));
  EXPECT_EQ(history.elites()[1], (Elite{c, 0.7}));
  EXPECT_FALSE(history.Add(a, 0.5)) << "too low";
}

TEST(EliteHistoryTest, TiesGoToTheSmaller) {
  EliteHistory history(2);
  history.Add({2}, 1);
  history.Add({1}, 1);
  history.Add({0}, 1);
  EXPECT_EQ(history.elites()[0].choices, Choices{0});
  EXPECT_EQ(history.elites()[1].choices, Choices{1});
  EXPECT_FALSE(history.Add({3}, 1));
}

TEST(EliteHistoryTest, IsTheSortedPrefixOfAllWhateverTheOrder) {
  Rng rng(3);
  for (int round = 0; round < 50; ++round) {
    std::map<Choices, double> all;
    for (int i = 0; i < 40; ++i) {
      const int first = static_cast<int>(rng.Below(4)), second = static_cast<int>(rng.Below(4));
      all.emplace(Choices{first, second}, static_cast<double>(rng.Below(5)) / 4 - 0.5);
    }
    std::vector<Elite> expected;
    for (const auto& [choices, reward] : all) expected.push_back({choices, reward});
    std::stable_sort(expected.begin(), expected.end(),
                     [](const Elite& a, const Elite& b) { return a.reward > b.reward; });
    expected.resize(std::min<std::size_t>(expected.size(), 5));
    std::vector<Elite> offered(expected.begin(), expected.end());
    for (const auto& [choices, reward] : all) offered.push_back({choices, reward});
    rng.Shuffle(offered);
    EliteHistory history(5);
    for (const Elite& elite : offered) history.Add(elite.choices, elite.reward);
    EXPECT_EQ(std::vector<Elite>(history.elites().begin(), history.elites().end()), expected);
  }
}

}  // namespace
}  // namespace shardscout::agents
