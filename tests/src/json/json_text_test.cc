#include "src/json/json_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "tests/src/spec_error_at.h"

namespace shardscout::json {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;
using ::testing::StartsWith;

std::string ErrorOf(const std::string& text) {
  return SpecErrorAt("a.json", [&] { ParseText(text, "a.json"); });
}

TEST(ParseTextTest, ParsesAnyJson) {
  EXPECT_EQ(ParseText(R"({"a": [1, 2.5, "x", true, null]})", "a.json").dump(), R"({"a":[1,2.5,"x",true,null]})");
}

TEST(ParseTextTest, NamesLineAndColumnOfASyntaxError) {
  EXPECT_THAT(ErrorOf("{\n  \"a\": 1,\n  \"b\": oops\n}"),
              StartsWith("a.json: not JSON at line 3, column 8: syntax error"));
  EXPECT_THAT(ErrorOf(""), StartsWith("a.json: not JSON at line 1, column 1: "));
  EXPECT_THAT(ErrorOf("{\"a\": NaN}"), HasSubstr("line 1, column 7"));
  EXPECT_THAT(ErrorOf("{} {}"), HasSubstr("line 1, column 4"));
  EXPECT_THAT(ErrorOf("\"\xff\""), HasSubstr("not JSON at line 1, column 2"));
  EXPECT_THAT(ErrorOf(std::string(100000, 'x')).size(), testing::Lt(300u));
}

TEST(ParseTextTest, BoundsTheNesting) {
  const auto nested = [](int depth) {
    return std::string(static_cast<std::size_t>(depth), '[') + std::string(static_cast<std::size_t>(depth), ']');
  };
  EXPECT_NO_THROW(ParseText(nested(kMaxDepth), "a.json"));
  EXPECT_EQ(ErrorOf(nested(kMaxDepth + 1)), "a.json: nested more than 64 deep at line 1, column 65");
  EXPECT_EQ(ErrorOf("\n" + std::string(1000000, '[')), "a.json: nested more than 64 deep at line 2, column 65");
  EXPECT_NO_THROW(ParseText("\"\\\"" + std::string(100, '[') + "\"", "a.json"));
}

TEST(ParseTextTest, BoundsTheSize) {
  EXPECT_EQ(ErrorOf(std::string(kMaxTextBytes + 1, ' ')), "a.json: larger than 16 MiB");
}

TEST(ParseTextTest, RefusesNumbersBeyondDouble) {
  EXPECT_EQ(ErrorOf("[1e999]"), "a.json: a number is too large to represent");
}

TEST(ParseTextTest, RefusesAKeyThatAppearsTwice) {
  EXPECT_EQ(ErrorOf(R"({"a": {"b": 1}, "c": {"b": 2}, "a": 3})"), "a.json: key \"a\" appears twice in one object");
}

TEST(PointerStepTest, Escapes) { EXPECT_EQ(PointerStep("a/b~c"), "a~1b~0c"); }

TEST(PointerStepTest, CutsLongKeys) { EXPECT_EQ(PointerStep(std::string(100000, 'k')), std::string(60, 'k') + "..."); }

TEST(PlaceTest, APlaceWithinADocumentIsContinued) {
  EXPECT_EQ(Place("plan.json", ""), "plan.json#");
  EXPECT_EQ(Place("plan.json", "/search"), "plan.json#/search");
  EXPECT_EQ(Place("plan.json#", "/search"), "plan.json#/search");
  EXPECT_EQ(Place("plan.json#/search", "/seed"), "plan.json#/search/seed");
  EXPECT_EQ(Place("plan.json#/search", ""), "plan.json#/search");
}

TEST(QuotedTest, CutsLongValues) {
  EXPECT_EQ(Quoted("x"), "\"x\"");
  EXPECT_THAT(Quoted(std::string(1000, 'x')), SizeIs(63));
}

}  // namespace
}  // namespace shardscout::json
