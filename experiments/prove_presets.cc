// Proves the optimum of every model preset on 64, 256 and 1,024 H100s in prefill, decode and serve. One row of CSV on
// stdout for each problem. experiments/README.md has the command.

#include <cstdlib>
#include <iostream>
#include <string>

#include "experiments/guarded_main.h"
#include "shardscout/error.h"
#include "shardscout/preset_paths.h"
#include "shardscout/run_search.h"

namespace shardscout {
namespace {

constexpr double kTimeLimitS = 600;
constexpr std::int64_t kDevices[] = {64, 256, 1024};

/// True where the optimum, or that there is none, was proved.
bool Prove(const Problem& problem, const SearcherRegistry& searchers, const EvaluatorRegistry& evaluators) {
  SearchRequest request;
  request.searcher = "exact";
  request.time_limit_s = kTimeLimitS;
  const SearchReport report = RunSearch(problem, request, searchers, evaluators);
  std::cout << problem.model().name << ',' << problem.cluster().num_devices << ',' << problem.workload().name << ','
            << ToString(report.status) << ',';
  if (report.plan && report.plan->certificate) {
    const Certificate& proof = *report.plan->certificate;
    std::cout << proof.value << ',' << proof.bound << ',' << proof.gap;
  } else {
    std::cout << ",,";
  }
  std::cout << ',' << report.wall_s << std::endl;
  return report.status == SearchStatus::kProvenOptimal || report.status == SearchStatus::kProvenInfeasible;
}

int Main() {
  SearcherRegistry searchers;
  RegisterBuiltinSearchers(searchers);
  EvaluatorRegistry evaluators;
  RegisterBuiltinEvaluators(evaluators);
  int problems = 0;
  int proved = 0;
  std::cout << "model,devices,workload,status,value,bound,gap,seconds\n";
  for (const std::string& model : ListPresets("models")) {
    for (std::int64_t devices : kDevices) {
      for (const std::string& workload : ListPresets("workloads")) {
        const Problem problem(LoadModel(model), LoadCluster("h100-sxm", devices), LoadWorkload(workload));
        ++problems;
        proved += Prove(problem, searchers, evaluators) ? 1 : 0;
      }
    }
  }
  std::cerr << proved << " of " << problems << " proved\n";
  return proved == problems ? EXIT_SUCCESS : EXIT_FAILURE;
}

}  // namespace
}  // namespace shardscout

int main() {
  return shardscout::GuardedMain([] { return shardscout::Main(); });
}
