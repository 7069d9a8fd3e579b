#include "shardscout/search_environment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <limits>
#include <map>
#include <set>
#include <stdexcept>
#include <vector>

#include "shardscout/error.h"
#include "shardscout/random.h"
#include "shardscout/searcher.h"
#include "tests/test_evaluators.h"

namespace shardscout {
namespace {

/// `n` distinct members of a space, always the same.
std::vector<Strategy> Distinct(const StrategySpace& space, std::size_t n) {
  Rng rng(1);
  std::vector<Strategy> strategies;
  std::set<Strategy> seen;
  while (strategies.size() < n) {
    const Strategy strategy = space.Sample(rng);
    if (seen.insert(strategy).second) strategies.push_back(strategy);
  }
  return strategies;
}

class SearchEnvironmentTest : public testing::Test {
 protected:
  SearchEnvironmentTest() : problem_(test::WideProblem()), space_(problem_), strategies_(Distinct(space_, 100)) {}

  std::span<const Strategy> Some(std::size_t from, std::size_t count) const {
    return std::span(strategies_).subspan(from, count);
  }

  const Problem problem_;
  const StrategySpace space_;
  const std::vector<Strategy> strategies_;
};

TEST_F(SearchEnvironmentTest, ChargesTheFirstEvaluationOnly) {
  const test::FunctionEvaluator evaluator(test::Landscape(space_));
  SearchEnvironment environment(space_, evaluator, {.budget = 50});
  EXPECT_FALSE(environment.Known(strategies_[0]));
  const std::vector<Strategy> batch = {strategies_[0], strategies_[1], strategies_[0]};
  const std::vector<Scored> answer = environment.Evaluate(batch);
  ASSERT_EQ(answer.size(), 3u);
  for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(answer[i].strategy, batch[i]);
  EXPECT_EQ(answer[2].evaluation, answer[0].evaluation);
  EXPECT_EQ(environment.Evaluations(), 2);
  EXPECT_EQ(environment.Remaining(), 48);
  EXPECT_EQ(evaluator.calls(), 2);
  EXPECT_TRUE(environment.Known(strategies_[0]));
  environment.Evaluate(strategies_[1]);
  EXPECT_EQ(environment.Evaluations(), 2);
  EXPECT_EQ(evaluator.calls(), 2);
  EXPECT_EQ(environment.ended(), EndReason::kNone);
}

TEST_F(SearchEnvironmentTest, EstimatesAreFreeAndCounted) {
  const test::FunctionEvaluator evaluator(test::Landscape(space_));
  const test::FunctionEvaluator cheap([](const Strategy&) { return test::Feasible(3); });
  EnvironmentOptions options{.budget = 5};
  options.normaliser = 2;
  SearchEnvironment without(space_, evaluator, options);
  EXPECT_FALSE(without.HasEstimates());
  EXPECT_TRUE(without.Estimate(Some(0, 4)).empty());
  options.estimator = &cheap;
  SearchEnvironment environment(space_, evaluator, options);
  EXPECT_TRUE(environment.HasEstimates());
  EXPECT_THAT(environment.Estimate(Some(0, 4)), testing::Each(1.5));
  EXPECT_EQ(environment.Estimates(), 4);
  EXPECT_EQ(environment.Evaluations(), 0);
  EXPECT_FALSE(environment.Known(strategies_[0]));
  EXPECT_EQ(evaluator.calls(), 0);
}

TEST_F(SearchEnvironmentTest, EndsOnceThereIsEnough) {
  const test::FunctionEvaluator evaluator(
      [&](const Strategy& s) { return test::Feasible(s == strategies_[7] ? 2.0 : 1.0); });
  EnvironmentOptions options{.budget = 50};
  options.enough_reward = 2;
  SearchEnvironment environment(space_, evaluator, options);
  EXPECT_EQ(environment.Evaluate(Some(0, 5)).size(), 5u);
  EXPECT_EQ(environment.ended(), EndReason::kNone);
  EXPECT_EQ(environment.Evaluate(Some(5, 5)).size(), 5u) << "the batch is answered whole";
  EXPECT_EQ(environment.ended(), EndReason::kEnough);
  EXPECT_TRUE(environment.Evaluate(Some(10, 5)).empty());
  EXPECT_EQ(environment.Evaluations(), 10);
  EXPECT_EQ(StatusOf(environment, SearchStatus::kFinished), SearchStatus::kGapReached);
}

TEST_F(SearchEnvironmentTest, ABatchScoredElsewhereIsAsIfScoredHere) {
  const test::FunctionEvaluator evaluator(test::Landscape(space_)), unused(test::Landscape(space_));
  SearchEnvironment here(space_, evaluator, {.budget = 12});
  std::vector<std::vector<Strategy>> asked;
  EnvironmentOptions options{.budget = 12};
  options.evaluate_batch = [&](std::span<const Strategy> batch) {
    asked.emplace_back(batch.begin(), batch.end());
    std::vector<Evaluation> answers;
    for (const Strategy& strategy : batch) answers.push_back(evaluator.Evaluate(strategy));
    return answers;
  };
  SearchEnvironment elsewhere(space_, unused, options);
  for (const auto& [from, count] : {std::pair<std::size_t, std::size_t>{0, 5}, {3, 6}, {0, 9}, {8, 10}}) {
    const std::vector<Scored> a = here.Evaluate(Some(from, count)), b = elsewhere.Evaluate(Some(from, count));
    ASSERT_EQ(a.size(), b.size());
    for (std::size_t i = 0; i < a.size(); ++i) {
      EXPECT_EQ(a[i].strategy, b[i].strategy);
      EXPECT_EQ(a[i].evaluation, b[i].evaluation);
      EXPECT_EQ(a[i].reward, b[i].reward);
    }
  }
  EXPECT_EQ(here.Evaluations(), elsewhere.Evaluations());
  EXPECT_EQ(unused.calls(), 0);
  ASSERT_EQ(asked.size(), 3u) << "a batch without news asks nobody";
  EXPECT_EQ(asked[1].size(), 4u) << "only what is new";
}

TEST_F(SearchEnvironmentTest, RewardIsNormalised) {
  const test::FunctionEvaluator evaluator(test::Constant(test::Feasible(300)));
  SearchEnvironment environment(space_, evaluator, {.budget = 5, .normaliser = 200});
  EXPECT_DOUBLE_EQ(environment.Evaluate(strategies_[0])->reward, 1.5);
}

TEST_F(SearchEnvironmentTest, CutsABatchAtTheEndOfTheBudget) {
  const test::FunctionEvaluator evaluator(test::Landscape(space_));
  SearchEnvironment environment(space_, evaluator, {.budget = 3});
  environment.Evaluate(Some(0, 2));
  // New, known, new (too many), known: only the prefix before the third is answered.
  const std::vector<Strategy> batch = {strategies_[2], strategies_[0], strategies_[2], strategies_[3], strategies_[1]};
  EXPECT_EQ(environment.Evaluate(batch).size(), 3u);
  EXPECT_EQ(environment.Evaluations(), 3);
  EXPECT_EQ(evaluator.calls(), 3);
  EXPECT_EQ(environment.ended(), EndReason::kBudget);
  EXPECT_EQ(environment.Remaining(), 0);
  EXPECT_TRUE(environment.Evaluate(Some(0, 1)).empty());
  EXPECT_FALSE(environment.Evaluate(strategies_[0]).has_value());
}

TEST_F(SearchEnvironmentTest, NoBudgetIsOverAtOnce) {
  const test::FunctionEvaluator evaluator(test::Landscape(space_));
  SearchEnvironment environment(space_, evaluator, {.budget = 0});
  EXPECT_EQ(environment.ended(), EndReason::kBudget);
  EXPECT_FALSE(environment.Evaluate(strategies_[0]).has_value());
  EXPECT_EQ(evaluator.calls(), 0);
}

TEST_F(SearchEnvironmentTest, BestCurveCountsAndTop) {
  std::map<Strategy, Evaluation> table;
  const double values[] = {2, 1, 3, 3, 5};
  for (std::size_t i = 0; i < 5; ++i) table[strategies_[i]] = test::Feasible(values[i]);
  const test::FunctionEvaluator evaluator(test::Table(table, test::OverMemory(1)));
  SearchEnvironment environment(space_, evaluator, {.budget = 50});
  EXPECT_FALSE(environment.best().has_value());
  environment.Evaluate(strategies_[5]);
  EXPECT_EQ(environment.FeasibleEvaluations(), 0);
  environment.Evaluate(Some(0, 4));
  EXPECT_EQ(environment.FeasibleEvaluations(), 4);
  const std::vector<double> curve(environment.best_so_far().begin(), environment.best_so_far().end());
  EXPECT_EQ(curve, (std::vector<double>{-0.5, 2, 2, 3, 3}));
  // Of the two with reward 3, the smaller strategy, whatever the order they came in.
  EXPECT_EQ(environment.best()->strategy, std::min(strategies_[2], strategies_[3]));

  const std::vector<Scored> top = environment.Top(3);
  ASSERT_EQ(top.size(), 3u);
  EXPECT_EQ(top[0].strategy, std::min(strategies_[2], strategies_[3]));
  EXPECT_EQ(top[1].strategy, std::max(strategies_[2], strategies_[3]));
  EXPECT_EQ(top[2].strategy, strategies_[0]);
  EXPECT_EQ(environment.Top(100).size(), 5u);
  EXPECT_TRUE(environment.Top(0).empty());
}

TEST_F(SearchEnvironmentTest, StartStrategiesComeFirstAndAreCharged) {
  const test::FunctionEvaluator evaluator(test::Landscape(space_));
  SearchEnvironment environment(space_, evaluator, {.budget = 10, .start = {strategies_[7], strategies_[3]}});
  EXPECT_EQ(environment.Evaluations(), 2);
  ASSERT_EQ(environment.start().size(), 2u);
  EXPECT_EQ(environment.start()[0].strategy, strategies_[7]);
  EXPECT_EQ(environment.start()[1].strategy, strategies_[3]);
  EXPECT_TRUE(environment.Known(strategies_[3]));
  EXPECT_TRUE(environment.best().has_value());
}

TEST_F(SearchEnvironmentTest, AStrategyOutsideTheSpaceIsABug) {
  const test::FunctionEvaluator evaluator(test::Constant(test::Feasible(1)));
  SearchEnvironment environment(space_, evaluator, {.budget = 10});
  Strategy outside = strategies_[0];
  outside.tensor_parallel_size = 7;
  EXPECT_THROW(environment.Evaluate(outside), std::logic_error);
  EXPECT_EQ(environment.Evaluations(), 0);
  EXPECT_EQ(evaluator.calls(), 0);
}

TEST_F(SearchEnvironmentTest, ANumberThatIsNotFiniteIsABug) {
  Evaluation evaluation = test::Feasible(1);
  evaluation.memory.activation_bytes = std::numeric_limits<double>::quiet_NaN();
  const test::FunctionEvaluator evaluator(test::Constant(evaluation));
  SearchEnvironment environment(space_, evaluator, {.budget = 10});
  EXPECT_THROW(environment.Evaluate(strategies_[0]), std::logic_error);
}

TEST_F(SearchEnvironmentTest, AnEvaluatorsExceptionGoesOnAndTheFirstInBatchOrderWins) {
  const auto& bad = strategies_;
  const test::FunctionEvaluator evaluator([&](const Strategy& strategy) -> Evaluation {
    if (strategy == bad[3]) throw std::runtime_error("third");
    if (strategy == bad[6]) throw std::runtime_error("sixth");
    return test::Feasible(1);
  });
  for (const int threads : {1, 2}) {
    SearchEnvironment environment(space_, evaluator, {.budget = 50, .threads = threads});
    try {
      environment.Evaluate(Some(0, 20));
      FAIL() << "nothing was thrown";
    } catch (const std::runtime_error& error) {
      EXPECT_STREQ(error.what(), "third");
    }
    EXPECT_EQ(environment.Evaluations(), 0);
    EXPECT_EQ(environment.Evaluate(Some(7, 5)).size(), 5u);  // And it goes on.
  }
}

TEST_F(SearchEnvironmentTest, ThreadsChangeNothing) {
  std::vector<std::vector<double>> curves;
  for (const int threads : {1, 2, 5}) {
    const test::FunctionEvaluator evaluator(test::Landscape(space_));
    SearchEnvironment environment(space_, evaluator, {.budget = 70, .threads = threads});
    const std::vector<Scored> answer = environment.Evaluate(Some(0, 100));
    EXPECT_EQ(answer.size(), 70u);
    for (std::size_t i = 0; i < answer.size(); ++i) EXPECT_EQ(answer[i].strategy, strategies_[i]);
    curves.emplace_back(environment.best_so_far().begin(), environment.best_so_far().end());
  }
  EXPECT_EQ(curves[0], curves[1]);
  EXPECT_EQ(curves[0], curves[2]);
}

TEST_F(SearchEnvironmentTest, StopFlagIsLookedAtBeforeEveryBatch) {
  const test::FunctionEvaluator evaluator(test::Landscape(space_));
  std::atomic<bool> stop = false;
  SearchEnvironment environment(space_, evaluator, {.budget = 50, .stop = &stop});
  EXPECT_EQ(environment.Evaluate(Some(0, 5)).size(), 5u);
  stop = true;
  EXPECT_EQ(environment.ended(), EndReason::kNone);
  EXPECT_TRUE(environment.Evaluate(Some(0, 10)).empty());
  EXPECT_EQ(environment.ended(), EndReason::kInterrupted);
  EXPECT_EQ(evaluator.calls(), 5);
}

TEST_F(SearchEnvironmentTest, TimeLimit) {
  const test::FunctionEvaluator evaluator(test::Landscape(space_));
  SearchEnvironment environment(space_, evaluator, {.budget = 50, .time_limit_s = 1e-9});
  EXPECT_TRUE(environment.Evaluate(Some(0, 10)).empty());
  EXPECT_EQ(environment.ended(), EndReason::kTime);
  SearchEnvironment patient(space_, evaluator, {.budget = 50, .time_limit_s = 3600});
  EXPECT_EQ(patient.Evaluate(Some(0, 10)).size(), 10u);
}

TEST_F(SearchEnvironmentTest, ASearcherThatAsksForNothingNewIsStopped) {
  const test::FunctionEvaluator evaluator(test::Landscape(space_));
  SearchEnvironment environment(space_, evaluator, {.budget = 10});
  std::int64_t asked = 0;
  while (environment.Evaluate(strategies_[0]).has_value()) ASSERT_LT(++asked, 10000);
  EXPECT_EQ(environment.ended(), EndReason::kStalled);
  EXPECT_EQ(asked, 1 + 200 * 10);
  EXPECT_EQ(environment.Evaluations(), 1);
}

TEST_F(SearchEnvironmentTest, EmptyBatchesAreNothingNewEither) {
  const test::FunctionEvaluator evaluator(test::Landscape(space_));
  SearchEnvironment environment(space_, evaluator, {.budget = 1});
  for (int i = 0; i < 200; ++i) {
    EXPECT_EQ(environment.ended(), EndReason::kNone);
    environment.Evaluate(std::span<const Strategy>());
  }
  EXPECT_EQ(environment.ended(), EndReason::kStalled);
}

TEST_F(SearchEnvironmentTest, NoticesThatTheSpaceIsExhausted) {
  const Problem problem = test::NarrowProblem();
  const StrategySpace space(problem);
  const std::vector<Strategy> members = test::AllMembers(space);
  ASSERT_GT(members.size(), 5u);
  ASSERT_LT(members.size(), 1000u);
  const test::FunctionEvaluator evaluator(test::Landscape(space));
  SearchEnvironment environment(space, evaluator, {.budget = 1000});
  // All but the last, again and again: not the end.
  const std::span<const Strategy> but_one = std::span(members).first(members.size() - 1);
  for (int i = 0; i < 70; ++i) environment.Evaluate(but_one);
  EXPECT_EQ(environment.ended(), EndReason::kNone);
  EXPECT_EQ(environment.Evaluate(members.back())->strategy, members.back());
  EXPECT_EQ(environment.ended(), EndReason::kSpace);
}

TEST_F(SearchEnvironmentTest, ReportsProgressAfterEveryBatch) {
  const test::FunctionEvaluator evaluator(test::Constant(test::Feasible(2)));
  std::vector<Progress> seen;
  EnvironmentOptions options;
  options.budget = 20;
  options.on_progress = [&](const Progress& progress) { seen.push_back(progress); };
  SearchEnvironment environment(space_, evaluator, options);
  environment.Evaluate(Some(0, 3));
  environment.Evaluate(Some(3, 4));
  ASSERT_EQ(seen.size(), 2u);
  EXPECT_EQ(seen[0].evaluations, 3);
  EXPECT_EQ(seen[1].evaluations, 7);
  EXPECT_EQ(seen[1].budget, 20);
  EXPECT_EQ(seen[1].feasible, 7);
  EXPECT_EQ(seen[1].best_reward, 2);
}

TEST(BetterTest, HigherRewardThenSmallerStrategy) {
  Scored a;
  Scored b;
  b.strategy.overlap = Overlap::kChunked;
  EXPECT_TRUE(Better(a, b));
  EXPECT_FALSE(Better(b, a));
  EXPECT_FALSE(Better(a, a));
  b.reward = 1;
  EXPECT_TRUE(Better(b, a));
}

}  // namespace
}  // namespace shardscout
