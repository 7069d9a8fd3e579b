#include "src/spec_schemas.h"

#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "src/model_keys.h"
#include "src/plan_fields.h"
#include "src/problem_fields.h"
#include "src/suite_fields.h"

namespace shardscout::internal {
namespace {

using nlohmann::ordered_json;

/// `schema` under `header`.
ordered_json Under(ordered_json header, const ordered_json& schema) {
  header.update(schema);
  return header;
}

ordered_json Described(std::string_view description, const ordered_json& schema) {
  ordered_json header;
  header["description"] = description;
  return Under(std::move(header), schema);
}

/// Hugging Face's files have many more keys than those that matter here, nested ones too.
void AdmitOtherKeys(ordered_json& schema) {
  if (!schema.contains("properties")) return;
  for (auto& property : schema["properties"]) AdmitOtherKeys(property);
  schema.erase("patternProperties");
  schema.erase("additionalProperties");
}

/// What ParseCluster checks beyond the fields, as far as a schema can say it.
ordered_json ClusterFields() {
  ordered_json schema = json::WriteSchema<ClusterSpec>();
  schema["properties"]["tiers"]["minItems"] = 1;
  ordered_json& peaks = schema["properties"]["device"]["properties"]["peak_flop_per_s"];
  for (const char* dtype : {"bf16", "fp16", "fp32"}) {
    ordered_json has_peak;
    has_peak["properties"][dtype]["exclusiveMinimum"] = 0;
    has_peak["required"].push_back(dtype);
    peaks["anyOf"].push_back(std::move(has_peak));
  }
  return schema;
}

/// What ParseWorkload checks beyond the fields.
ordered_json WorkloadFields() {
  ordered_json schema = json::WriteSchema<WorkloadSpec>();
  const auto having = [](const char* name, const ordered_json& value) {
    ordered_json condition;
    condition["properties"][name] = value;
    condition["required"].push_back(name);
    return condition;
  };
  const auto given = [&](const char* name) { return having(name, {{"not", {{"type", "null"}}}}); };
  const auto of_kind = [&](const char* kind) { return having("kind", {{"enum", ordered_json::array({kind})}}); };
  const auto not_both = [](const ordered_json& a, const ordered_json& b) {
    ordered_json condition;
    condition["not"]["allOf"] = ordered_json::array({a, b});
    return condition;
  };
  schema["allOf"] = ordered_json::array({not_both(given("batch_size"), given("concurrency")),
                                         not_both(of_kind("prefill"), given("tpot_target_s")),
                                         not_both(of_kind("decode"), given("ttft_target_s"))});
  return schema;
}

ordered_json Text(std::string_view description) {
  ordered_json schema;
  schema["description"] = description;
  schema["type"] = "string";
  return schema;
}

ordered_json Object(std::string_view description, const std::vector<std::pair<std::string, ordered_json>>& members) {
  ordered_json schema;
  schema["description"] = description;
  json::internal::StartSchemaObject(schema);
  std::vector<std::string> names;
  for (const auto& [name, member] : members) {
    schema["properties"][name] = member;
    names.push_back(name);
  }
  json::internal::FinishSchemaObject(names, schema);
  return schema;
}

ordered_json ProblemSchema() {
  ordered_json spec = json::WriteSchema<ProblemFile>();
  for (const auto& [name, fields] : {std::pair{"cluster", ClusterFields()}, std::pair{"workload", WorkloadFields()}}) {
    spec["properties"][name].update(fields);
  }
  return Object("What the plan is for.",
                {{"model_name", Text("As reports call it.")},
                 {"cluster_name", Text("As reports call it.")},
                 {"workload_name", Text("As reports call it.")},
                 {"digest", Text("Of the spec without the names; a changed spec is refused.")},
                 {"spec", Described("The problem whole: effective values, no files needed.", spec)}});
}

ordered_json SearchSchema() {
  ordered_json search = json::WriteSchema<SearchProvenance>();
  ordered_json& configuration = search["properties"]["configuration"];
  configuration["description"] = "The searcher's effective settings, as in a search file.";
  configuration["type"] = "object";
  search["required"].push_back("configuration");
  return Described("How the plan was found.", search);
}

}  // namespace

ordered_json SchemaHeader(std::string_view title, std::string_view description) {
  ordered_json schema;
  schema["$schema"] = "http://json-schema.org/draft-07/schema#";
  schema["title"] = title;
  schema["description"] = description;
  return schema;
}

ordered_json ModelSchema() {
  ordered_json schema = json::WriteSchema<ModelConfigKeys>();
  schema["properties"]["architectures"]["minItems"] = 1;
  schema["properties"]["architectures"]["maxItems"] = 1;
  AdmitOtherKeys(schema);
  return Under(SchemaHeader("Shardscout model",
                            "A Hugging Face config.json as it is: the keys that decide the structure. Which of them a "
                            "family needs, and which others matter to it, the reader says."),
               schema);
}

ordered_json ClusterSchema() {
  return Under(SchemaHeader("Shardscout cluster",
                            "Devices of one kind and the network between them. Rates are in bytes/s, FLOP/s and "
                            "seconds; keys that begin with _ are comments."),
               ClusterFields());
}

ordered_json WorkloadSchema() {
  return Under(
      SchemaHeader("Shardscout workload", "What is asked of the cluster; keys that begin with _ are comments."),
      WorkloadFields());
}

ordered_json StrategySchema() {
  return Under(SchemaHeader("Shardscout strategy",
                            "How a model is split. Whether it is valid depends on the problem; evaluate says."),
               json::WriteSchema<Strategy>());
}

ordered_json PlanSchema() {
  ordered_json version;
  version["description"] = "Of this format.";
  version["enum"] = ordered_json::array({kPlanSchemaVersion});
  ordered_json pools = Described("What is deployed: one pool, or one for prefill and one for decode.",
                                 json::WriteSchema<std::vector<PoolFile>>());
  pools["minItems"] = 1;
  ordered_json plan =
      Object("The result of a search: the strategy, its evaluation, the placement and the provenance.",
             {{"schema_version", version},
              {"problem", ProblemSchema()},
              {"pools", pools},
              {"evaluation", Described("What the evaluator said of the plan.", json::WriteSchema<EvaluationFile>())},
              {"certificate", Described("What is proved about the plan; null where nothing is.",
                                        json::WriteSchema<std::optional<Certificate>>())},
              {"search", SearchSchema()}});
  ordered_json header = SchemaHeader("Shardscout plan", plan["description"].get<std::string>());
  return Under(std::move(header), plan);
}

ordered_json SuiteSchema() {
  ordered_json schema = json::WriteSchema<SearchSuite>();
  for (const char* list : {"searchers", "problems"}) schema["properties"][list]["minItems"] = 1;
  schema["properties"]["searchers"]["uniqueItems"] = true;
  return Under(SchemaHeader("Shardscout suite",
                            "Problems on which searchers are compared, for compare --suite; keys that begin with _ are "
                            "comments."),
               schema);
}

}  // namespace shardscout::internal
