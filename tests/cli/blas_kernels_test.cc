#include "src/cli/blas_kernels.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

namespace shardscout::cli {
namespace {

constexpr const char* kVariable = "OPENBLAS_CORETYPE";

TEST(BlasKernelsTest, WhatTheUserNamedStays) {
  ASSERT_EQ(::setenv(kVariable, "Nehalem", 1), 0);
  ChooseBlasKernels();
  EXPECT_STREQ(std::getenv(kVariable), "Nehalem");
  ::unsetenv(kVariable);
}

TEST(BlasKernelsTest, OtherwiseTheProcessorsInstructionsSay) {
  ::unsetenv(kVariable);
  ChooseBlasKernels();
  const char* const kernels = std::getenv(kVariable);
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512vl") != 0) {
    EXPECT_STREQ(kernels, "SKYLAKEX");
  } else if (__builtin_cpu_supports("avx2") != 0) {
    EXPECT_STREQ(kernels, "HASWELL");
  } else {
    EXPECT_EQ(kernels, nullptr);
  }
#else
  EXPECT_EQ(kernels, nullptr);
#endif
  ::unsetenv(kVariable);
}

}  // namespace
}  // namespace shardscout::cli
