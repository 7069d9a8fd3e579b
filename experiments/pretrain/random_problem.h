#pragma once

#include <cstdint>

#include "shardscout/problem.h"

namespace shardscout::pretrain {

/// A problem drawn from a seed: a dense model, one with experts or one with latent attention, of sizes that no preset
/// has; a cluster of a device and a network that no preset has; prefill, decode or serve with lengths, targets and an
/// objective. Models and clusters are written in the formats that users write and read by the same readers. May be
/// infeasible; nullopt never: what a reader refuses is drawn again.
///
/// No preset of configs/ is read but the reference device (h100-sxm), whose curves every device has that was not
/// measured (ScaledCurves).
Problem RandomProblem(std::uint64_t seed);

}  // namespace shardscout::pretrain
