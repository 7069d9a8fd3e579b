#include "env/analytical/analytical_evaluator.h"

#include <array>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <tuple>
#include <unordered_map>

#include "env/analytical/training_cost.h"
#include "env/task_rows.h"
#include "shardscout/error.h"
#include "shardscout/stage_memory.h"
#include "strategies/group_names.h"

namespace shardscout::env {
namespace {

/// Tables of this many tuples of degrees and batch are kept a thread; then all are dropped (a search rarely comes back
/// that far).
constexpr std::size_t kMaxTables = 512;

using TableKey = std::array<std::int64_t, 8>;

TableKey KeyOf(const Strategy& s) {
  return {s.pipeline_parallel_size,
          s.tensor_parallel_size,
          s.context_parallel_size,
          s.data_parallel_size,
          s.expert_parallel_size,
          s.expert_tensor_parallel_size,
          s.batch_size,
          s.num_microbatches};
}

struct TableKeyHash {
  std::size_t operator()(const TableKey& key) const {
    std::uint64_t hash = 0;
    for (std::int64_t part : key) hash = (hash ^ static_cast<std::uint64_t>(part)) * 0x9E3779B97F4A7C15U;
    return static_cast<std::size_t>(hash ^ (hash >> 32));
  }
};

/// The block's own variables as one number (LowerBlock lists them), 3 bits each; degrees and batch are the table's key.
std::uint32_t BlockCode(const Problem& problem, const Strategy& s, BlockKind kind) {
  std::uint32_t code = static_cast<std::uint32_t>(kind);
  auto add = [&](auto value) { code = code << 3 | static_cast<std::uint32_t>(value); };
  auto sharding = [&](Operator op) { add(s.ShardingOf(op)); };
  add(s.residual_layout);
  add(s.recomputation);
  if (problem.workload().HasPhase(Phase::kPrefill)) {
    add((s.ShardingOf(Operator::kAttention) == Sharding::kToken ? 2 : 0) +
        (s.ShardingOf(Operator::kLmHead) == Sharding::kToken ? 1 : 0));
  }
  switch (kind) {
    case BlockKind::kEmbedding:
      sharding(Operator::kEmbedding);
      break;
    case BlockKind::kAttention:
    case BlockKind::kWindowAttention:
    case BlockKind::kLinearAttention:
      sharding(Operator::kQkv);
      sharding(Operator::kAttention);
      sharding(Operator::kAttnOut);
      break;
    case BlockKind::kMoe:
      add(s.expert_exchange);
      sharding(Operator::kRouter);
      sharding(Operator::kExpertUp);
      sharding(Operator::kExpertDown);
      sharding(Operator::kFfnUp);
      sharding(Operator::kFfnDown);
      break;
    case BlockKind::kDenseFfn:
      add(s.dense_ffn_group);
      sharding(Operator::kFfnUp);
      sharding(Operator::kFfnDown);
      break;
    case BlockKind::kHead:
      sharding(Operator::kLmHead);
      break;
    case BlockKind::kTransfer:
      break;
  }
  return code;
}

}  // namespace

struct AnalyticalEvaluator::Impl {
  /// The blocks priced so far for one tuple of degrees and batch.
  struct Table {
    Table(const Problem& problem, const Strategy& s, double flop_per_token) : spans(problem, s) {
      if (problem.workload().IsTraining()) {
        exchanges.emplace(problem, s, spans, flop_per_token);
      } else {
        stages = ClassifyStages(problem.model(), SplitLayers(problem.model(), s.pipeline_parallel_size));
      }
    }

    /// Of training: by what decides which layers a stage has, and which of them it computes again.
    const std::vector<StageClass>& TrainingStages(const ModelSpec& model, const Strategy& s) {
      const bool full = s.recomputation == Recomputation::kFull;
      const std::array<std::int64_t, 3> key = {s.virtual_pipeline_parallel_size, s.head_layers,
                                               full ? s.recomputed_layers : -1};
      for (const auto& [known, classes] : training_stages) {
        if (known == key) return classes;
      }
      return training_stages.emplace_back(key, ClassifyStages(model, s)).second;
    }

    SpanCache spans;
    std::optional<TrainingExchanges> exchanges;
    std::vector<StageClass> stages;  ///< Of inference.
    std::deque<std::pair<std::array<std::int64_t, 3>, std::vector<StageClass>>> training_stages;
    std::unordered_map<std::uint32_t, BlockCost> blocks;
    std::unordered_map<std::uint32_t, TransferCost> transfers;
  };

  struct Workspace {
    std::unordered_map<TableKey, std::unique_ptr<Table>, TableKeyHash> tables;
  };

  explicit Impl(const Problem& p) : problem(p), flop_per_token(p.workload().IsTraining() ? ModelFlopPerToken(p) : 0) {}

  std::unique_ptr<Workspace> Acquire() {
    const std::lock_guard lock(mutex);
    if (idle.empty()) return std::make_unique<Workspace>();
    std::unique_ptr<Workspace> workspace = std::move(idle.back());
    idle.pop_back();
    return workspace;
  }

  void Release(std::unique_ptr<Workspace> workspace) {
    const std::lock_guard lock(mutex);
    idle.push_back(std::move(workspace));
  }

  Table& TableOf(Workspace& workspace, const Strategy& s) const {
    const TableKey key = KeyOf(s);
    const auto found = workspace.tables.find(key);
    if (found != workspace.tables.end()) return *found->second;
    if (workspace.tables.size() >= kMaxTables) workspace.tables.clear();
    return *workspace.tables.emplace(key, std::make_unique<Table>(problem, s, flop_per_token)).first->second;
  }

  /// The block as both phases of the workload lower it.
  std::array<Block, 2> LowerPhases(const Strategy& s, BlockKind kind) const {
    std::array<Block, 2> blocks;
    for (Phase phase : {Phase::kPrefill, Phase::kDecode}) {
      if (problem.workload().HasPhase(phase)) {
        blocks[static_cast<std::size_t>(phase)] = LowerBlock(problem, s, phase, kind);
      }
    }
    return blocks;
  }

  const BlockCost& CostOf(Table& table, const Strategy& s, BlockKind kind) const {
    const auto [entry, is_new] = table.blocks.try_emplace(BlockCode(problem, s, kind));
    if (is_new) {
      const std::array<Block, 2> blocks = LowerPhases(s, kind);
      entry->second = PriceBlock(problem.cluster(), &blocks[0], &blocks[1], table.spans);
    }
    return entry->second;
  }

  const TransferCost& TransferOf(Table& table, const Strategy& s) const {
    const auto [entry, is_new] = table.transfers.try_emplace(BlockCode(problem, s, BlockKind::kTransfer));
    if (is_new) {
      const std::array<Block, 2> blocks = LowerPhases(s, BlockKind::kTransfer);
      entry->second = PriceTransfer(problem.cluster(), &blocks[0], &blocks[1], table.spans);
    }
    return entry->second;
  }

  const Problem& problem;
  const double flop_per_token;  ///< Training.
  std::mutex mutex;
  std::vector<std::unique_ptr<Workspace>> idle;
};

namespace {

/// The same with no layer computed again: their cost follows from that (ComputedAgain).
Strategy WithLayersKept(Strategy s) {
  if (s.recomputation != Recomputation::kFull) return s;
  s.recomputation = Recomputation::kNone;
  s.recomputed_layers = 0;
  return s;
}

}  // namespace

AnalyticalEvaluator::AnalyticalEvaluator(const Problem& problem) : impl_(std::make_unique<Impl>(problem)) {}
AnalyticalEvaluator::~AnalyticalEvaluator() = default;

Evaluation AnalyticalEvaluator::Evaluate(const Strategy& strategy) const {
  std::unique_ptr<Impl::Workspace> workspace = impl_->Acquire();
  Impl::Table& table = impl_->TableOf(*workspace, strategy);
  const Strategy s = WithLayersKept(strategy);
  StrategyCost cost;
  cost.embedding = impl_->CostOf(table, s, BlockKind::kEmbedding);
  cost.attention = impl_->CostOf(table, s, BlockKind::kAttention);
  if (impl_->problem.model().HasMixedWindows()) {
    cost.window_attention = impl_->CostOf(table, s, BlockKind::kWindowAttention);
  }
  if (impl_->problem.model().HasLinearAttention()) {
    cost.linear_attention = impl_->CostOf(table, s, BlockKind::kLinearAttention);
  }
  if (impl_->problem.model().HasDense()) cost.dense_ffn = impl_->CostOf(table, s, BlockKind::kDenseFfn);
  if (impl_->problem.model().HasMoe()) cost.moe = impl_->CostOf(table, s, BlockKind::kMoe);
  cost.head = impl_->CostOf(table, s, BlockKind::kHead);
  if (s.pipeline_parallel_size > 1) cost.transfer = impl_->TransferOf(table, s);
  Evaluation evaluation;
  if (impl_->problem.workload().IsTraining()) {
    const std::vector<StageClass>& stages = table.TrainingStages(impl_->problem.model(), strategy);
    const StrategyCost again = s == strategy ? StrategyCost() : ComputedAgain(cost);
    evaluation = AssembleTraining(impl_->problem, strategy, stages, {cost, again}, *table.exchanges);
  } else {
    evaluation = Assemble(impl_->problem, s, table.stages, cost);
  }
  impl_->Release(std::move(workspace));
  return evaluation;
}

namespace {

StrategyCost PriceProgram(const ClusterSpec& cluster, const Program& program, SpanCache& spans) {
  const PhaseProgram* prefill = nullptr;
  const PhaseProgram* decode = nullptr;
  for (const PhaseProgram& phase : program.phases) (phase.phase == Phase::kPrefill ? prefill : decode) = &phase;
  auto blocks = [&](BlockKind kind) {
    return std::pair(prefill == nullptr ? nullptr : &prefill->BlockOf(kind),
                     decode == nullptr ? nullptr : &decode->BlockOf(kind));
  };
  auto price = [&](BlockKind kind) {
    const auto [in_prefill, in_decode] = blocks(kind);
    return PriceBlock(cluster, in_prefill, in_decode, spans);
  };
  StrategyCost cost;
  cost.embedding = price(BlockKind::kEmbedding);
  cost.attention = price(BlockKind::kAttention);
  cost.window_attention = price(BlockKind::kWindowAttention);
  cost.linear_attention = price(BlockKind::kLinearAttention);
  cost.dense_ffn = price(BlockKind::kDenseFfn);
  cost.moe = price(BlockKind::kMoe);
  cost.head = price(BlockKind::kHead);
  const auto [in_prefill, in_decode] = blocks(BlockKind::kTransfer);
  cost.transfer = PriceTransfer(cluster, in_prefill, in_decode, spans);
  return cost;
}

}  // namespace

std::vector<TrainingStage> TrainingStagesOf(const Problem& problem, const Strategy& strategy) {
  SpanCache spans(problem, strategy);
  const StrategyCost kept = PriceProgram(problem.cluster(), Lower(problem, WithLayersKept(strategy)), spans);
  const StrategyCost again = ComputedAgain(kept);
  TrainingExchanges exchanges(problem, strategy, spans, ModelFlopPerToken(problem));
  return TrainingStages(problem, strategy, StagesApart(problem.model(), strategy), {kept, again}, exchanges);
}

Evaluation AnalyticalEvaluator::EvaluateProgram(const Program& program) const {
  const Problem& problem = impl_->problem;
  SpanCache spans(problem, program.strategy);
  const StrategyCost cost = PriceProgram(problem.cluster(), program, spans);
  if (!problem.workload().IsTraining()) {
    return Assemble(problem, program.strategy, ClassifyStages(problem.model(), program.stages), cost);
  }
  TrainingExchanges exchanges(problem, program.strategy, spans, impl_->flop_per_token);
  const std::vector<StageClass> stages = ClassifyStages(problem.model(), program.strategy);
  // Where the program's layers are not all computed again, the cost of the others is that of another program.
  const bool some = program.strategy.recomputed_layers > 0;
  const StrategyCost kept =
      some ? PriceProgram(problem.cluster(), Lower(problem, WithLayersKept(program.strategy)), spans) : cost;
  return AssembleTraining(problem, program.strategy, stages, {kept, cost}, exchanges);
}

Breakdown AnalyticalEvaluator::Explain(const Strategy& s) const {
  const Problem& problem = impl_->problem;
  const ClusterSpec& cluster = problem.cluster();
  const Program program = Lower(problem, s);
  SpanCache spans(problem, s);
  Breakdown breakdown;
  breakdown.bytes_by_tier.assign(cluster.tiers.size(), 0.0);
  const auto pp = static_cast<double>(program.stages.size());
  const std::vector<StageClass> apart = StagesApart(problem.model(), s);
  LayerCounts again;
  for (const StageClass& stage : apart) again += stage.again;
  const auto calls_again = [&](BlockKind kind, std::int64_t of_all) {
    return s.recomputation == Recomputation::kFull ? std::min(of_all, CallsOf(again, kind)) : of_all;
  };
  for (const PhaseProgram& phase : program.phases) {
    std::map<std::tuple<Operator, bool, std::string>, BreakdownRow> rows;
    const auto add = [&](const Task& task, const std::string& what, std::int64_t calls) {
      const bool collective = task.kind == TaskKind::kCollective;
      BreakdownRow& row = rows[{task.op, collective, what}];
      row.phase = phase.phase;
      row.op = task.op;
      row.what = what;
      row.collective = collective;
      row.calls += calls;
      const auto n = static_cast<double>(calls);
      row.time_s += n * TaskTime(cluster, task, spans);
      row.flop += n * task.work.flop;
      if (!collective) {
        row.bytes += n * (task.work.read_bytes + task.work.weight_bytes + task.work.write_bytes);
        return;
      }
      row.bytes += n * task.payload_bytes;
      const std::vector<GroupSpan>& group = SpansOfTask(task, spans);
      for (const GroupSpan& span : group) row.tier = std::max(row.tier, span.outermost_tier);
      const std::vector<double> wire = CollectiveWireBytes(cluster, task.collective, task.payload_bytes, group);
      // Calls are spread over the stages; a device has its own stage's share.
      for (std::size_t tier = 0; tier < wire.size(); ++tier) {
        breakdown.bytes_by_tier[tier] += wire[tier] * n / pp * static_cast<double>(phase.num_microbatches);
      }
    };
    for (const Block& block : phase.blocks) {
      for (std::size_t t = 0; t < block.tasks.size(); ++t) {
        add(block.tasks[t], TaskName(program.strategy, block, t), CallsOf(problem.model(), program, block.kind, t));
      }
      const std::int64_t of_all = CallsOf(problem.model(), program, block.kind, 0);
      bool gradients = false;
      for (const Task& task : block.backward) {
        gradients = gradients || task.of_gradients;
        add(task, BackwardTaskName(program.strategy, task), gradients ? of_all : calls_again(block.kind, of_all));
      }
    }
    for (auto& [key, row] : rows) breakdown.rows.push_back(std::move(row));

    const auto block_time = [&](BlockKind kind, std::int64_t calls, std::int64_t repeats) {
      const Block& block = phase.BlockOf(kind);
      double time_s = 0, again_s = 0;
      for (const Task& task : block.tasks) time_s += TaskTime(cluster, task, spans);
      bool gradients = false;
      for (const Task& task : block.backward) {
        gradients = gradients || task.of_gradients;
        (gradients ? time_s : again_s) += TaskTime(cluster, task, spans);
      }
      return static_cast<double>(calls) * time_s + static_cast<double>(repeats) * again_s;
    };
    const std::vector<Task>& sends = phase.BlockOf(BlockKind::kTransfer).tasks;
    for (const StageClass& stage : apart) {
      const LayerCounts layers = stage.Layers();
      double time_s = 0;
      for (const BlockKind kind : {BlockKind::kAttention, BlockKind::kWindowAttention, BlockKind::kLinearAttention,
                                   BlockKind::kDenseFfn, BlockKind::kMoe}) {
        const std::int64_t calls = CallsOf(layers, kind);
        const bool selective = s.recomputation == Recomputation::kSelective;
        time_s += block_time(kind, calls, selective ? calls : CallsOf(stage.again, kind));
      }
      if (stage.first) time_s += block_time(BlockKind::kEmbedding, 1, 1);
      if (stage.last) time_s += block_time(BlockKind::kHead, 1, 1);
      if (!stage.last) time_s += TaskTime(cluster, sends.front(), spans);
      if (stage.last && sends.size() > 1) time_s += TaskTime(cluster, sends[1], spans);
      breakdown.stages.push_back({phase.phase, time_s});
    }
  }
  return breakdown;
}

}  // namespace shardscout::env

namespace shardscout {

std::vector<MemoryUse> MemoryByStage(const Problem& problem, const Strategy& strategy) {
  env::SpanCache spans(problem, strategy);
  const Program program = Lower(problem, env::WithLayersKept(strategy));
  const env::StrategyCost cost = env::PriceProgram(problem.cluster(), program, spans);
  if (problem.workload().IsTraining()) {
    const env::TrainingExchanges exchanges(problem, strategy, spans, env::ModelFlopPerToken(problem));
    return env::TrainingMemories(problem, strategy, env::StagesApart(problem.model(), strategy),
                                 {cost, env::ComputedAgain(cost)}, exchanges);
  }
  return env::StageMemories(problem, strategy, program.stages, cost);
}

}  // namespace shardscout
