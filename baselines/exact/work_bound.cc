#include "baselines/exact/work_bound.h"

#include <algorithm>
#include <limits>

namespace shardscout::baselines::exact {
namespace {

/// Training: of the backward pass the FLOP, since not all of its bytes grow with the rows.
void AddBackward(const DeviceSpec& device, const Block& block, double rows, std::vector<TaskLine>& lines) {
  for (const Task& task : block.backward) {
    if (task.gradient != Gradient::kNone && task.work.flop > 0) lines.push_back(LineOfFlop(device, task, rows));
  }
}

/// All tasks of a block whose residual layout is known.
std::vector<TaskLine> LinesOfAll(const ClusterSpec& cluster, const Block& block, double rows, env::SpanCache& spans) {
  std::vector<TaskLine> lines;
  for (const Task& task : block.tasks) {
    lines.push_back(task.kind == TaskKind::kCollective ? LineOfCollective(cluster, task, rows, spans)
                                                       : LineOfKernel(cluster.device, task, rows));
  }
  AddBackward(cluster.device, block, rows, lines);
  return lines;
}

/// The attention's kernels under every residual layout.
std::vector<TaskLine> LinesOfKernels(const DeviceSpec& device, const Block& block, double rows) {
  std::vector<TaskLine> lines;
  for (const Task& task : block.tasks) {
    // Added in the residual layout, which may hold fewer rows.
    if (task.kind == TaskKind::kCollective || task.kind == TaskKind::kAdd || task.kind == TaskKind::kSlice) continue;
    lines.push_back(LineOfKernel(device, task, rows));
  }
  AddBackward(device, block, rows, lines);
  return lines;
}

/// The products of a feed-forward block, which are the same under every group and exchange.
std::vector<TaskLine> LinesOfProducts(const DeviceSpec& device, const Block& block, BlockKind kind, double rows,
                                      std::int64_t tp) {
  std::vector<TaskLine> lines;
  for (const Task& task : block.tasks) {
    const bool dense = kind == BlockKind::kDenseFfn && task.kind == TaskKind::kMatmul;
    if (!dense && task.kind != TaskKind::kExpertMatmul) continue;
    lines.push_back(LineOfFlop(device, task, rows));
    // Split over all ranks of its group, whichever that is, the dense FFN does a tp-th of this.
    if (dense) lines.back().compute_s_per_row /= static_cast<double>(tp);
    // By its input and by its weight it is derived with as many.
    if (!block.backward.empty()) lines.back().compute_s_per_row *= 3;
  }
  return lines;
}

}  // namespace

/// Adds the options of one kind of block. `spans` null: without collectives.
void WorkBound::AddBlocks(const MenuMaker& maker, const Strategy& base, BlockKind kind, double layers,
                          env::SpanCache* spans) {
  if (layers == 0) return;
  const Problem& problem = maker.problem();
  const DeviceSpec& device = problem.cluster().device;
  const bool attention =
      kind == BlockKind::kAttention || kind == BlockKind::kWindowAttention || kind == BlockKind::kLinearAttention;
  for (Phase phase : {Phase::kPrefill, Phase::kDecode}) {
    if (!problem.workload().HasPhase(phase)) continue;
    Blocks blocks{.layers = layers, .moe = kind == BlockKind::kMoe, .attention = attention, .options = {}};
    // In `serve` a pass takes more requests where they are split over tp: each option is divided by its own rows.
    if (!attention) {
      blocks.options.push_back(LinesOfProducts(device, LowerBlock(problem, base, phase, kind), kind,
                                               CellRows(problem, base, phase), base.tensor_parallel_size));
    } else if (spans == nullptr) {
      maker.ForEachSharding(base, kAttentionOperators, [&](const Strategy& s) {
        blocks.options.push_back(
            LinesOfKernels(device, LowerBlock(problem, s, phase, kind), CellRows(problem, s, phase)));
      });
    } else {
      Strategy s = base;
      for (std::int64_t layout : maker.space().Values(static_cast<int>(Variable::kResidualLayout))) {
        s.residual_layout = static_cast<Layout>(layout);
        if (!maker.rules().Residual(s, s.residual_layout)) continue;
        maker.ForEachSharding(s, kAttentionOperators, [&](const Strategy& with) {
          blocks.options.push_back(LinesOfAll(problem.cluster(), LowerBlock(problem, with, phase, kind),
                                              CellRows(problem, with, phase), *spans));
        });
      }
    }
    blocks_[static_cast<std::size_t>(phase)].push_back(std::move(blocks));
  }
}

void WorkBound::AddLayers(const MenuMaker& maker, const Strategy& s, env::SpanCache* spans) {
  const ModelSpec& model = maker.problem().model();
  const Stage all = SplitLayers(model, 1).front();
  const auto windows = static_cast<double>(NumWindowLayers(model, all));
  const auto linear = static_cast<double>(NumLinearLayers(model, all));
  AddBlocks(maker, s, BlockKind::kAttention, static_cast<double>(all.num_layers) - windows - linear, spans);
  AddBlocks(maker, s, BlockKind::kWindowAttention, windows, spans);
  AddBlocks(maker, s, BlockKind::kLinearAttention, linear, spans);
  AddBlocks(maker, s, BlockKind::kDenseFfn, static_cast<double>(all.num_dense), spans);
  AddBlocks(maker, s, BlockKind::kMoe, static_cast<double>(all.num_moe), spans);
}

WorkBound::WorkBound(const MenuMaker& maker, std::int64_t tp) {
  Strategy s;
  s.tensor_parallel_size = tp;
  s.batch_size = maker.SplittingRequests(tp, 1);
  AddLayers(maker, s, nullptr);
}

WorkBound::WorkBound(const MenuMaker& maker, std::int64_t tp, std::int64_t cp) {
  Strategy s;
  s.tensor_parallel_size = tp;
  s.context_parallel_size = cp;
  s.batch_size = maker.SplittingRequests(tp, cp);
  env::SpanCache spans = LeastSpans(maker.problem());
  AddLayers(maker, s, &spans);
}

double WorkBound::Blocks::Seconds(double rows) const {
  double least = std::numeric_limits<double>::infinity();
  for (const Lines& tasks : options) {
    double option = 0;
    for (const TaskLine& task : tasks) option += task.Seconds(rows);
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

double WorkBound::AttentionSeconds(Phase phase, double rows) const {
  double seconds = 0;
  for (const Blocks& blocks : blocks_[static_cast<std::size_t>(phase)])
    seconds += blocks.attention ? blocks.Seconds(rows) : 0;
  return seconds;
}

double WorkBound::MostRowsPerSecond(Phase phase) const {
  constexpr double kMany = 1e15;  // Beside it, weights and latencies vanish.
  return kMany / LayerSeconds(phase, kMany);
}

}  // namespace shardscout::baselines::exact
