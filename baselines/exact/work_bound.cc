#include "baselines/exact/work_bound.h"

#include <algorithm>
#include <limits>

namespace shardscout::baselines::exact {

double WorkBound::Kernel::Seconds(double rows) const {
  return std::max(compute_s_per_row * rows, memory_s_per_row * rows + memory_s) + launch_s;
}

/// Adds the options of one kind of block that `s` leaves open: all shardings of attention, else the one of `s`.
void WorkBound::AddBlocks(const MenuMaker& maker, const Strategy& base, BlockKind kind, double layers) {
  if (layers == 0) return;
  const Problem& problem = maker.problem();
  const DeviceSpec& device = problem.cluster().device;
  const DeviceEfficiency& efficiency = device.efficiency;
  const bool attention = kind == BlockKind::kAttention || kind == BlockKind::kWindowAttention;
  const auto line = [&](const Block& block) {
    const double rows = block.values[static_cast<std::size_t>(block.input)].rows;
    Kernels kernels;
    for (const Task& task : block.tasks) {
      if (task.kind == TaskKind::kCollective) continue;
      // Added in the residual layout, which may hold fewer rows.
      if (task.kind == TaskKind::kAdd || task.kind == TaskKind::kSlice) continue;
      const bool experts = task.kind == TaskKind::kExpertMatmul;
      const bool dense = kind == BlockKind::kDenseFfn && task.kind == TaskKind::kMatmul;
      // Of the feed-forward blocks only their products are the same under every group and exchange.
      if (!attention && !experts && !dense) continue;
      const Work& work = task.work;
      Kernel kernel;
      kernel.launch_s = work.kernels * device.kernel_launch_s;
      if (work.flop > 0) {
        const double fraction =
            task.kind == TaskKind::kAttention ? efficiency.attention_peak_fraction : efficiency.gemm_peak_fraction;
        kernel.compute_s_per_row = work.flop / (fraction * device.PeakFlopPerS(work.dtype)) / rows;
        // Split over all ranks of its group, whichever that is, the dense FFN does a tp-th of this.
        if (dense) kernel.compute_s_per_row /= static_cast<double>(base.tensor_parallel_size);
      }
      if (attention) {
        const double bytes_per_s = efficiency.hbm_peak_fraction * device.hbm_bytes_per_s;
        kernel.memory_s_per_row = (work.read_bytes + work.write_bytes) / bytes_per_s / rows;
        kernel.memory_s = work.kernels * efficiency.hbm_latency_s + work.weight_bytes / bytes_per_s;
      }
      kernels.push_back(kernel);
    }
    return kernels;
  };
  const auto admitted = [&](const Strategy& s, Operator op) {
    std::vector<Sharding> shardings;
    for (std::int64_t value : maker.space().Values(kFirstShardingVariable + static_cast<int>(op))) {
      if (maker.rules().Admits(s, op, static_cast<Sharding>(value))) shardings.push_back(static_cast<Sharding>(value));
    }
    return shardings;
  };
  for (Phase phase : {Phase::kPrefill, Phase::kDecode}) {
    if (!problem.workload().HasPhase(phase)) continue;
    Blocks blocks{.layers = layers, .moe = kind == BlockKind::kMoe, .options = {}};
    Strategy s = base;
    if (!attention) {
      blocks.options.push_back(line(LowerBlock(problem, s, phase, kind)));
    } else {
      for (Sharding qkv : admitted(s, Operator::kQkv)) {
        s.SetSharding(Operator::kQkv, qkv);
        for (Sharding core : admitted(s, Operator::kAttention)) {
          s.SetSharding(Operator::kAttention, core);
          for (Sharding out : admitted(s, Operator::kAttnOut)) {
            s.SetSharding(Operator::kAttnOut, out);
            blocks.options.push_back(line(LowerBlock(problem, s, phase, kind)));
          }
        }
      }
    }
    blocks_[static_cast<std::size_t>(phase)].push_back(std::move(blocks));
  }
}

WorkBound::WorkBound(const MenuMaker& maker, std::int64_t tp, std::int64_t requests) {
  const ModelSpec& model = maker.problem().model();
  Strategy s;
  s.tensor_parallel_size = tp;
  s.batch_size = requests;
  const Stage all = SplitLayers(model, 1).front();
  const auto windows = static_cast<double>(NumWindowLayers(model, all));
  AddBlocks(maker, s, BlockKind::kAttention, static_cast<double>(all.num_layers) - windows);
  AddBlocks(maker, s, BlockKind::kWindowAttention, windows);
  AddBlocks(maker, s, BlockKind::kDenseFfn, static_cast<double>(all.num_dense));
  AddBlocks(maker, s, BlockKind::kMoe, static_cast<double>(all.num_moe));
}

double WorkBound::Blocks::Seconds(double rows) const {
  double least = std::numeric_limits<double>::infinity();
  for (const Kernels& kernels : options) {
    double option = 0;
    for (const Kernel& kernel : kernels) option += kernel.Seconds(rows);
    least = std::min(least, option);
  }
  return layers * least;
}

double WorkBound::LayerSeconds(Phase phase, double rows) const {
  double seconds = 0;
  for (const Blocks& blocks : blocks_[static_cast<std::size_t>(phase)]) seconds += blocks.Seconds(rows);
  return seconds;
}

double WorkBound::SecondsWithoutMoe(Phase phase, double rows) const {
  double seconds = 0;
  for (const Blocks& blocks : blocks_[static_cast<std::size_t>(phase)])
    seconds += blocks.moe ? 0 : blocks.Seconds(rows);
  return seconds;
}

double WorkBound::MostRowsPerSecond(Phase phase) const {
  constexpr double kMany = 1e15;  // Beside it, weights and latencies vanish.
  return kMany / LayerSeconds(phase, kMany);
}

}  // namespace shardscout::baselines::exact
