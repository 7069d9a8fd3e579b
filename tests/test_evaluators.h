#pragma once

// Test doubles: small problems made by hand, and evaluators that answer what a test says.

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "shardscout/evaluator.h"
#include "shardscout/strategy_space.h"

namespace shardscout::test {

/// 4 layers, hidden 64, 8 heads over 4 KV heads; dense (ffn 128) or MoE (8 experts of 32, 2 a token).
inline ModelSpec TinyModel(bool moe = false) {
  ModelSpec model;
  model.name = moe ? "tiny-moe" : "tiny";
  model.num_layers = 4;
  model.hidden_size = 64;
  model.vocab_size = 128;
  model.attention.num_heads = 8;
  model.attention.num_kv_heads = 4;
  model.attention.head_dim = 8;
  if (moe) {
    model.moe.num_experts = 8;
    model.moe.num_experts_per_token = 2;
    model.moe.expert_ffn_size = 32;
  } else {
    model.ffn_size = 128;
  }
  model.layers.assign(4, moe ? LayerKind::kMoe : LayerKind::kDense);
  return model;
}

inline ClusterSpec TinyCluster(std::int64_t devices) {
  ClusterSpec cluster;
  cluster.name = "tiny";
  cluster.device.name = "tiny";
  cluster.device.peak_flop_per_s.fill(1e12);
  cluster.device.hbm_bytes = 1e9;
  cluster.device.hbm_bytes_per_s = 1e11;
  cluster.device.power_w = 100;
  cluster.device.price_usd_per_hour = 1;
  NetworkTier tier;
  tier.name = "switch";
  tier.bytes_per_s = 1e10;
  tier.latency_s = 1e-6;
  cluster.tiers = {tier};
  cluster.devices_per_node = devices;
  cluster.num_devices = devices;
  return cluster;
}

inline WorkloadSpec TinyWorkload() {
  WorkloadSpec workload;
  workload.name = "tiny";
  workload.kind = WorkloadKind::kDecode;
  workload.input_tokens = 64;
  workload.output_tokens = 16;
  workload.max_batch_size = 8;
  return workload;
}

/// Millions of strategies on 8 devices.
inline Problem WideProblem(bool moe = false) { return Problem(TinyModel(moe), TinyCluster(8), TinyWorkload()); }

/// A few hundred strategies: tp and some shardings of a dense model on 2 devices.
inline Problem NarrowProblem() {
  WorkloadSpec workload = TinyWorkload();
  workload.batch_size = 4;
  ProblemOptions options;
  options.fixed = {{"pipeline_parallel_size", "1"},   {"context_parallel_size", "1"}, {"data_parallel_size", "1"},
                   {"residual_layout", "replicated"}, {"dense_ffn_group", "tp"},      {"shardings.embedding", "none"},
                   {"shardings.lm_head", "none"},     {"shardings.attn_out", "none"}};
  return Problem(TinyModel(), TinyCluster(2), workload, options);
}

/// One strategy: one device and one batch size.
inline Problem SingleProblem() {
  WorkloadSpec workload = TinyWorkload();
  workload.batch_size = 4;
  return Problem(TinyModel(), TinyCluster(1), workload);
}

/// Every member of a (small) space, in lexicographic order.
inline std::vector<Strategy> AllMembers(const StrategySpace& space) {
  std::vector<Strategy> members;
  space.ForEach([&](const Strategy& strategy) {
    members.push_back(strategy);
    return true;
  });
  return members;
}

/// Feasible, with that many tokens/s/device.
inline Evaluation Feasible(double throughput_per_device) {
  Evaluation evaluation;
  evaluation.metrics.throughput_per_device = throughput_per_device;
  evaluation.metrics.ttft_s = 0.5;
  evaluation.metrics.tpot_s = 1 / throughput_per_device;
  evaluation.metrics.replicas = 1;
  evaluation.excess = {-0.5, -0.5, -0.5};
  return evaluation;
}

/// Over the memory limit by that fraction.
inline Evaluation OverMemory(double excess) {
  Evaluation evaluation = Feasible(1);
  evaluation.excess.memory = excess;
  return evaluation;
}

/// Answers what a function says, and counts the calls.
class FunctionEvaluator final : public Evaluator {
 public:
  using Function = std::function<Evaluation(const Strategy&)>;
  explicit FunctionEvaluator(Function function) : function_(std::move(function)) {}

  std::string_view Name() const override { return "function"; }
  Evaluation Evaluate(const Strategy& strategy) const override {
    ++calls_;
    return function_(strategy);
  }
  Breakdown Explain(const Strategy&) const override { return {}; }

  std::int64_t calls() const { return calls_; }

 private:
  Function function_;
  mutable std::atomic<std::int64_t> calls_ = 0;
};

inline FunctionEvaluator::Function Constant(const Evaluation& evaluation) {
  return [evaluation](const Strategy&) { return evaluation; };
}

inline FunctionEvaluator::Function Table(std::map<Strategy, Evaluation> table, const Evaluation& otherwise) {
  return [table = std::move(table), otherwise](const Strategy& strategy) {
    const auto found = table.find(strategy);
    return found == table.end() ? otherwise : found->second;
  };
}

/// A smooth landscape without local optima to speak of: each variable wants the last of its values that a seed names,
/// and what is asked of memory falls with the number of devices, so that small instances are infeasible.
inline FunctionEvaluator::Function Landscape(const StrategySpace& space) {
  return [&space](const Strategy& strategy) {
    const Choices choices = space.Encode(strategy);
    double score = 1;
    for (std::size_t v = 0; v < choices.size(); ++v) {
      const auto count = static_cast<double>(space.Values(static_cast<int>(v)).size());
      if (count < 2) continue;
      const double wanted = static_cast<double>((v * 7 + 3) % 5) / 4;
      const double offset = choices[v] / (count - 1) - wanted;
      score -= 0.04 * offset * offset;
    }
    if (strategy.InstanceSize() < 2 && space.problem().cluster().num_devices > 1) {
      return OverMemory(0.2 + 0.01 * static_cast<double>(strategy.batch_size));
    }
    return Feasible(score);
  };
}

}  // namespace shardscout::test
