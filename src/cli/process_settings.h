#pragma once

namespace shardscout::cli {

// What the program sets for its whole process before anything else, where a library must not.

/// OpenBLAS chooses its kernels by the processor's model, and where it does not know the model falls back on Prescott's
/// of 2004: Debian 12's 0.3.21 does so on Emerald Rapids, where that slows `ppo` (experiments/README.md). Names the
/// kernels by what the processor can do instead, in the environment, for what this process loads and starts later;
/// unless the user has named some.
void ChooseBlasKernels();

/// Keeps freed memory up to 128 MiB for the next allocation, blocks of up to 32 MiB too. By default glibc returns the
/// top of its heap beyond 128 KiB to the system and maps larger blocks one by one, so that every update of `ppo` had
/// its pages zeroed anew: a seventh of its time (experiments/README.md). Does nothing with another C library.
void KeepFreedMemory();

}  // namespace shardscout::cli
