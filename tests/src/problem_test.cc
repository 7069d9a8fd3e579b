#include "shardscout/problem.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "shardscout/error.h"
#include "tests/tiny_problems.h"

namespace shardscout {
namespace {

using ::testing::HasSubstr;

std::string ErrorOf(const ModelSpec& model, const ClusterSpec& cluster, const ProblemOptions& options = {}) {
  try {
    Problem(model, cluster, testing::SmallWorkload(WorkloadKind::kDecode), options);
  } catch (const SpecError& error) {
    return error.what();
  }
  return "";
}

TEST(ProblemTest, TheDeviceComputesInTheModelsTypes) {
  // Found by fuzzing: all times of such a model were infinite.
  ModelSpec model = testing::DenseModel();
  ClusterSpec cluster = testing::SmallCluster(2);
  model.residual_dtype = DType::kFp32;
  EXPECT_EQ(ErrorOf(model, cluster), "");
  cluster.device.peak_flop_per_s[static_cast<std::size_t>(DType::kFp32)] = 0;
  EXPECT_THAT(ErrorOf(model, cluster), HasSubstr("computes in fp32, for which the device h100 has no peak"));
  model.residual_dtype = DType::kBf16;
  EXPECT_EQ(ErrorOf(model, cluster), "");
}

TEST(ProblemTest, FixedVariablesHaveLettersThatJsonHolds) {
  const auto fixing = [](const std::string& variable, const std::string& value) {
    return ErrorOf(testing::DenseModel(), testing::SmallCluster(2), {.fixed = {{variable, value}}});
  };
  EXPECT_EQ(fixing("tensor_parallel_size", "2"), "");
  EXPECT_THAT(fixing("shardings.q\x93", "heads"), HasSubstr("--fix shardings.q\\x93=heads: expected"));
  EXPECT_THAT(fixing("shardings.qkv", "\xff"), HasSubstr("=\\xff: expected"));
  EXPECT_THAT(fixing("a b", "2"), HasSubstr("--fix a b=2: expected"));
}

}  // namespace
}  // namespace shardscout
