#pragma once

// The fields of a suite of searches, for src/json/fields.h.

#include <string_view>

#include "shardscout/search_suite.h"
#include "src/json/fields.h"
#include "src/spec_fields.h"

namespace shardscout {

template <class V>
void VisitFields(V& visit, SuiteProblem& problem) {
  const auto count = [](std::string_view doc) { return json::Field{.doc = doc, .min = 1, .max = kMaxCount}; };
  const auto limit = [](std::string_view doc) {
    return json::Field{.doc = doc, .min = kLeastSeconds, .max = kMostSeconds};
  };
  visit("name", problem.name, json::Needed("As tables call it; no two problems of a suite have the same."));
  visit("model", problem.model, json::Needed("A Hugging Face config.json, or a preset of configs/models."));
  visit("cluster", problem.cluster, json::Needed("A cluster file, or a preset of configs/clusters."));
  visit("devices", problem.devices,
        {.doc = "Devices of the cluster; unset: as many as its file says.", .min = 1, .max = kMaxDevices});
  visit("workload", problem.workload, json::Needed("A workload file, or a preset of configs/workloads."));
  visit("input_tokens", problem.input_tokens, count("Instead of the workload's."));
  visit("output_tokens", problem.output_tokens, count("Instead of the workload's."));
  visit("batch_size", problem.batch_size, count("Instead of the workload's; not beside concurrency."));
  visit("concurrency", problem.concurrency, count("Instead of the workload's; not beside batch_size."));
  visit("ttft_target_s", problem.ttft_target_s, limit("Instead of the workload's, seconds."));
  visit("tpot_target_s", problem.tpot_target_s, limit("Instead of the workload's, seconds."));
  visit("objective", problem.objective, {.doc = "Instead of the workload's."});
  visit("memory_fraction", problem.memory_fraction,
        {.doc = "Instead of the workload's.", .min = kLeastFraction, .max = 1});
  visit("fixed", problem.fixed, {.doc = "Decision variables that are held, each as variable=value."});
}

template <class V>
void VisitFields(V& visit, SearchSuite& suite) {
  visit("name", suite.name, {.doc = "As reports call it, and where results go unless told.", .required = true});
  visit("budget", suite.budget,
        {.doc = "Evaluations of distinct strategies a search, at most.", .min = 1, .max = 1e12});
  visit("searchers", suite.searchers,
        {.doc = "Those that are compared (shardscout list searchers).", .required = true});
  visit("problems", suite.problems, {.doc = "Those on which they are compared.", .required = true});
}

}  // namespace shardscout
