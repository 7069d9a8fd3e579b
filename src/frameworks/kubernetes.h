#pragma once

// What Kubernetes itself asks of every object, whatever its kind.

#include <string>

namespace shardscout::frameworks {

/// "" where `name` may be the name of something that other names are made of (an RFC 1035 label: at most 63 of a-z, 0-9
/// and '-', from a letter on, not to a '-'), else what is wrong.
std::string LabelComplaint(const std::string& name);

/// The nearest label to "PREFIX-NAME": "vllm-llama-3-1-8b" of "vllm" and "Llama_3.1-8B"; short enough that a controller
/// can add to it.
std::string LabelOf(const std::string& prefix, const std::string& name);

}  // namespace shardscout::frameworks
