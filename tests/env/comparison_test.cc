#include "shardscout/comparison.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>

#include "shardscout/error.h"
#include "tests/src/spec_error_at.h"
#include "tests/test_evaluators.h"

namespace shardscout {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

/// test::Landscape, which counts its calls.
class LandscapeEvaluator final : public Evaluator {
 public:
  LandscapeEvaluator(const Problem& problem, std::atomic<std::int64_t>& calls)
      : space_(problem), function_(test::Landscape(space_)), calls_(calls) {}
  std::string_view Name() const override { return "landscape"; }
  Evaluation Evaluate(const Strategy& strategy) const override {
    ++calls_;
    return function_(strategy);
  }
  Breakdown Explain(const Strategy&) const override { return {}; }

 private:
  const StrategySpace space_;
  const test::FunctionEvaluator::Function function_;
  std::atomic<std::int64_t>& calls_;
};

/// In the place of the solver: evaluates one strategy and claims what a test tells it to.
class FakeProver final : public Searcher {
 public:
  FakeProver(SearchStatus claim, Certificate certificate) : claim_(claim), certificate_(std::move(certificate)) {}
  std::string_view Name() const override { return "exact"; }
  SearchStatus Search(SearchEnvironment& environment, std::uint64_t seed) override {
    Rng rng(seed);
    while (claim_ != SearchStatus::kProvenInfeasible && environment.ended() == EndReason::kNone) {
      const auto scored = environment.Evaluate(environment.space().Sample(rng));
      if (!scored || scored->evaluation.Feasible()) break;
    }
    return claim_;
  }
  std::string ConfigJson() const override { return "{}"; }
  std::optional<Certificate> Proof() const override { return certificate_; }

 private:
  const SearchStatus claim_;
  const Certificate certificate_;
};

class ComparisonTest : public ::testing::Test {
 protected:
  ComparisonTest() {
    folder_ = ::testing::TempDir() + "shardscout_comparison_" + std::to_string(::getpid()) + "_" +
              ::testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::create_directories(folder_);
    SearcherRegistry builtin;
    RegisterBuiltinSearchers(builtin);
    for (const char* name : {"random", "annealing", "megatron-tuned"}) {
      searchers_.Register(name, builtin.entries().at(name));
    }
    evaluators_.Register("never", "for tests", [](const Problem&) {
      return std::make_unique<test::FunctionEvaluator>(test::Constant(test::OverMemory(1)));
    });
    evaluators_.Register("landscape", "for tests", [this](const Problem& problem) {
      return std::make_unique<LandscapeEvaluator>(problem, calls_);
    });
  }
  ~ComparisonTest() override { std::filesystem::remove_all(folder_); }

  void AddProver(SearchStatus claim, const Certificate& certificate) {
    searchers_.Register(
        "exact",
        {"for tests", [=](const SearcherSettings&) { return std::make_unique<FakeProver>(claim, certificate); }, {}});
  }

  ComparisonRequest Request() const {
    ComparisonRequest request;
    request.name = "test";
    request.problems = {{"wide", std::make_shared<const Problem>(test::WideProblem())},
                        {"narrow", std::make_shared<const Problem>(test::NarrowProblem())}};
    request.searchers = {{"random", {}}, {"annealing", {}}, {"megatron-tuned", {}}};
    request.evaluator = "landscape";
    request.budget = 50;
    request.num_seeds = 3;
    request.threads = 1;
    return request;
  }

  ComparisonRequest Recorded(bool resume) const {
    ComparisonRequest request = Request();
    request.results_path = folder_ + "/results.jsonl";
    request.resume = resume;
    return request;
  }

  ComparisonResults Run(const ComparisonRequest& request) { return RunComparison(request, searchers_, evaluators_); }

  /// Equal but for wall times.
  static void ExpectSame(ComparisonResults a, ComparisonResults b) {
    for (ComparisonResults* results : {&a, &b}) {
      for (ComparisonRun& run : results->runs) run.wall_s = 0;
      for (Reference& reference : results->references) reference.wall_s = 0;
    }
    EXPECT_EQ(a.runs, b.runs);
    EXPECT_EQ(a.references, b.references);
  }

  std::vector<std::string> Lines() const {
    std::ifstream file(folder_ + "/results.jsonl");
    std::vector<std::string> lines;
    for (std::string line; std::getline(file, line);) lines.push_back(line);
    return lines;
  }

  std::string folder_;
  SearcherRegistry searchers_;
  EvaluatorRegistry evaluators_;
  std::atomic<std::int64_t> calls_ = 0;
};

TEST_F(ComparisonTest, RunsEachSearcherOnEachProblemWithEachSeed) {
  const ComparisonResults results = Run(Request());
  EXPECT_TRUE(results.complete);
  std::vector<std::string> names;
  for (const ComparisonRun& run : results.runs) {
    if (run.problem == "wide") names.push_back(run.searcher + " " + std::to_string(run.seed));
  }
  EXPECT_THAT(names, ElementsAre("random 1", "random 2", "random 3", "annealing 1", "annealing 2", "annealing 3",
                                 "megatron-tuned 0"));
  EXPECT_THAT(results.runs, SizeIs(14));
  for (const ComparisonRun& run : results.runs) {
    EXPECT_LE(run.evaluations, 50);
    ASSERT_FALSE(run.improvements.empty());
    EXPECT_EQ(run.improvements.front().evaluation, 1);
  }
}

TEST_F(ComparisonTest, ARunIsTheSearchThatSearchDoes) {
  const ComparisonRequest request = Request();
  const ComparisonResults results = Run(request);
  SearchRequest search;
  search.searcher = "annealing";
  search.evaluator = "landscape";
  search.budget = 50;
  search.seed = 2;
  const SearchReport report = RunSearch(*request.problems[0].problem, search, searchers_, evaluators_);
  const ComparisonRun& run = results.runs[4];
  EXPECT_EQ(run.searcher, "annealing");
  EXPECT_EQ(run.seed, 2);
  EXPECT_EQ(run.evaluations, report.evaluations);
  EXPECT_EQ(run.feasible_evaluations, report.feasible_evaluations);
  EXPECT_EQ(run.improvements.back().reward, report.best->reward);
  EXPECT_EQ(run.value, report.best->evaluation.metrics.throughput_per_device);
  EXPECT_EQ(run.status, ToString(report.status));
}

TEST_F(ComparisonTest, TheNumberOfThreadsChangesNothing) {
  ComparisonRequest request = Request();
  const ComparisonResults one = Run(request);
  request.threads = 4;
  ExpectSame(one, Run(request));
}

TEST_F(ComparisonTest, ResumedPaysOnlyForWhatIsMissing) {
  AddProver(SearchStatus::kProvenOptimal, {1, 1, 0, "all"});
  const ComparisonResults whole = Run(Recorded(false));
  const std::vector<std::string> lines = Lines();
  ASSERT_THAT(lines, SizeIs(1 + 2 + 14));

  // Nothing is missing.
  calls_ = 0;
  const ComparisonResults again = Run(Recorded(true));
  EXPECT_EQ(calls_, 0);
  EXPECT_EQ(again.reused, 16);
  ExpectSame(whole, again);

  // Killed in the middle of the line of the fifth run.
  std::ofstream file(folder_ + "/results.jsonl", std::ios::trunc);
  for (std::size_t i = 0; i < 7; ++i) file << lines[i] << "\n";
  file << lines[7].substr(0, lines[7].size() / 2);
  file.close();
  const ComparisonResults resumed = Run(Recorded(true));
  EXPECT_EQ(resumed.reused, 2 + 4);
  EXPECT_THAT(resumed.warnings, ElementsAre(HasSubstr("torn")));
  ExpectSame(whole, resumed);
  EXPECT_THAT(Lines(), SizeIs(lines.size()));
}

TEST_F(ComparisonTest, InterruptedGoesOnWhereItWas) {
  std::atomic<bool> stop = false;
  ComparisonRequest request = Recorded(false);
  request.stop = &stop;
  request.on_progress = [&](const ComparisonProgress& progress) { stop = progress.done >= 5; };
  const ComparisonResults part = Run(request);
  EXPECT_FALSE(part.complete);
  const ComparisonResults rest = Run(Recorded(true));
  EXPECT_TRUE(rest.complete);
  EXPECT_EQ(rest.reused, 3) << "5 were done, of which 2 were references without a proof";
  ExpectSame(rest, Run(Request()));
}

TEST_F(ComparisonTest, MoreSeedsAndSearchersReuseWhatIsThere) {
  Run(Recorded(false));
  ComparisonRequest request = Recorded(true);
  request.num_seeds = 4;
  request.searchers = {{"annealing", {}}, {"random", {}}};
  const ComparisonResults more = Run(request);
  EXPECT_THAT(more.runs, SizeIs(16));
  EXPECT_EQ(more.reused, 12);
  SearcherSettings patient;
  patient.assignments = {"patience=3"};
  request.searchers = {{"annealing", patient}};
  EXPECT_EQ(Run(request).reused, 0) << "other settings are another searcher";
}

TEST_F(ComparisonTest, RefusesResultsOfAnotherComparison) {
  Run(Recorded(false));
  const std::string path = folder_ + "/results.jsonl";
  EXPECT_THAT(SpecErrorAt(path, [&] { Run(Recorded(false)); }), HasSubstr("--resume"));
  ComparisonRequest request = Recorded(true);
  request.budget = 51;
  EXPECT_THAT(SpecErrorAt(path, [&] { Run(request); }), HasSubstr("another suite"));
  request = Recorded(true);
  request.problems[0].name = "renamed";
  EXPECT_THAT(SpecErrorAt(path, [&] { Run(request); }), HasSubstr("another suite"));
  request = Recorded(true);
  request.build = "LibTorch 99";
  EXPECT_THAT(Run(request).warnings, ElementsAre(HasSubstr("another build")));
}

TEST_F(ComparisonTest, RefusesSearchersBeforeAnythingIsRun) {
  ComparisonRequest request = Request();
  request.searchers.push_back({"anealing", {}});
  EXPECT_THAT(SpecErrorAt("searcher", [&] { Run(request); }), HasSubstr("did you mean \"annealing\""));
  request = Request();
  request.searchers.push_back(request.searchers.front());
  EXPECT_THAT(SpecErrorAt("--searchers", [&] { Run(request); }), HasSubstr("twice"));
  searchers_.Register("picky", {"for tests", searchers_.entries().at("random").factory, {}, "analytical"});
  request = Request();
  request.searchers = {{"picky", {}}};
  EXPECT_THAT(SpecErrorAt("--searchers", [&] { Run(request); }), HasSubstr("no evaluator but analytical"));
  EXPECT_EQ(calls_, 0);
}

TEST_F(ComparisonTest, WithoutAProverTheBestFoundIsTheReference) {
  const ComparisonResults results = Run(Request());
  double best = 0, value = 0;
  for (const ComparisonRun& run : results.runs) {
    if (run.problem != "wide" || run.improvements.back().reward <= best) continue;
    best = run.improvements.back().reward;
    value = run.value;
  }
  EXPECT_EQ(results.references[0], (Reference{ReferenceKind::kBestFound, best, value, 0}));
  const Comparison comparison = Summarise(Request(), results);
  double top = 0;
  for (const SearcherSummary& summary : comparison.problems[0].searchers) top = std::max(top, summary.best_score);
  EXPECT_EQ(top, 1);
}

TEST_F(ComparisonTest, WithoutAProverAndAFeasibleStrategyThereIsNothingToScore) {
  ComparisonRequest request = Request();
  request.evaluator = "never";
  const ComparisonResults results = Run(request);
  EXPECT_EQ(results.references[0].kind, ReferenceKind::kNoneFound);
  const Comparison comparison = Summarise(request, results);
  EXPECT_TRUE(comparison.overall.empty());
  EXPECT_TRUE(comparison.impossible.empty());
}

TEST_F(ComparisonTest, AProofOfInfeasibilityIsOne) {
  AddProver(SearchStatus::kProvenInfeasible, {});
  ComparisonRequest request = Request();
  request.evaluator = "never";
  const ComparisonResults results = Run(request);
  EXPECT_EQ(results.references[0].kind, ReferenceKind::kInfeasible);
  EXPECT_TRUE(Summarise(request, results).overall.empty());
}

TEST_F(ComparisonTest, AnUnfinishedProofGivesItsBound) {
  AddProver(SearchStatus::kFinished, {0.5, 2, 3, "all"});
  const ComparisonResults results = Run(Request());
  const ComparisonRequest request = Request();
  SearchRequest search;
  search.searcher = "random";
  search.evaluator = "landscape";
  search.budget = 1;
  const double normaliser = RunSearch(*request.problems[0].problem, search, searchers_, evaluators_).normaliser;
  EXPECT_EQ(results.references[0].kind, ReferenceKind::kBound);
  EXPECT_EQ(results.references[0].value, 2);
  EXPECT_DOUBLE_EQ(results.references[0].reward, 2 / normaliser);
}

TEST_F(ComparisonTest, ABoundOfAMinimisedObjectiveIsTurned) {
  AddProver(SearchStatus::kFinished, {0.5, 0.25, 1, "all"});
  ComparisonRequest request = Request();
  WorkloadSpec workload = test::TinyWorkload();
  workload.objective = Objective::kLatency;
  request.problems = {{"latency", std::make_shared<const Problem>(test::TinyModel(), test::TinyCluster(8), workload)}};
  SearchRequest search;
  search.searcher = "random";
  search.evaluator = "landscape";
  search.budget = 1;
  const double normaliser = RunSearch(*request.problems[0].problem, search, searchers_, evaluators_).normaliser;
  EXPECT_DOUBLE_EQ(Run(request).references[0].reward, normaliser / 0.25);
}

TEST_F(ComparisonTest, ALongerProofIsTriedAgainAndAFinishedOneIsNot) {
  AddProver(SearchStatus::kFinished, {0.5, 2, 3, "all"});
  ComparisonRequest request = Recorded(false);
  request.optimum_time_limit_s = 10;
  Run(request);
  request.resume = true;
  EXPECT_EQ(Run(request).reused, 16);
  request.optimum_time_limit_s = 5;
  EXPECT_EQ(Run(request).reused, 16);
  request.optimum_time_limit_s = 20;
  EXPECT_EQ(Run(request).reused, 14);
  request.optimum_time_limit_s = 0;
  EXPECT_EQ(Run(request).reused, 14);
  EXPECT_EQ(Run(request).reused, 16);
}

TEST_F(ComparisonTest, ASearcherThatBeatsAProofIsReported) {
  // The fake proof claims that the first strategy it saw is the best.
  AddProver(SearchStatus::kProvenOptimal, {1, 1, 0, "all"});
  const Comparison comparison = Summarise(Request(), Run(Request()));
  ASSERT_FALSE(comparison.impossible.empty());
  EXPECT_THAT(comparison.impossible[0], HasSubstr("is better than the proved optimum"));
}

// Two problems and two searchers by hand: budget 4.
class SummariseTest : public ::testing::Test {
 protected:
  SummariseTest() {
    request_.name = "hand";
    request_.problems = {{"a", std::make_shared<const Problem>(test::WideProblem())},
                         {"b", std::make_shared<const Problem>(test::NarrowProblem())}};
    request_.searchers = {{"first", {}}, {"second", {}}};
    request_.budget = 4;
    request_.num_seeds = 2;
    results_.complete = true;
    results_.references = {{ReferenceKind::kOptimum, 2, 20, 0.5}, {ReferenceKind::kBound, 4, 40, 0.5}};
    Add("a", "first", 1, 4, {{1, -0.5}, {2, 1}, {4, 2}}, 1);  // scores 0 0.5 0.5 1
    Add("a", "first", 2, 4, {{1, -0.5}}, 3);                  // never feasible
    Add("a", "second", 0, 1, {{1, 1.99}}, 5);                 // 0.995, ended early
    Add("b", "first", 1, 4, {{1, 1}, {3, 3}}, 1);             // 0.25 0.25 0.75 0.75
    Add("b", "first", 2, 4, {{1, 2}}, 1);                     // 0.5
    Add("b", "second", 0, 0, {}, 1);                          // evaluated nothing
  }

  void Add(const std::string& problem, const std::string& searcher, std::int64_t seed, std::int64_t evaluations,
           std::vector<Improvement> improvements, double wall_s) {
    ComparisonRun run;
    run.problem = problem;
    run.searcher = searcher;
    run.seed = seed;
    run.evaluations = evaluations;
    run.improvements = std::move(improvements);
    run.wall_s = wall_s;
    results_.runs.push_back(std::move(run));
  }

  ComparisonRequest request_;
  ComparisonResults results_;
};

TEST_F(SummariseTest, OneProblem) {
  const Comparison comparison = Summarise(request_, results_);
  EXPECT_THAT(comparison.curve_at, ElementsAre(1, 2, 3, 4));
  const SearcherSummary& first = comparison.problems[0].searchers[0];
  EXPECT_EQ(first.runs, 2);
  EXPECT_DOUBLE_EQ(first.score, 0.5);  // of {1, 0}
  EXPECT_EQ(first.interval, (Interval{0, 1}));
  EXPECT_DOUBLE_EQ(first.feasible_share, 0.5);
  EXPECT_DOUBLE_EQ(first.area, 0.25);  // of {0.5, 0}
  EXPECT_EQ(first.evaluations_until, std::nullopt);
  EXPECT_DOUBLE_EQ(first.never_share, 0.5);
  EXPECT_DOUBLE_EQ(first.best_score, 1);
  EXPECT_DOUBLE_EQ(first.worst_score, 0);
  EXPECT_DOUBLE_EQ(first.wall_s, 2);
  EXPECT_THAT(first.curve, ElementsAre(0, 0.25, 0.25, 0.5));
  const SearcherSummary& second = comparison.problems[0].searchers[1];
  EXPECT_DOUBLE_EQ(second.score, 0.995);
  EXPECT_EQ(second.evaluations_until, 1);
  EXPECT_DOUBLE_EQ(second.area, 0.995);
  EXPECT_THAT(second.curve, ElementsAre(0.995, 0.995, 0.995, 0.995));
  EXPECT_DOUBLE_EQ(comparison.problems[1].searchers[1].score, 0);
  EXPECT_DOUBLE_EQ(comparison.problems[1].searchers[1].feasible_share, 0);
}

TEST_F(SummariseTest, OverAllProblems) {
  const Comparison comparison = Summarise(request_, results_);
  ASSERT_THAT(comparison.overall, SizeIs(2));
  const SearcherSummary& first = comparison.overall[0];
  EXPECT_EQ(first.runs, 4);
  EXPECT_DOUBLE_EQ(first.score, (0.5 + 0.75) / 2);  // the middle half of {0, 0.5, 0.75, 1}
  EXPECT_DOUBLE_EQ(first.feasible_share, 0.75);
  EXPECT_DOUBLE_EQ(first.profile.front(), 1);
  EXPECT_DOUBLE_EQ(first.profile.back(), 0.25);
  EXPECT_DOUBLE_EQ(comparison.overall[1].score, 0.995 / 2);
  EXPECT_TRUE(comparison.impossible.empty());
}

TEST_F(SummariseTest, AnInfeasibleProblemIsLeftOut) {
  results_.references[1] = {ReferenceKind::kInfeasible, 0, 0, 0};
  results_.runs[3].improvements = {{1, -0.5}};
  results_.runs[4].improvements = {{1, -0.2}};
  const Comparison comparison = Summarise(request_, results_);
  EXPECT_TRUE(comparison.problems[1].searchers.empty());
  EXPECT_EQ(comparison.overall[0].runs, 2);
  EXPECT_TRUE(comparison.impossible.empty());
  results_.runs[4].improvements = {{1, 0.2}};
  EXPECT_THAT(Summarise(request_, results_).impossible, ElementsAre(HasSubstr("where none is feasible")));
}

TEST_F(SummariseTest, RoundingIsNoMistakeAndMoreIs) {
  results_.runs[0].improvements.back().reward = 2 * (1 + 1e-10);
  EXPECT_TRUE(Summarise(request_, results_).impossible.empty());
  results_.runs[0].improvements.back().reward = 2 * (1 + 1e-8);
  EXPECT_THAT(Summarise(request_, results_).impossible, ElementsAre(HasSubstr("first on a with seed 1")));
}

}  // namespace
}  // namespace shardscout
