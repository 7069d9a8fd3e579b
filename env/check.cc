#include "shardscout/check.h"

#include <nlohmann/json.hpp>

#include "shardscout/cluster_spec.h"
#include "shardscout/error.h"
#include "shardscout/model_spec.h"
#include "shardscout/plan.h"
#include "shardscout/run_search.h"
#include "shardscout/search_suite.h"
#include "shardscout/strategy.h"
#include "shardscout/workload_spec.h"
#include "src/choices.h"
#include "src/json/fields.h"
#include "src/json/json_text.h"
#include "src/spec_schemas.h"

namespace shardscout {
namespace {

using nlohmann::ordered_json;

std::vector<std::string> KindNames() {
  std::vector<std::string> names;
  names.reserve(kSpecKinds.size());
  for (const SpecKind kind : kSpecKinds) names.emplace_back(ToString(kind));
  return names;
}

/// The settings of one searcher; the name of a nested one is a dotted path.
ordered_json SettingsSchema(const SearcherRegistry::Entry& entry) {
  ordered_json schema;
  schema["description"] = entry.description;
  json::internal::StartSchemaObject(schema);
  for (const SettingDescription& setting : entry.settings) {
    ordered_json* object = &schema;
    std::string_view rest = setting.name;
    while (true) {
      const auto [head, tail] = json::internal::SplitPath(rest);
      if (tail.empty()) break;
      ordered_json& inner = json::internal::AddSchemaProperty(head, *object);
      if (inner.is_null()) json::internal::StartSchemaObject(inner);
      object = &inner;
      rest = tail;
    }
    json::internal::AddSchemaProperty(rest, *object) = ordered_json::parse(setting.schema);
  }
  json::internal::FinishSchemaObject({}, schema);
  return schema;
}

ordered_json SearchSchema(const SearcherRegistry& searchers) {
  ordered_json schema = internal::SchemaHeader(
      "Shardscout search", "Settings of searchers by name, for --config; what is absent keeps its default.");
  json::internal::StartSchemaObject(schema);
  for (const auto& [name, entry] : searchers.entries()) {
    json::internal::AddSchemaProperty(name, schema) = SettingsSchema(entry);
  }
  json::internal::FinishSchemaObject({}, schema);
  return schema;
}

ordered_json Schema(SpecKind kind, const SearcherRegistry& searchers) {
  switch (kind) {
    case SpecKind::kModel:
      return internal::ModelSchema();
    case SpecKind::kCluster:
      return internal::ClusterSchema();
    case SpecKind::kWorkload:
      return internal::WorkloadSchema();
    case SpecKind::kSearch:
      return SearchSchema(searchers);
    case SpecKind::kStrategy:
      return internal::StrategySchema();
    case SpecKind::kPlan:
      return internal::PlanSchema();
    case SpecKind::kSuite:
      return internal::SuiteSchema();
  }
  SHARDSCOUT_CHECK(false && "unknown kind");
  return {};
}

/// Every searcher that the file speaks of is made, so that its own checks run too.
void CheckSearch(std::string_view text, const std::string& place, const SearcherRegistry& searchers) {
  const nlohmann::json config = json::ParseText(text, place);
  std::vector<std::string> names;
  if (config.is_object()) {
    for (const auto& item : config.items()) {
      if (!item.key().starts_with('_')) names.push_back(item.key());
    }
  }
  const auto settings = SettingsFor(names, searchers, text, place, {});
  for (std::size_t i = 0; i < names.size(); ++i) searchers.Make(names[i], settings[i]);
}

/// Every problem is made. A searcher that is not here may be in another build.
void CheckSuite(std::string_view text, const std::string& place, const SearcherRegistry& searchers,
                std::vector<std::string>* warnings) {
  const SearchSuite suite = ParseSuite(text, place);
  for (std::size_t i = 0; i < suite.problems.size(); ++i) {
    LoadProblem(suite.problems[i], json::Place(place, "/problems/" + std::to_string(i)), warnings);
  }
  for (const std::string& name : suite.searchers) {
    if (warnings == nullptr || searchers.entries().contains(name)) continue;
    warnings->push_back(internal::UnknownName(place, name, "a searcher of this build", searchers.Names()).what());
  }
}

}  // namespace

std::string_view ToString(SpecKind kind) {
  static constexpr std::array<std::string_view, kSpecKinds.size()> kNames = {
      "model", "cluster", "workload", "search", "strategy", "plan", "suite"};
  return kNames.at(static_cast<std::size_t>(kind));
}

SpecKind ParseSpecKind(std::string_view name, std::string_view place) {
  for (const SpecKind kind : kSpecKinds) {
    if (ToString(kind) == name) return kind;
  }
  throw internal::UnknownName(std::string(place), name, "a kind of file", KindNames());
}

std::string SchemaJson(SpecKind kind, const SearcherRegistry& searchers) {
  return Schema(kind, searchers).dump(2) + "\n";
}

SpecKind DetectSpecKind(std::string_view text, const std::string& place, const SearcherRegistry& searchers) {
  const nlohmann::json document = json::ParseText(text, place);
  if (!document.is_object()) {
    throw SpecError(json::Place(place, ""), "found " + json::Quoted(document) + ", expected an object");
  }
  SpecKind best = SpecKind::kModel;
  int most = 0;
  bool tie = false;
  for (const SpecKind kind : kSpecKinds) {
    const ordered_json properties = Schema(kind, searchers).at("properties");
    int known = 0;
    for (const auto& item : document.items()) known += properties.contains(item.key()) ? 1 : 0;
    if (known > most) {
      best = kind;
      most = known;
      tie = false;
    } else if (known == most) {
      tie = true;
    }
  }
  if (most == 0 || tie) {
    throw SpecError(json::Place(place, ""), "its keys do not tell which kind of file it is; expected those of one of " +
                                                internal::JoinNames(KindNames(), ", ") +
                                                " (--kind says which is meant)");
  }
  return best;
}

void CheckSpec(SpecKind kind, std::string_view json, const std::string& place, const SearcherRegistry& searchers,
               std::vector<std::string>* warnings) {
  switch (kind) {
    case SpecKind::kModel:
      ParseModelConfig(json, place, {}, warnings);
      return;
    case SpecKind::kCluster:
      ParseCluster(json, place, std::nullopt);
      return;
    case SpecKind::kWorkload:
      ParseWorkload(json, place);
      return;
    case SpecKind::kSearch:
      CheckSearch(json, place, searchers);
      return;
    case SpecKind::kStrategy:
      ParseStrategy(json, place);
      return;
    case SpecKind::kPlan:
      ParsePlan(json, place);
      return;
    case SpecKind::kSuite:
      CheckSuite(json, place, searchers, warnings);
      return;
  }
  SHARDSCOUT_CHECK(false && "unknown kind");
}

}  // namespace shardscout
