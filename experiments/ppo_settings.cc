// What each part of `ppo` gives: one row of CSV for each setting, budget, problem and seed. The problems are those that
// the rulers were tuned on; none of them is in the searchers' comparison. experiments/README.md has the command.

#include <cstdlib>
#include <iostream>
#include <iterator>
#include <sstream>
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
constexpr HeldOut kProblems[] = {
    {"qwen3-coder-480b-a35b", "h200-sxm", 64, "decode-chat"}, {"glm-4.5", "mi300x", 32, "prefill-chat"},
    {"mixtral-8x7b", "a100-80-sxm", 32, "serve-chat"},        {"llama-3.1-8b", "a100-80-sxm", 16, "serve-chat"},
    {"qwen2.5-72b", "h200-sxm", 32, "decode-chat"},           {"dbrx", "a100-80-sxm", 64, "prefill-chat"}};

/// One setting away from the defaults each; "" is the defaults.
constexpr const char* kSettings[] = {"",
                                     "mutation_share=0",    // Screening, then the policy alone.
                                     "mutation_share=0.5",  //
                                     "mutation_share=1",    // No strategy is the policy's own.
                                     "neighbour_share=0",   // The policy decides what mutations reopen.
                                     "neighbour_share=1 crossed_share=0",
                                     "crossed_share=0",
                                     "screen_share=0",
                                     "parent_decay=0.3",
                                     "elite_coef=0",
                                     "learning_rate=1e-9",  // A policy that does not learn: the prior.
                                     "num_agents=4"};
constexpr std::int64_t kBudgets[] = {100, 500};

std::vector<std::string> Words(const std::string& text) {
  std::istringstream words(text);
  return {std::istream_iterator<std::string>(words), {}};
}

int Main(int argc, char** argv) {
  const std::uint64_t num_seeds = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 0;
  if (num_seeds == 0) {
    std::cerr << "usage: ppo_settings NUM_SEEDS\n";
    return 2;
  }
  SearcherRegistry searchers;
  RegisterBuiltinSearchers(searchers);
  RegisterAgents(searchers);
  EvaluatorRegistry evaluators;
  RegisterBuiltinEvaluators(evaluators);
  std::cout << "setting,model,cluster,devices,workload,budget,seed,value_over_optimum\n";
  for (const HeldOut& p : kProblems) {
    const Problem problem(LoadModel(p.model), LoadCluster(p.cluster, p.devices), LoadWorkload(p.workload));
    SearchRequest request;
    request.searcher = "exact";
    request.budget = std::int64_t{1} << 40;
    const double optimum = RunSearch(problem, request, searchers, evaluators).best->reward;
    request.searcher = "ppo-from-scratch";
    for (const char* setting : kSettings) {
      request.settings.assignments = Words(setting);
      for (const std::int64_t budget : kBudgets) {
        request.budget = budget;
        for (request.seed = 1; request.seed <= num_seeds; ++request.seed) {
          const SearchReport report = RunSearch(problem, request, searchers, evaluators);
          std::cout << setting << "," << p.model << "," << p.cluster << "," << p.devices << "," << p.workload << ","
                    << budget << "," << request.seed << "," << (report.plan ? report.best->reward / optimum : 0)
                    << std::endl;
        }
      }
    }
  }
  return 0;
}

}  // namespace
}  // namespace shardscout

int main(int argc, char** argv) { return shardscout::Main(argc, argv); }
