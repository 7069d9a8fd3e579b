#pragma once

#include <string>
#include <string_view>

namespace shardscout::frameworks {

/// Where the weights of a preset lie on the Hugging Face hub: "deepseek-ai/DeepSeek-V3" for "deepseek-v3". A name that
/// is no preset's is taken as it is.
std::string HubName(std::string_view model_name);

/// The preset of a model that a deployment names: by the hub's name, the family's other names (an -Instruct, an FP8
/// copy, a dated release), or the preset's own; "" where none is known.
std::string PresetOfHubName(std::string_view hub_name);

}  // namespace shardscout::frameworks
