#pragma once

// Random small problems: every kind of model, clusters of one node and of several, all workloads and objectives.

#include <utility>
#include <vector>

#include "shardscout/random.h"
#include "tests/tiny_problems.h"

namespace shardscout::testing {

template <class T>
const T& Pick(Rng& rng, const std::vector<T>& from) {
  return from[rng.Below(from.size())];
}

inline ModelSpec RandomModel(Rng& rng) {
  const std::int64_t layers = 1 + static_cast<std::int64_t>(rng.Below(6));
  ModelSpec m = [&] {
    switch (rng.Below(6)) {
      case 0:
        return DenseModel(layers);
      case 1:
        return MoeModel(layers, 0, 0);
      case 2:
        return MoeModel(layers, 0, 48);
      case 3:
        return MultiLatentModel(std::max<std::int64_t>(2, layers));
      case 4:
        return rng.Below(2) == 0 ? MixedWindowModel(std::max<std::int64_t>(2, layers))
                                 : LinearModel(std::max<std::int64_t>(2, layers));
      default:
        return MoeModel(std::max<std::int64_t>(2, layers), 1, rng.Below(2) == 0 ? 0 : 48);
    }
  }();
  // Of a size that makes weights, compute and transfers all count.
  const std::int64_t scale = Pick(rng, std::vector<std::int64_t>{1, 8, 32});
  m.hidden_size *= scale;
  m.ffn_size *= scale;
  m.moe.expert_ffn_size *= scale;
  m.moe.shared_ffn_size *= scale;
  m.vocab_size *= scale;
  m.tie_word_embeddings = rng.Below(2) == 0;
  if (rng.Below(4) == 0) m.kv_dtype = DType::kFp8;
  if (rng.Below(4) == 0) {
    m.weight_dtype = m.activation_dtype = DType::kFp8;
    if (rng.Below(2) == 0) m.weight_quant_block = 4;
  }
  return m;
}

inline ClusterSpec RandomCluster(Rng& rng) {
  const std::int64_t per_node = Pick(rng, std::vector<std::int64_t>{2, 3, 4, 5, 7, 8});
  ClusterSpec c = SmallCluster(1 + static_cast<std::int64_t>(rng.Below(16)), per_node);
  c.tiers[1].bytes_per_s *= Pick(rng, std::vector<double>{0.02, 1, 8});
  c.tiers[1].latency_s *= Pick(rng, std::vector<double>{0.1, 1, 20});
  const double launches = Pick(rng, std::vector<double>{0.01, 1});
  DeviceCurves& curves = c.device.curves;
  for (double* launch_s :
       {&curves.gemm_bf16.launch_s, &curves.gemm_bf16.tile_s, &curves.norm.launch_s, &curves.activation.launch_s,
        &curves.group_decode.launch_s, &curves.head_decode_bf16.launch_s, &curves.experts_bf16.launch_s}) {
    *launch_s *= launches;
  }
  if (rng.Below(2) == 0) {
    c.tiers[0].nccl.emplace();
    if (rng.Below(2) == 0) {
      EngineAllReduceCurve& engine = c.tiers[0].engine_all_reduce.emplace();
      engine.host_s = Pick(rng, std::vector<double>{0, 2e-5});
      engine.copy_link_ratio = Pick(rng, std::vector<double>{0, 4});
      engine.buffer_bytes = Pick(rng, std::vector<std::int64_t>{4096, 8 << 20});
      engine.group_buffer_bytes = engine.buffer_bytes * Pick(rng, std::vector<std::int64_t>{1, 8});
    }
  }
  return c;
}

inline WorkloadSpec RandomWorkload(Rng& rng) {
  WorkloadSpec w =
      SmallWorkload(Pick(rng, std::vector{WorkloadKind::kPrefill, WorkloadKind::kDecode, WorkloadKind::kServe}),
                    Pick(rng, std::vector<std::int64_t>{2, 4, 8}));
  w.input_tokens = Pick(rng, std::vector<std::int64_t>{7, 96, 2048});
  w.objective = Pick(rng, std::vector{Objective::kThroughputPerDevice, Objective::kLatency,
                                      Objective::kCostPerMillionTokens, Objective::kEnergyPerToken});
  if (rng.Below(4) == 0) w.batch_size = Pick(rng, std::vector<std::int64_t>{1, 4, 6, 12});
  if (rng.Below(4) == 0 && !w.batch_size) w.concurrency = Pick(rng, std::vector<std::int64_t>{1, 5, 16});
  if (rng.Below(3) == 0) {
    // Tiny models take microseconds, and so does what an engine adds here.
    EngineModel& engine = w.engine.emplace();
    engine.overlaps = rng.Below(2) == 0;
    engine.layer_gap_s = Pick(rng, std::vector<double>{0, 2e-6});
    engine.layer_launch_s = Pick(rng, std::vector<double>{0, 2e-5});
    engine.request_host_s = Pick(rng, std::vector<double>{0, 5e-6});
    engine.arrival_s = Pick(rng, std::vector<double>{0, 1e-4});
  }
  return w;
}

/// Drawn one after the other, so that every compiler draws the same.
inline Problem RandomProblem(Rng& rng) {
  WorkloadSpec workload = RandomWorkload(rng);
  ClusterSpec cluster = RandomCluster(rng);
  ModelSpec model = RandomModel(rng);
  return Problem(std::move(model), std::move(cluster), std::move(workload));
}

/// The same model and cluster, trained.
inline Problem InTraining(Rng& rng, const Problem& problem) {
  WorkloadSpec workload;
  workload.name = "train";
  workload.kind = WorkloadKind::kTrain;
  workload.input_tokens = 16 << rng.Below(6);
  workload.objective = problem.workload().objective;
  const auto coin = [&] { return rng.Below(2) == 0; };
  workload.training = {.global_batch_size = 1 + static_cast<std::int64_t>(rng.Below(12)),
                       .optimizer = coin() ? Optimizer::kAdam : Optimizer::kSgd,
                       .fp32_gradients = coin(),
                       .fused_attention = coin(),
                       .dropout = coin(),
                       .host_task_s = coin() ? 0 : 1e-5,
                       .overlap_tensor = coin(),
                       .overlap_gradients = coin(),
                       .overlap_parameters = coin()};
  return Problem(problem.model(), problem.cluster(), workload);
}

/// Of a kind that the framework runs; where it runs both, by turns.
inline Problem RandomProblemFor(Framework framework, Rng& rng, std::uint64_t turn) {
  const Problem drawn = RandomProblem(rng);
  const bool training = Trains(framework) && (!Infers(framework) || turn % 2 == 0);
  return training ? InTraining(rng, drawn) : drawn;
}

}  // namespace shardscout::testing
