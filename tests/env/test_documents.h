#pragma once

// One or more good documents of each kind of file, for tests that change them.

#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "agents/ppo_config.h"
#include "agents/ppo_entry.h"
#include "env/searcher_config.h"
#include "shardscout/check.h"
#include "shardscout/plan.h"
#include "shardscout/preset_paths.h"
#include "shardscout/strategy.h"
#include "shardscout/strategy_space.h"
#include "tests/tiny_problems.h"

namespace shardscout::testing {

struct Document {
  SpecKind kind;
  std::string name;
  nlohmann::ordered_json json;
};

/// The searchers of a build with the agents. ppo's configuration is free of torch, ppo itself is not.
inline SearcherRegistry AllSearchers() {
  SearcherRegistry registry;
  RegisterBuiltinSearchers(registry);
  agents::RegisterPpo(registry, [](const std::string&, const SearcherSettings& settings) -> std::unique_ptr<Searcher> {
    env::ReadSettings<agents::PpoConfig>(settings);
    return nullptr;
  });
  return registry;
}

inline Plan SmallPlan() {
  const Problem problem(MultiLatentModel(), SmallCluster(16), LoadWorkload("serve-chat"),
                        {.fixed = {{"batch_size", "8"}}});
  Strategy strategy;
  strategy.tensor_parallel_size = 2;
  strategy.expert_parallel_size = 2;
  strategy.batch_size = 8;
  Plan plan;
  plan.model_name = "tiny";
  plan.cluster_name = "small";
  plan.workload_name = "chat";
  plan.problem_digest = problem.Digest();
  plan.problem_json = ToJson(problem);
  plan.pools.push_back(MakePool(problem, strategy));
  plan.evaluation.metrics.tpot_s = 0.1;
  plan.evaluation.excess.memory = -0.25;
  plan.breakdown.rows.push_back({Phase::kDecode, Operator::kQkv, "matmul", false, 4, 1e-5, 2e9, 3e12, -1});
  plan.breakdown.stages.push_back({Phase::kDecode, 0.02});
  plan.breakdown.bytes_by_tier = {1e6, 2.5};
  plan.certificate = Certificate{2, 2.5, 0.25, "all"};
  plan.search.searcher = "annealing";
  plan.search.configuration_json = R"({"patience": 3})";
  return plan;
}

/// All presets, one strategy, one plan, and settings of every searcher.
inline std::vector<Document> GoodDocuments() {
  using nlohmann::ordered_json;
  std::vector<Document> documents;
  for (const auto& [kind, folder] : {std::pair{SpecKind::kModel, "models"}, std::pair{SpecKind::kCluster, "clusters"},
                                     std::pair{SpecKind::kWorkload, "workloads"}}) {
    for (const std::string& name : ListPresets(folder)) {
      documents.push_back({kind, name, ordered_json::parse(ReadTextFile(ResolvePreset(folder, name, "test")))});
    }
  }
  ordered_json workload = ordered_json::parse(ReadTextFile(ResolvePreset("workloads", "serve-chat", "test")));
  workload["batch_size"] = 4;
  workload["ttft_target_s"] = 2.5;
  workload["tpot_target_s"] = 0.05;
  workload["memory_fraction"] = 0.8;
  workload["expert_skew"] = 0.5;
  workload["requests"] = {{"arrivals", "gamma"},
                          {"rate_per_s", 3},
                          {"arrival_cv", 2},
                          {"input_cv", 0.5},
                          {"output_cv", 0.5},
                          {"num_requests", 100},
                          {"warmup_requests", 5},
                          {"policy", "chunked_prefill"},
                          {"max_batched_tokens", 4096},
                          {"block_tokens", 16},
                          {"seed", 3},
                          {"ttft_p99_target_s", 3},
                          {"tpot_p99_target_s", 0.1}};
  documents.push_back({SpecKind::kWorkload, "all fields", workload});
  workload["requests"] = {{"arrivals", "trace"}, {"trace", {{{"arrival_s", 1}, {"input_tokens", 5}}}}};
  documents.push_back({SpecKind::kWorkload, "a trace", workload});
  documents.push_back({SpecKind::kStrategy, "strategy", ordered_json::parse(ToJson(Strategy{}))});
  documents.push_back({SpecKind::kPlan, "plan", ordered_json::parse(ToJson(SmallPlan()))});
  ordered_json search;
  search["_why"] = "a comment";
  search["megatron"] = ordered_json::object();
  search["annealing"]["patience"] = 3;
  search["annealing"]["initial_temperature"] = 0.5;
  search["ppo"] = json::WriteJson(agents::PpoConfig{});
  documents.push_back({SpecKind::kSearch, "search", search});
  documents.push_back(
      {SpecKind::kSuite, "quick", ordered_json::parse(ReadTextFile(ResolvePreset("searches", "quick", "test")))});
  ordered_json suite = {{"name", "all fields"}, {"searchers", {"annealing"}}};
  suite["problems"].push_back({{"name", "one"},
                               {"model", "llama-3.1-8b"},
                               {"cluster", "h100-sxm"},
                               {"devices", 8},
                               {"workload", "serve-chat"},
                               {"input_tokens", 512},
                               {"output_tokens", 128},
                               {"concurrency", 64},
                               {"ttft_target_s", 1},
                               {"tpot_target_s", 0.02},
                               {"objective", "cost_per_million_tokens"},
                               {"memory_fraction", 0.8},
                               {"fixed", {"tensor_parallel_size=2"}}});
  documents.push_back({SpecKind::kSuite, "suite", suite});
  return documents;
}

}  // namespace shardscout::testing
