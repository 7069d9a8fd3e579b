#include "shardscout/screening.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cmath>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "shardscout/error.h"
#include "shardscout/journal.h"
#include "shardscout/run_search.h"
#include "tests/tiny_problems.h"

namespace shardscout {
namespace {

/// An evaluator that says twice the throughput of every strategy with tensor parallelism, half of any other's, and
/// counts what it is asked.
class Doubting final : public Evaluator {
 public:
  Doubting(std::unique_ptr<Evaluator> wrapped, std::atomic<int>* asked)
      : wrapped_(std::move(wrapped)), asked_(*asked) {}
  std::string_view Name() const override { return "doubting"; }
  Evaluation Evaluate(const Strategy& strategy) const override {
    ++asked_;
    Evaluation evaluation = wrapped_->Evaluate(strategy);
    evaluation.metrics.throughput_per_device *= strategy.tensor_parallel_size > 1 ? 2 : 0.5;
    return evaluation;
  }
  Breakdown Explain(const Strategy& strategy) const override { return wrapped_->Explain(strategy); }

 private:
  std::unique_ptr<Evaluator> wrapped_;
  std::atomic<int>& asked_;
};

class ScreeningTest : public ::testing::Test {
 protected:
  ScreeningTest() {
    RegisterBuiltinSearchers(searchers_);
    RegisterBuiltinEvaluators(evaluators_);
    evaluators_.Register("doubting", "", [this](const Problem& problem) {
      return std::make_unique<Doubting>(plain_.Make("analytical", problem), &asked_);
    });
    RegisterBuiltinEvaluators(plain_);
    request_.searcher = "annealing";
    request_.evaluator = "doubting";
    request_.budget = 40;
    request_.screen =
        ScreenRequest{.evaluator = "analytical", .searcher = "", .settings = {}, .budget = 300, .keep = 10};
  }

  SearchReport Run(const Problem& problem) { return RunSearch(problem, request_, searchers_, evaluators_); }
  std::string ErrorOf() {
    try {
      Run(problem_);
    } catch (const SpecError& error) {
      return error.what();
    }
    return "";
  }
  std::string JournalPath() const {
    return ::testing::TempDir() + "shardscout_screening_" + std::to_string(::getpid()) + ".jsonl";
  }

  Problem problem_ = testing::SmallProblem(testing::MoeModel(), 8, WorkloadKind::kDecode);
  EvaluatorRegistry evaluators_, plain_;
  SearcherRegistry searchers_;
  SearchRequest request_;
  std::atomic<int> asked_ = 0;
};

TEST_F(ScreeningTest, ItsBestAreEvaluatedFirst) {
  SearchRequest cheap = request_;
  cheap.screen.reset();
  cheap.evaluator = "analytical";
  cheap.budget = 300;
  cheap.top = 10;
  const SearchReport found = RunSearch(problem_, cheap, searchers_, evaluators_);
  const SearchReport report = Run(problem_);
  ASSERT_TRUE(report.screen);
  EXPECT_EQ(report.screen->evaluations, 300);
  EXPECT_EQ(report.evaluations, 40) << "the screen is free";
  ASSERT_EQ(report.screen->kept.size(), 10U);
  double best = -1;
  for (std::size_t i = 0; i < 10; ++i) {
    EXPECT_EQ(report.screen->kept[i].strategy, found.top[i].strategy);
    EXPECT_EQ(report.screen->kept[i].evaluation, found.top[i].evaluation);
    const StrategyReport judged = EvaluateStrategy(problem_, found.top[i].strategy, "doubting", evaluators_);
    best = std::max(best, judged.reward);
    EXPECT_DOUBLE_EQ(report.best_so_far[i], best);
  }
}

TEST_F(ScreeningTest, NothingElseReachesTheDearOneWhereAllIsKept) {
  request_.budget = 10;
  const SearchReport report = Run(problem_);
  EXPECT_EQ(report.evaluations, 10);
  bool kept = false;
  for (const Scored& scored : report.screen->kept) kept = kept || scored.strategy == report.best->strategy;
  EXPECT_TRUE(kept);
  const int megatron_and_judge = asked_ - 10;
  asked_ = 0;
  request_.screen->keep = 1;
  EXPECT_EQ(Run(problem_).evaluations, 10) << "what is left of the budget is the searcher's";
  EXPECT_EQ(asked_ - 10, megatron_and_judge);
}

TEST_F(ScreeningTest, ThePlanHasBothFigures) {
  const SearchReport report = Run(problem_);
  ASSERT_TRUE(report.plan);
  const Strategy& winner = report.best->strategy;
  EXPECT_EQ(report.screen->of_best, plain_.Make("analytical", problem_)->Evaluate(winner));
  ASSERT_TRUE(report.plan->search.screen);
  const ScreenProvenance& screen = *report.plan->search.screen;
  EXPECT_EQ(screen.evaluator, "analytical");
  EXPECT_EQ(screen.searcher, "annealing");
  EXPECT_EQ(screen.kept, 10);
  EXPECT_GT(winner.tensor_parallel_size, 1);
  EXPECT_DOUBLE_EQ(screen.objective, report.screen->of_best.metrics.throughput_per_device);
  EXPECT_DOUBLE_EQ(screen.difference, 1) << "twice as much";
  EXPECT_EQ(ParsePlan(ToJson(*report.plan), "plan").search, report.plan->search);
}

/// The analytical evaluator does not see overlap, so each of its best goes on with every one that is admitted.
TEST_F(ScreeningTest, EveryOverlapGoesOn) {
  const ProblemOptions options{.fixed = {}, .admitted_overlaps = {Overlap::kNone, Overlap::kTwoBatch}};
  const Problem problem = testing::SmallProblem(testing::MoeModel(), 8, WorkloadKind::kDecode, 16, options);
  request_.screen->keep = 11;
  const SearchReport report = Run(problem);
  ASSERT_EQ(report.screen->kept.size(), 11U);
  const std::vector<Scored>& kept = report.screen->kept;
  EXPECT_TRUE(std::is_sorted(kept.begin(), kept.end(), Better));
  for (std::size_t i = 0; i + 1 < kept.size(); i += 2) {
    EXPECT_EQ(kept[i].strategy.overlap, Overlap::kNone);
    EXPECT_EQ(kept[i + 1].strategy.overlap, Overlap::kTwoBatch);
    Strategy same = kept[i + 1].strategy;
    same.overlap = Overlap::kNone;
    EXPECT_EQ(kept[i].strategy, same);
  }
}

TEST_F(ScreeningTest, ItsSearcherMayBeAnother) {
  request_.screen->searcher = "exact";
  const SearchReport report = Run(problem_);
  EXPECT_EQ(report.screen->searcher, "exact");
  EXPECT_EQ(report.screen->status, SearchStatus::kProvenOptimal);
  EXPECT_EQ(report.evaluations, 40);
  request_.screen->searcher = "exacct";
  EXPECT_NE(ErrorOf().find("exact"), std::string::npos);
}

TEST_F(ScreeningTest, WhatIsWronglyAskedIsAnError) {
  request_.screen->evaluator = "doubting";
  EXPECT_NE(ErrorOf().find("--screen"), std::string::npos);
  request_.screen->evaluator = "analytical";
  request_.screen->budget = 0;
  EXPECT_NE(ErrorOf().find("--screen-budget"), std::string::npos);
  request_.screen->budget = 1;
  request_.screen->keep = 0;
  EXPECT_NE(ErrorOf().find("--screen-keep"), std::string::npos);
  EXPECT_EQ(asked_, 0) << "nothing is spent before";
}

TEST_F(ScreeningTest, AKilledSearchGoesOnAndAnotherScreenIsRefused) {
  const SearchReport whole = Run(problem_);
  request_.journal_path = JournalPath();
  std::atomic<bool> stop{false};
  request_.stop = &stop;
  request_.on_progress = [&](const Progress& progress) {
    stop = progress.budget == request_.budget && progress.evaluations >= 20;
  };
  const SearchReport broken = Run(problem_);
  EXPECT_EQ(broken.status, SearchStatus::kInterrupted);
  EXPECT_LT(broken.evaluations, 40);
  stop = false;
  request_.on_progress = nullptr;
  request_.resume = true;
  const SearchReport resumed = Run(problem_);
  EXPECT_EQ(resumed.replayed, broken.evaluations);
  EXPECT_EQ(ToJson(*resumed.plan), ToJson(*whole.plan));
  request_.screen->keep = 9;
  EXPECT_NE(ErrorOf().find("configuration"), std::string::npos);
  request_.screen.reset();
  EXPECT_NE(ErrorOf().find("configuration"), std::string::npos);
  std::remove(JournalPath().c_str());
}

}  // namespace
}  // namespace shardscout
