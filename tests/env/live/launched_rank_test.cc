#include <gtest/gtest.h>

#include <map>
#include <string>

#include "shardscout/error.h"
#include "shardscout/live_run.h"

namespace shardscout {
namespace {

using Variables = std::map<std::string, std::string>;

std::optional<LaunchedRank> Find(const Variables& variables) {
  return FindLaunchedRank([&](const char* name) -> const char* {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
}

TEST(LaunchedRankTest, TorchrunsVariables) {
  const auto rank = Find({{"RANK", "3"}, {"WORLD_SIZE", "8"}, {"MASTER_ADDR", "10.0.0.1"}, {"MASTER_PORT", "29501"}});
  ASSERT_TRUE(rank);
  EXPECT_EQ(rank->launcher, "torchrun");
  EXPECT_EQ(rank->rank, 3);
  EXPECT_EQ(rank->world_size, 8);
  EXPECT_EQ(rank->local_rank, 3) << "unless it is said otherwise";
  EXPECT_EQ(rank->master_address, "10.0.0.1");
  EXPECT_EQ(rank->master_port, 29501);
}

TEST(LaunchedRankTest, MpirunNeedsNoAddressOnOneHost) {
  const Variables first{{"OMPI_COMM_WORLD_RANK", "0"}, {"OMPI_COMM_WORLD_SIZE", "4"}, {"PMIX_NAMESPACE", "job.1"}};
  const auto rank = Find(first);
  ASSERT_TRUE(rank);
  EXPECT_EQ(rank->launcher, "mpirun");
  EXPECT_EQ(rank->master_address, "127.0.0.1");
  Variables other = first;
  other["OMPI_COMM_WORLD_RANK"] = "1";
  EXPECT_EQ(Find(other)->master_port, rank->master_port) << "one port a job";
  other["PMIX_NAMESPACE"] = "job.2";
  EXPECT_NE(Find(other)->master_port, rank->master_port);
}

TEST(LaunchedRankTest, SrunNamesItsHost) {
  const auto rank = Find({{"SLURM_PROCID", "1"},
                          {"SLURM_STEP_NUM_TASKS", "2"},
                          {"SLURM_LOCALID", "0"},
                          {"SLURM_JOB_ID", "77"},
                          {"SLURM_LAUNCH_NODE_IPADDR", "10.0.0.9"}});
  ASSERT_TRUE(rank);
  EXPECT_EQ(rank->launcher, "srun");
  EXPECT_EQ(rank->local_rank, 0) << "the first of its host";
  EXPECT_EQ(rank->master_address, "10.0.0.9");
}

TEST(LaunchedRankTest, NoneAndMistakes) {
  EXPECT_FALSE(Find({}));
  EXPECT_FALSE(Find({{"RANK", "0"}})) << "a rank of nothing";
  EXPECT_THROW(Find({{"RANK", "8"}, {"WORLD_SIZE", "8"}, {"MASTER_PORT", "1"}}), SpecError);
  EXPECT_THROW(Find({{"RANK", "x"}, {"WORLD_SIZE", "8"}, {"MASTER_PORT", "1"}}), SpecError);
  EXPECT_THROW(Find({{"RANK", "0"}, {"WORLD_SIZE", "8"}}), SpecError) << "no port";
  EXPECT_THROW(Find({{"RANK", "0"}, {"WORLD_SIZE", "8"}, {"MASTER_PORT", "70000"}}), SpecError);
}

}  // namespace
}  // namespace shardscout
