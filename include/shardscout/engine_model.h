#pragma once

#include <algorithm>
#include <cstdint>
#include <string>

namespace shardscout {

/// What a serving engine adds to its devices' kernels. Between the kernels of a layer there are gaps, also in a CUDA
/// graph; a step with prompts is no graph and takes at least what launching its kernels one by one takes; and the host
/// schedules, samples and streams for each request, beside the devices where the engine overlaps (the slower of the two
/// sets the pace) or after them. Invariants: no time is negative.
///
///     device = kernels + layers * layer_gap_s, with prompts at least layers * layer_launch_s
///     host   = requests * request_host_s
///     step   = max(device, host) where it overlaps, else device + host
///
/// The presets under configs/engines are fitted to measured serving points by `fit_engines` (experiments/validation),
/// which prints the error over models and systems that a fit has not seen.
struct EngineModel {
  std::string name = "none";
  bool overlaps = true;
  double layer_gap_s = 0;     ///< Of each layer of each step.
  double layer_launch_s = 0;  ///< Of each layer of a step with prompts.
  double request_host_s = 0;  ///< Of each request that takes part in a step, of one rank.
  double arrival_s = 0;       ///< From a request's arrival until the scheduler has it: its transport, its tokens.

  /// Of kernels that take `kernels_s`.
  double StepTime(double kernels_s, std::int64_t requests, std::int64_t layers, bool has_prompts) const {
    const auto depth = static_cast<double>(layers);
    const double device_s = std::max(kernels_s + depth * layer_gap_s, has_prompts ? depth * layer_launch_s : 0);
    const double host_s = static_cast<double>(requests) * request_host_s;
    return overlaps ? std::max(device_s, host_s) : device_s + host_s;
  }
  bool operator==(const EngineModel&) const = default;
};

/// A file or a preset under configs/engines (vllm, sglang, trtllm).
EngineModel LoadEngine(const std::string& name_or_path);

}  // namespace shardscout
