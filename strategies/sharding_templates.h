#pragma once

#include <vector>

#include "shardscout/strategy_space.h"

namespace shardscout {

/// Layer variables (residual_layout and after) as people choose them, sizes 1: Megatron's tensor parallelism, the same
/// with sequence parallelism, token-sharded throughout, token-sharded attention with split FFNs, a KV cache split by
/// position, a dense FFN over the whole stage, and the all-gather variant with a feature-sharded residual stream.
std::vector<Strategy> ShardingTemplates();

/// The sizes of one strategy with the layer variables of another, repaired into the space.
Strategy WithLayers(const StrategySpace& space, const Strategy& sizes, const Strategy& layers);

}  // namespace shardscout
