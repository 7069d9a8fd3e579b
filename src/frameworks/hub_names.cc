#include "src/frameworks/hub_names.h"

#include <algorithm>
#include <cctype>
#include <utility>

namespace shardscout::frameworks {
namespace {

constexpr std::pair<std::string_view, std::string_view> kKnown[] = {
    {"deepseek-v3", "deepseek-ai/DeepSeek-V3"},
    {"deepseek-r1", "deepseek-ai/DeepSeek-R1"},
    {"deepseek-v3.2", "deepseek-ai/DeepSeek-V3.2"},
    {"kimi-k2", "moonshotai/Kimi-K2-Instruct"},
    {"llama-3.1-8b", "meta-llama/Llama-3.1-8B-Instruct"},
    {"llama-3.1-70b", "meta-llama/Llama-3.1-70B-Instruct"},
    {"llama-3.1-405b", "meta-llama/Llama-3.1-405B-Instruct"},
    {"mixtral-8x7b", "mistralai/Mixtral-8x7B-Instruct-v0.1"},
    {"mixtral-8x22b", "mistralai/Mixtral-8x22B-Instruct-v0.1"},
    {"qwen2.5-72b", "Qwen/Qwen2.5-72B-Instruct"},
    {"qwen3-8b", "Qwen/Qwen3-8B"},
    {"qwen3-32b", "Qwen/Qwen3-32B"},
    {"qwen3-30b-a3b", "Qwen/Qwen3-30B-A3B"},
    {"qwen3-235b-a22b", "Qwen/Qwen3-235B-A22B"},
    {"qwen3-next-80b-a3b", "Qwen/Qwen3-Next-80B-A3B-Instruct"},
    {"qwen3.5-397b-a17b", "Qwen/Qwen3.5-397B-A17B"},
    {"qwen3-coder-480b-a35b", "Qwen/Qwen3-Coder-480B-A35B-Instruct"},
    {"gpt-oss-20b", "openai/gpt-oss-20b"},
    {"gpt-oss-120b", "openai/gpt-oss-120b"},
    {"dbrx", "databricks/dbrx-instruct"},
};

/// In lower case, without the owner.
std::string Plain(std::string_view name) {
  const std::size_t slash = name.find_last_of('/');
  std::string plain(name.substr(slash == std::string_view::npos ? 0 : slash + 1));
  std::transform(plain.begin(), plain.end(), plain.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return plain;
}

}  // namespace

std::string HubName(std::string_view model_name) {
  for (const auto& [preset, hub] : kKnown) {
    if (model_name == preset) return std::string(hub);
  }
  return std::string(model_name);
}

std::string PresetOfHubName(std::string_view hub_name) {
  const std::string wanted = Plain(hub_name);
  std::string_view best;
  for (const auto& [preset, hub] : kKnown) {
    // The longest that begins the name: DeepSeek-V3.2 is not DeepSeek-V3, DeepSeek-R1-0528 is DeepSeek-R1.
    const bool begins = wanted == Plain(hub) || wanted == preset || wanted.starts_with(std::string(preset) + "-");
    if (begins && preset.size() > best.size()) best = preset;
  }
  return std::string(best);
}

}  // namespace shardscout::frameworks
