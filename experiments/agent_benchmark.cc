// The agent's own time for each evaluated strategy: sampling, masks, decoding, bookkeeping and updates, with an
// evaluator that answers at once. `ms_per_strategy` is what counts (contract: below 5 ms on one core, below 20 ms on
// 24,576 devices). DeepSeek-V3's shape, decode; the argument is the number of devices. CPU time is reported, so a busy
// machine distorts it less. From scratch, and from the pretrained weights.

#include <benchmark/benchmark.h>

#include <ctime>
#include <memory>

#include "agents/ppo_searcher.h"
#include "shardscout/random.h"
#include "shardscout/search_environment.h"

namespace shardscout {
namespace {

ModelSpec DeepSeekLike() {
  ModelSpec model;
  model.name = "deepseek-v3-like";
  model.num_layers = 61;
  model.hidden_size = 7168;
  model.vocab_size = 129280;
  model.attention.num_heads = 128;
  model.attention.num_kv_heads = 128;
  model.attention.head_dim = 128;
  model.ffn_size = 18432;
  model.moe.num_experts = 256;
  model.moe.num_experts_per_token = 8;
  model.moe.expert_ffn_size = 2048;
  model.layers.assign(61, LayerKind::kMoe);
  for (std::size_t layer = 0; layer < 3; ++layer) model.layers[layer] = LayerKind::kDense;
  return model;
}

ClusterSpec Cluster(std::int64_t devices) {
  ClusterSpec cluster;
  cluster.name = "benchmark";
  cluster.device.peak_flop_per_s.fill(1e15);
  cluster.device.hbm_bytes = 80e9;
  cluster.device.hbm_bytes_per_s = 3e12;
  NetworkTier tier;
  tier.bytes_per_s = 5e10;
  cluster.tiers = {tier};
  cluster.num_devices = devices;
  return cluster;
}

/// Free, and not constant: a reward that an agent can learn.
class FreeEvaluator final : public Evaluator {
 public:
  std::string_view Name() const override { return "free"; }
  Evaluation Evaluate(const Strategy& s) const override {
    Evaluation evaluation;
    const std::uint64_t hash = Hash(s);
    evaluation.metrics.throughput_per_device =
        0.5 + 0.4 * static_cast<double>(hash % 1000) / 1000 + (s.residual_layout == Layout::kTokenSharded ? 0.2 : 0.0);
    evaluation.excess = {-1, -1, -1};
    return evaluation;
  }
  Breakdown Explain(const Strategy&) const override { return {}; }
};

double CpuSeconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

/// range(2): with the pretrained weights, or from scratch.
void BM_PpoTimePerStrategy(benchmark::State& state) {
  std::shared_ptr<const agents::PretrainedWeights> weights;
  if (state.range(2) != 0) {
    weights =
        std::make_shared<agents::PretrainedWeights>(agents::ReadPretrainedWeights(agents::PretrainedWeightsPath()));
  }
  const Problem problem(DeepSeekLike(), Cluster(state.range(0)), WorkloadSpec());
  const StrategySpace space(problem);
  const FreeEvaluator evaluator;
  std::int64_t evaluations = 0;
  double seconds = 0;
  for (auto _ : state) {
    EnvironmentOptions options;
    options.budget = state.range(1);
    options.threads = 1;
    SearchEnvironment environment(space, evaluator, options);
    const double start = CpuSeconds();
    agents::PpoSearcher({}, "ppo", weights).Search(environment, 1);
    seconds += CpuSeconds() - start;
    evaluations += environment.Evaluations();
  }
  state.counters["ms_per_strategy"] = 1e3 * seconds / static_cast<double>(evaluations);
}
BENCHMARK(BM_PpoTimePerStrategy)
    ->ArgNames({"devices", "budget", "pretrained"})
    ->ArgsProduct({{256, 1024, 24576}, {1000}, {0, 1}})
    ->Iterations(1)
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace shardscout

BENCHMARK_MAIN();
