#include "strategies/group_names.h"

#include <gtest/gtest.h>

namespace shardscout {
namespace {

TEST(GroupNamesTest, AsTheDesignCallsThem) {
  Strategy s;
  s.tensor_parallel_size = 4;
  s.context_parallel_size = 2;
  s.data_parallel_size = 8;
  s.expert_parallel_size = 16;
  s.expert_tensor_parallel_size = 2;
  const auto name = [&](Operator op, std::int64_t size, std::int64_t stride) {
    return GroupName(s, op, {size, stride});
  };
  EXPECT_EQ(name(Operator::kAttnOut, 4, 1), "tp (4 ranks)");
  EXPECT_EQ(name(Operator::kAttention, 2, 4), "cp (2 ranks)");
  EXPECT_EQ(name(Operator::kFfnUp, 16, 4), "cp*dp (16 ranks)");
  EXPECT_EQ(name(Operator::kFfnUp, 64, 1), "stage (64 ranks)");
  EXPECT_EQ(name(Operator::kDispatch, 16, 2), "ep (16 ranks)");
  EXPECT_EQ(name(Operator::kExpertDown, 2, 1), "etp (2 ranks)");
  EXPECT_EQ(name(Operator::kDispatch, 32, 1), "block (32 ranks)");
  EXPECT_EQ(name(Operator::kDispatch, 8, 4), "block/tp (8 ranks)");
  EXPECT_EQ(name(Operator::kDispatch, 3, 7), "3 ranks, stride 7");
}

/// The same ranks may be a tp and an ep group: the operator tells which is meant.
TEST(GroupNamesTest, TheOperatorDecidesBetweenEqualGroups) {
  Strategy s;
  s.tensor_parallel_size = s.expert_parallel_size = 8;
  EXPECT_EQ(GroupName(s, Operator::kAttnOut, {8, 1}), "tp (8 ranks)");
  EXPECT_EQ(GroupName(s, Operator::kCombine, {8, 1}), "ep (8 ranks)");
}

}  // namespace
}  // namespace shardscout
