#include "src/cli/flag_values.h"

#include <gtest/gtest.h>

#include "shardscout/error.h"

namespace shardscout::cli {
namespace {

TEST(FlagValues, Targets) {
  EXPECT_EQ(ParseTarget("none", "--ttft"), std::nullopt);
  EXPECT_EQ(ParseTarget("2", "--ttft"), 2.0);
  EXPECT_EQ(ParseTarget("2.5s", "--ttft"), 2.5);
  EXPECT_EQ(ParseTarget("50ms", "--ttft"), 0.05);
  // The last is beyond what any time is divided by.
  for (const char* bad : {"", "s", "ms", "0", "-1", "+1", "1e400", "inf", "nan", "1m", "1 s", "2e9", "1e-300s"}) {
    EXPECT_THROW(ParseTarget(bad, "--ttft"), SpecError) << bad;
  }
}

TEST(FlagValues, Shares) {
  EXPECT_DOUBLE_EQ(ParseShare("1%", "--until-gap"), 0.01);
  EXPECT_DOUBLE_EQ(ParseShare("0.5", "--until-gap"), 0.5);
  for (const char* bad : {"", "%", "0", "0%", "-1%", "1 %", "1%%", "nan", "inf", "one"}) {
    EXPECT_THROW(ParseShare(bad, "--until-gap"), SpecError) << bad;
  }
}

TEST(FlagValues, Objectives) {
  EXPECT_EQ(ParseObjective("latency"), Objective::kLatency);
  EXPECT_THROW(ParseObjective("latenc"), SpecError);
}

TEST(FlagValues, Fix) {
  EXPECT_EQ(ParseFix("a=b=c"), (std::pair<std::string, std::string>{"a", "b=c"}));
  EXPECT_EQ(ParseFix("a="), (std::pair<std::string, std::string>{"a", ""}));
  EXPECT_THROW(ParseFix("=b"), SpecError);
  EXPECT_THROW(ParseFix("a"), SpecError);
  EXPECT_THROW(ParseFix(""), SpecError);
}

}  // namespace
}  // namespace shardscout::cli
