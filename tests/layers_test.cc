// The direction of dependency (CONTRIBUTING.md), read from the #include lines of the tree:
//
//   include <- src <- strategies <- env <- { baselines, agents, src/export, src/import } <- { src/cli, experiments,
//   tests }
//
// and who may see torch: agents/, its tests, and the workers of live runs.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace shardscout {
namespace {

/// The parts of the tree, the longer path first where one holds the other. A part may include itself and every part of
/// a lower level.
const std::vector<std::pair<std::string, int>> kParts = {
    {"include/", 0}, {"src/cli/", 5},   {"src/export/", 4}, {"src/import/", 4},  {"src/", 1},  {"strategies/", 2},
    {"env/", 3},     {"baselines/", 4}, {"agents/", 4},     {"experiments/", 5}, {"tests/", 6}};

struct Part {
  std::string folder;
  int level = 0;
};

std::optional<Part> PartOf(const std::string& path) {
  for (const auto& [folder, level] : kParts) {
    if (path.starts_with(folder)) return Part{folder, level};
  }
  return std::nullopt;
}

/// The name between the quotes or angles of an #include line, "" for another line.
std::string Included(const std::string& line) {
  if (!line.starts_with("#include ")) return "";
  const std::size_t begin = line.find_first_of("\"<");
  const std::size_t end = line.find_first_of("\">", begin + 1);
  if (begin == std::string::npos || end == std::string::npos) return "";
  return line.substr(begin + 1, end - begin - 1);
}

bool IsTorch(const std::string& included) {
  return included.starts_with("torch/") || included.starts_with("ATen/") || included.starts_with("c10/");
}

bool MaySeeTorch(const std::string& path) {
  for (const char* folder : {"agents/", "env/live/worker/", "tests/agents/"}) {
    if (path.starts_with(folder)) return true;
  }
  return false;
}

/// What is wrong with an #include in a file, both as paths from the top of the tree; "" for nothing.
std::string Complaint(const std::string& path, const std::string& included) {
  if (IsTorch(included) && !MaySeeTorch(path)) return path + " includes torch: " + included;
  if (path.starts_with("include/") && included.starts_with("nlohmann/") && included != "nlohmann/json_fwd.hpp") {
    return path + " shows a JSON library to users: " + included;
  }
  const std::optional<Part> from = PartOf(path), to = PartOf(included);
  if (!from || !to || from->folder == to->folder || to->level < from->level) return "";
  return path + " (" + from->folder + ") includes " + included + ", against the direction of dependency";
}

TEST(LayersTest, Examples) {
  EXPECT_EQ(Complaint("env/reward.cc", "strategies/geometry.h"), "");
  EXPECT_EQ(Complaint("env/reward.cc", "env/searcher_config.h"), "");
  EXPECT_EQ(Complaint("src/export/vllm.cc", "src/json/fields.h"), "");
  EXPECT_EQ(Complaint("agents/ppo.h", "ATen/ATen.h"), "");
  EXPECT_EQ(Complaint("agents/ppo.h", "shardscout/random.h"), "") << "public headers are below all";
  EXPECT_NE(Complaint("env/reward.cc", "baselines/annealing.h"), "");
  EXPECT_NE(Complaint("baselines/annealing.cc", "agents/ppo.h"), "") << "the same level";
  EXPECT_NE(Complaint("src/plan.cc", "src/cli/output.h"), "");
  EXPECT_NE(Complaint("include/shardscout/plan.h", "src/digest.h"), "");
  EXPECT_NE(Complaint("env/reward.cc", "torch/torch.h"), "");
  EXPECT_NE(Complaint("include/shardscout/plan.h", "nlohmann/json.hpp"), "");
  EXPECT_EQ(Included("#include \"env/reward.h\"  // why"), "env/reward.h");
  EXPECT_EQ(Included("#include <vector>"), "vector");
  EXPECT_EQ(Included("// #include <vector>"), "");
}

TEST(LayersTest, EveryIncludePointsDownwards) {
  const std::filesystem::path top = SHARDSCOUT_TEST_SOURCE_DIR;
  std::vector<std::string> complaints;
  std::map<std::string, int> files;
  for (const auto& [folder, level] : kParts) {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(top / folder)) {
      const std::string extension = entry.path().extension().string();
      if (!entry.is_regular_file() || (extension != ".h" && extension != ".cc")) continue;
      const std::string path = entry.path().lexically_relative(top).generic_string();
      if (PartOf(path)->folder != folder) continue;  // src/cli under src/: counted there.
      ++files[folder];
      std::ifstream file(entry.path());
      for (std::string line; std::getline(file, line);) {
        const std::string complaint = Complaint(path, Included(line));
        if (!complaint.empty()) complaints.push_back(complaint);
      }
    }
  }
  EXPECT_THAT(complaints, ::testing::IsEmpty());
  EXPECT_EQ(files.size(), kParts.size()) << "a part without a file: the test looks in the wrong place";
}

}  // namespace
}  // namespace shardscout
