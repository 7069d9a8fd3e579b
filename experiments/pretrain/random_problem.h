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
///
/// From kFirstRareSeed on, what is rare below it is frequent: tori and single networks, nodes of one device, latency as
/// the objective, models without gates, with windows, linear layers, sparse or interleaved attention and experts.
Problem RandomProblem(std::uint64_t seed);
inline constexpr std::uint64_t kFirstRareSeed = 1000000;

}  // namespace shardscout::pretrain
