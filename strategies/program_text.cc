#include <array>
#include <cstdio>

#include "shardscout/program.h"

namespace shardscout {
namespace {

template <class Enum, std::size_t N>
std::string_view Name(const std::array<std::string_view, N>& names, Enum value) {
  const auto index = static_cast<std::size_t>(value);
  return index < N ? names[index] : std::string_view("?");
}

std::string Number(double x) {
  char text[32];
  std::snprintf(text, sizeof text, "%.6g", x);
  return text;
}

std::string Describe(const Block& block, ValueId id) {
  if (id == kNoValue) return "-";
  const Value& v = block.values[static_cast<std::size_t>(id)];
  std::string text = "%" + std::to_string(id) + " " + std::string(ToString(v.kind)) + "[" + Number(v.rows) + "x" +
                     Number(v.width) + " " + std::string(ToString(v.tokens));
  if (v.features != FeatureSplit::kNone) text += ", features over " + std::string(ToString(v.features));
  if (v.partial != kPartialNone) text += ", partial " + std::to_string(v.partial);
  if (v.last_only) text += ", last";
  return text + "]";
}

std::string Describe(const Block& block, const Task& task) {
  std::string line = std::string(ToString(task.op)) + ": ";
  if (task.kind == TaskKind::kCollective) {
    line += std::string(ToString(task.collective)) + " over " + std::to_string(task.group.size) + " ranks, stride " +
            std::to_string(task.group.stride) + ", " + Number(task.payload_bytes) + " bytes";
  } else {
    line += ToString(task.kind);
    if (task.gradient == Gradient::kInput) line += " by its inputs";
    if (task.gradient == Gradient::kWeight) line += " by its weight";
    if (task.work.flop > 0) line += " " + Number(task.work.flop) + " flop";
  }
  line += ": " + Describe(block, task.input);
  for (const ValueId id : {task.input2, task.input3}) {
    if (id != kNoValue) line += ", " + Describe(block, id);
  }
  if (task.gradient == Gradient::kWeight) return line;
  line += " -> " + Describe(block, task.output);
  for (const ValueId id : {task.output2, task.output3}) {
    if (id != kNoValue) line += ", " + Describe(block, id);
  }
  return line;
}

}  // namespace

std::string_view ToString(TaskKind kind) {
  static constexpr std::array<std::string_view, 19> kNames = {
      "embed",         "norm_statistic", "norm",          "matmul",    "rotary",  "up_project",  "absorb_key",
      "value_project", "select_kv",      "index_select",  "attention", "rescale", "gate_output", "linear_attention",
      "activation",    "route",          "expert_matmul", "add",       "slice"};
  if (kind == TaskKind::kSelectLast) return "select_last";
  if (kind == TaskKind::kLoss) return "loss";
  if (kind == TaskKind::kCollective) return "collective";
  return Name(kNames, kind);
}

std::string_view ToString(Collective collective) {
  static constexpr std::array<std::string_view, 6> kNames = {"none",           "all_reduce", "all_gather",
                                                             "reduce_scatter", "all_to_all", "send_recv"};
  return Name(kNames, collective);
}

std::string_view ToString(BlockKind kind) {
  static constexpr std::array<std::string_view, kNumBlockKinds> kNames = {
      "embedding", "attention", "window_attention", "linear_attention", "dense_ffn", "moe", "head", "transfer"};
  return Name(kNames, kind);
}

std::string_view ToString(TokenSplit split) {
  static constexpr std::array<std::string_view, 10> kNames = {"cell",    "tensor",         "stage", "stage_tensor",
                                                              "context", "context_tensor", "block", "expert_tensor",
                                                              "routed",  "routed_block"};
  return Name(kNames, split);
}

std::string_view ToString(FeatureSplit split) {
  static constexpr std::array<std::string_view, 4> kNames = {"none", "tensor", "stage", "expert_tensor"};
  return Name(kNames, split);
}

std::string_view ToString(TensorKind kind) {
  static constexpr std::array<std::string_view, 24> kNames = {
      "ids",         "hidden",       "statistic", "qk_statistic", "qkv",          "gated_qkv",
      "output_gate", "query_latent", "query",     "latent",       "index_query",  "index_key",
      "selection",   "key_value",    "attended",  "linear_qkv",   "linear_gates", "linear_attended",
      "lse",         "gate",         "ffn",       "scores",       "routed",       "logits"};
  return Name(kNames, kind);
}

std::string_view ToString(WeightKind kind) {
  static constexpr std::array<std::string_view, 19> kNames = {
      "embedding", "qkv",         "query",       "query_down",   "query_up", "latent_down", "key_up",
      "value_up",  "index_query", "index_key",   "linear_gates", "attn_out", "router",      "ffn_up",
      "ffn_down",  "expert_up",   "expert_down", "lm_head",      "norms"};
  return Name(kNames, kind);
}

std::string ToText(const Program& program) {
  std::string text = ToShortString(program.strategy) + "\n";
  for (const PhaseProgram& phase : program.phases) {
    text += std::string(ToString(phase.phase)) + ": " + std::to_string(phase.num_microbatches) + " micro-batches of " +
            std::to_string(phase.requests) + " requests a dp rank, context " + std::to_string(phase.context) + "\n";
    for (const Block& block : phase.blocks) {
      if (block.tasks.empty()) continue;
      text += "  " + std::string(ToString(block.kind)) + "\n";
      for (const Task& task : block.tasks) text += "    " + Describe(block, task) + "\n";
      if (!block.backward.empty()) text += "  " + std::string(ToString(block.kind)) + ", backward\n";
      for (const Task& task : block.backward) text += "    " + Describe(block, task) + "\n";
    }
  }
  for (std::size_t i = 0; i < program.stages.size(); ++i) {
    const Stage& stage = program.stages[i];
    text += "stage " + std::to_string(i) + ": layers " + std::to_string(stage.first_layer) + ".." +
            std::to_string(stage.first_layer + stage.num_layers - 1) + "\n";
  }
  return text;
}

}  // namespace shardscout
