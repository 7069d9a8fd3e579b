#include "shardscout/journal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>
#include <vector>

#include "shardscout/error.h"
#include "shardscout/random.h"
#include "shardscout/searcher.h"
#include "tests/test_evaluators.h"

namespace shardscout {
namespace {

using testing::HasSubstr;

const JournalHeader kHeader = {"problem", "configuration", "build"};

std::string Read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

void Write(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << text;
}

std::string ErrorOf(const std::function<void()>& action) {
  try {
    action();
  } catch (const SpecError& error) {
    return error.what();
  }
  return "";
}

/// A different strategy for each number, and an awkward number in its evaluation.
Journal::Entry EntryOf(int i) {
  Strategy strategy;
  strategy.batch_size = i;
  Evaluation evaluation = test::Feasible(1.0 / (i + 2));
  evaluation.memory.kv_cache_bytes = 1e15 / (i + 0.1);
  evaluation.excess.tpot = -1e-17 * i;
  return {strategy, evaluation};
}

class JournalTest : public testing::Test {
 protected:
  JournalTest() : path_(testing::TempDir() + "shardscout-journal-" + std::to_string(::getpid()) + ".jsonl") {}
  ~JournalTest() override { std::filesystem::remove(path_); }

  std::string ResumeError() const {
    return ErrorOf([this] { Journal::Resume(path_, kHeader, nullptr); });
  }
  /// A journal of entries 1 to n.
  void Fill(int n) const {
    const auto journal = Journal::Create(path_, kHeader);
    for (int i = 1; i <= n; ++i) journal->Append({EntryOf(i)});
  }

  const std::string path_;
};

TEST_F(JournalTest, LinesAreAsDocumented) {
  const auto journal = Journal::Create(path_, kHeader);
  journal->Append({EntryOf(1), EntryOf(2)});
  std::istringstream lines(Read(path_));
  std::string line;
  std::getline(lines, line);
  EXPECT_EQ(line, R"({"header":{"problem_digest":"problem","configuration_digest":"configuration","build":"build"}})");
  std::getline(lines, line);
  EXPECT_THAT(line, testing::StartsWith(R"({"n":1,"strategy":{"pipeline_parallel_size":1,)"));
  EXPECT_THAT(line, HasSubstr(R"("evaluation":{"metrics":{"ttft_s":0.5,)"));
  std::getline(lines, line);
  EXPECT_THAT(line, testing::StartsWith(R"({"n":2,)"));
  EXPECT_FALSE(std::getline(lines, line));
}

TEST_F(JournalTest, ReadsBackBitForBitAndGoesOn) {
  Fill(20);
  std::vector<std::string> warnings;
  {
    const auto journal = Journal::Resume(path_, kHeader, &warnings);
    EXPECT_EQ(journal->NumReplayable(), 20);
    for (int i = 1; i <= 20; ++i) EXPECT_EQ(journal->Find(EntryOf(i).strategy), EntryOf(i).evaluation);
    EXPECT_EQ(journal->Find(EntryOf(21).strategy), std::nullopt);
    const std::string before = Read(path_);
    journal->Append({EntryOf(3), EntryOf(5)});  // Known: not written again.
    EXPECT_EQ(Read(path_), before);
    journal->Append({EntryOf(4), EntryOf(21), EntryOf(21)});
    EXPECT_THAT(Read(path_), testing::StartsWith(before + "{\"n\":21,"));
  }
  EXPECT_EQ(Journal::Resume(path_, kHeader, &warnings)->NumReplayable(), 21);
  EXPECT_THAT(warnings, testing::IsEmpty());
}

TEST_F(JournalTest, CreateReplacesAndResumeOfNothingCreates) {
  Fill(3);
  EXPECT_EQ(Journal::Create(path_, kHeader)->NumReplayable(), 0);
  EXPECT_EQ(Journal::Resume(path_, kHeader, nullptr)->NumReplayable(), 0);
  std::filesystem::remove(path_);
  std::vector<std::string> warnings;
  Journal::Resume(path_, kHeader, &warnings)->Append({EntryOf(1)});
  EXPECT_THAT(warnings, testing::IsEmpty());
  EXPECT_EQ(Journal::Resume(path_, kHeader, nullptr)->NumReplayable(), 1);
}

TEST_F(JournalTest, ATornLastLineIsDroppedWhereverItWasTorn) {
  Fill(3);
  const std::string whole = Read(path_);
  Fill(2);
  const std::string two = Read(path_);
  ASSERT_TRUE(whole.starts_with(two));
  for (std::size_t length = two.size(); length < whole.size(); ++length) {
    Write(path_, whole.substr(0, length));
    std::vector<std::string> warnings;
    const auto journal = Journal::Resume(path_, kHeader, &warnings);
    ASSERT_EQ(journal->NumReplayable(), 2) << length;
    ASSERT_EQ(Read(path_), two) << length;
    ASSERT_EQ(warnings.size(), length == two.size() ? 0u : 1u) << length;
    journal->Append({EntryOf(3)});
    ASSERT_EQ(Read(path_), whole) << length;
  }
}

TEST_F(JournalTest, ATornHeaderIsWrittenAnew) {
  Fill(0);
  const std::string whole = Read(path_);
  for (std::size_t length = 0; length < whole.size(); ++length) {
    Write(path_, whole.substr(0, length));
    std::vector<std::string> warnings;
    ASSERT_EQ(Journal::Resume(path_, kHeader, &warnings)->NumReplayable(), 0);
    ASSERT_EQ(Read(path_), whole);
  }
}

TEST_F(JournalTest, ADamagedLastLineIsDroppedAlsoWithItsNewline) {
  Fill(2);
  const std::string two = Read(path_);
  for (const std::string& damage : {std::string("{\"n\":3}\n"), std::string(100, '\0'), std::string("\n"),
                                    std::string("{\"n\":3,\"strategy\":{}}\n")}) {
    Write(path_, two + damage);
    std::vector<std::string> warnings;
    EXPECT_EQ(Journal::Resume(path_, kHeader, &warnings)->NumReplayable(), 2);
    EXPECT_THAT(warnings, testing::ElementsAre(HasSubstr("line 4")));
    EXPECT_EQ(Read(path_), two);
  }
}

TEST_F(JournalTest, DamageElsewhereNamesTheLine) {
  Fill(4);
  const std::string whole = Read(path_);
  const std::size_t third_line = whole.find("{\"n\":2");
  std::string damaged = whole;
  damaged[third_line + 20] = '#';
  Write(path_, damaged);
  EXPECT_THAT(ResumeError(), HasSubstr(path_ + " line 3"));
  EXPECT_THAT(ResumeError(), HasSubstr("without --resume"));
  EXPECT_EQ(Read(path_), damaged) << "a damaged journal must stay as it is";

  // A line that is missing, and one that is there twice.
  const std::size_t fourth_line = whole.find("{\"n\":3");
  Write(path_, whole.substr(0, third_line) + whole.substr(fourth_line));
  EXPECT_THAT(ResumeError(), HasSubstr("line 3"));
  Write(path_, whole.substr(0, fourth_line) + whole.substr(third_line));
  EXPECT_THAT(ResumeError(), HasSubstr("line 4"));
}

TEST_F(JournalTest, RefusesAnotherProblemOrConfigurationAndSpeaksOfAnotherBuild) {
  Fill(2);
  const std::string before = Read(path_);
  EXPECT_THAT(ErrorOf([&] {
                Journal::Resume(path_, {"other", "configuration", "build"}, nullptr);
              }),
              HasSubstr("another problem"));
  EXPECT_THAT(ErrorOf([&] {
                Journal::Resume(path_, {"problem", "other", "build"}, nullptr);
              }),
              HasSubstr("another configuration"));
  std::vector<std::string> warnings;
  EXPECT_EQ(Journal::Resume(path_, {"problem", "configuration", "other"}, &warnings)->NumReplayable(), 2);
  EXPECT_THAT(warnings, testing::ElementsAre(HasSubstr("another build")));
  EXPECT_EQ(Read(path_), before);
}

TEST_F(JournalTest, RefusesWhatIsNoJournal) {
  for (const std::string text : {"plan", "{\"schema_version\": 1}\n", "\n\n", "{\"header\":{}}\n"}) {
    Write(path_, text);
    EXPECT_THAT(ResumeError(), HasSubstr("not the header of a journal")) << text;
    EXPECT_EQ(Read(path_), text);
  }
}

TEST_F(JournalTest, WhatCannotBeWrittenIsTheUsersError) {
  EXPECT_THAT(ErrorOf([] { Journal::Create("/nonexistent/folder/j.jsonl", kHeader); }), HasSubstr("create its folder"));
  EXPECT_THAT(ErrorOf([] { Journal::Create(testing::TempDir(), kHeader); }), HasSubstr("cannot be written"));
  EXPECT_THAT(ErrorOf([] { Journal::Create("/dev/full", kHeader); }), HasSubstr("free some space"));
  EXPECT_THAT(ErrorOf([] { Journal::Resume("/dev/full", kHeader, nullptr); }), HasSubstr("free some space"));
}

TEST_F(JournalTest, AFullDiskLeavesWholeLinesOnly) {
  const auto journal = Journal::Create(path_, kHeader);
  journal->Append({EntryOf(1)});
  const std::string before = Read(path_);
  rlimit old{};
  ::getrlimit(RLIMIT_FSIZE, &old);
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit small = old;
  small.rlim_cur = before.size() + 100;  // Room for a part of the next line.
  ::setrlimit(RLIMIT_FSIZE, &small);
  const std::string error = ErrorOf([&] { journal->Append({EntryOf(2), EntryOf(3)}); });
  ::setrlimit(RLIMIT_FSIZE, &old);
  std::signal(SIGXFSZ, old_handler);
  EXPECT_THAT(error, HasSubstr("--resume"));
  EXPECT_EQ(Read(path_), before);
  EXPECT_EQ(journal->Find(EntryOf(2).strategy), std::nullopt);
  journal->Append({EntryOf(2)});
  EXPECT_THAT(Read(path_), testing::StartsWith(before + "{\"n\":2,"));
}

TEST_F(JournalTest, OneWriterAtATime) {
  const auto journal = Journal::Create(path_, kHeader);
  journal->Append({EntryOf(1)});
  const std::string before = Read(path_);
  EXPECT_THAT(ResumeError(), HasSubstr("another search"));
  EXPECT_THAT(ErrorOf([&] { Journal::Create(path_, kHeader); }), HasSubstr("another search"));
  EXPECT_EQ(Read(path_), before);
}

// ---- A search that is killed and resumed ----

struct Outcome {
  Strategy best;
  std::vector<double> curve;
  std::int64_t calls = 0;
  std::string journal;
};

class ResumedSearchTest : public JournalTest {
 protected:
  ResumedSearchTest() : problem_(test::WideProblem()), space_(problem_) {}

  /// A whole search of 60 evaluations, or one that stops after about `stop_after`.
  Outcome Search(const std::string& searcher_name, Journal* journal, std::int64_t stop_after = 1000) const {
    SearcherRegistry registry;
    RegisterBuiltinSearchers(registry);
    const test::FunctionEvaluator evaluator(test::Landscape(space_));
    std::atomic<bool> stop = false;
    EnvironmentOptions options;
    options.budget = 60;
    options.journal = journal;
    options.stop = &stop;
    options.on_progress = [&](const Progress& progress) { stop = progress.evaluations >= stop_after; };
    SearchEnvironment environment(space_, evaluator, options);
    SearcherSettings settings;
    if (searcher_name == "random") settings.assignments = {"minibatch_size=8"};
    registry.Make(searcher_name, settings)->Search(environment, 3);
    return {environment.best()->strategy,
            {environment.best_so_far().begin(), environment.best_so_far().end()},
            evaluator.calls(),
            Read(path_)};
  }

  const Problem problem_;
  const StrategySpace space_;
};

TEST_F(ResumedSearchTest, PaysForNothingTwiceAndEndsTheSame) {
  for (const std::string name : {"random", "annealing"}) {
    const Outcome whole = Search(name, Journal::Create(path_, kHeader).get());
    ASSERT_EQ(whole.calls, 60);
    const Outcome first = Search(name, Journal::Create(path_, kHeader).get(), 20);
    ASSERT_GE(first.calls, 20);
    ASSERT_LT(first.calls, 30);
    ASSERT_TRUE(whole.journal.starts_with(first.journal));
    // Killed while a line was written: that evaluation had not counted, and is paid for again.
    for (const std::size_t torn : {0u, 1u, 100u}) {
      Write(path_, first.journal.substr(0, first.journal.size() - torn));
      const Outcome second = Search(name, Journal::Resume(path_, kHeader, nullptr).get());
      EXPECT_EQ(second.calls, 60 - first.calls + (torn > 0 ? 1 : 0));
      EXPECT_EQ(second.best, whole.best);
      EXPECT_EQ(second.curve, whole.curve);
      EXPECT_EQ(second.journal, whole.journal);
    }
  }
}

TEST_F(ResumedSearchTest, GoesOnWhereverItsLastLineWasCut) {
  const Outcome whole = Search("annealing", Journal::Create(path_, kHeader).get());
  const Outcome first = Search("annealing", Journal::Create(path_, kHeader).get(), 50);
  const std::size_t last_line = first.journal.rfind('\n', first.journal.size() - 2) + 1;
  ASSERT_GT(first.journal.size() - last_line, 500u);
  // Every byte was looked at above; a whole search takes a few milliseconds.
  for (std::size_t cut = 0; last_line + cut <= first.journal.size(); cut += cut < 3 ? 1 : 41) {
    const std::size_t length = last_line + cut;
    Write(path_, first.journal.substr(0, length));
    const Outcome second = Search("annealing", Journal::Resume(path_, kHeader, nullptr).get());
    ASSERT_EQ(second.calls, 60 - first.calls + (length < first.journal.size() ? 1 : 0)) << length;
    ASSERT_EQ(second.best, whole.best) << length;
    ASSERT_EQ(second.curve, whole.curve) << length;
    ASSERT_EQ(second.journal, whole.journal) << length;
  }
}

TEST_F(ResumedSearchTest, ReplayedEvaluationsAreCharged) {
  const Outcome whole = Search("random", Journal::Create(path_, kHeader).get());
  const Outcome again = Search("random", Journal::Resume(path_, kHeader, nullptr).get());
  EXPECT_EQ(again.calls, 0);
  EXPECT_EQ(again.curve.size(), 60u);
  EXPECT_EQ(again.curve, whole.curve);
}

TEST_F(ResumedSearchTest, WhatAFailingBatchPaidForIsKept) {
  Rng rng(1);
  std::vector<Strategy> batch;
  for (int i = 0; i < 6; ++i) batch.push_back(space_.Sample(rng));
  const test::FunctionEvaluator failing([&](const Strategy& strategy) -> Evaluation {
    if (strategy == batch[4]) throw std::runtime_error("a worker died");
    return test::Feasible(1);
  });
  {
    const auto journal = Journal::Create(path_, kHeader);
    SearchEnvironment environment(space_, failing, {.budget = 50, .journal = journal.get()});
    EXPECT_THROW(environment.Evaluate(batch), std::runtime_error);
  }
  EXPECT_EQ(Journal::Resume(path_, kHeader, nullptr)->NumReplayable(), 4);
}

}  // namespace
}  // namespace shardscout
