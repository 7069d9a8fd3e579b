#include "src/frameworks/degrees.h"

#include <algorithm>

#include "src/frameworks/deepspeed.h"
#include "src/frameworks/dtensor.h"
#include "src/frameworks/dynamo.h"
#include "src/frameworks/kserve.h"
#include "src/frameworks/leader_worker_set.h"
#include "src/frameworks/maxtext.h"
#include "src/frameworks/shardy.h"
#include "src/frameworks/torchtitan.h"
#include "src/frameworks/transformers.h"

namespace shardscout {

Degrees DegreesOf(const Strategy& s) {
  return {.pipeline = s.pipeline_parallel_size,
          .attention_tensor = s.tensor_parallel_size,
          .context = s.context_parallel_size,
          .attention_data = s.data_parallel_size,
          .expert_tensor = s.expert_tensor_parallel_size,
          .expert = s.expert_parallel_size};
}

void SetDegrees(Strategy& s, const Degrees& degrees) {
  s.pipeline_parallel_size = degrees.pipeline;
  s.tensor_parallel_size = degrees.attention_tensor;
  s.context_parallel_size = degrees.context;
  s.data_parallel_size = degrees.attention_data;
  s.expert_tensor_parallel_size = degrees.expert_tensor;
  s.expert_parallel_size = degrees.expert;
}

std::vector<FrameworkRule> FrameworkRules() {
  std::vector<FrameworkRule> all;
  const auto add_of = [&](std::string_view name, std::string_view version, const auto& rules) {
    for (const auto& rule : rules) {
      all.push_back({std::string(name), std::string(version), rule.id, rule.condition, rule.source});
    }
  };
  const auto add = [&](Framework framework, const auto& rules) {
    add_of(ToString(framework), VersionOf(framework), rules);
  };
  add(Framework::kVllm, frameworks::VllmRules());
  add(Framework::kSglang, frameworks::SglangRules());
  add(Framework::kTensorRtLlm, frameworks::TensorRtLlmRules());
  add(Framework::kMegatron, frameworks::MegatronRules());
  add(Framework::kDeepSpeed, frameworks::DeepSpeedRules());
  add(Framework::kTorchtitan, frameworks::TorchtitanRules());
  add(Framework::kMaxText, frameworks::MaxTextRules());
  add(Framework::kTransformers, frameworks::TransformersRules());
  add(Framework::kDtensor, frameworks::DtensorRules());
  add(Framework::kShardy, frameworks::ShardyRules());
  add_of("lws", frameworks::kLeaderWorkerSetVersion, frameworks::LeaderWorkerSetRules());
  add_of("dynamo", frameworks::kDynamoVersion, frameworks::DynamoRules());
  add_of("kserve", frameworks::kKserveVersion, frameworks::KserveRules());
  return all;
}

}  // namespace shardscout

namespace shardscout::frameworks {

Degrees DegreesOf(const VllmArguments& a) {
  const std::int64_t stage = a.ExpertGroupSize();
  return {.pipeline = a.pipeline_parallel_size,
          .attention_tensor = a.tensor_parallel_size,
          .context = a.prefill_context_parallel_size,
          .attention_data = a.data_parallel_size,
          .expert_tensor = a.enable_expert_parallel ? 1 : stage,
          .expert = a.enable_expert_parallel ? stage : 1};
}

Degrees DegreesOf(const SglangArguments& a) {
  return {.pipeline = a.pp_size,
          .attention_tensor = a.AttentionTensorSize(),
          .context = a.attn_cp_size,
          .attention_data = a.enable_dp_attention ? a.dp_size : 1,
          .expert_tensor = a.tp_size / a.ep_size,
          .expert = a.ep_size};
}

Degrees DegreesOf(const TensorRtLlmArguments& a) {
  return {.pipeline = a.pipeline_parallel_size,
          .attention_tensor = a.AttentionTensorSize(),
          .context = a.Helix() ? a.context_parallel_size : 1,
          .attention_data = a.enable_attention_dp ? a.tensor_parallel_size : 1,
          .expert_tensor = a.ExpertTensorSize(),
          .expert = a.ExpertSize()};
}

Degrees DegreesOf(const MegatronArguments& a) {
  return {.pipeline = a.pipeline_model_parallel_size,
          .attention_tensor = a.tensor_model_parallel_size,
          .context = a.context_parallel_size,
          .attention_data = std::max<std::int64_t>(1, a.DataParallelSize()),
          .expert_tensor = a.ExpertTensorSize(),
          .expert = a.expert_model_parallel_size};
}

void SetDegrees(SglangArguments& a, const Degrees& d) {
  a.tp_size = d.attention_tensor * d.context * d.attention_data;
  a.pp_size = d.pipeline;
  a.dp_size = d.attention_data;
  a.enable_dp_attention = d.attention_data > 1;
  a.ep_size = d.expert;
  a.attn_cp_size = d.context;
}

void SetDegrees(TensorRtLlmArguments& a, const Degrees& d) {
  a.tensor_parallel_size = d.attention_tensor * d.attention_data;
  a.pipeline_parallel_size = d.pipeline;
  a.context_parallel_size = d.context;
  a.enable_attention_dp = d.attention_data > 1;
  a.moe_tensor_parallel_size = d.expert_tensor;
  a.moe_expert_parallel_size = d.expert;
}

void SetDegrees(MegatronArguments& a, const Degrees& d) {
  a.tensor_model_parallel_size = d.attention_tensor;
  a.pipeline_model_parallel_size = d.pipeline;
  a.context_parallel_size = d.context;
  a.expert_model_parallel_size = d.expert;
  a.expert_tensor_parallel_size = d.expert_tensor;
  a.world_size = d.InstanceSize();
}

}  // namespace shardscout::frameworks
