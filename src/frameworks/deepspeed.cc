#include "src/frameworks/deepspeed.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <utility>

namespace shardscout::frameworks {
namespace {

std::string Text(std::int64_t value) { return std::to_string(value); }

std::string WorldDivides(const DeepSpeedArguments& a, const ModelSpec&) {
  const std::int64_t ranks = a.num_stages * a.autotp_size;
  return a.world_size % ranks == 0
             ? ""
             : "world size " + Text(a.world_size) + " does not divide by stages * autotp_size, " + Text(ranks);
}

std::string BatchIsProduct(const DeepSpeedArguments& a, const ModelSpec&) {
  const std::int64_t product = a.train_micro_batch_size_per_gpu * a.gradient_accumulation_steps * a.DataParallelSize();
  if (a.train_batch_size == 0 || a.train_batch_size == product) return "";
  return "train_batch_size " + Text(a.train_batch_size) +
         " is not micro_batch_per_gpu * gradient_acc_step * world_size, " + Text(product);
}

std::string KnownStage(const DeepSpeedArguments& a, const ModelSpec&) {
  return a.zero_stage >= 0 && a.zero_stage <= 3 ? "" : "unknown zero_optimization.stage " + Text(a.zero_stage);
}

std::string ZeroWithPipeline(const DeepSpeedArguments& a, const ModelSpec&) {
  if (a.num_stages == 1 || a.zero_stage <= 1) return "";
  return "ZeRO-2 and ZeRO-3 are incompatible with pipeline parallelism";
}

std::string ZeroWithAutoTp(const DeepSpeedArguments& a, const ModelSpec&) {
  if (a.autotp_size == 1 || a.zero_stage <= 2) return "";
  return "autotp_size " + Text(a.autotp_size) + " is validated up to ZeRO-2";
}

std::string ZeroWithAutoEp(const DeepSpeedArguments& a, const ModelSpec&) {
  return a.autoep_size == 1 || a.zero_stage <= 2 ? "" : "AutoEP takes ZeRO stages 0, 1 and 2";
}

std::string AutoEpAlone(const DeepSpeedArguments& a, const ModelSpec&) {
  if (a.autoep_size == 1 || (a.autotp_size == 1 && a.num_stages == 1)) return "";
  return "AutoEP beside AutoTP or a pipeline";
}

std::string AutoEpDivides(const DeepSpeedArguments& a, const ModelSpec& model) {
  if (a.autoep_size == 1) return "";
  if (!model.HasMoe()) return "expert_parallel in a model without experts";
  if (model.moe.num_experts % a.autoep_size != 0) {
    return Text(model.moe.num_experts) + " experts do not divide by autoep_size " + Text(a.autoep_size);
  }
  if (a.world_size / a.num_stages % a.autoep_size == 0) return "";
  return "the world of " + Text(a.world_size) + " does not divide by autoep_size " + Text(a.autoep_size);
}

std::string AutoEpPreset(const DeepSpeedArguments& a, const ModelSpec&) {
  if (a.autoep_size == 1) return "";
  for (const std::string_view known : {"mixtral", "qwen3_moe", "qwen3_5_moe", "deepseek_v2", "deepseek_v3"}) {
    if (a.autoep_preset == known) return "";
  }
  return "no preset_model of AutoEP for this model";
}

std::string HeadsSplit(const DeepSpeedArguments& a, const ModelSpec& model) {
  const std::string heads = HeadsDivide(model.attention.num_heads, a.autotp_size, "heads", "autotp_size");
  if (!heads.empty() || model.attention.kind == AttentionKind::kMultiLatent) return heads;
  return HeadsDivide(model.attention.num_kv_heads, a.autotp_size, "KV heads", "autotp_size");
}

std::string PipelineAlone(const DeepSpeedArguments& a, const ModelSpec&) {
  return a.num_stages == 1 || a.autotp_size == 1 ? "" : "PipelineModule takes no AutoTP";
}

std::string StagesDivide(const DeepSpeedArguments& a, const ModelSpec& model) {
  if (model.num_layers % a.num_stages == 0) return "";
  return Text(model.num_layers) + " layers do not divide over " + Text(a.num_stages) + " stages";
}

constexpr const char* kConfig = "deepspeed/runtime/config.py";
constexpr const char* kEngine = "deepspeed/runtime/engine.py";
constexpr const char* kAutoEp = "deepspeed/module_inject/auto_ep_config.py";
constexpr const char* kAutoTp = "deepspeed/module_inject/autotp_config.py";
constexpr const char* kPipe = "deepspeed/runtime/pipe/engine.py";

constexpr std::array<DeepSpeedRule, 12> kRules = {{
    {"deepspeed.world_divides", "world % (stages * autotp_size) == 0", "deepspeed/utils/groups.py", WorldDivides},
    {"deepspeed.batch", "train_batch_size == micro-batch * accumulation steps * dp", kConfig, BatchIsProduct},
    {"deepspeed.zero_stage", "zero_optimization.stage is 0 to 3", "deepspeed/runtime/zero/config.py", KnownStage},
    {"deepspeed.zero_with_pipeline", "a pipeline takes ZeRO 0 and 1", kPipe, ZeroWithPipeline},
    {"deepspeed.zero_with_autotp", "AutoTP takes ZeRO 0 to 2", kEngine, ZeroWithAutoTp},
    {"deepspeed.zero_with_autoep", "AutoEP takes ZeRO 0 to 2", kAutoEp, ZeroWithAutoEp},
    {"deepspeed.autoep_alone", "AutoEP with neither AutoTP nor a pipeline", kEngine, AutoEpAlone},
    {"deepspeed.autoep_divides", "experts % autoep_size == 0; (world / pp) % autoep_size == 0", kAutoEp, AutoEpDivides},
    {"deepspeed.autoep_preset", "a preset_model of AutoEP", kAutoEp, AutoEpPreset},
    {"deepspeed.heads_divide", "heads % autotp_size == 0; KV heads % autotp_size == 0", kAutoTp, HeadsSplit},
    {"deepspeed.pipeline_alone", "a pipeline without AutoTP", "deepspeed/runtime/pipe/module.py", PipelineAlone},
    {"deepspeed.stages", "layers % stages == 0, by partition_method type", "deepspeed/runtime/pipe/module.py",
     StagesDivide},
}};

}  // namespace

std::span<const DeepSpeedRule> DeepSpeedRules() { return kRules; }

std::string AutoEpPresetOf(std::string_view hub_name) {
  static constexpr std::pair<std::string_view, std::string_view> kPresets[] = {
      {"mixtral-", "mixtral"},        {"qwen3.5-", "qwen3_5_moe"},   {"qwen3-next", ""},
      {"qwen3-", "qwen3_moe"},        {"deepseek-v3.", ""},          {"deepseek-v2", "deepseek_v2"},
      {"deepseek-v3", "deepseek_v3"}, {"deepseek-r1", "deepseek_v3"}};
  const std::size_t slash = hub_name.find_last_of('/');
  std::string name(hub_name.substr(slash == std::string_view::npos ? 0 : slash + 1));
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  for (const auto& [begin, preset] : kPresets) {
    if (name.starts_with(begin)) return std::string(preset);
  }
  return "";
}

}  // namespace shardscout::frameworks
