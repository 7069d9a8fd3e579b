#include "shardscout/dtype.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/src/spec_error_at.h"

namespace shardscout {
namespace {

TEST(DTypeTest, NamesAndSizesOfAll) {
  struct Row {
    DType dtype;
    const char* name;
    int bits;
  };
  const Row rows[] = {{DType::kFp32, "fp32", 32},  {DType::kBf16, "bf16", 16}, {DType::kFp16, "fp16", 16},
                      {DType::kFp8, "fp8", 8},     {DType::kInt8, "int8", 8},  {DType::kInt4, "int4", 4},
                      {DType::kMxfp4, "mxfp4", 4}, {DType::kNvfp4, "nvfp4", 4}};
  ASSERT_EQ(std::size(rows), kNumDTypes);
  for (const Row& row : rows) {
    EXPECT_EQ(ToString(row.dtype), row.name);
    EXPECT_EQ(BitsPerElement(row.dtype), row.bits);
    EXPECT_EQ(BytesPerElement(row.dtype), row.bits / 8.0);
    EXPECT_EQ(ParseDType(row.name, ""), row.dtype);
  }
}

TEST(DTypeTest, TakesHuggingFaceNames) {
  EXPECT_EQ(ParseDType("bfloat16", ""), DType::kBf16);
  EXPECT_EQ(ParseDType("float16", ""), DType::kFp16);
  EXPECT_EQ(ParseDType("float32", ""), DType::kFp32);
  EXPECT_EQ(ParseDType("float8_e4m3fn", ""), DType::kFp8);
}

TEST(DTypeTest, RefusesUnknownNames) {
  EXPECT_EQ(SpecErrorAt("--kv-dtype", [] { ParseDType("pf8", "--kv-dtype"); }),
            "--kv-dtype: found \"pf8\", expected one of fp32, bf16, fp16, fp8, int8, int4, mxfp4, nvfp4; did you mean "
            "\"fp8\"?");
}

}  // namespace
}  // namespace shardscout
