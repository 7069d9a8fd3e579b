#include "shardscout/run_search.h"

using namespace shardscout;

int main() {
  const Problem problem(LoadModel("deepseek-v3"), LoadCluster("h100-sxm", 256), LoadWorkload("decode-chat"));
  SearcherRegistry searchers;
  RegisterBuiltinSearchers(searchers);
  EvaluatorRegistry evaluators;
  RegisterBuiltinEvaluators(evaluators);
  const SearchReport report = RunSearch(problem, {.searcher = "annealing", .budget = 4000}, searchers, evaluators);
  if (report.plan) WriteFileAtomically("plan.json", ToJson(*report.plan));
  return report.plan ? 0 : 1;
}
