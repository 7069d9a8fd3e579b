// compare --suite on the quick suite, end to end.

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>

#include "tests/cli/process.h"

namespace shardscout::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using Words = std::vector<std::string>;

class CompareSuite : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) / ("shardscout_compare_suite_" + std::to_string(::getpid()) + "_" +
                                              testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string Path(const std::string& name) const { return (folder_ / name).string(); }

  static ProcessResult Run(const Words& more, const std::function<int()>& watch = nullptr) {
    Words words = {SHARDSCOUT_CLI, "compare", "--suite", "quick", "--seeds", "3"};
    words.insert(words.end(), more.begin(), more.end());
    return RunProcess(words, {}, watch);
  }

  static std::string Read(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  }

  static std::ptrdiff_t NumLines(const std::string& path) {
    const std::string text = Read(path);
    return std::count(text.begin(), text.end(), '\n');
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

  fs::path folder_;
};

TEST_F(CompareSuite, NoSearcherIsBetterThanTheProvedOptimum) {
  const ProcessResult result = Run({"--out", Path("out"), "--json"});
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
  const ProcessResult result = Run({"--out", Path("out"), "--searchers", "megatron,annealing", "--budget", "100"});
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
  const json whole = Figures(Run({"--out", Path("whole"), "--json"}));
  const std::string results = Path("killed/results.jsonl");
  const ProcessResult killed =
      Run({"--out", Path("killed"), "--json"}, [&] { return NumLines(results) >= 10 ? SIGKILL : 0; });
  ASSERT_EQ(killed.signal, SIGKILL);
  const std::ptrdiff_t before = NumLines(results);
  ASSERT_LT(before, NumLines(Path("whole/results.jsonl")));
  const ProcessResult resumed = Run({"--out", Path("killed"), "--json", "--resume", "--threads", "1"});
  EXPECT_EQ(Figures(resumed), whole);
  EXPECT_EQ(NumLines(results), NumLines(Path("whole/results.jsonl"))) << "a run that was there is not run again";
  EXPECT_NE(resumed.err.find(std::to_string(before - 1) + " of them were there before"), std::string::npos)
      << resumed.err;
}

TEST_F(CompareSuite, MistakesAreOneLine) {
  const auto expect_error = [](const ProcessResult& result, const std::string& part) {
    EXPECT_EQ(result.exit_code, 2) << result.err;
    EXPECT_EQ(result.out, "");
    EXPECT_NE(result.err.find(part), std::string::npos) << result.err;
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
  };
  expect_error(Run({"--model", "llama-3.1-8b"}), "brings its problems along");
  expect_error(Run({"--searchers", "anealing"}), "did you mean \"annealing\"");
  expect_error(Run({"--time-limit", "3"}), "--time-limit");
  expect_error(Run({"--out", "/dev/null"}), "/dev/null");
  expect_error(RunProcess({SHARDSCOUT_CLI, "compare", "--suite", "quik"}), "quick");
  expect_error(RunProcess({SHARDSCOUT_CLI, "compare", "--model", "llama-3.1-8b"}), "--searchers");
}

}  // namespace
}  // namespace shardscout::test
