// What each part of `ppo` gives: the agent with one part changed at a time, each as a searcher of its own in one
// comparison with proved optima, intervals and learning curves. The problems are those that the rulers were tuned on;
// none of them is in the searchers' comparison. Resumable. experiments/README.md has the commands.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "experiments/guarded_main.h"
#include "shardscout/comparison.h"
#include "shardscout/comparison_report.h"
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

/// Settings away from the defaults of a searcher; "" is the defaults.
const std::map<std::string, std::vector<std::string>> kSettings = {
    {"ppo-from-scratch",
     {"", "mutation_share=0", "mutation_share=0.5", "mutation_share=1", "neighbour_share=0", "crossed_share=0",
      "screen_share=0", "parent_decay=0.8", "parent_decay=0.5", "elite_coef=0", "observe_elites=false",
      "observe_elites=false elite_coef=0", "critic=false", "learning_rate=1e-9", "num_agents=4",
      // The policy alone, where what it observes and imitates is all that it has.
      "mutation_share=0 observe_elites=false", "mutation_share=0 elite_coef=0",
      "mutation_share=0 elite_coef=0 observe_elites=false"}},
    {"ppo",
     {"", "experience_share=1", "experience_length=1000", "experience_exploration=0", "experience_crowding=0",
      "parent_decay=0.3"}},
    {"exit",  // Four agents of ppo-from-scratch, and of ppo-paper.
     {"num_agents=4", "num_agents=4 exit_probability=1 exit_stale_rollouts=1000000", "num_agents=4 mutation_share=0",
      "num_agents=4 mutation_share=0 exit_probability=1 exit_stale_rollouts=1000000", "num_agents=4 exit_patience=0.25",
      "num_agents=8 exit_patience=0.25"}}};

std::vector<std::string> Words(const std::string& text) {
  std::istringstream words(text);
  return {std::istream_iterator<std::string>(words), {}};
}

/// Each setting as a searcher of a registry; those that are chosen, where some are.
void Register(const std::string& group, const std::set<std::string>& chosen, const SearcherRegistry& all,
              SearcherRegistry& settings, ComparisonRequest& request) {
  const std::string searcher = group == "exit" ? "ppo-from-scratch" : group;
  for (const std::string& assignments : kSettings.at(group)) {
    const std::string name = assignments.empty() ? "(defaults)" : assignments;
    if (!chosen.empty() && !chosen.contains(name)) continue;
    SearcherRegistry::Entry entry = all.entries().at(searcher);
    entry.factory = [&all, searcher, assignments](const SearcherSettings&) {
      return all.Make(searcher, {.config_json = "", .config_place = "", .assignments = Words(assignments)});
    };
    settings.Register(name, std::move(entry));
    request.searchers.push_back({name, {}});
  }
}

void WriteFile(const std::string& path, const std::string& text) { std::ofstream(path, std::ios::binary) << text; }

int Main(int argc, char** argv) {
  if (argc < 5 || !kSettings.contains(argv[1])) {
    std::cerr << "usage: ppo_settings ppo|ppo-from-scratch|exit BUDGET NUM_SEEDS OUT [SETTING...]\n"
                 "Writes OUT.jsonl, OUT.csv and OUT.html; goes on from OUT.jsonl.\n";
    return 2;
  }
  const std::string out = argv[4];
  SearcherRegistry all, settings;
  RegisterBuiltinSearchers(all);
  RegisterAgents(all);
  settings.Register("exact", all.entries().at("exact"));
  EvaluatorRegistry evaluators;
  RegisterBuiltinEvaluators(evaluators);
  ComparisonRequest request;
  request.name = std::string("settings of ") + argv[1];
  request.budget = std::strtoll(argv[2], nullptr, 10);
  request.num_seeds = std::strtoll(argv[3], nullptr, 10);
  request.results_path = out + ".jsonl";
  request.resume = std::ifstream(request.results_path).good();
  for (const HeldOut& p : kProblems) {
    request.problems.push_back({std::string(p.model) + " " + p.workload,
                                std::make_shared<const Problem>(LoadModel(p.model), LoadCluster(p.cluster, p.devices),
                                                                LoadWorkload(p.workload))});
  }
  Register(argv[1], {argv + 5, argv + argc}, all, settings, request);
  const auto start = std::chrono::steady_clock::now();
  const ComparisonResults results = RunComparison(request, settings, evaluators);
  const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
  const Comparison comparison = Summarise(request, results);
  WriteFile(out + ".csv", ComparisonCsv(comparison));
  if (HaveCharts()) WriteFile(out + ".html", ComparisonHtml(comparison));
  // Curves as a table: the interquartile mean at so many evaluations.
  std::ostringstream curves;
  curves << "setting";
  for (const std::int64_t at : comparison.curve_at) curves << "," << at;
  for (const SearcherSummary& summary : comparison.overall) {
    curves << "\n" << summary.searcher;
    for (const double score : summary.curve) curves << "," << score;
  }
  WriteFile(out + ".curves.csv", curves.str() + "\n");
  const auto at_100 = static_cast<std::size_t>(
      std::upper_bound(comparison.curve_at.begin(), comparison.curve_at.end(), 100) - comparison.curve_at.begin() - 1);
  std::printf("%-80s %8s %8s  %s\n", "setting", "at 100", ("at " + std::to_string(request.budget)).c_str(),
              "95 % interval     area  runs");
  for (const SearcherSummary& summary : comparison.overall) {
    std::printf("%-80s %8.4f %8.4f  %.4f to %.4f  %.4f %5ld\n", summary.searcher.c_str(), summary.curve[at_100],
                summary.score, summary.interval.low, summary.interval.high, summary.area,
                static_cast<long>(summary.runs));
  }
  std::printf("wall time of this call: %.0f s, %ld of its runs were there before\n", spent.count(),
              static_cast<long>(results.reused));
  return 0;
}

}  // namespace
}  // namespace shardscout

int main(int argc, char** argv) {
  return shardscout::GuardedMain([&] { return shardscout::Main(argc, argv); });
}
