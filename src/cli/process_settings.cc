#include "src/cli/process_settings.h"

#include <cstdlib>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace shardscout::cli {

void ChooseBlasKernels() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx512 = __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512dq") != 0 &&
                      __builtin_cpu_supports("avx512bw") != 0 && __builtin_cpu_supports("avx512vl") != 0;
  const bool avx2 = __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0;
  const char* const kernels = avx512 ? "SKYLAKEX" : avx2 ? "HASWELL" : nullptr;
  constexpr int kKeep = 0;
  if (kernels != nullptr) ::setenv("OPENBLAS_CORETYPE", kernels, kKeep);
#endif
}

void KeepFreedMemory() {
#if defined(__GLIBC__)
  constexpr int kMiB = 1 << 20;
  ::mallopt(M_TRIM_THRESHOLD, 128 * kMiB);
  ::mallopt(M_MMAP_THRESHOLD, 32 * kMiB);
#endif
}

}  // namespace shardscout::cli
