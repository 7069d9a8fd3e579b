// Evaluates every strategy of a training space: GPT-3 175B on 64 A100s, global batch 64, with Megatron's column and row
// shardings of the layers (embedding, head and residual layout free), all degrees, batches, micro-batches, chunks, ZeRO
// stages and recomputations. Prints how many there are, how long it took, and that the best is the exact solver's.
// experiments/README.md has the command and the figures.

#include <omp.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "baselines/exact/solver.h"
#include "env/analytical/analytical_evaluator.h"
#include "experiments/guarded_main.h"
#include "shardscout/error.h"
#include "shardscout/strategy_space.h"

namespace shardscout {
namespace {

Problem Part(const ProblemOptions& options) {
  WorkloadSpec workload = LoadWorkload("train-2k");
  workload.training->global_batch_size = 64;
  return Problem(LoadModel("gpt3-175b"), LoadCluster("a100-80-sxm", 64), workload, options);
}

struct Sweep {
  std::int64_t members = 0, feasible = 0;
  double best = 0;  ///< Tokens/s/device.
};

Sweep SweepPart(const Problem& problem) {
  const StrategySpace space(problem);
  const env::AnalyticalEvaluator evaluator(problem);
  Sweep sweep;
  space.ForEach([&](const Strategy& strategy) {
    const Evaluation evaluation = evaluator.Evaluate(strategy);
    ++sweep.members;
    if (!evaluation.Feasible()) return true;
    ++sweep.feasible;
    sweep.best = std::max(sweep.best, evaluation.metrics.throughput_per_device);
    return true;
  });
  return sweep;
}

int Main() {
  ProblemOptions options;
  for (const char* op : {"qkv", "attention", "attn_out"}) options.fixed[std::string("shardings.") + op] = "heads";
  for (const char* op : {"ffn_up", "ffn_down"}) options.fixed[std::string("shardings.") + op] = "ffn";
  const Problem whole = Part(options);
  const StrategySpace space(whole);
  // A part for each tp and pp.
  std::vector<std::pair<std::int64_t, std::int64_t>> parts;
  for (const std::int64_t tp : space.Values(static_cast<int>(Variable::kTensorParallelSize))) {
    for (const std::int64_t pp : space.Values(static_cast<int>(Variable::kPipelineParallelSize))) {
      if (tp * pp <= 64) parts.emplace_back(tp, pp);
    }
  }
  std::vector<Sweep> sweeps(parts.size());
  const auto begin = std::chrono::steady_clock::now();
#pragma omp parallel for schedule(dynamic, 1)
  for (std::size_t i = 0; i < parts.size(); ++i) {
    ProblemOptions of_part = options;
    of_part.fixed["tensor_parallel_size"] = std::to_string(parts[i].first);
    of_part.fixed["pipeline_parallel_size"] = std::to_string(parts[i].second);
    try {
      sweeps[i] = SweepPart(Part(of_part));
    } catch (const SpecError&) {
      continue;  // No strategy has these two.
    }
  }
  const std::chrono::duration<double> wall = std::chrono::steady_clock::now() - begin;
  Sweep all;
  for (const Sweep& sweep : sweeps) {
    all.members += sweep.members;
    all.feasible += sweep.feasible;
    all.best = std::max(all.best, sweep.best);
  }
  std::printf("%lld strategies, %lld feasible, in %.2f s on %d threads: %.0f a second\n",
              static_cast<long long>(all.members), static_cast<long long>(all.feasible), wall.count(),
              omp_get_max_threads(), static_cast<double>(all.members) / wall.count());
  const auto solve_begin = std::chrono::steady_clock::now();
  const baselines::exact::Answer answer =
      baselines::exact::Solve(space, omp_get_max_threads(), 64, [](const auto&, double) { return true; });
  const std::chrono::duration<double> solve_wall = std::chrono::steady_clock::now() - solve_begin;
  std::printf("best %.6g tokens/s/device; proved by the exact solver in %.2f s: %.6g\n", all.best, solve_wall.count(),
              answer.bound_score);
  return answer.proved && answer.bound_score == all.best ? 0 : 1;
}

}  // namespace
}  // namespace shardscout

int main() {
  return shardscout::GuardedMain([] { return shardscout::Main(); });
}
