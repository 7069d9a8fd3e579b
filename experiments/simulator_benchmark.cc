// Speed of the simulator.
//   pass: one evaluation of a decode strategy; items are tasks of its graph, so that items_per_second are task events,
//   and steps_per_second are steps of the strategy.
//   requests: one evaluation of a `serve` strategy whose requests are simulated one by one; items are requests, and
//   steps_per_second are steps of engines.
// experiments/README.md has the command and the figures.

#include <benchmark/benchmark.h>

#include <string>

#include "env/simulator/simulator_evaluator.h"
#include "shardscout/preset_paths.h"
#include "shardscout/strategy_space.h"

namespace shardscout::env {
namespace {

struct PassCase {
  const char* name;
  std::int64_t stages;
  Overlap overlap;
};
constexpr PassCase kPassCases[] = {{"one stage", 1, Overlap::kNone},
                                   {"one stage, two_batch", 1, Overlap::kTwoBatch},
                                   {"four stages", 4, Overlap::kNone},
                                   {"four stages, two_batch", 4, Overlap::kTwoBatch}};

void CountSteps(benchmark::State& state, std::int64_t steps) {
  state.counters["steps_per_second"] = benchmark::Counter(static_cast<double>(steps), benchmark::Counter::kIsRate);
}

void BM_Pass(benchmark::State& state) {
  const PassCase& c = kPassCases[state.range(0)];
  const ProblemOptions options{.fixed = {}, .admitted_overlaps = {Overlap::kNone, Overlap::kTwoBatch}};
  const Problem problem(LoadModel("deepseek-v3"), LoadCluster("h100-sxm", 256), LoadWorkload("decode-chat"), options);
  Strategy s;
  s.pipeline_parallel_size = c.stages;
  s.tensor_parallel_size = 8;
  s.data_parallel_size = 4;
  s.expert_parallel_size = 32;
  s.batch_size = 128;
  s.num_microbatches = c.stages;
  s.overlap = c.overlap;
  s = StrategySpace(problem).Repair(s);
  const SimulatorEvaluator simulator(problem);
  for (auto _ : state) benchmark::DoNotOptimize(simulator.Evaluate(s).metrics.tpot_s);
  const PassMaker maker(problem, s, Phase::kDecode, {});
  const std::int64_t rounds = c.stages > 1 ? kDecodeRounds : 1;
  state.SetLabel(std::string("deepseek-v3 on 256 h100-sxm, decode-chat, ") + c.name);
  state.SetItemsProcessed(state.iterations() * maker.Make(s.num_microbatches, rounds, false).graph.num_tasks());
  CountSteps(state, state.iterations() * rounds);
}
BENCHMARK(BM_Pass)->DenseRange(0, 3)->Unit(benchmark::kMillisecond);

void BM_Requests(benchmark::State& state) {
  WorkloadSpec workload = LoadWorkload("serve-chat");
  RequestModel& requests = workload.requests.emplace();
  requests.arrivals = ArrivalKind::kPoisson;
  requests.rate_per_s = 20;
  requests.input_cv = requests.output_cv = 0.5;
  requests.num_requests = 100000;
  const Problem problem(LoadModel("llama-3.1-8b"), LoadCluster("h100-sxm", 8), workload);
  Strategy s;
  s.batch_size = 96;
  const SimulatorEvaluator simulator(problem);
  std::int64_t steps = 0;
  for (auto _ : state) steps += simulator.Evaluate(s).requests->steps;
  state.SetLabel("llama-3.1-8b on 8 h100-sxm, serve-chat, poisson at 20 a second");
  state.SetItemsProcessed(state.iterations() * 100000);
  CountSteps(state, steps);
}
BENCHMARK(BM_Requests)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace shardscout::env

BENCHMARK_MAIN();
