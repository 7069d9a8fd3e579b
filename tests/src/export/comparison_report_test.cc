#include "shardscout/comparison_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace shardscout {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;

/// A name that would break each of the formats if it were not quoted.
constexpr const char* kHostile = "a \"b\", </script><script>alert('c')</script> & \n d";

Comparison Small() {
  SearcherSummary summary;
  summary.searcher = "annealing";
  summary.runs = 20;
  summary.score = 0.1 + 0.2;
  summary.interval = {0.25, 0.5};
  summary.feasible_share = 0.95;
  summary.area = 0.125;
  summary.evaluations_until = 17.5;
  summary.never_share = 0.05;
  summary.worst_score = 0;
  summary.best_score = 1;
  summary.wall_s = 0.5;
  summary.curve = {0, 0.5, 1};
  summary.profile = {1, 0.5};
  SearcherSummary never = summary;
  never.searcher = "random";
  never.evaluations_until.reset();
  ProblemSummary problem;
  problem.name = kHostile;
  problem.model = "m";
  problem.cluster = "c";
  problem.workload = "w";
  problem.objective = "latency";
  problem.devices = 8;
  problem.reference = {ReferenceKind::kOptimum, 1.5, 123.25, 2};
  problem.searchers = {summary, never};
  Comparison comparison;
  comparison.name = "small";
  comparison.budget = 100;
  comparison.num_seeds = 20;
  comparison.first_seed = 1;
  comparison.evaluator = "analytical";
  comparison.curve_at = {1, 10, 100};
  comparison.taus = {0, 1};
  comparison.problems = {problem};
  comparison.overall = {summary, never};
  return comparison;
}

/// RFC 4180, strictly: every record ends with CR LF, quotes only around whole cells.
std::vector<std::vector<std::string>> ParseCsv(const std::string& csv) {
  std::vector<std::vector<std::string>> rows(1);
  std::size_t at = 0;
  while (at < csv.size()) {
    std::string cell;
    if (csv[at] == '"') {
      for (++at; at < csv.size(); ++at) {
        if (csv[at] == '"' && csv[++at] != '"') break;
        cell += csv[at];
      }
    } else {
      while (at < csv.size() && csv[at] != ',' && csv[at] != '\r') {
        EXPECT_NE(csv[at], '"');
        EXPECT_NE(csv[at], '\n');
        cell += csv[at++];
      }
    }
    rows.back().push_back(cell);
    if (csv.compare(at, 2, "\r\n") == 0) {
      at += 2;
      rows.emplace_back();
    } else {
      EXPECT_EQ(csv.at(at), ',');
      ++at;
    }
  }
  EXPECT_TRUE(rows.back().empty()) << "the last record ends its line too";
  rows.pop_back();
  return rows;
}

std::size_t Count(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

TEST(ComparisonCsvTest, OneRowAProblemAndSearcherThenTheAggregates) {
  const auto rows = ParseCsv(ComparisonCsv(Small()));
  ASSERT_THAT(rows, SizeIs(5));
  for (const auto& row : rows) EXPECT_EQ(row.size(), rows[0].size());
  EXPECT_THAT(rows[1],
              ElementsAre("problem", kHostile, "m", "c", "8", "w", "latency", "optimum", "123.25", "annealing", "20",
                          "0.30000000000000004", "0.25", "0.5", "0.95", "0.125", "17.5", "0.05", "0", "1", "0.5"));
  EXPECT_EQ(rows[2][16], "") << "never";
  EXPECT_EQ(rows[0][16], "evaluations_until_0.99");
  EXPECT_EQ(rows[3][0], "all");
  EXPECT_EQ(rows[4][9], "random");
}

TEST(ComparisonJsonTest, HoldsTheFigures) {
  const auto json = nlohmann::json::parse(ComparisonJson(Small()));
  EXPECT_EQ(json["problems"][0]["name"], kHostile);
  EXPECT_EQ(json["problems"][0]["searchers"][1]["evaluations_until_0.99"], nullptr);
  EXPECT_EQ(json["overall"][0]["score_iqm"], 0.1 + 0.2);
  EXPECT_EQ(json["problems"][0]["reference"]["kind"], "optimum");
}

TEST(ComparisonHtmlTest, IsOnePageThatNeedsNothingElse) {
  if (!HaveCharts()) GTEST_SKIP() << "built without Chart.js (Debian: libjs-chart.js)";
  const std::string page = ComparisonHtml(Small());
  EXPECT_THAT(page, HasSubstr("Chart.js v"));
  EXPECT_THAT(page, HasSubstr("MIT License")) << "its licence goes along";
  for (const char* outside : {"<script src", "<link", "<img", "<iframe", "@import", "url("}) {
    EXPECT_THAT(page, Not(HasSubstr(outside)));
  }
  EXPECT_THAT(page, HasSubstr("default-src 'none'"));
  EXPECT_THAT(page, HasSubstr("<canvas id=\"profile\""));
  EXPECT_THAT(page, HasSubstr("<canvas id=\"problem-0\""));
  EXPECT_EQ(Count(page, "<section>"), 2u);
  EXPECT_EQ(Count(page, "</section>"), 2u);
}

TEST(ComparisonHtmlTest, NamesCannotBreakOut) {
  if (!HaveCharts()) GTEST_SKIP() << "built without Chart.js (Debian: libjs-chart.js)";
  const std::string page = ComparisonHtml(Small());
  EXPECT_EQ(Count(page, "alert('c')"), 1u) << "in the data, within a string";
  EXPECT_THAT(page, HasSubstr("&lt;/script&gt;&lt;script&gt;alert(&#39;c&#39;)"));
  EXPECT_EQ(Count(page, "</script>"), 4u) << "data, library, what pages share, page";
  const std::string begin = "id=\"data\">";
  const std::size_t from = page.find(begin) + begin.size();
  const auto data = nlohmann::json::parse(page.substr(from, page.find("</script>", from) - from));
  EXPECT_EQ(data["problems"][0]["name"], kHostile);
  EXPECT_THAT(data["overall"][0]["curve"], ElementsAre(0, 0.5, 1));
  EXPECT_THAT(data["overall"][0]["profile"], ElementsAre(1, 0.5));
}

}  // namespace
}  // namespace shardscout
