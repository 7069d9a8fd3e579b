#include "env/simulator/link_loads.h"

#include <gtest/gtest.h>

#include <numeric>

#include "env/analytical/block_cost.h"
#include "env/simulator/pass_simulation.h"
#include "shardscout/preset_paths.h"

namespace shardscout::env {
namespace {

class LinkLoadsTest : public ::testing::Test {
 protected:
  std::vector<double> Shares(const ClusterSpec& cluster, Collective collective, Group group,
                             SendWay way = SendWay::kForward) {
    Task task;
    task.kind = TaskKind::kCollective;
    task.collective = collective;
    task.group = group;
    task.payload_bytes = 64e6;
    Strategy strategy;
    strategy.tensor_parallel_size = collective == Collective::kSendRecv ? group.stride : group.size * group.stride;
    strategy.pipeline_parallel_size = collective == Collective::kSendRecv ? group.size : 1;
    const Problem problem(LoadModel("llama-3.1-8b"), cluster, LoadWorkload("decode-chat"));
    SpanCache spans(problem, strategy);
    const std::vector<GroupSpan>& where = SpansOfTask(task, spans);
    const double duration_s = CollectiveTime(cluster, collective, task.payload_bytes, where);
    return LinkShares(cluster, task, where, duration_s, way);
  }
  /// Which of them are loaded.
  static std::vector<int> Loaded(const std::vector<double>& shares) {
    std::vector<int> loaded;
    for (std::size_t i = 0; i < shares.size(); ++i) {
      if (shares[i] > 0) loaded.push_back(static_cast<int>(i));
    }
    return loaded;
  }
};

TEST_F(LinkLoadsTest, PortsOfSwitchesAndLinksOfTori) {
  EXPECT_EQ(LinksOfTiers(LoadCluster("h100-sxm", 64)), (std::vector<std::size_t>{1, 1}));
  EXPECT_EQ(LinksOfTiers(LoadCluster("tpu-v5p", 64)).front(), 6U);
}

/// The header's example.
TEST_F(LinkLoadsTest, ATorusOfFour) {
  const ClusterSpec cluster = LoadCluster("tpu-v5p", 64);
  const auto loaded = [&](Collective collective, Group group, SendWay way = SendWay::kForward) {
    return Loaded(Shares(cluster, collective, group, way));
  };
  EXPECT_EQ(loaded(Collective::kAllGather, {4, 1}), (std::vector<int>{0, 1}));
  EXPECT_EQ(loaded(Collective::kAllGather, {2, 1}), (std::vector<int>{0, 1}));
  EXPECT_EQ(loaded(Collective::kAllReduce, {4, 4}), (std::vector<int>{2, 3}));
  EXPECT_EQ(loaded(Collective::kAllReduce, {16, 1}), (std::vector<int>{0, 1, 2, 3}));
  EXPECT_EQ(loaded(Collective::kAllToAll, {64, 1}), (std::vector<int>{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(loaded(Collective::kSendRecv, {2, 4}), (std::vector<int>{2}));
  EXPECT_EQ(loaded(Collective::kSendRecv, {2, 4}, SendWay::kBack), (std::vector<int>{3}));
  EXPECT_EQ(loaded(Collective::kSendRecv, {2, 2}), (std::vector<int>{0}));
  EXPECT_EQ(loaded(Collective::kSendRecv, {2, 16}), (std::vector<int>{4}));
}

/// A send of 64 MB takes its one link nearly whole: what is left is latency.
TEST_F(LinkLoadsTest, ASendTakesItsLink) {
  const std::vector<double> torus = Shares(LoadCluster("tpu-v5p", 64), Collective::kSendRecv, {2, 4});
  EXPECT_GT(torus[2], 0.9);
  EXPECT_LE(torus[2], 1);
  const std::vector<double> port = Shares(LoadCluster("h100-sxm", 64), Collective::kSendRecv, {2, 8});
  ASSERT_EQ(port.size(), 2U);
  EXPECT_GT(port[1], 0.5);
}

/// Where stages lie within a dimension, sends and collectives meet; where they lie along another one, they don't.
TEST_F(LinkLoadsTest, StagesAlongAnotherDimensionDoNotMeet) {
  const auto slowdown = [](std::int64_t tp) {
    const Problem problem(LoadModel("llama-3.1-70b"), LoadCluster("tpu-v5p", 64), LoadWorkload("prefill-chat"));
    Strategy s;
    s.tensor_parallel_size = tp;
    s.pipeline_parallel_size = 4;
    s.batch_size = s.num_microbatches = 8;
    s.residual_layout = Layout::kTokenSharded;
    return SimulatePasses(problem, s, {}).prefill_s / SimulatePasses(problem, s, {.contention = false}).prefill_s;
  };
  EXPECT_GT(slowdown(2), 1 + 1e-6);
  EXPECT_NEAR(slowdown(4), 1, 1e-9) << "but for the rounding to picoseconds";
}

}  // namespace
}  // namespace shardscout::env
