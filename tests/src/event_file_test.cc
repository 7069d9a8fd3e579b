#include "shardscout/event_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <string>
#include <vector>

#include "shardscout/error.h"
#include "src/crc32c.h"
#include "tests/event_file_reader.h"

namespace shardscout {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

class EventFileTest : public ::testing::Test {
 protected:
  void SetUp() override { std::filesystem::remove_all(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  static std::string Bytes(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  }

  const std::string folder_ =
      ::testing::TempDir() + "shardscout_events_" + ::testing::UnitTest::GetInstance()->current_test_info()->name();
};

TEST(Crc32cTest, PublishedValues) {
  EXPECT_EQ(internal::Crc32c("123456789"), 0xe3069283u);
  EXPECT_EQ(internal::Crc32c(std::string(32, '\0')), 0x8a9136aau) << "RFC 3720, appendix B.4";
  EXPECT_EQ(internal::Crc32c(std::string(32, '\xff')), 0x62a8ab43u) << "RFC 3720, appendix B.4";
  EXPECT_EQ(internal::Crc32c(""), 0u);
}

TEST_F(EventFileTest, ReadsBackWhatWasWritten) {
  const std::vector<Scalar> first = {{"ppo/entropy", 1.5}, {"ppo/value_loss", -2.25e-3}};
  const std::vector<Scalar> second = {{"ppo/entropy", std::numeric_limits<double>::infinity()}};
  std::string path;
  {
    EventFile file(folder_ + "/deep/run");
    path = file.path();
    file.Write(64, first);
    file.Write(std::int64_t{1} << 40, second);
    file.Write(3, {});
    EXPECT_EQ(test::ReadEvents(Bytes(path)).size(), 3u) << "whole before the file is closed";
  }
  EXPECT_EQ(std::filesystem::path(path).filename().string().find("events.out.tfevents."), 0u) << path;
  const std::vector<test::ReadEvent> events = test::ReadEvents(Bytes(path));
  ASSERT_EQ(events.size(), 3u);
  EXPECT_EQ(events[0].file_version, "brain.Event:2");
  EXPECT_THAT(events[0].scalars, IsEmpty());
  EXPECT_EQ(events[1].step, 64);
  EXPECT_THAT(events[1].scalars, ElementsAre(Pair("ppo/entropy", 1.5f), Pair("ppo/value_loss", -2.25e-3f)));
  EXPECT_EQ(events[2].step, std::int64_t{1} << 40);
  EXPECT_THAT(events[2].scalars, ElementsAre(Pair("ppo/entropy", std::numeric_limits<float>::infinity())));
  // Seconds since 1970, as the file's name has those of its making; the clock may be set back or on meanwhile.
  const std::string name = std::filesystem::path(path).filename().string();
  const double made = std::stod(name.substr(std::string("events.out.tfevents.").size()));
  constexpr double kYearS = 365.25 * 24 * 3600;
  for (const test::ReadEvent& event : events) EXPECT_NEAR(event.wall_time, made, kYearS);
}

TEST_F(EventFileTest, TheReaderSeesAFlippedBit) {
  EventFile file(folder_);
  file.Write(1, std::vector<Scalar>{{"a", 1}});
  const std::string bytes = Bytes(file.path());
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    std::string flipped = bytes;
    flipped[i] = static_cast<char>(flipped[i] ^ 4);
    EXPECT_THROW(test::ReadEvents(flipped), std::runtime_error) << "byte " << i;
  }
}

TEST_F(EventFileTest, SaysWhereNoFileCanBe) {
  std::ofstream(folder_) << "a file";
  EXPECT_THROW(EventFile file(folder_), SpecError);
}

}  // namespace
}  // namespace shardscout
