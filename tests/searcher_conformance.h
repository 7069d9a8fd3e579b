#pragma once

// What every searcher must keep, whatever it does: the suite runs over each name of a registry that works with any
// evaluator. A test program lists its own registry:
//
//   INSTANTIATE_TEST_SUITE_P(Builtin, SearcherConformanceTest, ValuesIn(AllSearchers(RegisterBuiltinSearchers)),
//   SearcherName);

#include <gtest/gtest.h>

#include <atomic>
#include <cctype>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "shardscout/random.h"
#include "shardscout/searcher.h"
#include "tests/test_evaluators.h"

namespace shardscout::test {

struct SearcherCase {
  std::string name;
  std::function<std::unique_ptr<Searcher>()> make;
  bool seeded = true;  ///< As its registry says.
};

inline std::vector<SearcherCase> AllSearchers(void (*register_all)(SearcherRegistry&)) {
  const auto registry = std::make_shared<SearcherRegistry>();  // Shared with the cases' factories.
  register_all(*registry);
  std::vector<SearcherCase> cases;
  for (const auto& [name, entry] : registry->entries()) {
    if (!entry.only_evaluator.empty()) continue;
    cases.push_back({name, [registry, searcher = name] { return registry->Make(searcher); }, entry.seeded});
  }
  return cases;
}

inline std::string SearcherName(const testing::TestParamInfo<SearcherCase>& info) {
  std::string name = info.param.name;
  for (char& c : name) c = std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
  return name;
}

/// What is left of a search.
struct SearchTrace {
  SearchStatus status = SearchStatus::kFinished;
  EndReason ended = EndReason::kNone;
  std::int64_t evaluations = 0;
  std::int64_t calls = 0;
  std::vector<double> curve;
  std::vector<Strategy> best;  ///< One or none.
  bool operator==(const SearchTrace&) const = default;
};

class SearcherConformanceTest : public testing::TestWithParam<SearcherCase> {
 protected:
  struct Setup {
    std::int64_t budget = 200;
    std::uint64_t seed = 1;
    int threads = 1;
    std::int64_t stop_after = -1;  ///< Evaluations after which the stop flag is set; -1: never.
    bool start = false;            ///< With a start strategy.
  };

  /// The environment checks by itself that only members of the space are asked for.
  static SearchTrace Run(const StrategySpace& space, const FunctionEvaluator::Function& function, const Setup& setup) {
    const FunctionEvaluator evaluator(function);
    std::atomic<bool> stop = setup.stop_after == 0;
    EnvironmentOptions options;
    options.budget = setup.budget;
    options.threads = setup.threads;
    options.stop = &stop;
    options.on_progress = [&](const Progress& progress) {
      if (setup.stop_after >= 0 && progress.evaluations >= setup.stop_after) stop = true;
    };
    Rng rng(99);
    if (setup.start) options.start = {space.Sample(rng), space.Sample(rng)};
    SearchEnvironment environment(space, evaluator, options);
    const std::unique_ptr<Searcher> searcher = GetParam().make();
    EXPECT_EQ(searcher->Name(), GetParam().name);
    SearchTrace trace;
    trace.status = StatusOf(environment, searcher->Search(environment, setup.seed));
    trace.ended = environment.ended();
    trace.evaluations = environment.Evaluations();
    trace.calls = evaluator.calls();
    trace.curve.assign(environment.best_so_far().begin(), environment.best_so_far().end());
    if (environment.best()) {
      trace.best.push_back(environment.best()->strategy);
      EXPECT_TRUE(space.Contains(environment.best()->strategy));
    }
    return trace;
  }
};

TEST_P(SearcherConformanceTest, StaysInTheBudget) {
  for (const bool moe : {false, true}) {
    const Problem problem = WideProblem(moe);
    const StrategySpace space(problem);
    for (const std::int64_t budget : {1, 7, 200}) {
      const SearchTrace trace = Run(space, Landscape(space), {.budget = budget});
      EXPECT_LE(trace.evaluations, budget);
      EXPECT_GE(trace.evaluations, 1);
      EXPECT_EQ(trace.calls, trace.evaluations) << "every evaluation is one call, and every call is charged";
    }
  }
}

TEST_P(SearcherConformanceTest, RepeatableBySeedWhateverTheThreads) {
  const Problem problem = WideProblem(true);
  const StrategySpace space(problem);
  for (const std::uint64_t seed : {1u, 2u}) {
    const SearchTrace one = Run(space, Landscape(space), {.seed = seed});
    EXPECT_EQ(one, Run(space, Landscape(space), {.seed = seed}));
    EXPECT_EQ(one, Run(space, Landscape(space), {.seed = seed, .threads = 2}));
  }
}

TEST_P(SearcherConformanceTest, SeedsDifferWhereTheRegistrySaysSo) {
  const Problem problem = WideProblem(true);
  const StrategySpace space(problem);
  EXPECT_EQ(Run(space, Landscape(space), {.seed = 1}) != Run(space, Landscape(space), {.seed = 2}), GetParam().seeded);
}

TEST_P(SearcherConformanceTest, TakesStartStrategies) {
  const Problem problem = WideProblem();
  const StrategySpace space(problem);
  const SearchTrace trace = Run(space, Landscape(space), {.budget = 50, .start = true});
  EXPECT_GE(trace.evaluations, 2);
  EXPECT_LE(trace.evaluations, 50);
  EXPECT_EQ(Run(space, Landscape(space), {.budget = 1, .start = true}).evaluations, 1);
}

TEST_P(SearcherConformanceTest, SolvesTheTrivialProblem) {
  const Problem problem = SingleProblem();
  const StrategySpace space(problem);
  const std::vector<Strategy> members = AllMembers(space);
  ASSERT_EQ(members.size(), 1u);
  const SearchTrace trace = Run(space, Constant(Feasible(1)), {});
  EXPECT_EQ(trace.best, members);
  EXPECT_EQ(trace.curve, (std::vector<double>{1}));
  EXPECT_TRUE(trace.status == SearchStatus::kSpaceExhausted || trace.status == SearchStatus::kFinished ||
              trace.status == SearchStatus::kProvenOptimal)
      << ToString(trace.status);
}

TEST_P(SearcherConformanceTest, FindsSomethingFeasibleWhereAllIs) {
  const Problem problem = WideProblem(true);
  const StrategySpace space(problem);
  const SearchTrace trace = Run(space, Constant(Feasible(1)), {});
  ASSERT_EQ(trace.best.size(), 1u);
  EXPECT_NE(trace.status, SearchStatus::kNothingFound);
  EXPECT_NE(trace.status, SearchStatus::kProvenInfeasible);
}

TEST_P(SearcherConformanceTest, SaysSoWhereNothingIsFeasible) {
  const Problem wide = WideProblem();
  const StrategySpace space(wide);
  const SearchTrace trace = Run(space, Constant(OverMemory(2)), {});
  EXPECT_TRUE(trace.status == SearchStatus::kNothingFound || trace.status == SearchStatus::kProvenInfeasible)
      << ToString(trace.status);
}

TEST_P(SearcherConformanceTest, ObeysTheStopFlag) {
  const Problem problem = WideProblem();
  const StrategySpace space(problem);
  const SearchTrace at_once = Run(space, Landscape(space), {.stop_after = 0});
  EXPECT_EQ(at_once.evaluations, 0);
  EXPECT_TRUE(at_once.best.empty());
  EXPECT_EQ(at_once.status, SearchStatus::kInterrupted);
  const SearchTrace whole = Run(space, Landscape(space), {.budget = 2000});
  const SearchTrace soon = Run(space, Landscape(space), {.budget = 2000, .stop_after = 1});
  EXPECT_LE(soon.evaluations, 256) << "one batch";
  EXPECT_LE(soon.evaluations, whole.evaluations);
  if (soon.evaluations < whole.evaluations) {
    EXPECT_EQ(soon.status, SearchStatus::kInterrupted);
  }
}

TEST_P(SearcherConformanceTest, StatusSaysWhyItEnded) {
  const Problem problem = WideProblem();
  const StrategySpace space(problem);
  const SearchTrace trace = Run(space, Landscape(space), {.budget = 30});
  if (trace.status == SearchStatus::kProvenOptimal) return;
  EXPECT_EQ(trace.ended == EndReason::kBudget, trace.evaluations == 30);
  if (trace.ended == EndReason::kNone) {
    EXPECT_EQ(trace.status, trace.curve.back() > 0 ? SearchStatus::kFinished : SearchStatus::kNothingFound);
  }
  if (trace.ended == EndReason::kBudget) {
    EXPECT_EQ(trace.status, trace.curve.back() > 0 ? SearchStatus::kBudgetExhausted : SearchStatus::kNothingFound);
  }
}

TEST_P(SearcherConformanceTest, EndsWhereTheBudgetIsLargerThanTheSpace) {
  const Problem problem = NarrowProblem();
  const StrategySpace space(problem);
  const SearchTrace trace = Run(space, Landscape(space), {.budget = 100000});
  EXPECT_LE(trace.evaluations, static_cast<std::int64_t>(AllMembers(space).size()));
}

TEST_P(SearcherConformanceTest, ConfigurationIsAJsonObject) {
  const std::string config = GetParam().make()->ConfigJson();
  EXPECT_EQ(config.front(), '{');
  EXPECT_EQ(config.back(), '}');
}

}  // namespace shardscout::test
