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

std::int64_t CallsOf(const LayerCounts& layers, BlockKind block) {
  switch (block) {
    case BlockKind::kAttention:
      return layers.full;
    case BlockKind::kWindowAttention:
      return layers.windows;
    case BlockKind::kLinearAttention:
      return layers.linear;
    case BlockKind::kDenseFfn:
      return layers.dense;
    case BlockKind::kMoe:
      return layers.moe;
    case BlockKind::kEmbedding:
    case BlockKind::kHead:
    case BlockKind::kTransfer:
      return 1;
  }
  return 1;
}

std::int64_t CallsOf(const ModelSpec& model, const Program& program, BlockKind block, std::size_t task) {
  if (block == BlockKind::kTransfer && task == 0) return static_cast<std::int64_t>(program.stages.size()) - 1;
  LayerCounts layers;
  for (const StageClass& stage : ClassifyStages(model, program.strategy)) {
    for (std::int64_t i = 0; i < stage.count; ++i) layers += stage.Layers();
  }
  return CallsOf(layers, block);
}

}  // namespace shardscout::env
