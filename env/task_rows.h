#pragma once

#include <cstdint>
#include <string>

#include "env/analytical/block_cost.h"
#include "shardscout/program.h"

namespace shardscout::env {

/// What a row of a breakdown calls a task: "matmul", "all_reduce over tp (2 ranks)", with what sets apart tasks of
/// one operator.
std::string TaskName(const Strategy& strategy, const Block& block, std::size_t task);

/// The same of a task of Block::backward: "matmul by its weight", "all_gather over tp (2 ranks), again",
/// "reduce_scatter over tp (2 ranks) of gradients".
std::string BackwardTaskName(const Strategy& strategy, const Task& task);

/// Whether a collective's bytes depend on which experts the tokens choose: its payload is then a mean.
bool HasRoutedBytes(const Block& block, const Task& task);

/// Blocks of a kind among so many layers; of the ends one.
std::int64_t CallsOf(const LayerCounts& layers, BlockKind block);

/// Times a task runs in one pass of one micro-batch through all stages.
std::int64_t CallsOf(const ModelSpec& model, const Program& program, BlockKind block, std::size_t task);

}  // namespace shardscout::env
