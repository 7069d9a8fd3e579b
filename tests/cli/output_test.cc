#include "src/cli/output.h"

#include <gtest/gtest.h>

#include <sstream>

namespace shardscout::cli {
namespace {

TEST(Output, Numbers) {
  EXPECT_EQ(Grouped(0), "0");
  EXPECT_EQ(Grouped(999), "999");
  EXPECT_EQ(Grouped(-1234567), "-1,234,567");
  EXPECT_EQ(Number(0), "0");
  EXPECT_EQ(Number(1234567), "1,234,567");
  EXPECT_EQ(Number(99.96), "100");
  EXPECT_EQ(Number(12.345), "12.3");
  EXPECT_EQ(Number(9.996), "10.0");
  EXPECT_EQ(Number(1.4888), "1.49");
  EXPECT_EQ(Number(0.9996), "1.00");
  EXPECT_EQ(Number(0.012345), "0.0123");
  EXPECT_EQ(Number(1.234e16), "1.23e+16");
  EXPECT_EQ(Number(1.234e-7), "1.23e-07");
}

TEST(Output, Units) {
  EXPECT_EQ(Duration(0.0483), "48.3 ms");
  EXPECT_EQ(Duration(1.2), "1.20 s");
  EXPECT_EQ(Duration(12e-6), "12.0 us");
  EXPECT_EQ(Duration(0.9999), "1.00 s");
  EXPECT_EQ(Duration(0), "0");
  EXPECT_EQ(Bytes(61.2e9), "61.2 GB");
  EXPECT_EQ(Bytes(512e3), "512 KB");
  EXPECT_EQ(Bytes(7), "7.00 B");
  EXPECT_EQ(Percent(0.125), "12.5 %");
}

TEST(Output, TableAlignsColumns) {
  Table table({"name", ">n"});
  table.AddRow({"a", "1"});
  table.AddRow({"bcdef", "1,000"});
  table.AddRow({"short"});
  std::ostringstream out;
  table.Print(out);
  EXPECT_EQ(out.str(), "name       n\na          1\nbcdef  1,000\nshort\n");
}

}  // namespace
}  // namespace shardscout::cli
