// The Pareto front and the report on the command line.

#include <gmock/gmock.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "shardscout/comparison_report.h"
#include "tests/cli/cli_fixture.h"

namespace shardscout::test {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class ReportCli : public Cli {
 protected:
  static Words Front(const Words& more) {
    Words words = {"search", "--model",    "llama-3.1-8b", "--cluster", "h100-sxm", "--devices",
                   "8",      "--workload", "decode-chat",  "--tpot",    "12ms"};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
};

TEST_F(ReportCli, ThePointOfTheFrontThatKeepsTheTargetIsTheOptimum) {
  const std::string csv = Path("front.csv");
  const ProcessResult table = Run(Front({"--pareto-csv", csv}));
  EXPECT_EQ(table.exit_code, 0) << table.err;
  EXPECT_THAT(table.out, HasSubstr("search    exact"));
  EXPECT_THAT(table.out, HasSubstr("proved (analytical)"));
  EXPECT_THAT(Read(csv), StartsWith("latency_s,throughput_per_device,"));

  const ProcessResult json = Run(Front({"--pareto", "--json"}));
  ASSERT_EQ(json.exit_code, 0) << json.err;
  const auto document = nlohmann::json::parse(json.out);
  const auto& points = document.at("pareto").at("points");
  EXPECT_EQ(NumLines(csv), static_cast<std::ptrdiff_t>(points.size()) + 1);
  const nlohmann::json* best = nullptr;
  for (const auto& point : points) {
    if (point.at("keeps_targets")) best = &point;
  }
  ASSERT_NE(best, nullptr);
  EXPECT_FALSE(points.back().at("keeps_targets")) << "it goes on beyond the target";
  EXPECT_EQ(best->at("evaluation"), document.at("best").at("evaluation"));
}

TEST_F(ReportCli, TheNamedSearcherStays) {
  const ProcessResult result = Run(Front({"--pareto", "--searcher", "megatron"}));
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("search    megatron,"));
}

TEST_F(ReportCli, AReportIsWrittenOfASearchAndOfItsPlan) {
  if (!HaveCharts()) GTEST_SKIP() << "built without Chart.js";
  const std::string plan = Path("plan.json"), page = Path("report.html"), again = Path("again.html");
  const ProcessResult search = Run(Search({"--out", plan, "--report", page}));
  ASSERT_EQ(search.exit_code, 0) << search.err;
  EXPECT_THAT(search.out, HasSubstr("report    " + page));
  EXPECT_THAT(Read(page), HasSubstr("id=\"convergence\""));
  EXPECT_THAT(Read(page), HasSubstr("proved optimum"));

  const ProcessResult report = Run({"report", plan, "--out", again});
  ASSERT_EQ(report.exit_code, 0) << report.err;
  EXPECT_THAT(Read(again), HasSubstr("id=\"front\""));
  EXPECT_THAT(Read(again), Not(HasSubstr("id=\"convergence\""))) << "a plan does not remember its search's way";
}

TEST_F(ReportCli, WhatCannotBeWrittenIsSaidBeforeTheSearch) {
  ExpectUserError(Run(Search({"--report", "/nowhere/report.html"})), "/nowhere/report.html");
  ExpectUserError(Run(Search({"--pareto-csv", "/nowhere/front.csv"})), "/nowhere/front.csv");
  ExpectUserError(Run({"report", Path("missing.json")}), "missing.json");
}

}  // namespace
}  // namespace shardscout::test
