// compare --suite on the quick suite, end to end.

#include <gtest/gtest.h>
#include <signal.h>

#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "tests/cli/cli_fixture.h"

namespace shardscout::test {
namespace {

using nlohmann::json;

class CompareSuite : public Cli {
 protected:
  ProcessResult Compare(const Words& more, const std::function<int()>& watch = nullptr) const {
    Words words = {"compare", "--suite", "quick", "--seeds", "3"};
    words.insert(words.end(), more.begin(), more.end());
    return Run(words, {}, watch);
  }

  /// What --json printed, without wall times.
  static json Figures(const ProcessResult& result) {
    EXPECT_EQ(result.exit_code, 0) << result.err;
    json document = json::parse(result.out);
    const auto strip = [](json& rows) {
      for (json& row : rows) row.erase("mean_wall_s");
    };
    strip(document["overall"]);
    for (json& problem : document["problems"]) {
      problem["reference"].erase("wall_s");
      strip(problem["searchers"]);
    }
    return document;
  }
};

TEST_F(CompareSuite, NoSearcherIsBetterThanTheProvedOptimum) {
  const ProcessResult result = Compare({"--out", Path("out"), "--json"});
  const json figures = Figures(result);
  ASSERT_EQ(figures["problems"].size(), 3u);
  EXPECT_EQ(figures["impossible"], json::array());
  for (const json& problem : figures["problems"]) {
    EXPECT_EQ(problem["reference"]["kind"], "optimum") << problem["name"];
    ASSERT_EQ(problem["searchers"].size(), 5u);
    for (const json& row : problem["searchers"]) {
      EXPECT_LE(row["best_score"], 1 + 1e-9) << problem["name"] << row["searcher"];
      EXPECT_GT(row["best_score"], 0) << problem["name"] << row["searcher"];
    }
  }
}

TEST_F(CompareSuite, PrintsATableAndWritesTheReports) {
  const ProcessResult result = Compare({"--out", Path("out"), "--searchers", "megatron,annealing", "--budget", "100"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  for (const char* part : {"quick: 3 problems, 3 seeds from 1, at most 100 evaluations", "annealing",
                           "llama-8b decode 8", "95 % interval", "optimum"}) {
    EXPECT_NE(result.out.find(part), std::string::npos) << part << "\n" << result.out;
  }
  EXPECT_EQ(result.out.find("random"), std::string::npos) << "--searchers replaces the suite's";
  EXPECT_EQ(NumLines(Path("out/comparison.csv")), 1 + 3 * 2 + 2);
  EXPECT_EQ(NumLines(Path("out/results.jsonl")), 1 + 3 + 3 * (1 + 3));
  if (result.err.find("no Chart.js") == std::string::npos) {
    EXPECT_NE(Read(Path("out/comparison.html")).find("llama-8b decode 8"), std::string::npos);
  }
}

TEST_F(CompareSuite, KilledAndResumedIsTheSameTableAndNothingIsRunTwice) {
  const json whole = Figures(Compare({"--out", Path("whole"), "--json"}));
  const std::string results = Path("killed/results.jsonl");
  const ProcessResult killed =
      Compare({"--out", Path("killed"), "--json"}, [&] { return NumLines(results) >= 10 ? SIGKILL : 0; });
  ASSERT_EQ(killed.signal, SIGKILL);
  const std::ptrdiff_t before = NumLines(results);
  ASSERT_LT(before, NumLines(Path("whole/results.jsonl")));
  const ProcessResult resumed = Compare({"--out", Path("killed"), "--json", "--resume", "--threads", "1"});
  EXPECT_EQ(Figures(resumed), whole);
  EXPECT_EQ(NumLines(results), NumLines(Path("whole/results.jsonl"))) << "a run that was there is not run again";
  EXPECT_NE(resumed.err.find(std::to_string(before - 1) + " of them were there before"), std::string::npos)
      << resumed.err;
}

TEST_F(CompareSuite, MistakesAreOneLine) {
  ExpectUserError(Compare({"--model", "llama-3.1-8b"}), "brings its problems along");
  ExpectUserError(Compare({"--searchers", "anealing"}), "did you mean \"annealing\"");
  ExpectUserError(Compare({"--time-limit", "3"}), "--time-limit");
  ExpectUserError(Compare({"--out", "/dev/null"}), "/dev/null");
  ExpectUserError(Run({"compare", "--suite", "quik"}), "quick");
  ExpectUserError(Run({"compare", "--model", "llama-3.1-8b"}), "--searchers");
}

}  // namespace
}  // namespace shardscout::test
