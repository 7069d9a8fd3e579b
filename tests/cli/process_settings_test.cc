#include "src/cli/process_settings.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <string>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace shardscout::cli {
namespace {

constexpr const char* kVariable = "OPENBLAS_CORETYPE";

TEST(ProcessSettingsTest, BlasKernelsThatTheUserNamedStay) {
  ASSERT_EQ(::setenv(kVariable, "Nehalem", 1), 0);
  ChooseBlasKernels();
  EXPECT_STREQ(std::getenv(kVariable), "Nehalem");
  ::unsetenv(kVariable);
}

TEST(ProcessSettingsTest, OtherwiseTheProcessorsInstructionsSay) {
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

#if defined(__GLIBC__)
TEST(ProcessSettingsTest, LargeBlocksComeFromTheHeapThatIsKept) {
  KeepFreedMemory();
  constexpr std::size_t kBytes = std::size_t{8} << 20;
  const std::size_t mapped = ::mallinfo2().hblks;
  const std::unique_ptr<char[]> block(new char[kBytes]);
  EXPECT_EQ(::mallinfo2().hblks, mapped);
}

TEST(ProcessSettingsTest, FreedMemoryStays) {
  KeepFreedMemory();
  constexpr std::size_t kBytes = std::size_t{8} << 20;
  std::unique_ptr<char[]> block(new char[kBytes]);
  const std::size_t heap = ::mallinfo2().arena;
  block.reset();
  EXPECT_EQ(::mallinfo2().arena, heap);
}
#endif

}  // namespace
}  // namespace shardscout::cli
