#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "shardscout/error.h"
#include "shardscout/searcher.h"
#include "tests/test_evaluators.h"

namespace shardscout {
namespace {

using testing::HasSubstr;

SearcherRegistry Builtin() {
  SearcherRegistry registry;
  RegisterBuiltinSearchers(registry);
  return registry;
}

std::string ErrorOf(const std::string& name, const SearcherSettings& settings) {
  try {
    Builtin().Make(name, settings);
  } catch (const SpecError& error) {
    return error.what();
  }
  return "";
}

TEST(SearcherRegistryTest, HasTheBaselines) {
  const SearcherRegistry registry = Builtin();
  std::vector<std::string> names;
  for (const auto& [name, entry] : registry.entries()) {
    names.push_back(name);
    EXPECT_FALSE(entry.description.empty());
    for (const SettingDescription& setting : entry.settings) EXPECT_FALSE(setting.doc.empty()) << setting.name;
  }
  for (const char* name : {"random", "random-walk", "annealing", "megatron", "megatron-tuned"}) {
    EXPECT_THAT(names, testing::Contains(name));
  }
}

TEST(SearcherRegistryTest, UnknownNamesAreTheUsersError) {
  EXPECT_THAT(ErrorOf("aneling", {}), HasSubstr("did you mean \"annealing\"?"));
  EXPECT_THAT(ErrorOf("genetic", {}), HasSubstr("random-walk"));
  SearcherRegistry registry = Builtin();
  EXPECT_THROW(registry.Register("random", {}), std::logic_error);
}

TEST(SearcherRegistryTest, SettingsComeFromTheFileThenFromAssignments) {
  SearcherSettings settings;
  settings.config_json = R"({"patience": 5, "initial_temperature": 0.25})";
  settings.config_place = "a.json";
  settings.assignments = {"patience=6", "patience=7"};
  EXPECT_EQ(Builtin().Make("annealing", settings)->ConfigJson(),
            R"({"initial_temperature":0.25,"final_temperature":0.001,"patience":7,"restart_from_best":0.5})");
}

TEST(SearcherRegistryTest, WrongSettingsNameThePlace) {
  SearcherSettings settings;
  settings.config_json = R"({"patience": 0})";
  settings.config_place = "a.json";
  EXPECT_THAT(ErrorOf("annealing", settings), HasSubstr("a.json#/patience"));
  EXPECT_THAT(ErrorOf("annealing", {.config_json = "", .config_place = "", .assignments = {"patence=3"}}),
              HasSubstr("patience"));
  for (const std::string bad : {"patience", "=3", "patience=many", "restart_from_best=1.5"}) {
    EXPECT_THAT(ErrorOf("annealing", {.config_json = "", .config_place = "", .assignments = {bad}}), HasSubstr("--set"))
        << bad;
  }
}

TEST(StatusOfTest, FollowsClaimAndEnd) {
  const Problem problem = test::WideProblem();
  const StrategySpace space(problem);
  Rng rng(1);
  const Strategy strategy = space.Sample(rng);
  const test::FunctionEvaluator feasible(test::Constant(test::Feasible(1)));
  const test::FunctionEvaluator infeasible(test::Constant(test::OverMemory(1)));

  SearchEnvironment found(space, feasible, {.budget = 10});
  EXPECT_EQ(StatusOf(found, SearchStatus::kFinished), SearchStatus::kNothingFound);
  EXPECT_EQ(StatusOf(found, SearchStatus::kProvenInfeasible), SearchStatus::kProvenInfeasible);
  found.Evaluate(strategy);
  EXPECT_EQ(StatusOf(found, SearchStatus::kFinished), SearchStatus::kFinished);
  EXPECT_EQ(StatusOf(found, SearchStatus::kProvenOptimal), SearchStatus::kProvenOptimal);
  EXPECT_THROW(StatusOf(found, SearchStatus::kProvenInfeasible), std::logic_error);

  SearchEnvironment none(space, infeasible, {.budget = 1});
  none.Evaluate(strategy);
  EXPECT_EQ(StatusOf(none, SearchStatus::kFinished), SearchStatus::kNothingFound);
  EXPECT_EQ(StatusOf(none, SearchStatus::kProvenOptimal), SearchStatus::kNothingFound);

  SearchEnvironment spent(space, feasible, {.budget = 1});
  spent.Evaluate(strategy);
  EXPECT_EQ(StatusOf(spent, SearchStatus::kFinished), SearchStatus::kBudgetExhausted);

  SearchEnvironment late(space, feasible, {.budget = 9, .time_limit_s = 1e-9});
  late.Evaluate(strategy);
  EXPECT_EQ(StatusOf(late, SearchStatus::kFinished), SearchStatus::kNothingFound);
}

TEST(StatusOfTest, AnExhaustedSpaceIsAProof) {
  const Problem problem = test::NarrowProblem();
  const StrategySpace space(problem);
  const std::vector<Strategy> members = test::AllMembers(space);
  for (const bool feasible : {true, false}) {
    const test::FunctionEvaluator evaluator(test::Constant(feasible ? test::Feasible(1) : test::OverMemory(1)));
    SearchEnvironment environment(space, evaluator, {.budget = 1000});
    for (int i = 0; i < 70; ++i) environment.Evaluate(members);
    ASSERT_EQ(environment.ended(), EndReason::kSpace);
    EXPECT_EQ(StatusOf(environment, SearchStatus::kFinished),
              feasible ? SearchStatus::kSpaceExhausted : SearchStatus::kProvenInfeasible);
  }
}

}  // namespace
}  // namespace shardscout
