// From presets to a plan through the public headers only.

#include <iostream>
#include <string>

#include "shardscout/run_search.h"

int main() {
  using namespace shardscout;
  const Problem problem(LoadModel("llama-3.1-8b"), LoadCluster("h100-sxm", 8), LoadWorkload("decode-chat"));
  SearcherRegistry searchers;
  RegisterBuiltinSearchers(searchers);
  EvaluatorRegistry evaluators;
  RegisterBuiltinEvaluators(evaluators);
  SearchRequest request;
  request.searcher = "annealing";
  request.budget = 200;
  const SearchReport report = RunSearch(problem, request, searchers, evaluators);
  if (!report.plan) {
    std::cerr << "nothing feasible\n";
    return 1;
  }
  std::cout << ToShortString(report.plan->pools.front().strategy) << "\n";
  return ParsePlan(ToJson(*report.plan), "plan").pools == report.plan->pools ? 0 : 1;
}
