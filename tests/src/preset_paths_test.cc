#include "shardscout/preset_paths.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "tests/src/spec_error_at.h"

namespace shardscout {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

/// A configs folder of its own, which SHARDSCOUT_CONFIGS names while the test runs.
class PresetPathsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string test = ::testing::UnitTest::GetInstance()->current_test_info()->name();
    folder_ = fs::path(::testing::TempDir()) / ("shardscout_presets_" + test);
    fs::remove_all(folder_);
    fs::create_directories(folder_ / "models");
    const char* before = std::getenv("SHARDSCOUT_CONFIGS");
    if (before != nullptr) before_ = before;
    had_before_ = before != nullptr;
    setenv("SHARDSCOUT_CONFIGS", folder_.c_str(), 1);
  }
  void TearDown() override {
    if (had_before_) {
      setenv("SHARDSCOUT_CONFIGS", before_.c_str(), 1);
    } else {
      unsetenv("SHARDSCOUT_CONFIGS");
    }
    fs::remove_all(folder_);
  }

  std::string Write(const fs::path& name, const std::string& text) {
    std::ofstream(folder_ / name) << text;
    return (folder_ / name).string();
  }

  fs::path folder_;

 private:
  std::string before_;
  bool had_before_ = false;
};

TEST_F(PresetPathsTest, ListsSortedJsonFiles) {
  Write("models/b.json", "{}");
  Write("models/a.json", "{}");
  Write("models/readme.txt", "");
  EXPECT_EQ(PresetDirectory("models"), (folder_ / "models").string());
  EXPECT_THAT(ListPresets("models"), ElementsAre("a", "b"));
  EXPECT_THAT(ListPresets("clusters"), IsEmpty());
}

TEST_F(PresetPathsTest, ResolvesFilesBeforePresets) {
  const std::string preset = Write("models/tiny-llama.json", "{}");
  const std::string file = Write("own.json", "{}");
  EXPECT_EQ(ResolvePreset("models", "tiny-llama", "--model"), preset);
  EXPECT_EQ(ResolvePreset("models", "tiny-llama.json", "--model"), preset);
  EXPECT_EQ(ResolvePreset("models", file, "--model"), file);
}

TEST_F(PresetPathsTest, NamesTheNearestPreset) {
  Write("models/tiny-llama.json", "{}");
  const std::string folder = (folder_ / "models").string();
  EXPECT_EQ(SpecErrorAt("--model", [] { ResolvePreset("models", "tiny-lama", "--model"); }),
            "--model: \"tiny-lama\" is neither a file nor a preset in " + folder +
                ", which holds tiny-llama; did you mean \"tiny-llama\"?");
  EXPECT_THAT(SpecErrorAt("--model", [] { ResolvePreset("models", "../models/tiny-llama", "--model"); }),
              HasSubstr("neither a file nor a preset"));
  EXPECT_THAT(SpecErrorAt("--cluster", [] { ResolvePreset("clusters", "x", "--cluster"); }),
              HasSubstr("holds nothing"));
}

TEST_F(PresetPathsTest, ReadsWholeFiles) {
  const std::string text(200000, 'x');
  EXPECT_EQ(ReadTextFile(Write("a.json", text)), text);
  EXPECT_EQ(ReadTextFile(Write("empty.json", "")), "");
}

TEST_F(PresetPathsTest, RefusesWhatItCannotRead) {
  const std::string missing = (folder_ / "missing.json").string();
  EXPECT_EQ(SpecErrorAt(missing, [&] { ReadTextFile(missing); }), missing + ": can't be opened");
  const std::string folder = folder_.string();
  EXPECT_EQ(SpecErrorAt(folder, [&] { ReadTextFile(folder); }), folder + ": is a directory, expected a file");
  const std::string large = Write("large.json", std::string((std::size_t{16} << 20) + 1, ' '));
  EXPECT_EQ(SpecErrorAt(large, [&] { ReadTextFile(large); }), large + ": larger than 16 MiB");
}

TEST(SourceConfigsTest, AreFoundWithoutAnySetting) {
  if (std::getenv("SHARDSCOUT_CONFIGS") != nullptr) GTEST_SKIP() << "SHARDSCOUT_CONFIGS is set";
  EXPECT_EQ(fs::path(PresetDirectory("models")), fs::path(SHARDSCOUT_TEST_SOURCE_DIR) / "configs" / "models");
}

}  // namespace
}  // namespace shardscout
