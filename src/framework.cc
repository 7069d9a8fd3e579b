#include "shardscout/framework.h"

#include <array>
#include <string>
#include <vector>

#include "shardscout/error.h"

namespace shardscout {
namespace {

constexpr std::array kFrameworks = {
    Framework::kVllm,       Framework::kSglang,  Framework::kTensorRtLlm,  Framework::kMegatron, Framework::kDeepSpeed,
    Framework::kTorchtitan, Framework::kMaxText, Framework::kTransformers, Framework::kDtensor,  Framework::kShardy};

}  // namespace

std::span<const Framework> AllFrameworks() { return kFrameworks; }

std::string_view ToString(Framework framework) {
  switch (framework) {
    case Framework::kVllm:
      return "vllm";
    case Framework::kSglang:
      return "sglang";
    case Framework::kTensorRtLlm:
      return "tensorrt-llm";
    case Framework::kMegatron:
      return "megatron";
    case Framework::kTorchtitan:
      return "torchtitan";
    case Framework::kMaxText:
      return "maxtext";
    case Framework::kTransformers:
      return "transformers";
    case Framework::kDtensor:
      return "dtensor";
    case Framework::kShardy:
      return "shardy";
    case Framework::kDeepSpeed:
      break;
  }
  return "deepspeed";
}

std::string_view VersionOf(Framework framework) {
  switch (framework) {
    case Framework::kVllm:
      return "0.24";
    case Framework::kSglang:
      return "001067ff";
    case Framework::kTensorRtLlm:
      return "00043967";
    case Framework::kMegatron:
      return "0.20";
    case Framework::kTorchtitan:
      return "b5bcd76";
    case Framework::kMaxText:
      return "e591f30";
    case Framework::kTransformers:
      return "5";
    case Framework::kDtensor:
      return "2.8";
    case Framework::kShardy:
      return "a0277a8";
    case Framework::kDeepSpeed:
      break;
  }
  return "0.19.6";
}

bool Trains(Framework framework) {
  return framework == Framework::kMegatron || framework == Framework::kDeepSpeed || !Infers(framework);
}

bool Infers(Framework framework) { return framework != Framework::kTorchtitan && framework != Framework::kMaxText; }

std::string FrameworksFor(bool training) {
  std::vector<std::string_view> names;
  for (const Framework framework : kFrameworks) {
    if (training ? Trains(framework) : Infers(framework)) names.push_back(ToString(framework));
  }
  std::string text;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (i > 0) text += i + 1 == names.size() ? " or " : ", ";
    text += names[i];
  }
  return text;
}

Framework ParseFramework(std::string_view name, std::string_view place) {
  const std::size_t at = name.find('@');
  const std::string_view plain = name.substr(0, at) == "trtllm" ? "tensorrt-llm" : name.substr(0, at);
  std::vector<std::string> names;
  std::string allowed;
  for (const Framework framework : kFrameworks) {
    names.emplace_back(ToString(framework));
    allowed += (allowed.empty() ? "" : ", ") + names.back();
    if (names.back() != plain) continue;
    if (at == std::string_view::npos || name.substr(at + 1) == VersionOf(framework)) return framework;
    throw SpecError(place, "the rules here are those of " + names.back() + "@" + std::string(VersionOf(framework)) +
                               "; found version \"" + std::string(name.substr(at + 1)) + "\"");
  }
  const std::string nearest = NearestName(plain, names);
  throw SpecError(place, "unknown framework \"" + std::string(plain) + "\"" +
                             (nearest.empty() ? "; allowed: " + allowed : "; did you mean \"" + nearest + "\"?"));
}

bool AdmitsDecodeContextParallel(const ModelSpec& model, std::int64_t tp, std::int64_t dcp) {
  const AttentionSpec& attention = model.attention;
  if (attention.kind == AttentionKind::kMultiLatent) return true;
  const std::int64_t kv_heads = attention.num_kv_heads;
  return tp > kv_heads && dcp <= tp / kv_heads && attention.num_heads / kv_heads % dcp == 0;
}

}  // namespace shardscout
