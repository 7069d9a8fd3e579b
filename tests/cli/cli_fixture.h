#pragma once

// What the tests of the command line share.

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "tests/cli/process.h"

namespace shardscout::test {

using Words = std::vector<std::string>;

/// A folder of its own, and the built program.
class Cli : public testing::Test {
 protected:
  void SetUp() override {
    folder_ =
        std::filesystem::path(testing::TempDir()) / ("shardscout_cli_" + std::to_string(::getpid()) + "_" +
                                                     testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string Path(const std::string& name) const { return (folder_ / name).string(); }

  ProcessResult Run(Words words, const std::map<std::string, std::string>& environment = {},
                    const std::function<int()>& watch = nullptr) const {
    words.insert(words.begin(), SHARDSCOUT_CLI);
    return RunProcess(words, environment, watch);
  }

  static std::string Read(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  }

  static std::ptrdiff_t NumLines(const std::string& path) {
    const std::string text = Read(path);
    return std::count(text.begin(), text.end(), '\n');
  }

  /// Annealing on a small problem.
  static Words Search(const Words& more = {}) {
    Words words = {"search",     "--model",     "llama-3.1-8b", "--cluster", "h100-sxm", "--devices", "8",
                   "--workload", "decode-chat", "--searcher",   "annealing", "--budget", "300"};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }

  static void ExpectUserError(const ProcessResult& result, const std::string& part) {
    EXPECT_EQ(result.exit_code, 2) << result.err;
    EXPECT_EQ(result.out, "");
    EXPECT_NE(result.err.find(part), std::string::npos) << result.err;
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
  }

  std::filesystem::path folder_;
};

}  // namespace shardscout::test
