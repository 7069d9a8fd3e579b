#include "shardscout/error.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdexcept>
#include <string>
#include <vector>

namespace shardscout {
namespace {

using ::testing::HasSubstr;
using ::testing::StrEq;
using ::testing::ThrowsMessage;

TEST(SpecErrorTest, PutsThePlaceBeforeTheMessage) {
  const SpecError error("h100.json#/device", "missing key \"name\"");
  EXPECT_EQ(error.place(), "h100.json#/device");
  EXPECT_THAT(error.what(), StrEq("h100.json#/device: missing key \"name\""));
  EXPECT_THAT(SpecError("", "no devices").what(), StrEq("no devices"));
}

TEST(SpecErrorTest, IsOneLine) {
  const SpecError error("a\nb.json#/x\x1b[2J", "found \"\r\n\x7f\", gr\xc3\xbc\xc3\x9f");
  EXPECT_THAT(error.what(), StrEq("a\\x0ab.json#/x\\x1b[2J: found \"\\x0d\\x0a\\x7f\", gr\xc3\xbc\xc3\x9f"));
  EXPECT_EQ(error.place(), "a\\x0ab.json#/x\\x1b[2J");
}

TEST(SpecErrorTest, IsUtf8WhateverTheUserGave) {
  // A stray byte, an overlong slash, a surrogate, a cut sequence, one above the last code point; then good ones.
  const SpecError error("\xff.json",
                        "\xc0\xaf \xed\xa0\x80 \xe2\x82 \xf4\x90\x80\x80 \xe2\x82\xac \xf0\x9f\x8c\x8d\xc3");
  EXPECT_THAT(error.what(), StrEq("\\xff.json: \\xc0\\xaf \\xed\\xa0\\x80 \\xe2\\x82 \\xf4\\x90\\x80\\x80 "
                                  "\xe2\x82\xac \xf0\x9f\x8c\x8d\\xc3"));
}

TEST(NearestNameTest, FindsTheLeastEditDistance) {
  const std::vector<std::string> names = {"hbm_bytes", "hbm_bytes_per_s", "l2_cache_bytes", "name"};
  EXPECT_EQ(NearestName("hbm_bites", names), "hbm_bytes");
  EXPECT_EQ(NearestName("hbm_bytes_s", names), "hbm_bytes");
  EXPECT_EQ(NearestName("hbm_byte_per_s", names), "hbm_bytes_per_s");
  EXPECT_EQ(NearestName("naem", names), "name");
  EXPECT_EQ(NearestName("name", names), "name");
}

TEST(NearestNameTest, StaysSilentBeyondAThirdOfTheLetters) {
  EXPECT_EQ(NearestName("abcdef", {"abcdxy"}), "abcdxy");
  EXPECT_EQ(NearestName("abcdef", {"abcxyz"}), "");
  EXPECT_EQ(NearestName("tp", {"pp"}), "pp");
  EXPECT_EQ(NearestName("tp", {"cq"}), "");
  EXPECT_EQ(NearestName("", {"a"}), "");
  EXPECT_EQ(NearestName("name", {}), "");
  EXPECT_EQ(NearestName(std::string(100000, 'a'), {std::string(100000, 'a')}), "");
}

TEST(NearestNameTest, TakesTheFirstOfEquals) { EXPECT_EQ(NearestName("cat", {"bat", "car"}), "bat"); }

TEST(CheckTest, PrintsBothOperands) {
  const int found = 3;
  EXPECT_NO_THROW(SHARDSCOUT_CHECK_OP(found, ==, 3));
  EXPECT_THAT([&] { SHARDSCOUT_CHECK_OP(found, <, 2); },
              ThrowsMessage<std::logic_error>(HasSubstr("check failed: found < 2 (3 vs 2)")));
  EXPECT_THAT([&] { SHARDSCOUT_CHECK(found == 4); },
              ThrowsMessage<std::logic_error>(HasSubstr("check failed: found == 4")));
}

}  // namespace
}  // namespace shardscout
