#include "env/task_rows.h"

#include "strategies/group_names.h"

namespace shardscout::env {

std::string TaskName(const Strategy& strategy, const Block& block, std::size_t index) {
  const Task& task = block.tasks[index];
  const bool collective = task.kind == TaskKind::kCollective;
  std::string what(collective ? ToString(task.collective) : ToString(task.kind));
  if (block.kind == BlockKind::kTransfer) {
    what += index == 0 ? " to the next stage" : " of token ids to the first stage";
  } else if (collective) {
    what += " over " + GroupName(strategy, task.op, task.group);
  }
  if (task.ffn == FfnKind::kShared) what += " (shared expert)";
  return what;
}

std::string BackwardTaskName(const Strategy& strategy, const Task& task) {
  const bool collective = task.kind == TaskKind::kCollective;
  std::string what(collective ? ToString(task.collective) : ToString(task.kind));
  if (collective) what += " over " + GroupName(strategy, task.op, task.group);
  if (task.ffn == FfnKind::kShared) what += " (shared expert)";
  if (task.gradient == Gradient::kInput) return what + " by its inputs";
  if (task.gradient == Gradient::kWeight) return what + " by its weight";
  return what + (task.of_gradients ? " of gradients" : ", again");
}

bool HasRoutedBytes(const Block& block, const Task& task) {
  for (const ValueId id : {task.input, task.output}) {
    const Value& value = block.values[static_cast<std::size_t>(id)];
    if (value.tokens == TokenSplit::kRouted || value.tokens == TokenSplit::kRoutedBlock ||
        value.ffn == FfnKind::kExpert) {
      return true;
    }
  }
  return false;
}

std::int64_t CallsOf(const ModelSpec& model, const Program& program, BlockKind block, std::size_t task) {
  std::int64_t dense = 0, moe = 0, windows = 0, linear = 0;
  for (const Stage& stage : program.stages) {
    windows += NumWindowLayers(model, stage);
    linear += NumLinearLayers(model, stage);
    dense += stage.num_dense;
    moe += stage.num_moe;
  }
  switch (block) {
    case BlockKind::kAttention:
      return dense + moe - windows - linear;
    case BlockKind::kWindowAttention:
      return windows;
    case BlockKind::kLinearAttention:
      return linear;
    case BlockKind::kDenseFfn:
      return dense;
    case BlockKind::kMoe:
      return moe;
    case BlockKind::kTransfer:
      return task == 0 ? static_cast<std::int64_t>(program.stages.size()) - 1 : 1;
    case BlockKind::kEmbedding:
    case BlockKind::kHead:
      return 1;
  }
  return 1;
}

}  // namespace shardscout::env
