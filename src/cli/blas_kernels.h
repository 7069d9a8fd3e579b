#pragma once

namespace shardscout::cli {

/// OpenBLAS chooses its kernels by the processor's model, and where it does not know the model falls back on Prescott's
/// of 2004: Debian 12's 0.3.21 does so on Emerald Rapids, where that slows `ppo` (experiments/README.md). Names the
/// kernels by what the processor can do instead, in the environment, for what this process loads and starts later;
/// unless the user has named some.
void ChooseBlasKernels();

}  // namespace shardscout::cli
