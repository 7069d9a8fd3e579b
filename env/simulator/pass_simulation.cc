#include "env/simulator/pass_simulation.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <numeric>
#include <optional>
#include <span>
#include <utility>

#include "env/simulator/link_loads.h"
#include "shardscout/error.h"
#include "strategies/sharding_rules.h"

namespace shardscout::env {
namespace {

/// The strategy of half a micro-batch; nothing where it cannot be halved.
std::optional<Strategy> HalfOf(const Problem& problem, Strategy s, Phase phase) {
  if (s.overlap != Overlap::kTwoBatch) return std::nullopt;
  // A prefill pass of `serve` takes a number of requests that the batch does not set.
  if (phase == Phase::kPrefill && problem.workload().kind == WorkloadKind::kServe) return std::nullopt;
  if (s.batch_size / s.num_microbatches % 2 != 0) return std::nullopt;
  s.batch_size /= 2;
  s.overlap = Overlap::kNone;
  if (!BatchFits(problem, s)) return std::nullopt;
  return s;
}

/// Whether chunks of the one can run while chunks of the other do.
bool CanBeCut(const Task& first, const Task& second) {
  const Task& product = first.kind == TaskKind::kMatmul ? first : second;
  if (product.kind != TaskKind::kMatmul || product.work.m < static_cast<double>(kChunks)) return false;
  if (second.input != first.output) return false;
  if (second.kind == TaskKind::kCollective) {
    return second.collective == Collective::kAllReduce || second.collective == Collective::kReduceScatter;
  }
  return first.kind == TaskKind::kCollective && first.collective == Collective::kAllGather;
}

/// One of kChunks, by rows.
Task ChunkOf(Task task) {
  constexpr auto kParts = static_cast<double>(kChunks);
  task.payload_bytes /= kParts;
  task.work.m /= kParts;
  task.work.flop /= kParts;
  task.work.read_bytes /= kParts;
  task.work.write_bytes /= kParts;
  return task;
}

/// Whether a task of a MoE layer depends on where its tokens go.
bool FollowsRouting(const Task& task) {
  return task.work.routing.tokens > 0 || task.collective == Collective::kAllToAll;
}

/// The streams and ports of a stage.
struct StageDevice {
  StreamId kernels = 0, collectives = 0, sends = 0;
  LinkId first_out = 0, first_in = 0;
};

void AddLoads(const std::vector<double>& shares, LinkId first_link, std::vector<LinkLoad>& loads) {
  for (std::size_t link = 0; link < shares.size(); ++link) {
    if (shares[link] > 0) loads.push_back({first_link + static_cast<LinkId>(link), shares[link]});
  }
}

}  // namespace

PassMaker::PassMaker(const Problem& problem, const Strategy& strategy, Phase phase, SimulatorOptions options)
    : problem_(problem),
      strategy_(strategy),
      phase_(phase),
      options_(options),
      stages_(SplitLayers(problem.model(), strategy.pipeline_parallel_size)) {
  SpanCache spans(problem, strategy);
  whole_ = Price(strategy, spans);
  if (options.reference) return;
  if (const std::optional<Strategy> half = HalfOf(problem, strategy, phase)) half_ = Price(*half, spans);
}

PassMaker::PricedBlocks PassMaker::Price(const Strategy& strategy, SpanCache& spans) const {
  PricedBlocks priced;
  priced.blocks.resize(kNumBlockKinds);
  priced.durations_s.resize(kNumBlockKinds);
  priced.shares.resize(kNumBlockKinds);
  const ClusterSpec& cluster = problem_.cluster();
  for (int k = 0; k < kNumBlockKinds; ++k) {
    Block& block = priced.blocks[static_cast<std::size_t>(k)];
    block = LowerBlock(problem_, strategy, phase_, static_cast<BlockKind>(k));
    for (const Task& task : block.tasks) {
      const double duration_s = TaskTime(cluster, task, spans);
      priced.durations_s[static_cast<std::size_t>(k)].push_back(duration_s);
      std::vector<double>& shares = priced.shares[static_cast<std::size_t>(k)].emplace_back();
      if (task.kind != TaskKind::kCollective || strategy.pipeline_parallel_size == 1 || duration_s <= 0) continue;
      const bool returns = static_cast<BlockKind>(k) == BlockKind::kTransfer && &task != &block.tasks.front();
      shares =
          LinkShares(cluster, task, SpansOfTask(task, spans), duration_s, returns ? SendWay::kBack : SendWay::kForward);
    }
  }
  if (problem_.workload().expert_skew && !options_.reference) DrawRouting(priced, spans);
  priced.chunks_s.resize(kNumBlockKinds);
  if (strategy.overlap == Overlap::kChunked && !options_.reference) Cut(priced, spans);
  return priced;
}

void PassMaker::Cut(PricedBlocks& priced, SpanCache& spans) const {
  constexpr auto kParts = static_cast<double>(kChunks);
  for (std::size_t k = 0; k < priced.blocks.size(); ++k) {
    const std::vector<Task>& tasks = priced.blocks[k].tasks;
    const std::vector<double>& whole_s = priced.durations_s[k];
    std::vector<double>& chunks_s = priced.chunks_s[k];
    chunks_s.assign(tasks.size(), 0);
    for (std::size_t t = 0; t + 1 < tasks.size(); ++t) {
      if (chunks_s[t] > 0 || !CanBeCut(tasks[t], tasks[t + 1])) continue;
      double parts_s[2];
      for (const std::size_t i : {std::size_t{0}, std::size_t{1}}) {
        parts_s[i] = TaskTime(problem_.cluster(), ChunkOf(tasks[t + i]), spans);
      }
      const double cut_s = parts_s[0] + (kParts - 1) * std::max(parts_s[0], parts_s[1]) + parts_s[1];
      if (cut_s >= whole_s[t] + whole_s[t + 1]) continue;
      chunks_s[t] = parts_s[0];
      chunks_s[t + 1] = parts_s[1];
    }
  }
}

void PassMaker::DrawRouting(PricedBlocks& priced, SpanCache& spans) const {
  const auto k = static_cast<std::size_t>(BlockKind::kMoe);
  const std::vector<Task>& tasks = priced.blocks[k].tasks;
  const auto routed = std::find_if(tasks.begin(), tasks.end(), [](const Task& t) { return t.work.routing.tokens > 0; });
  if (routed == tasks.end()) return;
  const ExpertWork& routing = routed->work.routing;
  priced.expected = {.pairs = routing.pairs, .distinct = routing.distinct};
  const std::vector<LayerKind>& layers = problem_.model().layers;
  priced.moe_layers_s.resize(layers.size());
  priced.drawn.resize(layers.size());
  for (std::size_t layer = 0; layer < layers.size(); ++layer) {
    if (layers[layer] != LayerKind::kMoe) continue;
    const BusiestRank& drawn = priced.drawn[layer] =
        FindBusiestRank(DrawExpertTokens(routing, *problem_.workload().expert_skew, static_cast<std::int64_t>(layer)),
                        std::llround(routing.ranks));
    std::vector<double>& times_s = priced.moe_layers_s[layer];
    times_s = priced.durations_s[k];
    for (std::size_t t = 0; t < tasks.size(); ++t) {
      if (!FollowsRouting(tasks[t])) continue;
      times_s[t] = TaskTime(problem_.cluster(), WithRouting(tasks[t], priced.expected, drawn), spans);
    }
  }
}

Task PassMaker::PricedTask(const PassTask& task) const {
  SHARDSCOUT_CHECK(task.task != nullptr);
  if (task.chunk >= 0) return ChunkOf(*task.task);
  const PricedBlocks& priced = half_ ? *half_ : whole_;
  if (task.block != BlockKind::kMoe || priced.drawn.empty() || !FollowsRouting(*task.task)) return *task.task;
  return WithRouting(*task.task, priced.expected, priced.drawn[static_cast<std::size_t>(task.layer)]);
}

std::vector<PassMaker::StageTask> PassMaker::TasksOf(const PricedBlocks& priced, std::size_t stage, bool detailed,
                                                     bool apart) const {
  const ModelSpec& model = problem_.model();
  std::vector<StageTask> tasks;
  double run_s = 0;  // Of tasks in a row that are made one.
  const auto flush = [&] {
    if (run_s > 0) tasks.push_back({.duration = ToPicoseconds(run_s)});
    run_s = 0;
  };
  const auto add = [&](BlockKind kind, std::int64_t layer) {
    const auto k = static_cast<std::size_t>(kind);
    const bool drawn = kind == BlockKind::kMoe && !priced.moe_layers_s.empty();
    const std::vector<double>& durations_s =
        drawn ? priced.moe_layers_s[static_cast<std::size_t>(layer)] : priced.durations_s[k];
    for (std::size_t t = 0; t < durations_s.size(); ++t) {
      const Task& task = priced.blocks[k].tasks[t];
      const double duration_s = durations_s[t];
      if (duration_s <= 0) continue;  // A view, which no stream sees.
      const bool collective = task.kind == TaskKind::kCollective;
      StageTask whole{.duration = ToPicoseconds(duration_s),
                      .collective = collective,
                      .block = kind,
                      .layer = static_cast<std::int32_t>(layer),
                      .task = &task,
                      .shares = &priced.shares[k][t]};
      if (!priced.chunks_s[k].empty() && priced.chunks_s[k][t] > 0) {
        flush();
        StageTask next = whole;
        const Task& second = priced.blocks[k].tasks[++t];
        next.collective = !collective;
        next.task = &second;
        next.shares = &priced.shares[k][t];
        whole.duration = ToPicoseconds(priced.chunks_s[k][t - 1]);
        next.duration = ToPicoseconds(priced.chunks_s[k][t]);
        whole.follows = false;
        for (std::int32_t chunk = 0; chunk < kChunks; ++chunk) {
          whole.chunk = next.chunk = chunk;
          tasks.push_back(whole);
          tasks.push_back(next);
        }
        continue;
      }
      if (!detailed && !(apart && collective)) {
        run_s += duration_s;
        continue;
      }
      flush();
      tasks.push_back(whole);
    }
  };
  const Stage& own = stages_[stage];
  if (stage == 0) add(BlockKind::kEmbedding, -1);
  for (std::int64_t layer = own.first_layer; layer < own.first_layer + own.num_layers; ++layer) {
    add(AttentionBlockOf(model, layer), layer);
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
  const std::vector<std::size_t> links = LinksOfTiers(problem_.cluster());
  const std::size_t num_links = std::accumulate(links.begin(), links.end(), std::size_t{0});
  // One micro-batch alone sends when nothing else runs.
  const bool contention = options_.contention && !options_.reference && num_stages > 1 && microbatches > 1;
  std::vector<StageDevice> devices(num_stages);
  std::vector<std::vector<StageTask>> stage_tasks;
  for (std::size_t stage = 0; stage < num_stages; ++stage) {
    StageDevice& device = devices[stage];
    device.kernels = pass.graph.AddStream();
    device.collectives = pass.graph.AddStream();
    device.sends = pass.graph.AddStream();
    device.first_out = pass.graph.num_links();
    for (std::size_t link = 0; link < num_links; ++link) pass.graph.AddLink();
    device.first_in = pass.graph.num_links();
    for (std::size_t link = 0; link < num_links; ++link) pass.graph.AddLink();
    stage_tasks.push_back(TasksOf(half_ ? *half_ : whole_, stage, detailed, contention || Halved()));
  }
  std::vector<SimTaskId> worked(num_stages, -1);  // The last task of the micro-batch before, a stage.
  std::vector<LinkLoad> loads;
  const auto add = [&](StreamId stream, Picoseconds duration, std::span<const SimTaskId> after, const PassTask& label) {
    const SimTaskId task = pass.graph.AddTask(stream, duration, after, loads);
    if (detailed) pass.tasks.push_back(label);
    loads.clear();
    return task;
  };
  /// After two tasks, of which either may be none.
  const auto add_after = [&](StreamId stream, Picoseconds duration, std::array<SimTaskId, 2> after,
                             const PassTask& label) {
    std::sort(after.begin(), after.end(), std::greater<>());
    const auto count =
        static_cast<std::size_t>(std::count_if(after.begin(), after.end(), [](auto t) { return t >= 0; }));
    return add(stream, duration, std::span<const SimTaskId>(after).first(count), label);
  };
  const auto k = static_cast<std::size_t>(BlockKind::kTransfer);
  for (std::int64_t round = 0; round < rounds; ++round) {
    pass.ends.emplace_back();
    for (std::int64_t m = 0; m < microbatches; ++m) {
      SimTaskId arrived = round == 0 ? -1 : pass.ends[static_cast<std::size_t>(round - 1)][static_cast<std::size_t>(m)];
      for (std::size_t stage = 0; stage < num_stages; ++stage) {
        const StageDevice& device = devices[stage];
        const std::vector<StageTask>& tasks = stage_tasks[stage];
        PassTask label{.phase = phase_,
                       .stage = static_cast<std::int32_t>(stage),
                       .microbatch = static_cast<std::int32_t>(m),
                       .round = static_cast<std::int32_t>(round)};
        SimTaskId last[2] = {arrived, arrived};
        SimTaskId before_chunks = -1;
        // In turns: each half goes on to the end of its next collectives.
        std::size_t next[2] = {0, 0};
        const std::size_t halves = Halved() ? 2 : 1;
        while (next[halves - 1] < tasks.size()) {
          for (std::size_t half = 0; half < halves; ++half) {
            std::size_t& at = next[half];
            bool communicated = false;
            for (; at < tasks.size() && (tasks[at].collective || !communicated); ++at) {
              const StageTask& task = tasks[at];
              communicated = communicated || task.collective;
              if (contention && task.collective) {
                AddLoads(*task.shares, device.first_out, loads);
                AddLoads(*task.shares, device.first_in, loads);
              }
              label.half = static_cast<std::int32_t>(half);
              label.block = task.block;
              label.layer = task.layer;
              label.chunk = task.chunk;
              label.task = task.task;
              if (task.chunk == 0 && !task.follows) before_chunks = last[half];
              const SimTaskId before = task.follows ? last[half] : before_chunks;
              last[half] = add_after(task.collective ? device.collectives : device.kernels, task.duration,
                                     {before, at == 0 ? worked[stage] : -1}, label);
            }
          }
        }
        label.half = 0;
        label.layer = -1;
        label.chunk = -1;
        arrived = last[0];
        if (Halved()) {
          // What follows waits for both.
          label.task = nullptr;
          arrived = add(device.kernels, 0, last, label);
        }
        worked[stage] = arrived;
        const bool is_last = stage + 1 == num_stages;
        const std::size_t transfer = is_last ? 1 : 0;
        if (transfer >= whole_.durations_s[k].size()) continue;  // No pipeline, or nothing to return.
        if (contention) {
          AddLoads(whole_.shares[k][transfer], device.first_out, loads);
          AddLoads(whole_.shares[k][transfer], devices[is_last ? 0 : stage + 1].first_in, loads);
        }
        label.block = BlockKind::kTransfer;
        label.task = &whole_.blocks[k].tasks[transfer];
        arrived = add_after(options_.reference ? device.kernels : device.sends,
                            ToPicoseconds(whole_.durations_s[k][transfer]), {arrived, -1}, label);
        if (options_.reference) worked[stage] = arrived;
      }
      pass.ends.back().push_back(arrived);
    }
  }
  return pass;
}

void PassMaker::SetAttention(const AttentionTimes& times) {
  for (const auto& [kind, time_s] :
       {std::pair(BlockKind::kAttention, times.full_s), std::pair(BlockKind::kWindowAttention, times.window_s),
        std::pair(BlockKind::kLinearAttention, times.linear_s)}) {
    const auto k = static_cast<std::size_t>(kind);
    const auto set = [&, kind_s = time_s](PricedBlocks& priced, double share) {
      for (std::size_t t = 0; t < priced.durations_s[k].size(); ++t) {
        const Task& task = priced.blocks[k].tasks[t];
        // The indexer's time is in attention's.
        if (IsAttentionCore(task)) priced.durations_s[k][t] = task.kind == TaskKind::kIndexSelect ? 0 : share * kind_s;
      }
    };
    set(whole_, 1);
    if (half_) set(*half_, 0.5);
  }
}

PassMaker::HeadTimes PassMaker::Head() const {
  const auto k = static_cast<std::size_t>(BlockKind::kHead);
  return {.whole_s = whole_.durations_s[k],
          .half_s = (half_ ? *half_ : whole_).durations_s[k],
          .chunks_s = whole_.chunks_s[k]};
}

void PassMaker::SetHead(const HeadTimes& head) {
  const auto k = static_cast<std::size_t>(BlockKind::kHead);
  whole_.durations_s[k] = head.whole_s;
  whole_.chunks_s[k] = head.chunks_s;
  if (half_) half_->durations_s[k] = head.half_s;
}

bool BatchFits(const Problem& problem, const Strategy& s) {
  const strategies::ShardingRules rules(problem);
  if (!rules.BatchSplits(s) || !rules.Residual(s, s.residual_layout) || !rules.FfnGroup(s, s.dense_ffn_group) ||
      !rules.Exchange(s, s.expert_exchange)) {
    return false;
  }
  for (std::size_t op = 0; op < kNumShardedOperators; ++op) {
    const auto sharded = static_cast<Operator>(op);
    if (!rules.Admits(s, sharded, s.ShardingOf(sharded))) return false;
  }
  return true;
}

Picoseconds SimulateDecode(const PassMaker& maker, const Strategy& s) {
  const std::int64_t rounds = s.pipeline_parallel_size > 1 ? kDecodeRounds : 1;
  const Pass pass = maker.Make(s.num_microbatches, rounds, false);
  const Schedule schedule = Simulate(pass.graph);
  const auto end_of = [&](std::int64_t round) {
    return schedule.end[static_cast<std::size_t>(pass.ends[static_cast<std::size_t>(round)].back())];
  };
  return rounds == 1 ? end_of(0) : end_of(rounds - 1) - end_of(rounds - 2);
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
    times.decode_s = ToSeconds(SimulateDecode(PassMaker(problem, s, Phase::kDecode, options), s));
  }
  return times;
}

}  // namespace shardscout::env
