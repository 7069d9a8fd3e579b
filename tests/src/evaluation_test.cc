#include "shardscout/evaluation.h"

#include <gtest/gtest.h>

namespace shardscout {
namespace {

TEST(DescribeViolations, NamesEachBrokenLimit) {
  WorkloadSpec workload;
  workload.ttft_target_s = 2;
  workload.tpot_target_s = 0.05;
  Evaluation evaluation;
  evaluation.memory.weight_bytes = 91.2e9;
  evaluation.memory.limit_bytes = 77.3e9;
  evaluation.metrics.tpot_s = 0.061;
  EXPECT_EQ(DescribeViolations(evaluation, workload), "");
  evaluation.excess = {.memory = 0.18, .ttft = -1, .tpot = 0.22};
  EXPECT_EQ(DescribeViolations(evaluation, workload),
            "memory 91.2 GB of 77.3 GB (+18.0 %); TPOT 61.0 ms of 50.0 ms (+22.0 %)");
  evaluation.excess = {.memory = 1e-9, .ttft = 0, .tpot = 0};
  EXPECT_EQ(DescribeViolations(evaluation, workload), "memory 91.2 GB of 77.3 GB (+0.01 %)");
}

}  // namespace
}  // namespace shardscout
