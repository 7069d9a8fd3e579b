// Searches whose evaluator measures: what it answers is dear and does not come again. The evaluator here only bears the
// name of the one that does.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "shardscout/journal.h"
#include "shardscout/live_run.h"
#include "shardscout/run_search.h"
#include "tests/test_evaluators.h"

namespace shardscout {
namespace {

/// Gets the calls so far, over all evaluators of a test.
using Hook = std::function<void(std::int64_t)>;

/// Every answer differs a little from the last, as measurements do; `hook` is called before each.
class Noisy final : public Evaluator {
 public:
  Noisy(std::int64_t* calls, Hook hook, bool feasible) : calls_(calls), hook_(std::move(hook)), feasible_(feasible) {}
  std::string_view Name() const override { return kLiveEvaluator; }
  Evaluation Evaluate(const Strategy& strategy) const override {
    if (hook_) hook_(*calls_);
    ++*calls_;
    const double size = static_cast<double>(strategy.InstanceSize());
    return feasible_ ? test::Feasible(size + 0.001 * static_cast<double>(*calls_)) : test::OverMemory(1);
  }
  Breakdown Explain(const Strategy&) const override { return {}; }

 private:
  std::int64_t* calls_;
  Hook hook_;
  bool feasible_;
};

class MeasuredSearchTest : public testing::Test {
 protected:
  MeasuredSearchTest() : path_(testing::TempDir() + "shardscout-measured-" + std::to_string(::getpid()) + ".jsonl") {
    RegisterBuiltinSearchers(searchers_);
    std::filesystem::remove(path_);
  }
  ~MeasuredSearchTest() override { std::filesystem::remove(path_); }

  SearchReport Search(std::int64_t budget, bool resume, const Hook& hook = {}, bool feasible = true) {
    EvaluatorRegistry evaluators;
    evaluators.Register(kLiveEvaluator, "noise",
                        [&](const Problem&) { return std::make_unique<Noisy>(&calls_, hook, feasible); });
    SearchRequest request;
    request.searcher = "exhaustive";
    request.evaluator = kLiveEvaluator;
    request.budget = budget;
    request.journal_path = path_;
    request.resume = resume;
    return RunSearch(problem_, request, searchers_, evaluators);
  }

  /// Different strategies in the journal's whole lines, charged or not.
  std::int64_t Journalled() const {
    std::ifstream file(path_);
    std::set<std::string> strategies;
    for (std::string line; std::getline(file, line);) {
      const std::size_t first = line.find("\"strategy\""), end = line.find("\"evaluation\"");
      if (end != std::string::npos) strategies.insert(line.substr(first, end - first));
    }
    return std::ssize(strategies);
  }

  const Problem problem_ = test::NarrowProblem();
  const std::string path_;
  SearcherRegistry searchers_;
  std::int64_t calls_ = 0;
};

TEST_F(MeasuredSearchTest, ClaimsNoProof) {
  const SearchReport all = Search(100000, false);
  EXPECT_EQ(all.status, SearchStatus::kSpaceExhausted);
  EXPECT_EQ(static_cast<double>(all.evaluations), all.space.strategies);
  ASSERT_TRUE(all.plan);
  EXPECT_FALSE(all.plan->certificate);
  EXPECT_EQ(all.plan->search.status, "space_exhausted");
  EXPECT_EQ(Search(100000, false, {}, false).status, SearchStatus::kNothingFound);
}

TEST_F(MeasuredSearchTest, EachIsInTheJournalBeforeTheNextIsMeasured) {
  std::int64_t looked = 0;
  Search(20, false, [&](std::int64_t calls) {
    EXPECT_EQ(Journalled(), calls);
    ++looked;
  });
  EXPECT_GE(looked, 20);
}

TEST_F(MeasuredSearchTest, AKilledSearchLosesNothingThatItMeasured) {
  constexpr std::int64_t kKilledAt = 12;
  const auto killed = [&] {
    Search(20, false, [](std::int64_t calls) {
      if (calls == kKilledAt) raise(SIGKILL);
    });
  };
  EXPECT_EXIT(killed(), testing::KilledBySignal(SIGKILL), "");
  ASSERT_EQ(Journalled(), kKilledAt);
  const SearchReport whole = Search(20, true);
  EXPECT_EQ(whole.evaluations, 20);
  EXPECT_EQ(Journalled(), calls_ + kKilledAt) << "none was measured twice";
}

TEST_F(MeasuredSearchTest, AResumedSearchKeepsTheRewardsOfTheFirst) {
  const SearchReport first = Search(20, false);
  const std::int64_t calls = calls_;
  const SearchReport again = Search(20, true);
  EXPECT_EQ(calls_, calls) << "nothing was measured anew";
  EXPECT_EQ(again.replayed, 20);
  EXPECT_EQ(again.normaliser, first.normaliser);
  EXPECT_EQ(again.best_so_far, first.best_so_far);
}

TEST_F(MeasuredSearchTest, EndsWithinABatch) {
  const StrategySpace space(problem_);
  const std::vector<Strategy> batch = test::AllMembers(space);
  std::atomic<bool> stop = false;
  const Noisy evaluator(
      &calls_, [&](std::int64_t calls) { stop = calls == 2; }, true);
  SearchEnvironment environment(space, evaluator, {.budget = 20, .stop = &stop});
  const std::vector<Scored> answer = environment.Evaluate(batch);
  ASSERT_EQ(answer.size(), 3u);
  for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(answer[i].strategy, batch[i]);
  EXPECT_EQ(environment.Evaluations(), 3);
  EXPECT_EQ(environment.ended(), EndReason::kInterrupted);
}

}  // namespace
}  // namespace shardscout
