#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "shardscout/error.h"
#include "shardscout/plan.h"
#include "src/json/format.h"
#include "src/json/json_text.h"
#include "src/plan_fields.h"

namespace shardscout {
namespace {

using nlohmann::ordered_json;

// ---- Tables ----

const std::vector<std::string> kStageColumns = {"first_layer", "num_layers", "num_dense", "num_moe"};
const std::vector<std::string> kExpertColumns = {"ep", "first", "count"};
const std::vector<std::string> kRankColumns = {"rank", "node", "device", "pp", "dp", "cp", "tp", "edp", "ep", "etp"};

const IntegerTable& CheckTable(const IntegerTable& table, const std::vector<std::string>& columns,
                               const std::string& place) {
  if (table.columns != columns) {
    std::string expected;
    for (const std::string& column : columns) expected += (expected.empty() ? "" : ", ") + column;
    throw SpecError(place + "/columns", "expected " + expected);
  }
  for (std::size_t i = 0; i < table.rows.size(); ++i) {
    if (table.rows[i].size() == columns.size()) continue;
    throw SpecError(place + "/rows/" + std::to_string(i), "found " + std::to_string(table.rows[i].size()) +
                                                              " numbers, expected " + std::to_string(columns.size()));
  }
  return table;
}

PoolFile ToFile(const Pool& pool) {
  PoolFile file;
  file.role = pool.role;
  file.replicas = pool.replicas;
  file.strategy = pool.strategy;
  file.stages.columns = kStageColumns;
  for (const Stage& s : pool.stages) file.stages.rows.push_back({s.first_layer, s.num_layers, s.num_dense, s.num_moe});
  file.experts.columns = kExpertColumns;
  for (const ExpertPlacement& e : pool.experts) file.experts.rows.push_back({e.ep, e.first, e.count});
  file.placement.columns = kRankColumns;
  for (const RankPlacement& r : pool.placement) {
    file.placement.rows.push_back({r.rank, r.node, r.device, r.pp, r.dp, r.cp, r.tp, r.edp, r.ep, r.etp});
  }
  return file;
}

Pool FromFile(const PoolFile& file, const std::string& place) {
  Pool pool;
  pool.role = file.role;
  pool.replicas = file.replicas;
  pool.strategy = file.strategy;
  for (const auto& row : CheckTable(file.stages, kStageColumns, place + "/stages").rows) {
    pool.stages.push_back({row[0], row[1], row[2], row[3]});
  }
  for (const auto& row : CheckTable(file.experts, kExpertColumns, place + "/experts").rows) {
    pool.experts.push_back({row[0], row[1], row[2]});
  }
  for (const auto& row : CheckTable(file.placement, kRankColumns, place + "/placement").rows) {
    pool.placement.push_back({row[0], row[1], row[2], row[3], row[4], row[5], row[6], row[7], row[8], row[9]});
  }
  return pool;
}

// ---- The members of a plan ----

template <class T>
T ReadMember(const nlohmann::json& object, const std::string& name, const std::string& place) {
  if (!object.contains(name)) throw SpecError(place, "missing key \"" + name + "\"");
  T value{};
  json::internal::ReadValue(object.at(name), place + "/" + name, json::Field{}, value);
  return value;
}

void CheckMembers(const nlohmann::json& object, const std::vector<std::string>& names, const std::string& place) {
  json::internal::CheckKeys(object, place, names);
  for (const std::string& name : names) {
    if (!object.contains(name)) throw SpecError(place, "missing key \"" + name + "\"");
  }
}

}  // namespace

std::string ToJson(const Plan& plan) {
  ordered_json out;
  out["schema_version"] = kPlanSchemaVersion;
  ordered_json& problem = out["problem"];
  problem["model_name"] = plan.model_name;
  problem["cluster_name"] = plan.cluster_name;
  problem["workload_name"] = plan.workload_name;
  problem["digest"] = plan.problem_digest;
  problem["spec"] = ordered_json::parse(plan.problem_json);
  ordered_json& pools = out["pools"] = ordered_json::array();
  for (const Pool& pool : plan.pools) pools.push_back(json::WriteJson(ToFile(pool)));
  out["evaluation"] = json::WriteJson(EvaluationFile{plan.evaluation, plan.breakdown});
  out["certificate"] = plan.certificate ? json::WriteJson(*plan.certificate) : ordered_json(nullptr);
  out["search"] = json::WriteJson(plan.search);
  out["search"]["configuration"] = ordered_json::parse(plan.search.configuration_json);
  return json::FormatDocument(out) + "\n";
}

std::string ToJson(const Breakdown& breakdown, int indent) { return json::WriteJson(breakdown).dump(indent); }

Plan ParsePlan(std::string_view json, std::string_view place) {
  const nlohmann::json file = json::ParseText(json, place);
  const std::string root = std::string(place) + "#";
  if (file.is_object() && file.contains("schema_version") && file.at("schema_version") != kPlanSchemaVersion) {
    throw SpecError(root + "/schema_version", "found " + json::Quoted(file.at("schema_version")) +
                                                  ", this version reads " + std::to_string(kPlanSchemaVersion) +
                                                  "; search again");
  }
  CheckMembers(file, {"schema_version", "problem", "pools", "evaluation", "certificate", "search"}, root);

  Plan plan;
  const nlohmann::json& problem = file.at("problem");
  const std::string problem_place = root + "/problem";
  CheckMembers(problem, {"model_name", "cluster_name", "workload_name", "digest", "spec"}, problem_place);
  plan.model_name = ReadMember<std::string>(problem, "model_name", problem_place);
  plan.cluster_name = ReadMember<std::string>(problem, "cluster_name", problem_place);
  plan.workload_name = ReadMember<std::string>(problem, "workload_name", problem_place);
  plan.problem_digest = ReadMember<std::string>(problem, "digest", problem_place);
  const Problem parsed = ParseProblem(problem.at("spec").dump(), problem_place + "/spec");
  if (parsed.Digest() != plan.problem_digest) {
    throw SpecError(problem_place + "/digest", "found " + plan.problem_digest + ", but the problem beside it has " +
                                                   parsed.Digest() +
                                                   ": it was changed, or written by another version; search again");
  }
  plan.problem_json = ToJson(parsed);

  const auto pools = ReadMember<std::vector<PoolFile>>(file, "pools", root);
  if (pools.empty()) throw SpecError(root + "/pools", "found [], expected one or two pools");
  for (std::size_t i = 0; i < pools.size(); ++i) {
    plan.pools.push_back(FromFile(pools[i], root + "/pools/" + std::to_string(i)));
  }
  auto evaluation = ReadMember<EvaluationFile>(file, "evaluation", root);
  plan.evaluation = evaluation.evaluation;
  plan.breakdown = std::move(evaluation.breakdown);
  plan.certificate = ReadMember<std::optional<Certificate>>(file, "certificate", root);

  nlohmann::json search = file.at("search");
  if (!search.is_object() || !search.contains("configuration") || !search.at("configuration").is_object()) {
    throw SpecError(root + "/search", "expected an object with the searcher's \"configuration\"");
  }
  search.erase("configuration");
  json::internal::ReadValue(search, root + "/search", json::Field{}, plan.search);
  // Parsed once more for the order of the keys, which the checked document does not keep.
  plan.search.configuration_json = ordered_json::parse(json)["search"]["configuration"].dump();
  return plan;
}

}  // namespace shardscout
