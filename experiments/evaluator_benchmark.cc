// Speed of the analytical evaluator: a full evaluation is all scalar metrics and limits of one strategy.
//   warm: the tables of the degrees at hand are built; strategies differ in residual layout, exchange and shardings.
//   cold: every strategy has degrees or a batch of its own, so that all its blocks are lowered and priced anew.
// experiments/README.md has the command and the figures.

#include <benchmark/benchmark.h>

#include <string>
#include <vector>

#include "env/analytical/analytical_evaluator.h"
#include "shardscout/strategy_space.h"

namespace shardscout {
namespace {

struct Case {
  const char* model;
  std::int64_t devices;
};
constexpr Case kCases[] = {{"llama-3.1-70b", 64}, {"deepseek-v3", 256}};

Problem MakeProblem(const benchmark::State& state) {
  const Case& c = kCases[state.range(0)];
  return Problem(LoadModel(c.model), LoadCluster("h100-sxm", c.devices), LoadWorkload("decode-chat"));
}

void Label(benchmark::State& state) {
  const Case& c = kCases[state.range(0)];
  state.SetLabel(std::string(c.model) + " on " + std::to_string(c.devices) + " h100-sxm, decode-chat");
  state.SetItemsProcessed(state.iterations());
}

/// Strategies of one tuple of degrees and batch that differ in their layer variables.
std::vector<Strategy> SameDegrees(const StrategySpace& space, Rng& rng) {
  Strategy base;
  base.tensor_parallel_size = 8;
  base.data_parallel_size = space.problem().model().HasMoe() ? 4 : 1;
  base.expert_parallel_size = space.problem().model().HasMoe() ? 32 : 1;
  base.batch_size = 64;
  base = space.Repair(base);
  std::vector<Strategy> strategies;
  Choices choices = space.Encode(base);
  std::vector<std::uint8_t> mask;
  while (strategies.size() < 1024) {
    choices.resize(static_cast<std::size_t>(Variable::kResidualLayout));
    while (choices.size() < static_cast<std::size_t>(kNumVariables)) {
      space.AllowedChoices(choices, mask);
      std::size_t i = rng.Below(mask.size());
      while (mask[i] == 0) i = (i + 1) % mask.size();
      choices.push_back(static_cast<int>(i));
    }
    strategies.push_back(space.Decode(choices));
  }
  return strategies;
}

void BM_EvaluateWarm(benchmark::State& state) {
  const Problem problem = MakeProblem(state);
  const StrategySpace space(problem);
  const env::AnalyticalEvaluator evaluator(problem);
  Rng rng(1);
  const std::vector<Strategy> strategies = SameDegrees(space, rng);
  for (const Strategy& s : strategies) benchmark::DoNotOptimize(evaluator.Evaluate(s));
  std::size_t i = 0;
  for (auto _ : state) benchmark::DoNotOptimize(evaluator.Evaluate(strategies[i++ % strategies.size()]));
  Label(state);
}
BENCHMARK(BM_EvaluateWarm)->DenseRange(0, 1);

void BM_EvaluateCold(benchmark::State& state) {
  const Problem problem = MakeProblem(state);
  const StrategySpace space(problem);
  Rng rng(2);
  std::vector<Strategy> strategies;
  for (int i = 0; i < 4096; ++i) strategies.push_back(space.Sample(rng));
  std::size_t i = 0;
  auto evaluator = std::make_unique<env::AnalyticalEvaluator>(problem);
  for (auto _ : state) {
    if (i == strategies.size()) {
      state.PauseTiming();
      evaluator = std::make_unique<env::AnalyticalEvaluator>(problem);
      i = 0;
      state.ResumeTiming();
    }
    benchmark::DoNotOptimize(evaluator->Evaluate(strategies[i++]));
  }
  Label(state);
}
BENCHMARK(BM_EvaluateCold)->DenseRange(0, 1);

void BM_Sample(benchmark::State& state) {
  const Problem problem = MakeProblem(state);
  const StrategySpace space(problem);
  Rng rng(3);
  for (auto _ : state) benchmark::DoNotOptimize(space.Sample(rng));
  Label(state);
}
BENCHMARK(BM_Sample)->DenseRange(0, 1);

}  // namespace
}  // namespace shardscout

BENCHMARK_MAIN();
