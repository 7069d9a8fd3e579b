#include "shardscout/search_suite.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "shardscout/preset_paths.h"
#include "tests/src/spec_error_at.h"

namespace shardscout {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

json OneProblem() {
  return json::parse(R"({"name": "s", "searchers": ["annealing"], "problems": [
      {"name": "p", "model": "llama-3.1-8b", "cluster": "h100-sxm", "devices": 8, "workload": "serve-chat"}]})");
}

SuiteProblem Parsed(const json& document) { return ParseSuite(document.dump(), "f.json").problems.at(0); }

TEST(SearchSuiteTest, EveryPresetLoadsAndSoDoItsProblems) {
  for (const std::string& name : ListPresets("searches")) {
    SCOPED_TRACE(name);
    const SearchSuite suite = LoadSuite(name);
    EXPECT_EQ(suite.name, name);
    for (const SuiteProblem& problem : suite.problems) EXPECT_NO_THROW(LoadProblem(problem, problem.name, nullptr));
  }
}

TEST(SearchSuiteTest, TheStandardSuiteIsVaried) {
  const SearchSuite suite = LoadSuite("standard");
  EXPECT_EQ(suite.budget, 1000);
  EXPECT_GE(suite.problems.size(), 16u);
  std::set<std::string> models, clusters, digests;
  std::set<WorkloadKind> kinds;
  std::set<Objective> objectives;
  std::set<bool> experts;
  std::set<AttentionKind> attention;
  std::vector<std::int64_t> devices;
  for (const SuiteProblem& entry : suite.problems) {
    const Problem problem = LoadProblem(entry, entry.name, nullptr);
    models.insert(problem.model().name);
    clusters.insert(problem.cluster().name);
    digests.insert(problem.Digest());
    kinds.insert(problem.workload().kind);
    objectives.insert(problem.workload().objective);
    experts.insert(problem.model().moe.num_experts > 0);
    attention.insert(problem.model().attention.kind);
    devices.push_back(problem.cluster().num_devices);
  }
  EXPECT_EQ(digests.size(), suite.problems.size()) << "no problem twice";
  EXPECT_GE(models.size(), 10u);
  EXPECT_GE(clusters.size(), 6u);
  EXPECT_EQ(kinds.size(), 3u);
  EXPECT_EQ(objectives.size(), 4u);
  EXPECT_EQ(experts.size(), 2u);
  EXPECT_EQ(attention.size(), 2u);
  EXPECT_EQ(*std::min_element(devices.begin(), devices.end()), 8);
  EXPECT_EQ(*std::max_element(devices.begin(), devices.end()), 1024);
}

TEST(SearchSuiteTest, AProblemReplacesWhatTheWorkloadSays) {
  json document = OneProblem();
  const Problem plain = LoadProblem(Parsed(document), "f.json#", nullptr);
  EXPECT_EQ(plain.workload(), LoadWorkload("serve-chat"));
  EXPECT_EQ(plain.cluster().num_devices, 8);
  document["problems"][0].update(json::parse(R"({"input_tokens": 512, "output_tokens": 64, "concurrency": 32,
      "ttft_target_s": 1.5, "tpot_target_s": 0.01, "objective": "latency", "memory_fraction": 0.5,
      "fixed": ["tensor_parallel_size=2"]})"));
  const Problem problem = LoadProblem(Parsed(document), "f.json#", nullptr);
  WorkloadSpec wanted = LoadWorkload("serve-chat");
  wanted.input_tokens = 512;
  wanted.output_tokens = 64;
  wanted.concurrency = 32;
  wanted.ttft_target_s = 1.5;
  wanted.tpot_target_s = 0.01;
  wanted.objective = Objective::kLatency;
  wanted.memory_fraction = 0.5;
  EXPECT_EQ(problem.workload(), wanted);
  EXPECT_EQ(problem.options().fixed, (std::map<std::string, std::string>{{"tensor_parallel_size", "2"}}));
}

TEST(SearchSuiteTest, MistakesAreNamedWithTheirPlace) {
  const auto parse_error = [](const json& document, const std::string& place) {
    return SpecErrorAt(place, [&] { ParseSuite(document.dump(), "f.json"); });
  };
  json document = OneProblem();
  document["problems"].push_back(document["problems"][0]);
  EXPECT_THAT(parse_error(document, "f.json#/problems/1/name"), HasSubstr("not given before"));
  document = OneProblem();
  document["searchers"] = json::array();
  EXPECT_THAT(parse_error(document, "f.json#/searchers"), HasSubstr("at least one"));
  document = OneProblem();
  document["searchers"] = {"annealing", "annealing"};
  EXPECT_THAT(parse_error(document, "f.json#/searchers/1"), HasSubstr("not given before"));
  document = OneProblem();
  document["bugdet"] = 3;
  EXPECT_THAT(parse_error(document, "f.json#/bugdet"), HasSubstr("budget"));

  const auto load_error = [](const json& change, const std::string& place) {
    json changed = OneProblem();
    changed["problems"][0].update(change);
    return SpecErrorAt(place, [&] { LoadProblem(Parsed(changed), "f.json#/problems/0", nullptr); });
  };
  EXPECT_THAT(load_error({{"model", "llama-3.1-8"}}, "f.json#/problems/0/model"), HasSubstr("llama-3.1-8b"));
  EXPECT_THAT(load_error({{"cluster", "none"}}, "f.json#/problems/0/cluster"),
              HasSubstr("neither a file nor a preset"));
  EXPECT_THAT(load_error({{"fixed", {"tensor_parallel_size"}}}, "f.json#/problems/0/fixed/0"),
              HasSubstr("variable=value"));
  EXPECT_THAT(load_error({{"workload", "prefill-chat"}, {"tpot_target_s", 1}}, "f.json#/problems/0/tpot_target_s"),
              HasSubstr("prefill"));
}

}  // namespace
}  // namespace shardscout
