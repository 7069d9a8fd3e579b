#pragma once

// From SearcherSettings to a searcher's configuration struct (one with VisitFields, see src/json/fields.h) and back.

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "shardscout/error.h"
#include "shardscout/searcher.h"
#include "src/json/fields.h"
#include "src/json/json_text.h"

namespace shardscout::env {

/// Defaults, then the file, then the assignments. Throws SpecError for what the struct does not have or admit.
template <class Config>
Config ReadSettings(const SearcherSettings& settings) {
  Config config;
  if (!settings.config_json.empty()) {
    config =
        json::ReadJson<Config>(json::ParseText(settings.config_json, settings.config_place), settings.config_place);
  }
  for (const std::string& assignment : settings.assignments) {
    const std::size_t equals = assignment.find('=');
    if (equals == std::string::npos || equals == 0) {
      throw SpecError("--set " + assignment, "a setting and its value are needed, as in name=value");
    }
    const std::string_view text = assignment;
    json::SetField(config, text.substr(0, equals), text.substr(equals + 1), "--set");
  }
  return config;
}

template <class Config>
std::vector<SettingDescription> DescribeSettings() {
  std::vector<SettingDescription> settings;
  for (json::FieldRow& row : json::DescribeFields<Config>()) {
    settings.push_back({row.name, row.type, row.default_value, row.range, row.doc, row.schema});
  }
  return settings;
}

template <class Config>
std::string SettingsJson(const Config& config) {
  return json::WriteJson(config).dump();
}

}  // namespace shardscout::env
