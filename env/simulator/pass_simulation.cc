#include "env/simulator/pass_simulation.h"

#include <algorithm>
#include <array>
#include <string>

#include "strategies/sharding_rules.h"

namespace shardscout::env {
namespace {

/// The strategy of half a micro-batch; batch_size 0 where there is none.
Strategy HalfOf(const Problem& problem, Strategy s, Phase phase) {
  const std::int64_t requests =
      phase == Phase::kPrefill ? PrefillRequests(problem, s) : s.batch_size / s.num_microbatches;
  const bool whole_batch = phase == Phase::kDecode || requests == s.batch_size / s.num_microbatches;
  if (s.overlap != Overlap::kTwoBatch || requests % 2 != 0 || !whole_batch) {
    s.batch_size = 0;
    return s;
  }
  s.batch_size /= 2;
  s.overlap = Overlap::kNone;
  const strategies::ShardingRules rules(problem);
  bool splits = rules.BatchSplits(s) && rules.Residual(s, s.residual_layout) && rules.FfnGroup(s, s.dense_ffn_group) &&
                rules.Exchange(s, s.expert_exchange);
  for (std::size_t op = 0; op < kNumShardedOperators; ++op) {
    const auto sharded = static_cast<Operator>(op);
    splits = splits && rules.Admits(s, sharded, s.ShardingOf(sharded));
  }
  if (!splits) s.batch_size = 0;
  return s;
}

/// Adds tasks one after another on the two streams of a stage.
class Chain {
 public:
  Chain(SimulationGraph& graph, StreamId compute, StreamId communication, SimTaskId after)
      : graph_(graph), compute_(compute), communication_(communication), last_(after) {}
  SimTaskId Add(Picoseconds duration, bool collective) {
    const SimTaskId after[] = {last_};
    const std::span<const SimTaskId> waits = last_ < 0 ? std::span<const SimTaskId>() : std::span(after);
    return last_ = graph_.AddTask(collective ? communication_ : compute_, duration, waits);
  }
  SimTaskId last() const { return last_; }

 private:
  SimulationGraph& graph_;
  StreamId compute_, communication_;
  SimTaskId last_;
};

}  // namespace

PassMaker::PassMaker(const Problem& problem, const Strategy& strategy, Phase phase, SimulatorOptions options)
    : problem_(problem),
      strategy_(strategy),
      phase_(phase),
      options_(options),
      stages_(SplitLayers(problem.model(), strategy.pipeline_parallel_size)) {
  SpanCache spans(problem.cluster(), strategy);
  whole_ = Price(strategy, spans);
  const Strategy half = HalfOf(problem, strategy, phase);
  if (!options.reference && half.batch_size > 0) halves_.push_back(Price(half, spans));
}

PassMaker::PricedBlocks PassMaker::Price(const Strategy& strategy, SpanCache& spans) const {
  PricedBlocks priced;
  priced.blocks.resize(kNumBlockKinds);
  priced.durations_s.resize(kNumBlockKinds);
  const ModelSpec& model = problem_.model();
  const auto has = [&](BlockKind kind) {
    switch (kind) {
      case BlockKind::kWindowAttention:
        return model.HasMixedWindows();
      case BlockKind::kDenseFfn:
        return model.HasDense();
      case BlockKind::kMoe:
        return model.HasMoe();
      case BlockKind::kTransfer:
        return strategy.pipeline_parallel_size > 1;
      default:
        return true;
    }
  };
  for (int k = 0; k < kNumBlockKinds; ++k) {
    const auto kind = static_cast<BlockKind>(k);
    if (!has(kind)) continue;
    Block& block = priced.blocks[static_cast<std::size_t>(k)] = LowerBlock(problem_, strategy, phase_, kind);
    for (const Task& task : block.tasks) {
      priced.durations_s[static_cast<std::size_t>(k)].push_back(TaskTime(problem_.cluster(), task, spans));
    }
  }
  return priced;
}

std::vector<PassMaker::StageTask> PassMaker::TasksOf(const PricedBlocks& priced, std::size_t stage,
                                                     bool detailed) const {
  const ModelSpec& model = problem_.model();
  std::vector<StageTask> tasks;
  double run_s = 0;  // Of equal streams in a row, where they are made one.
  bool run_is_collective = false;
  const auto flush = [&] {
    if (run_s > 0) tasks.push_back({.duration = ToPicoseconds(run_s), .collective = run_is_collective});
    run_s = 0;
  };
  const auto add = [&](BlockKind kind, std::int64_t layer) {
    const auto k = static_cast<std::size_t>(kind);
    for (std::size_t t = 0; t < priced.durations_s[k].size(); ++t) {
      const Task& task = priced.blocks[k].tasks[t];
      const double duration_s = priced.durations_s[k][t];
      // Without overlap it is all one whether a stage computes or communicates.
      const bool collective = task.kind == TaskKind::kCollective && (detailed || Halved());
      if (detailed) {
        tasks.push_back({.duration = ToPicoseconds(duration_s),
                         .collective = collective,
                         .block = kind,
                         .layer = static_cast<std::int32_t>(layer),
                         .task = &task});
        continue;
      }
      if (collective != run_is_collective) flush();
      run_is_collective = collective;
      run_s += duration_s;
    }
  };
  const Stage& own = stages_[stage];
  if (stage == 0) add(BlockKind::kEmbedding, -1);
  for (std::int64_t layer = own.first_layer; layer < own.first_layer + own.num_layers; ++layer) {
    const bool window = model.HasMixedWindows() && model.WindowOf(layer) > 0;
    add(window ? BlockKind::kWindowAttention : BlockKind::kAttention, layer);
    const bool moe = model.layers[static_cast<std::size_t>(layer)] == LayerKind::kMoe;
    add(moe ? BlockKind::kMoe : BlockKind::kDenseFfn, layer);
  }
  if (stage + 1 == stages_.size()) add(BlockKind::kHead, -1);
  flush();
  return tasks;
}

Pass PassMaker::Make(std::int64_t microbatches, std::int64_t rounds, bool detailed) const {
  Pass pass;
  const std::size_t num_stages = stages_.size();
  std::vector<std::array<StreamId, 2>> streams;  // Compute, communication.
  std::vector<std::vector<StageTask>> stage_tasks;
  for (std::size_t stage = 0; stage < num_stages; ++stage) {
    const StreamId compute = pass.graph.AddStream();
    streams.push_back({compute, pass.graph.AddStream()});
    stage_tasks.push_back(TasksOf(Halved() ? halves_.front() : whole_, stage, detailed));
  }
  const auto label = [&](std::size_t stage, std::int64_t m, std::int64_t round, int half, const StageTask& task) {
    if (!detailed) return;
    pass.tasks.push_back({.phase = phase_,
                          .stage = static_cast<std::int32_t>(stage),
                          .microbatch = static_cast<std::int32_t>(m),
                          .half = half,
                          .round = static_cast<std::int32_t>(round),
                          .block = task.block,
                          .layer = task.layer,
                          .task = task.task});
  };
  const auto k = static_cast<std::size_t>(BlockKind::kTransfer);
  for (std::int64_t round = 0; round < rounds; ++round) {
    pass.ends.emplace_back();
    for (std::int64_t m = 0; m < microbatches; ++m) {
      SimTaskId arrived = round == 0 ? -1 : pass.ends[static_cast<std::size_t>(round - 1)][static_cast<std::size_t>(m)];
      for (std::size_t stage = 0; stage < num_stages; ++stage) {
        const auto [compute, communication] = streams[stage];
        const std::vector<StageTask>& tasks = stage_tasks[stage];
        Chain first(pass.graph, compute, communication, arrived);
        Chain second = first;
        // In turns: each half goes on to the end of its next collectives.
        std::size_t next[2] = {0, 0};
        const int halves = Halved() ? 2 : 1;
        while (next[halves - 1] < tasks.size()) {
          for (int half = 0; half < halves; ++half) {
            Chain& chain = half == 0 ? first : second;
            std::size_t& at = next[half];
            bool communicated = false;
            while (at < tasks.size() && (tasks[at].collective || !communicated)) {
              communicated = communicated || tasks[at].collective;
              chain.Add(tasks[at].duration, tasks[at].collective);
              label(stage, m, round, half, tasks[at]);
              ++at;
            }
          }
        }
        arrived = first.last();
        if (Halved()) {
          // What follows waits for both.
          const SimTaskId both[] = {first.last(), second.last()};
          arrived = pass.graph.AddTask(compute, 0, both);
          label(stage, m, round, 0, {});
        }
        const bool last = stage + 1 == num_stages;
        const std::size_t transfer = last ? 1 : 0;
        if (transfer >= whole_.durations_s[k].size()) continue;  // No pipeline, or nothing to return.
        Chain send(pass.graph, compute, options_.reference ? compute : communication, arrived);
        const StageTask sent{.duration = ToPicoseconds(whole_.durations_s[k][transfer]),
                             .collective = true,
                             .block = BlockKind::kTransfer,
                             .task = &whole_.blocks[k].tasks[transfer]};
        arrived = send.Add(sent.duration, true);
        label(stage, m, round, 0, sent);
      }
      pass.ends.back().push_back(arrived);
    }
  }
  return pass;
}

PassTimes SimulatePasses(const Problem& problem, const Strategy& s, SimulatorOptions options) {
  const WorkloadSpec& workload = problem.workload();
  PassTimes times;
  if (workload.HasPhase(Phase::kPrefill)) {
    const PassMaker maker(problem, s, Phase::kPrefill, options);
    times.prefill_pass_s = ToSeconds(Simulate(maker.Make(1, 1, false).graph).makespan);
    times.prefill_s = times.prefill_pass_s;
    if (workload.kind == WorkloadKind::kPrefill && s.num_microbatches > 1) {
      times.prefill_s = ToSeconds(Simulate(maker.Make(s.num_microbatches, 1, false).graph).makespan);
    }
  }
  if (workload.HasPhase(Phase::kDecode)) {
    const PassMaker maker(problem, s, Phase::kDecode, options);
    const std::int64_t rounds = s.pipeline_parallel_size > 1 ? kDecodeRounds : 1;
    const Pass pass = maker.Make(s.num_microbatches, rounds, false);
    const Schedule schedule = Simulate(pass.graph);
    const auto end_of = [&](std::size_t round) {
      return schedule.end[static_cast<std::size_t>(pass.ends[round].back())];
    };
    const auto last = static_cast<std::size_t>(rounds) - 1;
    times.decode_s = ToSeconds(rounds == 1 ? end_of(0) : end_of(last) - end_of(last - 1));
  }
  return times;
}

}  // namespace shardscout::env
