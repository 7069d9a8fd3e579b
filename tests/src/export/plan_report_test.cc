#include "shardscout/plan_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "shardscout/comparison_report.h"
#include "shardscout/run_search.h"
#include "shardscout/stage_memory.h"
#include "src/export/html_page.h"
#include "tests/builtin_registries.h"
#include "tests/tiny_problems.h"

namespace shardscout {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kHostile = "a \"b\", </script><script>alert('c')</script><img src=x onerror=alert(1)> & d";

struct Registries : testing::BuiltinRegistries {
  Registries() { RegisterBuiltinExporters(exporters); }
  ExporterRegistry exporters;
};

/// Every name that a spec can bring along is hostile.
Problem HostileProblem(std::int64_t devices = 8) {
  ModelSpec model = testing::MoeModel();
  ClusterSpec cluster = testing::SmallCluster(devices, 4);
  WorkloadSpec workload = testing::SmallWorkload(WorkloadKind::kServe);
  model.name = cluster.name = cluster.device.name = workload.name = kHostile;
  for (NetworkTier& tier : cluster.tiers) tier.name = kHostile;
  cluster.device.curves.source = kHostile;
  workload.engine.emplace().name = kHostile;
  return Problem(model, cluster, workload);
}

SearchReport SearchOn(const Problem& problem, const Registries& r, const std::string& searcher = "annealing") {
  SearchRequest request;
  request.searcher = searcher;
  request.budget = 200;
  return RunSearch(problem, request, r.searchers, r.evaluators);
}

PlanReport ReportOn(const Problem& problem, const std::string& searcher = "annealing") {
  const Registries r;
  const SearchReport search = SearchOn(problem, r, searcher);
  return MakePlanReport(*search.plan, {.best_so_far = search.best_so_far}, r.searchers, r.evaluators, r.exporters);
}

std::size_t Count(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

TEST(PlanReportTest, HoldsThePlanAgainstRivalsThatAreRight) {
  const Problem problem = HostileProblem();
  const PlanReport report = ReportOn(problem);
  const Registries r;
  const SearchReport exact = SearchOn(problem, r, "exact");
  ASSERT_TRUE(report.megatron && report.optimum && report.front);
  EXPECT_EQ(report.megatron->evaluation, exact.megatron.evaluation);
  EXPECT_EQ(report.optimum->evaluation, exact.best->evaluation);
  EXPECT_TRUE(report.front->proved);
  EXPECT_EQ(report.memory.front(), MemoryByStage(problem, report.plan.pools.front().strategy));
  // Of a plan that is proved already, nobody proves anything again.
  EXPECT_FALSE(ReportOn(problem, "exact").optimum);
}

/// Each alternative is a member of the space with the other value; the rule that is named is the space's.
TEST(PlanReportTest, AlternativesAreTheNearestValidOnes) {
  const Problem problem = HostileProblem();
  const StrategySpace space(problem);
  const PlanReport report = ReportOn(problem);
  const Strategy& own = report.plan.pools.front().strategy;
  int alone = 0, repaired = 0;
  for (const Alternative& other : report.alternatives) {
    EXPECT_NE(GetVariable(own, other.variable), other.value);
    if (!other.nearest) {
      EXPECT_NE(other.broken_rule, "");
      continue;
    }
    EXPECT_EQ(space.WhyNot(other.nearest->strategy), "");
    EXPECT_EQ(GetVariable(other.nearest->strategy, other.variable), other.value);
    EXPECT_EQ(other.broken_rule.empty(), other.also.empty());
    (other.also.empty() ? alone : repaired) += 1;
  }
  EXPECT_GE(alone, 3);
  EXPECT_GE(repaired, 3);
}

TEST(PlanReportTest, NamesCannotBreakOut) {
  if (!HaveCharts()) GTEST_SKIP() << "built without Chart.js";
  const std::string page = PlanReportHtml(ReportOn(HostileProblem()));
  EXPECT_EQ(Count(page, "<script>alert"), 0U);
  EXPECT_EQ(Count(page, "<img"), 0U);
  EXPECT_EQ(Count(page, "</script>"), 4U) << "data, library, what pages share, page";
  // Title and heading, cluster, device, workload, engine, source of the curves, and wherever a tier is named.
  EXPECT_GE(Count(page, "&lt;/script&gt;&lt;script&gt;alert(&#39;c&#39;)"), 8U);
  const std::size_t begin = page.find("id=\"data\">") + 10;
  EXPECT_THAT(page.substr(begin, page.find("</script>", begin) - begin), Not(HasSubstr("<")));
}

TEST(PlanReportTest, IsOnePageThatNeedsNothingElse) {
  if (!HaveCharts()) GTEST_SKIP() << "built without Chart.js";
  const std::string page = PlanReportHtml(ReportOn(HostileProblem()));
  for (const char* outside : {"<script src", "<link", "<iframe", "@import", "url(", "href=\"http"}) {
    EXPECT_THAT(page, Not(HasSubstr(outside)));
  }
  for (const char* part :
       {"The plan in words", "Against Megatron", "Where the time goes", "Memory of a device", "Devices and links",
        "The search", "id=\"convergence\"", "id=\"front\"", "What was refused, and why", "vllm@"}) {
    EXPECT_THAT(page, HasSubstr(part));
  }
}

/// The picture has every device of the pool once, in the place that the plan gives it.
TEST(PlanReportTest, ThePictureIsThePlacement) {
  if (!HaveCharts()) GTEST_SKIP() << "built without Chart.js";
  ProblemOptions options;
  options.fixed = {{"tensor_parallel_size", "2"},
                   {"pipeline_parallel_size", "2"},
                   {"data_parallel_size", "1"},
                   {"context_parallel_size", "1"},
                   {"expert_parallel_size", "2"}};
  const Problem problem = testing::SmallProblem(testing::MoeModel(), 9, WorkloadKind::kDecode, 16, options);
  const std::string page = PlanReportHtml(ReportOn(problem, "exact"));
  EXPECT_EQ(Count(page, "data-holds="), 8U) << "two copies on four devices each";
  EXPECT_EQ(Count(page, "<span>idle</span>"), 0U) << "the ninth device is alone on the second node";
  // Rank 3: tp 1 of the second stage, with the second half of the experts.
  EXPECT_THAT(page,
              HasSubstr("Rank 3 of copy 1: node 0, device 7. Layers 2 to 3. Experts 4 to 7 of each MoE layer. tp 1 "
                        "of 2, ep 1 of 2, pp 1 of 2."));
}

/// The front in the page is the CSV that the command line writes.
/// A stage of interleaved chunks has no one range of layers.
TEST(PlanReportTest, ChunksOfAStageAreNoRange) {
  if (!HaveCharts()) GTEST_SKIP() << "built without Chart.js";
  WorkloadSpec workload = testing::SmallWorkload(WorkloadKind::kPrefill);
  workload.kind = WorkloadKind::kTrain;
  workload.ttft_target_s.reset();
  workload.training = {.global_batch_size = 8};
  const auto page = [&](const char* chunks) {
    ProblemOptions options;
    options.fixed["pipeline_parallel_size"] = "2";
    options.fixed["training.virtual_pipeline_parallel_size"] = chunks;
    return PlanReportHtml(ReportOn(Problem(testing::DenseModel(4), testing::SmallCluster(8, 4), workload, options)));
  };
  EXPECT_THAT(page("1"), HasSubstr("Layers 2 to 3."));
  const std::string interleaved = page("2");
  EXPECT_THAT(interleaved, HasSubstr("2 layers in 2 chunks, the first from layer 1."));
  EXPECT_THAT(interleaved, Not(HasSubstr("Layers 2 to 3")));
}

TEST(PlanReportTest, TheFrontIsThereAsCsv) {
  if (!HaveCharts()) GTEST_SKIP() << "built without Chart.js";
  const PlanReport report = ReportOn(HostileProblem());
  EXPECT_THAT(PlanReportHtml(report),
              HasSubstr("href=\"data:text/csv;charset=utf-8," +
                        exporters::PercentEncoded(ParetoCsv(report.problem, *report.front)) + "\""));
  EXPECT_EQ(exporters::PercentEncoded("a,\"\r\n\xc3\xa4-_.~9"), "a%2C%22%0D%0A%C3%A4-_.~9");
}

}  // namespace
}  // namespace shardscout
