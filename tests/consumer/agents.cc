// The learning agents from a program: the only component that needs LibTorch.

#include <iostream>

#include "shardscout/run_search.h"

int main() {
  using namespace shardscout;
  const Problem problem(LoadModel("llama-3.1-8b"), LoadCluster("h100-sxm", 8), LoadWorkload("decode-chat"));
  SearcherRegistry searchers;
  RegisterAgents(searchers);
  EvaluatorRegistry evaluators;
  RegisterBuiltinEvaluators(evaluators);
  const SearchReport report = RunSearch(problem, {.searcher = "ppo", .budget = 64}, searchers, evaluators);
  if (!report.plan) return 1;
  std::cout << "ppo: " << report.best->reward << " x Megatron\n";
  return 0;
}
