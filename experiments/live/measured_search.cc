// A search with the evaluator live against an exhaustive measured list of the same small space: are they within noise
// of each other? Each measures for itself; then the list's first ones and what the search found are measured again, in
// turns, so that what the machine does meanwhile falls on all alike. README.md has the command.

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "experiments/guarded_main.h"
#include "shardscout/live_run.h"
#include "shardscout/run_search.h"

namespace shardscout {
namespace {

constexpr std::int64_t kSearchBudget = 60;
constexpr std::int64_t kWholeSpace = 100000;
constexpr std::size_t kFirstOfList = 5;
constexpr int kRepeatsAgain = 31;

/// Left open: the degrees, and how attention, experts and their down projections are split.
Problem SmallSpace(int processes) {
  ProblemOptions options;
  options.fixed = {
      {"num_microbatches", "1"},         {"residual_layout", "replicated"}, {"expert_tensor_parallel_size", "1"},
      {"expert_exchange", "all_to_all"}, {"shardings.embedding", "none"},   {"shardings.lm_head", "none"},
      {"shardings.router", "none"},      {"shardings.ffn_up", "none"},      {"shardings.qkv", "none"},
      {"shardings.attn_out", "none"}};
  return {LoadModel("tiny-moe"), LoadCluster("localhost-cpu", processes), LoadWorkload("decode-tiny"), options};
}

/// With processes and measurements of its own.
SearchReport Search(const Problem& problem, const LiveOptions& live, const std::string& searcher, std::int64_t budget) {
  SearcherRegistry searchers;
  RegisterBuiltinSearchers(searchers);
  EvaluatorRegistry evaluators;
  RegisterLiveEvaluator(evaluators, std::make_shared<const LiveOptions>(live));
  SearchRequest request;
  request.searcher = searcher;
  request.evaluator = kLiveEvaluator;
  request.budget = budget;
  request.top = kWholeSpace;
  return RunSearch(problem, request, searchers, evaluators);
}

/// A strategy of the list, measured again.
struct Again {
  std::int64_t place = 0;  ///< In the list, 1 for its best.
  double list_tokens_per_s = 0;
  double tokens_per_s = 0;
  double spread = 0;
  const Strategy* strategy = nullptr;
};

std::vector<Again> MeasureInTurns(const Problem& problem, const LiveOptions& live, const std::vector<Scored>& list,
                                  const std::vector<Strategy>& strategies) {
  const std::vector<LiveReport> reports = LiveSession(live).Run(problem, strategies);
  std::vector<Again> all;
  for (std::size_t i = 0; i < strategies.size(); ++i) {
    const auto at =
        std::find_if(list.begin(), list.end(), [&](const Scored& scored) { return scored.strategy == strategies[i]; });
    const Metrics& metrics = at->evaluation.metrics;
    const Timing& step = reports[i].phases.front().measured;
    all.push_back({at - list.begin() + 1, metrics.throughput_tokens_per_s,
                   static_cast<double>(metrics.concurrency) / step.median_s, step.spread, &strategies[i]});
  }
  return all;
}

/// Whether what the search found is within noise of the best of those measured again.
bool Judge(const std::vector<Again>& all, const Strategy& found) {
  std::printf("%5s %14s %14s %8s  strategy (tokens/s; spread: quartiles over the median)\n", "place", "in the list",
              "in turns", "spread");
  const Again *best = &all.front(), *of_search = nullptr;
  for (const Again& one : all) {
    if (*one.strategy == found) of_search = &one;
    if (one.tokens_per_s > best->tokens_per_s) best = &one;
    std::printf("%5lld %14.0f %14.0f %7.1f%%  %s%s\n", static_cast<long long>(one.place), one.list_tokens_per_s,
                one.tokens_per_s, 100 * one.spread, ToShortString(*one.strategy).c_str(),
                *one.strategy == found ? "  <- found by the search" : "");
  }
  const double behind = best->tokens_per_s / of_search->tokens_per_s - 1;
  const double noise = std::max(best->spread, of_search->spread);
  const bool within = behind <= noise;
  std::printf("the search's is %.1f%% behind the best, the noise is %.1f%%: %s\n", 100 * behind, 100 * noise,
              within ? "within noise" : "NOT within noise");
  return within;
}

int Main(int processes) {
  const Problem problem = SmallSpace(processes);
  LiveOptions live;
  live.num_processes = processes;
  const SearchReport list = Search(problem, live, "exhaustive", kWholeSpace);
  const SearchReport search = Search(problem, live, "annealing", kSearchBudget);
  for (const SearchReport* report : {&list, &search}) {
    std::printf("%s: %lld of %.0f strategies measured in %.0f s, %s\n", report->searcher.c_str(),
                static_cast<long long>(report->evaluations), report->space.strategies, report->wall_s,
                std::string(ToString(report->status)).c_str());
  }
  const Strategy& found = search.best->strategy;
  std::vector<Strategy> again;
  for (std::size_t i = 0; i < std::min(kFirstOfList, list.top.size()); ++i) again.push_back(list.top[i].strategy);
  if (std::find(again.begin(), again.end(), found) == again.end()) again.push_back(found);
  live.repeats = kRepeatsAgain;
  return Judge(MeasureInTurns(problem, live, list.top, again), found) ? EXIT_SUCCESS : EXIT_FAILURE;
}

}  // namespace
}  // namespace shardscout

int main(int argc, char** argv) {
  return shardscout::GuardedMain([&] { return shardscout::Main(argc > 1 ? std::atoi(argv[1]) : 4); });
}
