// Every preset of ours answers: a plan, or "nothing feasible" with a count of devices that is sufficient. Never a
// crash.

#include <gtest/gtest.h>

#include <string>

#include "shardscout/preset_paths.h"
#include "shardscout/run_search.h"

namespace shardscout {
namespace {

struct Registries {
  Registries() {
    RegisterBuiltinSearchers(searchers);
    RegisterBuiltinEvaluators(evaluators);
  }
  SearcherRegistry searchers;
  EvaluatorRegistry evaluators;
};

void ExpectAnswer(const Problem& problem) {
  SCOPED_TRACE(problem.model().name + " on " + std::to_string(problem.cluster().num_devices) + " " +
               problem.cluster().name + ", " + problem.workload().name);
  const Registries registries;
  SearchRequest request;
  request.searcher = "megatron-tuned";
  request.budget = 300;
  const SearchReport report = RunSearch(problem, request, registries.searchers, registries.evaluators);
  ASSERT_GT(report.evaluations, 0);
  ASSERT_TRUE(report.best.has_value());
  EXPECT_EQ(report.plan.has_value(), report.best->evaluation.Feasible());
  if (report.plan) {
    EXPECT_EQ(ParsePlan(ToJson(*report.plan), "plan").pools, report.plan->pools);
    return;
  }
  EXPECT_NE(DescribeViolations(report.best->evaluation, problem.workload()), "");
  const auto devices = SufficientDevices(problem, "analytical", registries.evaluators, 300, 65536);
  if (!devices) return;
  EXPECT_GT(*devices, 0);
  EXPECT_EQ(*devices % problem.cluster().devices_per_node, 0);
}

TEST(PresetsTest, EveryModelAnswersOn64H100s) {
  for (const std::string& model : ListPresets("models")) {
    for (const std::string& workload : ListPresets("workloads")) {
      ExpectAnswer(Problem(LoadModel(model), LoadCluster("h100-sxm", 64), LoadWorkload(workload)));
    }
  }
}

TEST(PresetsTest, EveryClusterAnswers) {
  for (const std::string& name : ListPresets("clusters")) {
    const ClusterSpec cluster = LoadCluster(name, 64);
    for (const char* model : {"llama-3.1-8b", "qwen3-30b-a3b"}) {
      ExpectAnswer(Problem(LoadModel(model), cluster, LoadWorkload("decode-chat")));
    }
  }
}

}  // namespace
}  // namespace shardscout
