#include "shardscout/search_suite.h"

#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "shardscout/error.h"
#include "shardscout/preset_paths.h"
#include "src/json/json_text.h"
#include "src/suite_fields.h"

namespace shardscout {
namespace {

/// Not empty, and no name twice.
void CheckNames(const std::vector<std::string>& names, const std::string& place, const char* suffix) {
  if (names.empty()) throw SpecError(place, "found none, expected at least one");
  std::set<std::string> seen;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (!names[i].empty() && seen.insert(names[i]).second) continue;
    throw SpecError(place + "/" + std::to_string(i) + suffix,
                    "found " + json::Quoted(names[i]) + ", expected a name that is not empty and not given before");
  }
}

ProblemOptions OptionsOf(const SuiteProblem& problem, std::string_view place) {
  ProblemOptions options;
  for (std::size_t i = 0; i < problem.fixed.size(); ++i) {
    const std::string& fixed = problem.fixed[i];
    const std::size_t equals = fixed.find('=');
    if (equals == std::string::npos || equals == 0) {
      throw SpecError(json::Place(place, "/fixed/" + std::to_string(i)),
                      "found " + json::Quoted(fixed) + ", expected \"variable=value\"");
    }
    options.fixed[fixed.substr(0, equals)] = fixed.substr(equals + 1);
  }
  return options;
}

WorkloadSpec WithOverrides(WorkloadSpec workload, const SuiteProblem& problem, std::string_view place) {
  if (problem.input_tokens) workload.input_tokens = *problem.input_tokens;
  if (problem.output_tokens) workload.output_tokens = *problem.output_tokens;
  if (problem.batch_size || problem.concurrency) {
    workload.batch_size = problem.batch_size;
    workload.concurrency = problem.concurrency;
  }
  if (problem.ttft_target_s) workload.ttft_target_s = problem.ttft_target_s;
  if (problem.tpot_target_s) workload.tpot_target_s = problem.tpot_target_s;
  if (problem.objective) workload.objective = *problem.objective;
  if (problem.memory_fraction) workload.memory_fraction = *problem.memory_fraction;
  internal::CheckWorkload(workload, place);
  return workload;
}

}  // namespace

SearchSuite ParseSuite(std::string_view text, std::string_view place) {
  SearchSuite suite = json::ReadJson<SearchSuite>(json::ParseText(text, place), place);
  CheckNames({suite.name}, json::Place(place, "/name"), "");
  CheckNames(suite.searchers, json::Place(place, "/searchers"), "");
  std::vector<std::string> names;
  for (const SuiteProblem& problem : suite.problems) names.push_back(problem.name);
  CheckNames(names, json::Place(place, "/problems"), "/name");
  return suite;
}

SearchSuite LoadSuite(const std::string& name_or_path) {
  const std::string path = ResolvePreset("searches", name_or_path, "--suite");
  return ParseSuite(ReadTextFile(path), path);
}

Problem LoadProblem(const SuiteProblem& problem, std::string_view place, std::vector<std::string>* warnings) {
  const auto at = [&](const char* part, const auto& load) {
    try {
      return load();
    } catch (const SpecError& error) {
      throw SpecError(json::Place(place, part), error.what());
    }
  };
  ProblemOptions options = OptionsOf(problem, place);
  ModelSpec model = at("/model", [&] { return LoadModel(problem.model, {}, warnings); });
  ClusterSpec cluster = at("/cluster", [&] { return LoadCluster(problem.cluster, problem.devices); });
  WorkloadSpec workload = at("/workload", [&] { return LoadWorkload(problem.workload); });
  workload = WithOverrides(std::move(workload), problem, place);
  return at("", [&] { return Problem(std::move(model), std::move(cluster), std::move(workload), std::move(options)); });
}

}  // namespace shardscout
