#include "baselines/exact/moe_bound.h"

#include <algorithm>

namespace shardscout::baselines::exact {

bool MoeBound::Option::NoWorse(const Option& other) const {
  return steepest.s <= other.steepest.s && steepest.s_per_row <= other.steepest.s_per_row &&
         memory.s <= other.memory.s && memory.s_per_row <= other.memory.s_per_row;
}

MoeBound::MoeBound(const MenuMaker& maker, std::int64_t tp, Phase phase, const std::vector<ExpertMesh>& meshes) {
  env::SpanCache spans = LeastSpans(maker.problem());
  Strategy s;
  s.tensor_parallel_size = tp;
  s.batch_size = maker.SplittingRequests(tp, 1);
  for (const ExpertMesh& mesh : meshes) {
    s.expert_parallel_size = mesh.ep;
    s.expert_tensor_parallel_size = mesh.etp;
    AddMesh(maker, s, phase, spans);
  }
}

void MoeBound::AddMesh(const MenuMaker& maker, Strategy s, Phase phase, env::SpanCache& spans) {
  std::vector<Option> front;
  TaskLine experts{.compute_s_per_row = std::numeric_limits<double>::infinity(),
                   .launch_s = std::numeric_limits<double>::infinity()};
  for (ExpertExchange exchange : maker.Exchanges(s)) {
    s.expert_exchange = exchange;
    maker.ForEachSharding(s, kMoeOperators, [&](const Strategy& with) {
      TaskLine products;
      const Option option = Price(maker.problem(), with, phase, spans, products);
      experts.compute_s_per_row = std::min(experts.compute_s_per_row, products.compute_s_per_row);
      experts.launch_s = std::min(experts.launch_s, products.launch_s);
      if (std::any_of(front.begin(), front.end(), [&](const Option& o) { return o.NoWorse(option); })) return;
      std::erase_if(front, [&](const Option& o) { return option.NoWorse(o); });
      front.push_back(option);
    });
  }
  experts_.push_back(experts);
  options_.push_back(std::move(front));
}

/// Adds the experts' kernels to `experts`, all else to the option.
MoeBound::Option MoeBound::Price(const Problem& problem, const Strategy& s, Phase phase, env::SpanCache& spans,
                                 TaskLine& experts) {
  const DeviceSpec& device = problem.cluster().device;
  const Block block = LowerBlock(problem, s, phase, BlockKind::kMoe);
  const double rows = CellRows(problem, s, phase);
  Option option;
  for (const Task& task : block.tasks) {
    // These depend on the residual layout.
    if (task.op == Operator::kResidual || task.kind == TaskKind::kAdd || task.kind == TaskKind::kSlice) continue;
    const bool shared = task.op == Operator::kFfnUp || task.op == Operator::kFfnDown;
    if (shared && task.kind != TaskKind::kMatmul) continue;
    if (task.kind == TaskKind::kExpertMatmul) {
      // Its FLOP are the fullest rank's, which are more a row the fewer the rows are: those of the mean rank are not.
      const Value& out = block.values[static_cast<std::size_t>(task.output)];
      const double pairs =
          (out.ffn == FfnKind::kExpert ? out : block.values[static_cast<std::size_t>(task.input)]).rows;
      Task mean = task;
      mean.work.flop = 2 * pairs * task.work.k * task.work.n;
      const TaskLine line = LineOfFlop(device, mean, rows);
      experts.compute_s_per_row += line.compute_s_per_row;
      experts.launch_s += line.launch_s;
      continue;
    }
    TaskLine line;
    if (task.kind == TaskKind::kCollective) {
      line = LineOfCollective(problem.cluster(), task, rows, spans);
      option.steepest.s += line.memory_s;
    } else if (shared) {
      line = LineOfFlop(device, task, rows);
      // Split over tp, however it may be, a rank does a tp-th of this.
      line.compute_s_per_row /= static_cast<double>(s.tensor_parallel_size);
    } else {
      line = LineOfKernel(device, task, rows);
    }
    option.steepest.s += line.launch_s;
    option.steepest.s_per_row += std::max(line.compute_s_per_row, line.memory_s_per_row);
    option.memory.s += line.launch_s + line.memory_s;
    option.memory.s_per_row += line.memory_s_per_row;
  }
  return option;
}

double MoeBound::RestSeconds(std::size_t mesh, double rows) const {
  double least = std::numeric_limits<double>::infinity();
  for (const Option& o : options_[mesh]) least = std::min(least, std::max(o.steepest.At(rows), o.memory.At(rows)));
  return least;
}

}  // namespace shardscout::baselines::exact
