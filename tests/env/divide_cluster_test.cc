#include "shardscout/divide_cluster.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <string>

#include "shardscout/error.h"
#include "shardscout/preset_paths.h"
#include "shardscout/two_pools.h"

namespace shardscout {
namespace {

class DivideCluster : public ::testing::Test {
 protected:
  DivideCluster() {
    RegisterBuiltinEvaluators(evaluators_);
    RegisterBuiltinSearchers(searchers_);
    workload_ = LoadWorkload("serve-chat");
    workload_.max_batch_size = 256;
    request_.searcher = "exact";
  }

  Problem On(std::int64_t devices) const {
    return Problem(LoadModel("llama-3.1-8b"), LoadCluster(cluster_, devices), workload_);
  }
  Division Divide(std::int64_t devices) const {
    return shardscout::DivideCluster(On(devices), request_, searchers_, evaluators_);
  }
  /// The best of one phase on its own devices, by a search of its own.
  double BestRate(Phase phase, std::int64_t devices) const {
    WorkloadSpec alone = workload_;
    const bool prefill = phase == Phase::kPrefill;
    alone.kind = prefill ? WorkloadKind::kPrefill : WorkloadKind::kDecode;
    (prefill ? alone.tpot_target_s : alone.ttft_target_s).reset();
    const Problem problem(LoadModel("llama-3.1-8b"), LoadCluster(cluster_, devices), alone);
    const SearchReport report = RunSearch(problem, request_, searchers_, evaluators_);
    return report.plan ? RequestsPerS(alone, report.plan->evaluation.metrics, phase) : 0;
  }
  std::string Error() const {
    try {
      Divide(8);
    } catch (const SpecError& error) {
      return error.what();
    }
    return "";
  }

  EvaluatorRegistry evaluators_;
  SearcherRegistry searchers_;
  SearchRequest request_;
  WorkloadSpec workload_;
  std::string cluster_ = "h100-sxm";
};

/// Bisection against every division there is.
TEST_F(DivideCluster, IsTheBestOfAllDivisions) {
  for (const auto& [input, output] : {std::pair(4096, 1024), {1024, 4096}, {16384, 64}}) {
    workload_.input_tokens = input;
    workload_.output_tokens = output;
    double best = 0;
    for (std::int64_t n = 1; n < 8; ++n) {
      best = std::max(best, std::min(BestRate(Phase::kPrefill, n), BestRate(Phase::kDecode, 8 - n)));
    }
    const Division division = Divide(8);
    ASSERT_TRUE(division.plan) << input;
    EXPECT_TRUE(division.proved);
    EXPECT_DOUBLE_EQ(division.best->RequestsPerS(), best) << input;
    EXPECT_LT(division.points.size(), 7U) << "bisected";
    // 1e-9: what the deployment does is computed from pools, not from reports.
    EXPECT_NEAR(division.plan->evaluation.metrics.throughput_tokens_per_s, best * output, 1e-9 * best * output);
    EXPECT_TRUE(division.plan->evaluation.Feasible());
  }
}

/// Long prompts want devices for prefill, long outputs for decode.
TEST_F(DivideCluster, FollowsTheWork) {
  workload_.input_tokens = 8192;
  workload_.output_tokens = 1024;
  const Division prompts = Divide(16);
  workload_.input_tokens = 1024;
  workload_.output_tokens = 4096;
  const Division outputs = Divide(16);
  ASSERT_TRUE(prompts.best && outputs.best);
  EXPECT_GT(prompts.best->prefill_devices, outputs.best->prefill_devices);
  ASSERT_TRUE(prompts.one_pool.plan);
  EXPECT_GT(prompts.plan->evaluation.metrics.throughput_tokens_per_s, 0);
}

/// The transfer counts in TPOT: with a target that only decode itself would keep, decode has to be quicker.
TEST_F(DivideCluster, TheTransferBreaksNoTarget) {
  workload_.output_tokens = 8;  // So that its share of a transfer is long.
  workload_.tpot_target_s = 0.03;
  const Division division = Divide(16);
  ASSERT_TRUE(division.plan);
  EXPECT_LE(division.plan->evaluation.metrics.tpot_s, 0.03);
  EXPECT_TRUE(division.plan->evaluation.Feasible());
}

TEST_F(DivideCluster, WithRequestsThePlanIsSimulated) {
  workload_.requests.emplace().num_requests = 200;
  const Division division = Divide(8);
  ASSERT_TRUE(division.plan);
  EXPECT_TRUE(division.plan->evaluation.requests);
  EXPECT_EQ(division.plan->search.evaluator, "simulator");
}

TEST_F(DivideCluster, ManyNodesStayWhole) {
  request_.searcher = "megatron-tuned";
  const Division division = Divide(128);
  ASSERT_TRUE(division.best);
  for (const DivisionPoint& point : division.points) EXPECT_EQ(point.prefill_devices % 8, 0);
  EXPECT_FALSE(division.proved);
}

TEST_F(DivideCluster, NothingFeasibleIsNoPlan) {
  workload_.ttft_target_s = 1e-6;
  const Division division = Divide(8);
  EXPECT_FALSE(division.plan);
  EXPECT_FALSE(division.best);
}

TEST_F(DivideCluster, WhatCannotBeDividedIsAnError) {
  const WorkloadSpec fine = workload_;
  const auto error_with = [&](const std::function<void(WorkloadSpec&)>& change) {
    workload_ = fine;
    change(workload_);
    return Error();
  };
  EXPECT_NE(error_with([](WorkloadSpec& w) { w.kind = WorkloadKind::kDecode; }).find("serve"), std::string::npos);
  EXPECT_NE(error_with([](WorkloadSpec& w) { w.output_tokens = 1; }).find("one output token"), std::string::npos);
  EXPECT_NE(error_with([](WorkloadSpec& w) { w.batch_size = 8; }).find("batch_size"), std::string::npos);
  EXPECT_NE(error_with([](WorkloadSpec& w) { w.concurrency = 8; }).find("concurrency"), std::string::npos);
  EXPECT_NE(error_with([](WorkloadSpec& w) { w.objective = Objective::kLatency; }).find("latency"), std::string::npos);
  workload_ = fine;
  try {
    Divide(1);
    FAIL() << "one device";
  } catch (const SpecError& error) {
    EXPECT_NE(std::string(error.what()).find("two or more"), std::string::npos);
  }
}

}  // namespace
}  // namespace shardscout
