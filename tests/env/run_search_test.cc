#include "shardscout/run_search.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cmath>
#include <filesystem>
#include <string>

#include "shardscout/error.h"
#include "shardscout/preset_paths.h"
#include "tests/builtin_registries.h"
#include "tests/tiny_problems.h"

namespace shardscout {
namespace {

Problem Small() { return testing::SmallProblem(testing::MoeModel(), 8, WorkloadKind::kDecode); }

/// Tight memory, so that the 16 GB of weights do not fit one device.
Problem Tight(double hbm_bytes, double tpot_target_s = 0) {
  ClusterSpec cluster = testing::SmallCluster(8);
  cluster.device.hbm_bytes = hbm_bytes;
  WorkloadSpec workload = testing::SmallWorkload(WorkloadKind::kDecode);
  if (tpot_target_s > 0) workload.tpot_target_s = tpot_target_s;
  return Problem(testing::DenseModel(), cluster, workload);
}

SearchRequest Annealing(std::int64_t budget = 200) {
  SearchRequest request;
  request.searcher = "annealing";
  request.budget = budget;
  return request;
}

std::string JournalPath() {
  return ::testing::TempDir() + "shardscout_run_search_" + std::to_string(::getpid()) + "_" +
         ::testing::UnitTest::GetInstance()->current_test_info()->name() + ".jsonl";
}

template <class F>
std::string ErrorOf(const F& call) {
  try {
    call();
  } catch (const SpecError& error) {
    return error.what();
  }
  return "";
}

TEST(RunSearch, AnswersForEveryModelPreset) {
  const testing::BuiltinRegistries registries;
  for (const std::string& name : ListPresets("models")) {
    SCOPED_TRACE(name);
    for (const char* workload : {"prefill-chat", "decode-chat", "serve-chat"}) {
      const Problem problem(LoadModel(name), LoadCluster("h100-sxm", 64), LoadWorkload(workload));
      const SearchReport report = registries.Run(problem, Annealing(20));
      ASSERT_TRUE(report.best);
      EXPECT_TRUE(std::isfinite(report.best->reward));
      EXPECT_EQ(report.plan.has_value(), report.best->evaluation.Feasible());
      EXPECT_EQ(ParseProblem(ToJson(problem), "p.json").model(), problem.model());
    }
  }
}

TEST(RunSearch, MakesAPlanOfTheBest) {
  const testing::BuiltinRegistries registries;
  const Problem problem = Small();
  SearchRequest request = Annealing();
  request.top = 5;
  const SearchReport report = registries.Run(problem, request);
  ASSERT_TRUE(report.plan);
  EXPECT_EQ(report.evaluations, 200);
  EXPECT_EQ(report.status, SearchStatus::kBudgetExhausted);
  EXPECT_EQ(report.best_so_far.size(), 200u);
  ASSERT_EQ(report.top.size(), 5u);
  EXPECT_EQ(report.top.front().strategy, report.best->strategy);
  EXPECT_EQ(report.plan->pools.front(), MakePool(problem, report.best->strategy));
  EXPECT_EQ(report.plan->evaluation, report.best->evaluation);
  EXPECT_FALSE(report.plan->breakdown.rows.empty());
  EXPECT_EQ(report.plan->search.evaluations, 200);
  EXPECT_EQ(report.plan->search.reward, report.best->reward);
  EXPECT_EQ(report.plan->problem_digest, problem.Digest());
  EXPECT_EQ(ToJson(ParsePlan(ToJson(*report.plan), "plan")), ToJson(*report.plan));
}

TEST(RunSearch, TheSamePlanTwiceAndForAnyNumberOfThreads) {
  const testing::BuiltinRegistries registries;
  const Problem problem = Small();
  std::string first;
  for (const int threads : {1, 2, 1}) {
    SearchRequest request = Annealing();
    request.threads = threads;
    const SearchReport report = registries.Run(problem, request);
    ASSERT_TRUE(report.plan);
    if (first.empty()) first = ToJson(*report.plan);
    EXPECT_EQ(ToJson(*report.plan), first);
  }
}

TEST(RunSearch, StartsFromMegatronForACharge) {
  const testing::BuiltinRegistries registries;
  const Problem problem = Small();
  SearchRequest request = Annealing(1);
  request.start = StartFrom::kMegatron;
  const SearchReport report = registries.Run(problem, request);
  EXPECT_EQ(report.evaluations, 1);
  EXPECT_EQ(report.best->strategy, report.megatron.strategy);
  EXPECT_DOUBLE_EQ(report.best->reward, 1.0);
  EXPECT_EQ(report.plan->search.start, "megatron");
}

TEST(RunSearch, ResumesToTheSamePlan) {
  const testing::BuiltinRegistries registries;
  const Problem problem = Small();
  const SearchReport whole = registries.Run(problem, Annealing());

  SearchRequest request = Annealing();
  request.journal_path = JournalPath();
  std::atomic<bool> stop{false};
  request.stop = &stop;
  request.on_progress = [&](const Progress& progress) { stop = progress.evaluations >= 80; };
  const SearchReport broken = registries.Run(problem, request);
  EXPECT_EQ(broken.status, SearchStatus::kInterrupted);
  EXPECT_LT(broken.evaluations, 200);

  stop = false;
  request.on_progress = nullptr;
  request.resume = true;
  const SearchReport resumed = registries.Run(problem, request);
  EXPECT_EQ(resumed.replayed, broken.evaluations);
  EXPECT_EQ(ToJson(*resumed.plan), ToJson(*whole.plan));

  request.seed = 2;
  EXPECT_NE(ErrorOf([&] { registries.Run(problem, request); }), "");
  std::filesystem::remove(request.journal_path);
}

TEST(RunSearch, RefusesWhatCannotBeMeant) {
  const testing::BuiltinRegistries registries;
  const Problem problem = Small();
  const auto error = [&](const auto& change) {
    SearchRequest request = Annealing();
    change(request);
    return ErrorOf([&] { registries.Run(problem, request); });
  };
  EXPECT_NE(error([](SearchRequest& r) { r.searcher = "anealing"; }).find("annealing"), std::string::npos);
  EXPECT_NE(error([](SearchRequest& r) { r.evaluator = "analytic"; }).find("analytical"), std::string::npos);
  EXPECT_NE(error([](SearchRequest& r) { r.budget = 0; }).find("--budget"), std::string::npos);
  EXPECT_NE(error([](SearchRequest& r) { r.resume = true; }).find("--resume"), std::string::npos);
  EXPECT_NE(error([](SearchRequest& r) { r.time_limit_s = -1; }).find("--time-limit"), std::string::npos);
}

TEST(RunSearch, AnObjectiveNeedsItsFigure) {
  const testing::BuiltinRegistries registries;
  ClusterSpec cluster = testing::SmallCluster(8);
  cluster.device.price_usd_per_hour = 0;
  WorkloadSpec workload = testing::SmallWorkload(WorkloadKind::kDecode);
  workload.objective = Objective::kCostPerMillionTokens;
  const Problem problem(testing::DenseModel(), cluster, workload);
  const std::string error = ErrorOf([&] { registries.Run(problem, Annealing()); });
  EXPECT_NE(error.find("price_usd_per_hour"), std::string::npos) << error;
}

TEST(RunSearch, ReportsTheNearestWhereNothingIsFeasible) {
  const testing::BuiltinRegistries registries;
  const Problem problem = Tight(1e9, 1e-9);
  const SearchReport report = registries.Run(problem, Annealing());
  EXPECT_FALSE(report.plan);
  ASSERT_TRUE(report.best);
  const Relaxation relaxation = RelaxationFor(problem, report.best->evaluation);
  ASSERT_TRUE(relaxation.tpot_target_s);
  EXPECT_EQ(*relaxation.tpot_target_s, report.best->evaluation.metrics.tpot_s);
  EXPECT_FALSE(relaxation.ttft_target_s);
  EXPECT_EQ(SufficientDevices(problem, "analytical", registries.evaluators, 100, 64), std::nullopt);
}

TEST(SufficientDevices, IsTheSmallestNumberOfNodes) {
  const testing::BuiltinRegistries registries;
  // Nodes of one device, so that the weights need several of them.
  ClusterSpec cluster = testing::SmallCluster(1, 1);
  const Problem roomy(testing::DenseModel(), cluster, testing::SmallWorkload(WorkloadKind::kDecode));
  const Evaluation whole = registries.evaluators.Make("analytical", roomy)
                               ->Evaluate(MegatronCandidates(StrategySpace(roomy))[0].by_batch[0]);
  cluster.device.hbm_bytes = 0.6 * whole.memory.TotalBytes();
  const Problem tight(testing::DenseModel(), cluster, testing::SmallWorkload(WorkloadKind::kDecode));
  const auto devices = SufficientDevices(tight, "analytical", registries.evaluators, 1000, 64);
  ASSERT_TRUE(devices);
  EXPECT_GT(*devices, 1);
  const auto feasible_on = [&](std::int64_t n) {
    cluster.num_devices = n;
    const Problem problem(testing::DenseModel(), cluster, testing::SmallWorkload(WorkloadKind::kDecode));
    const StrategySpace space(problem);
    const auto evaluator = registries.evaluators.Make("analytical", problem);
    bool feasible = false;
    ForEachMegatronStrategy(space, [&](const Strategy& s) { return !(feasible = evaluator->Evaluate(s).Feasible()); });
    return feasible;
  };
  EXPECT_TRUE(feasible_on(*devices));
  EXPECT_FALSE(feasible_on(*devices - 1));
}

TEST(EvaluateStrategy, NamesTheRuleThatIsBroken) {
  const testing::BuiltinRegistries registries;
  const Problem problem = Small();
  Strategy strategy;
  strategy.tensor_parallel_size = 3;
  EXPECT_NE(ErrorOf([&] { EvaluateStrategy(problem, strategy, "analytical", registries.evaluators); }), "");
  const StrategyReport report =
      EvaluateStrategy(problem, StrategySpace(problem).Repair(Strategy()), "analytical", registries.evaluators);
  EXPECT_FALSE(report.breakdown.rows.empty());
  EXPECT_GT(report.normaliser, 0);
}

TEST(BestReport, PrefersTheBetterRewardThenTheFirst) {
  std::vector<SearchReport> reports(4);
  reports[1].best = Scored{Strategy(), {}, 1.5};
  reports[2].best = Scored{Strategy(), {}, 1.5};
  reports[3].best = Scored{Strategy(), {}, -0.5};
  EXPECT_EQ(BestReport(reports), 1u);
}

TEST(SettingsFor, SplitsByName) {
  const testing::BuiltinRegistries registries;
  const auto settings =
      SettingsFor({"annealing", "random"}, registries.searchers, R"({"annealing": {"a": 1}, "megatron": {}})", "f.json",
                  {"random.x=1", "annealing.y=a.b=c"});
  ASSERT_EQ(settings.size(), 2u);
  EXPECT_EQ(settings[0].config_json, R"({"a":1})");
  EXPECT_EQ(settings[0].assignments, std::vector<std::string>{"y=a.b=c"});
  EXPECT_EQ(settings[1].config_json, "");
  EXPECT_EQ(settings[1].assignments, std::vector<std::string>{"x=1"});
}

TEST(SettingsFor, RefusesOtherNames) {
  const testing::BuiltinRegistries registries;
  const auto error = [&](const char* file, const std::vector<std::string>& sets) {
    return ErrorOf([&] { SettingsFor({"random"}, registries.searchers, file, "f.json", sets); });
  };
  EXPECT_NE(error(R"({"anealing": {}})", {}).find("did you mean \"annealing\""), std::string::npos);
  EXPECT_NE(error("[]", {}), "");
  EXPECT_NE(error("{}", {"annealing.x=1"}).find("does not use"), std::string::npos);
  EXPECT_NE(error("{}", {"rando.x=1"}).find("did you mean \"random\""), std::string::npos);
  EXPECT_NE(error("{}", {"x=1"}), "");
  EXPECT_NE(error("{}", {"random.x"}), "");
}

}  // namespace
}  // namespace shardscout
