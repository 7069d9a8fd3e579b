// What imitating the elites gives `ppo`: one row of CSV for each setting, problem and seed. The problems are
// held out: none of them is in the README or in the searchers' comparison. experiments/README.md has the command.

#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

#include "shardscout/run_search.h"

namespace shardscout {
namespace {

struct HeldOut {
  const char* model;
  const char* cluster;
  std::int64_t devices;
  const char* workload;
};
constexpr HeldOut kProblems[] = {{"qwen3-coder-480b-a35b", "h200-sxm", 64, "decode-chat"},
                                 {"mixtral-8x22b", "a100-80-sxm", 64, "serve-chat"},
                                 {"llama-3.1-70b", "h200-sxm", 64, "prefill-chat"}};

/// One setting away from the defaults each; "" is the defaults. The first is PPO without imitation of the elites.
constexpr const char* kSettings[] = {"elite_coef=0", "", "elite_coef=0.5", "elite_coef=5"};

int Main(int argc, char** argv) {
  const std::uint64_t num_seeds = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 0;
  if (num_seeds == 0) {
    std::cerr << "usage: ppo_settings NUM_SEEDS\n";
    return 2;
  }
  SearcherRegistry searchers;
  RegisterAgents(searchers);
  EvaluatorRegistry evaluators;
  RegisterBuiltinEvaluators(evaluators);
  std::cout << "setting,model,cluster,devices,workload,seed,evaluations,times_megatron\n";
  for (const char* setting : kSettings) {
    for (const HeldOut& p : kProblems) {
      const Problem problem(LoadModel(p.model), LoadCluster(p.cluster, p.devices), LoadWorkload(p.workload));
      for (std::uint64_t seed = 1; seed <= num_seeds; ++seed) {
        SearchRequest request;
        request.searcher = "ppo";
        request.seed = seed;
        if (*setting != '\0') request.settings.assignments = {setting};
        const SearchReport report = RunSearch(problem, request, searchers, evaluators);
        std::cout << setting << "," << p.model << "," << p.cluster << "," << p.devices << "," << p.workload << ","
                  << seed << "," << report.evaluations << "," << (report.plan ? report.best->reward : 0) << std::endl;
      }
    }
  }
  return 0;
}

}  // namespace
}  // namespace shardscout

int main(int argc, char** argv) { return shardscout::Main(argc, argv); }
