#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "shardscout/error.h"
#include "shardscout/plan.h"
#include "shardscout/preset_paths.h"

namespace shardscout {
namespace {

namespace fs = std::filesystem;

class PlanFiles : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) / ("shardscout_files_" + std::to_string(::getpid()) + "_" +
                                              testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string Path(const std::string& name) const { return (folder_ / name).string(); }
  std::size_t NumFiles() const {
    return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()));
  }

  fs::path folder_;
};

TEST_F(PlanFiles, WritesAndReplaces) {
  WriteFileAtomically(Path("plan.json"), "one");
  WriteFileAtomically(Path("plan.json"), "two");
  EXPECT_EQ(ReadTextFile(Path("plan.json")), "two");
  EXPECT_EQ(NumFiles(), 1u);
}

TEST_F(PlanFiles, KeepsALinkAndThePermissions) {
  WriteFileAtomically(Path("plan.json"), "one");
  ASSERT_EQ(::chmod(Path("plan.json").c_str(), 0640), 0);
  fs::create_symlink(Path("plan.json"), Path("link.json"));
  WriteFileAtomically(Path("link.json"), "two");
  EXPECT_TRUE(fs::is_symlink(Path("link.json")));
  EXPECT_EQ(ReadTextFile(Path("plan.json")), "two");
  EXPECT_EQ(fs::status(Path("plan.json")).permissions(), fs::perms(0640));
}

TEST_F(PlanFiles, SaysWhyItCannotWrite) {
  const auto error = [](const std::string& path) -> std::string {
    try {
      WriteFileAtomically(path, "text");
    } catch (const SpecError& e) {
      return e.what();
    }
    return "";
  };
  EXPECT_NE(error(Path("missing/plan.json")).find("create its folder"), std::string::npos);
  EXPECT_NE(error(folder_.string()).find("directory"), std::string::npos);
  EXPECT_NE(error("/dev/full").find("free some space"), std::string::npos);
  EXPECT_EQ(NumFiles(), 0u);
}

TEST_F(PlanFiles, WritesToADevice) { EXPECT_NO_THROW(WriteFileAtomically("/dev/null", "text")); }

TEST_F(PlanFiles, AForecastLeavesNothing) {
  EXPECT_NO_THROW(CheckCanWrite(Path("plan.json")));
  EXPECT_EQ(NumFiles(), 0u);
  EXPECT_NO_THROW(CheckCanWrite("/dev/null"));
  EXPECT_THROW(CheckCanWrite(Path("missing/plan.json")), SpecError);
  EXPECT_THROW(CheckCanWrite(folder_.string()), SpecError);
  EXPECT_THROW(CheckCanWrite(""), SpecError);
}

}  // namespace
}  // namespace shardscout
