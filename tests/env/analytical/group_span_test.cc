#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <tuple>
#include <vector>

#include "shardscout/collective_time.h"
#include "tests/env/analytical/test_clusters.h"

namespace shardscout {
namespace {

GroupSpan SpanOfMembers(const ClusterSpec& cluster, const std::vector<std::int64_t>& devices) {
  GroupSpan span;
  span.size = static_cast<std::int64_t>(devices.size());
  span.outermost_tier = -1;
  for (std::size_t t = 0; t < cluster.tiers.size(); ++t) {
    std::map<std::int64_t, std::int64_t> members;
    const std::int64_t size = t + 1 == cluster.tiers.size() ? cluster.num_devices : cluster.tiers[t].size;
    for (std::int64_t d : devices) ++members[d / size];
    std::int64_t least = span.size;
    std::int64_t most = 0;
    for (const auto& [domain, count] : members) {
      least = std::min(least, count);
      most = std::max(most, count);
    }
    span.domains.push_back(static_cast<std::int64_t>(members.size()));
    span.min_members.push_back(least);
    span.max_members.push_back(most);
    if (span.outermost_tier < 0 && members.size() == 1) span.outermost_tier = static_cast<int>(t);
  }
  return span;
}

bool Before(const GroupSpan& a, const GroupSpan& b) {
  return std::tie(a.domains, a.min_members, a.max_members) < std::tie(b.domains, b.min_members, b.max_members);
}

void SortDistinct(std::vector<GroupSpan>& spans) {
  std::sort(spans.begin(), spans.end(), Before);
  spans.erase(std::unique(spans.begin(), spans.end()), spans.end());
}

// Enumerates every group of every stage.
std::vector<GroupSpan> BruteForce(const ClusterSpec& cluster, const Group& group, std::int64_t stage_size,
                                  std::int64_t num_stages) {
  std::vector<GroupSpan> spans;
  const std::int64_t block = group.size * group.stride;
  for (std::int64_t stage = 0; stage < num_stages; ++stage) {
    for (std::int64_t base = 0; base < stage_size; ++base) {
      const bool mesh = stage_size % block == 0;
      if (mesh && base % block >= group.stride) continue;
      if (!mesh && base + (group.size - 1) * group.stride >= stage_size) continue;
      std::vector<std::int64_t> devices;
      for (std::int64_t i = 0; i < group.size; ++i) devices.push_back(stage * stage_size + base + i * group.stride);
      spans.push_back(SpanOfMembers(cluster, devices));
    }
  }
  SortDistinct(spans);
  return spans;
}

TEST(SpansOfTest, WorkedExampleOfTheHeader) {
  const ClusterSpec cluster = testing::H100Cluster(24);
  const std::vector<GroupSpan> spans = SpansOf(cluster, {.size = 4, .stride = 3}, 12, 2);
  ASSERT_EQ(spans.size(), 2u);
  EXPECT_EQ(spans[0], (GroupSpan{4, {2, 1}, {1, 4}, {3, 4}, 1}));
  EXPECT_EQ(spans[1], (GroupSpan{4, {2, 1}, {2, 4}, {2, 4}, 1}));
}

TEST(SpansOfTest, AlignedGroupsHaveOneSpan) {
  const ClusterSpec cluster = testing::H100Cluster(1024);
  const std::vector<GroupSpan> tp = SpansOf(cluster, {.size = 8, .stride = 1}, 32, 32);
  ASSERT_EQ(tp.size(), 1u);
  EXPECT_EQ(tp[0], (GroupSpan{8, {1, 1}, {8, 8}, {8, 8}, 0}));
  const std::vector<GroupSpan> ep = SpansOf(cluster, {.size = 32, .stride = 1}, 32, 32);
  ASSERT_EQ(ep.size(), 1u);
  EXPECT_EQ(ep[0], (GroupSpan{32, {4, 1}, {8, 32}, {8, 32}, 1}));
  const std::vector<GroupSpan> dp = SpansOf(cluster, {.size = 4, .stride = 8}, 32, 32);
  ASSERT_EQ(dp.size(), 1u);
  EXPECT_EQ(dp[0], (GroupSpan{4, {4, 1}, {1, 4}, {1, 4}, 1}));
}

TEST(SpansOfTest, AgreesWithEnumeration) {
  const std::vector<std::vector<std::int64_t>> tiers = {{8}, {4}, {72}, {2, 8}, {4, 12}, {3, 6, 24}, {8, 72}};
  int compared = 0;
  for (const auto& sizes : tiers) {
    const ClusterSpec cluster = testing::TieredCluster(144, sizes);
    for (std::int64_t stage_size : {1, 3, 4, 5, 6, 8, 9, 12, 16, 24, 40, 64, 72}) {
      for (std::int64_t num_stages : {std::int64_t{1}, std::int64_t{2}, std::int64_t{3}, 144 / stage_size}) {
        if (stage_size * num_stages > 144) continue;
        for (std::int64_t size = 1; size <= stage_size; ++size) {
          for (std::int64_t stride = 1; size * stride <= stage_size; ++stride) {
            if (stage_size % (size * stride) != 0) continue;
            const Group group{size, stride};
            ASSERT_EQ(SpansOf(cluster, group, stage_size, num_stages),
                      BruteForce(cluster, group, stage_size, num_stages))
                << "tiers of " << sizes.front() << ".., group " << size << " x " << stride << ", stages " << num_stages
                << " x " << stage_size;
            ++compared;
          }
        }
      }
    }
  }
  EXPECT_GT(compared, 1000);
}

TEST(SpansOfTest, ChainsOfAPipelineAgreeWithEnumeration) {
  for (const auto& sizes : std::vector<std::vector<std::int64_t>>{{8}, {4, 12}, {72}}) {
    const ClusterSpec cluster = testing::TieredCluster(144, sizes);
    for (std::int64_t stage : {1, 2, 3, 4, 6, 8, 12}) {
      for (std::int64_t pp : {2, 3, 4, 5, 7}) {
        const std::int64_t replicas = std::min<std::int64_t>(3, 144 / (stage * pp));
        for (const Group& group : {Group{pp, stage}, Group{2, stage}, Group{2, stage * (pp - 1)}}) {
          ASSERT_EQ(SpansOf(cluster, group, stage * pp, replicas), BruteForce(cluster, group, stage * pp, replicas));
        }
      }
    }
  }
}

TEST(SpansOfTest, TheChainOfAllStagesHasTheOutermostTierOfItsSlowestHop) {
  // Stages of 4 on nodes of 8: stages 0 and 1 share a node, 1 and 2 do not.
  const ClusterSpec cluster = testing::H100Cluster(64);
  for (const GroupSpan& span : SpansOf(cluster, {.size = 4, .stride = 4}, 16, 4)) EXPECT_EQ(span.outermost_tier, 1);
  for (const GroupSpan& span : SpansOf(cluster, {.size = 2, .stride = 4}, 8, 8)) EXPECT_EQ(span.outermost_tier, 0);
}

TEST(SpansOfTest, StagesThatAreGivenAloneAreChainedAnywhere) {
  const ClusterSpec cluster = testing::H100Cluster(24);
  // Pairs 4 apart among 24 devices: half of them cross a node's border.
  const std::vector<GroupSpan> spans = SpansOf(cluster, {.size = 2, .stride = 4}, 4, 6);
  ASSERT_EQ(spans.size(), 2u);
  EXPECT_EQ(spans[0].outermost_tier, 0);
  EXPECT_EQ(spans[1].outermost_tier, 1);
}

TEST(SpansOfTest, ALargeClusterIsNotEnumerated) {
  const ClusterSpec cluster = testing::TieredCluster(24576, {72});
  std::size_t spans = 0;
  for (int i = 0; i < 2000; ++i) spans += SpansOf(cluster, {.size = 5, .stride = 7}, 70, 24576 / 70).size();
  EXPECT_GE(spans, 2000u);
}

}  // namespace
}  // namespace shardscout
