#include <algorithm>
#include <nlohmann/json.hpp>

#include "shardscout/error.h"
#include "shardscout/run_search.h"
#include "src/choices.h"
#include "src/json/json_text.h"

namespace shardscout {
namespace {

void CheckRegistered(const std::string& name, const SearcherRegistry& searchers, const std::string& place) {
  if (searchers.entries().contains(name)) return;
  throw internal::UnknownName(place, name, "a searcher", searchers.Names());
}

}  // namespace

std::vector<SearcherSettings> SettingsFor(const std::vector<std::string>& chosen, const SearcherRegistry& searchers,
                                          std::string_view config_json, const std::string& config_place,
                                          const std::vector<std::string>& assignments) {
  nlohmann::json config = nlohmann::json::object();
  if (!config_place.empty()) config = json::ParseText(config_json, config_place);
  if (!config.is_object()) {
    throw SpecError(json::Place(config_place, ""),
                    "found " + json::Quoted(config) + ", expected an object: searcher name -> its settings");
  }
  for (const auto& item : config.items()) {
    if (!item.key().starts_with('_')) {
      CheckRegistered(item.key(), searchers,
                      json::Place(config_place, std::string("/").append(json::PointerStep(item.key()))));
    }
  }
  std::vector<SearcherSettings> all(chosen.size());
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    if (!config.contains(chosen[i])) continue;
    all[i].config_json = config.at(chosen[i]).dump();
    all[i].config_place = json::Place(config_place, std::string("/").append(json::PointerStep(chosen[i])));
  }
  for (const std::string& assignment : assignments) {
    const std::string place = "--set " + assignment;
    const std::size_t dot = assignment.find('.');
    const std::size_t equals = assignment.find('=');
    if (dot == std::string::npos || equals == std::string::npos || dot > equals || dot == 0) {
      throw SpecError(place, "expected searcher.setting=value, such as annealing.patience=100");
    }
    const std::string name = assignment.substr(0, dot);
    CheckRegistered(name, searchers, place);
    const auto found = std::find(chosen.begin(), chosen.end(), name);
    if (found == chosen.end()) throw SpecError(place, "this run does not use the searcher \"" + name + "\"");
    for (std::size_t i = 0; i < chosen.size(); ++i) {
      if (chosen[i] == name) all[i].assignments.push_back(assignment.substr(dot + 1));
    }
  }
  return all;
}

}  // namespace shardscout
