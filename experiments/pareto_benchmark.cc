// How long a proved Pareto front takes: the 32-GPU serving question of AIConfigurator's README, whole (the front, the
// proved optimum within the targets, the Megatron rule), and fronts of other problems. One item is one front; `points`
// is how many strategies are on it. experiments/README.md has the command and the figures.

#include <benchmark/benchmark.h>

#include <string>

#include "shardscout/pareto.h"
#include "shardscout/run_search.h"

namespace shardscout {
namespace {

/// Qwen3-32B in FP8 on 32 H200, prompts of 4,000 and answers of 500 tokens, TTFT 300 ms, TPOT 10 ms.
Problem Question() {
  ModelSpec model = LoadModel("qwen3-32b");
  model.weight_dtype = model.activation_dtype = DType::kFp8;
  model.weight_quant_block = 128;
  WorkloadSpec workload = LoadWorkload("serve-chat");
  workload.input_tokens = 4000;
  workload.output_tokens = 500;
  workload.ttft_target_s = 0.3;
  workload.tpot_target_s = 0.01;
  return Problem(model, LoadCluster("h200-sxm", 32), workload);
}

struct FrontCase {
  const char* model;
  const char* cluster;
  std::int64_t devices;
  const char* workload;
};
constexpr FrontCase kFrontCases[] = {{"llama-3.1-70b", "h100-sxm", 64, "prefill-chat"},
                                     {"mixtral-8x22b", "h100-sxm", 64, "decode-chat"},
                                     {"deepseek-v3", "h100-sxm", 256, "decode-chat"}};

EvaluatorRegistry Evaluators() {
  EvaluatorRegistry evaluators;
  RegisterBuiltinEvaluators(evaluators);
  return evaluators;
}

void BM_Question(benchmark::State& state) {
  SearcherRegistry searchers;
  RegisterBuiltinSearchers(searchers);
  const EvaluatorRegistry evaluators = Evaluators();
  std::size_t points = 0;
  for (auto _ : state) {
    const Problem problem = Question();
    SearchRequest request;
    request.searcher = "exact";
    const SearchReport best = RunSearch(problem, request, searchers, evaluators);
    const ParetoFront front = FindParetoFront(problem, {}, evaluators);
    if (best.status != SearchStatus::kProvenOptimal || !front.proved) state.SkipWithError("not proved");
    points = front.points.size();
  }
  state.counters["points"] = static_cast<double>(points);
}
BENCHMARK(BM_Question)->Unit(benchmark::kMillisecond)->MeasureProcessCPUTime()->UseRealTime();

void BM_Front(benchmark::State& state) {
  const FrontCase& c = kFrontCases[state.range(0)];
  const EvaluatorRegistry evaluators = Evaluators();
  const Problem problem(LoadModel(c.model), LoadCluster(c.cluster, c.devices), LoadWorkload(c.workload));
  std::size_t points = 0;
  for (auto _ : state) {
    const ParetoFront front = FindParetoFront(problem, {}, evaluators);
    if (!front.proved) state.SkipWithError("not proved");
    points = front.points.size();
  }
  state.counters["points"] = static_cast<double>(points);
  state.SetLabel(std::string(c.model) + ", " + std::to_string(c.devices) + " x " + c.cluster + ", " + c.workload);
}
BENCHMARK(BM_Front)
    ->DenseRange(0, std::size(kFrontCases) - 1)
    ->Unit(benchmark::kMillisecond)
    ->MeasureProcessCPUTime()
    ->UseRealTime();

}  // namespace
}  // namespace shardscout

BENCHMARK_MAIN();
