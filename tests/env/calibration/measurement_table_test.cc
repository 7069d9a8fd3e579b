#include "env/calibration/measurement_table.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>

#include "shardscout/error.h"

namespace shardscout::env {
namespace {

namespace fs = std::filesystem;

constexpr const char* kText = "gemm_dtype,m,latency_ms\r\nfp8,16,0.5\r\n\r\nbf16,32,1e-3\r\n";

template <class Action>
std::string ErrorOf(const Action& action) {
  try {
    action();
  } catch (const SpecError& error) {
    return error.what();
  }
  return "";
}

TEST(MeasurementTableTest, HasItsCells) {
  const MeasurementTable table = MeasurementTable::Parse(kText, "t.csv");
  ASSERT_EQ(table.num_rows(), 2u);
  EXPECT_EQ(table.Text(1, table.Column("gemm_dtype")), "bf16");
  EXPECT_EQ(table.Number(0, table.Column("m")), 16);
  EXPECT_EQ(table.Number(1, table.Column("latency_ms")), 1e-3);
  EXPECT_TRUE(table.HasColumn("m"));
  EXPECT_FALSE(table.HasColumn("n"));
}

TEST(MeasurementTableTest, MistakesNameTheirPlace) {
  const MeasurementTable table = MeasurementTable::Parse(kText, "t.csv");
  EXPECT_EQ(ErrorOf([&] { table.Column("n"); }),
            "t.csv:1: no column \"n\"; expected it beside gemm_dtype, m, latency_ms");
  EXPECT_NE(ErrorOf([&] { table.Number(0, 0); }).find("t.csv: row 1, column gemm_dtype: found \"fp8\""),
            std::string::npos);
  EXPECT_NE(ErrorOf([&] { table.Number(0, 1, 17); }), "") << "16 is less than 17";
  EXPECT_EQ(ErrorOf([] { MeasurementTable::Parse("a,b\n1,2\n3\n", "t.csv"); }),
            "t.csv:3: found 1 cells, expected 2, one a column");
  EXPECT_NE(ErrorOf([] { MeasurementTable::Parse("a\n\"1\"\n", "t.csv"); }).find("t.csv:2: found a quoted cell"),
            std::string::npos);
  EXPECT_NE(ErrorOf([] { MeasurementTable::Parse("\n", "t.csv"); }).find("t.csv: is empty"), std::string::npos);
  for (const char* number : {"nan", "inf", "1e300", "-1", "1x", ""}) {
    const MeasurementTable bad = MeasurementTable::Parse(std::string("a,b\n") + number + ",1\n", "t.csv");
    EXPECT_NE(ErrorOf([&] { bad.Number(0, 0); }), "") << number;
  }
}

class PackedFile : public testing::Test {
 protected:
  void SetUp() override { fs::create_directories(folder_); }
  void TearDown() override { fs::remove_all(folder_); }
  const fs::path folder_ =
      fs::path(testing::TempDir()) / ("shardscout_packed_" + std::to_string(std::random_device()()));
};

TEST_F(PackedFile, IsReadAsThePlainOne) {
  const std::string plain = (folder_ / "t.csv").string();
  std::ofstream(plain, std::ios::binary) << kText;
  EXPECT_EQ(MeasurementTable::Read(plain).num_rows(), 2u);
  ASSERT_EQ(std::system(("gzip '" + plain + "'").c_str()), 0);
  const MeasurementTable table = MeasurementTable::Read(plain + ".gz");
  EXPECT_EQ(table.num_rows(), 2u);
  EXPECT_EQ(table.Text(0, 0), "fp8");
}

TEST_F(PackedFile, ATornOneIsRefused) {
  const std::string plain = (folder_ / "t.csv").string();
  std::string text = "a,b\n";
  for (int i = 0; i < 5000; ++i) text += std::to_string(i) + "," + std::to_string(i * 7919 % 1000) + "\n";
  std::ofstream(plain, std::ios::binary) << text;
  ASSERT_EQ(std::system(("gzip '" + plain + "'").c_str()), 0);
  EXPECT_EQ(MeasurementTable::Read(plain + ".gz").num_rows(), 5000u);
  fs::resize_file(plain + ".gz", fs::file_size(plain + ".gz") / 2);
  EXPECT_NE(ErrorOf([&] { MeasurementTable::Read(plain + ".gz"); }).find("no whole gzip file"), std::string::npos);
}

TEST_F(PackedFile, WhatIsNoneIsRefused) {
  const std::string path = (folder_ / "t.csv.gz").string();
  std::ofstream(path, std::ios::binary) << kText;
  EXPECT_NE(ErrorOf([&] { MeasurementTable::Read(path); }).find("gzip finds no whole gzip file"), std::string::npos);
  EXPECT_NE(ErrorOf([&] { MeasurementTable::Read((folder_ / "none.csv").string()); }).find("cannot be read"),
            std::string::npos);
}

}  // namespace
}  // namespace shardscout::env
