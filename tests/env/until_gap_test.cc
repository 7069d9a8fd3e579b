#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <string>

#include "env/proved_bound.h"
#include "shardscout/error.h"
#include "shardscout/run_search.h"
#include "tests/builtin_registries.h"
#include "tests/tiny_problems.h"

namespace shardscout {
namespace {

SearchRequest Request(const std::string& searcher, double until_gap) {
  SearchRequest request;
  request.searcher = searcher;
  request.budget = 2000;
  request.until_gap = until_gap;
  return request;
}

Problem Small() { return {LoadModel("llama-3.1-8b"), LoadCluster("h100-sxm", 8), LoadWorkload("decode-chat")}; }

TEST(UntilGap, ASearcherEndsWithinTheGapOfTheOptimum) {
  const testing::BuiltinRegistries registries;
  const Problem problem = Small();
  const double optimum = registries.Run(problem, Request("exact", 0)).best->reward;
  for (const char* searcher : {"local-search", "evolution"}) {
    SCOPED_TRACE(searcher);
    const SearchReport report = registries.Run(problem, Request(searcher, 0.05));
    EXPECT_EQ(report.status, SearchStatus::kGapReached);
    EXPECT_LT(report.evaluations, 2000);
    EXPECT_GE(report.best->reward, optimum / 1.05);
    EXPECT_GT(report.bound_s, 0);
    ASSERT_TRUE(report.plan && report.plan->certificate);
    const Certificate& proof = *report.plan->certificate;
    EXPECT_LE(proof.gap, 0.05);
    EXPECT_NEAR(proof.gap, proof.bound / proof.value - 1, 1e-12);
    EXPECT_GE(proof.bound / report.normaliser, optimum * (1 - 1e-12));
    EXPECT_EQ(report.plan->search.status, "gap_reached");
    EXPECT_EQ(report.plan->search.until_gap, 0.05);
    EXPECT_EQ(ToJson(ParsePlan(ToJson(*report.plan), "plan")), ToJson(*report.plan));
  }
}

TEST(UntilGap, WhatIsEnoughEndsTheSearchAtOnceAndWhatIsNotChangesNothing) {
  const testing::BuiltinRegistries registries;
  const Problem problem = Small();
  SearchRequest request = Request("random", 1e6);
  const SearchReport any = registries.Run(problem, request);
  EXPECT_EQ(any.status, SearchStatus::kGapReached);
  request.until_gap = 0;
  request.budget = any.evaluations;
  const SearchReport none = registries.Run(problem, request);
  EXPECT_EQ(none.best->strategy, any.best->strategy);
  EXPECT_EQ(none.status, SearchStatus::kBudgetExhausted);
  EXPECT_FALSE(none.plan->certificate);
  EXPECT_FALSE(none.plan->search.until_gap);
  request.budget = 3;  // Too few to come so near.
  request.until_gap = 1e-9;
  const SearchReport short_of = registries.Run(problem, request);
  EXPECT_EQ(short_of.status, SearchStatus::kBudgetExhausted);
  EXPECT_GT(short_of.plan->certificate->gap, 1e-9);
}

TEST(UntilGap, LatencyIsBoundedFromBelow) {
  const testing::BuiltinRegistries registries;
  WorkloadSpec workload = testing::SmallWorkload(WorkloadKind::kPrefill);
  workload.objective = Objective::kLatency;
  const Problem problem(testing::DenseModel(), testing::SmallCluster(8), workload);
  const SearchReport report = registries.Run(problem, Request("local-search", 0.1));
  EXPECT_EQ(report.status, SearchStatus::kGapReached);
  const Certificate& proof = *report.plan->certificate;
  EXPECT_LE(proof.bound, proof.value);
  EXPECT_NEAR(proof.gap, proof.value / proof.bound - 1, 1e-12);
}

TEST(UntilGap, ExactStopsAtTheGapToo) {
  const testing::BuiltinRegistries registries;
  const Problem problem = Small();
  const SearchReport whole = registries.Run(problem, Request("exact", 0));
  EXPECT_EQ(whole.status, SearchStatus::kProvenOptimal);
  const SearchReport loose = registries.Run(problem, Request("exact", 1e6));
  EXPECT_EQ(loose.status, SearchStatus::kGapReached);
  EXPECT_GT(loose.plan->certificate->gap, 0);
  EXPECT_GE(loose.plan->certificate->bound, whole.plan->certificate->value);
}

TEST(UntilGap, IsRefusedWhereNoBoundIsKnown) {
  const testing::BuiltinRegistries registries;
  SearchRequest request = Request("random", 0.01);
  request.evaluator = "simulator";
  try {
    registries.Run(Small(), request);
    FAIL();
  } catch (const SpecError& error) {
    EXPECT_NE(std::string(error.what()).find("--until-gap"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("simulator"), std::string::npos) << error.what();
  }
  request.evaluator = "analytical";
  request.until_gap = -0.01;
  EXPECT_THROW(registries.Run(Small(), request), SpecError);
}

TEST(UntilGap, WithoutAFeasibleStrategyTheSearchGoesOnAndSaysSo) {
  const testing::BuiltinRegistries registries;
  ClusterSpec cluster = LoadCluster("h100-sxm", 1);
  cluster.device.hbm_bytes = 8e9;  // Half of the weights.
  const Problem problem(LoadModel("llama-3.1-8b"), cluster, LoadWorkload("decode-chat"));
  SearchRequest request = Request("random", 0.01);
  request.budget = 20;
  const SearchReport report = registries.Run(problem, request);
  EXPECT_FALSE(report.plan);
  ASSERT_EQ(report.warnings.size(), 1U);
  EXPECT_NE(report.warnings[0].find("no bound"), std::string::npos);
}

TEST(UntilGap, AJournalOfAnotherGapIsRefused) {
  const testing::BuiltinRegistries registries;
  SearchRequest request = Request("random", 0.5);
  request.journal_path = ::testing::TempDir() + "shardscout_until_gap_" + std::to_string(::getpid()) + ".jsonl";
  const SearchReport first = registries.Run(Small(), request);
  request.resume = true;
  const SearchReport again = registries.Run(Small(), request);
  EXPECT_EQ(again.replayed, first.evaluations);
  EXPECT_EQ(ToJson(*again.plan), ToJson(*first.plan));
  request.until_gap = 0.25;
  EXPECT_THROW(registries.Run(Small(), request), SpecError);
  std::filesystem::remove(request.journal_path);
}

TEST(UntilGap, ABoundIsARewardOfItsObjective) {
  const Problem problem = Small();
  EXPECT_DOUBLE_EQ(env::BoundReward(problem, 300, 200), 1.5);
  WorkloadSpec workload = testing::SmallWorkload(WorkloadKind::kDecode);
  workload.objective = Objective::kLatency;
  EXPECT_DOUBLE_EQ(env::BoundReward(Problem(testing::MoeModel(), testing::SmallCluster(8), workload), 0.2, 0.3), 1.5);
}

}  // namespace
}  // namespace shardscout
