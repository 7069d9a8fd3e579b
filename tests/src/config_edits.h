#pragma once

// What tests of Hugging Face configs do with them.

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>

#include "shardscout/model_spec.h"
#include "tests/src/spec_error_at.h"

namespace shardscout {

/// The error at a pointer of a config, without its place.
inline std::string ConfigErrorAt(const std::string& pointer, const nlohmann::json& config) {
  const std::string place = "m.json#" + pointer;
  const std::string what = SpecErrorAt(place, [&] { ParseModelConfig(config.dump(), "m.json", {}, nullptr); });
  return what.substr(std::min(what.size(), place.size() + 2));
}

inline nlohmann::json With(nlohmann::json config, const std::string& key, const nlohmann::json& value) {
  config[key] = value;
  return config;
}

inline nlohmann::json With(nlohmann::json config, const nlohmann::json::json_pointer& at, const nlohmann::json& value) {
  config[at] = value;
  return config;
}

inline nlohmann::json Without(nlohmann::json config, const std::string& key) {
  config.erase(key);
  return config;
}

}  // namespace shardscout
