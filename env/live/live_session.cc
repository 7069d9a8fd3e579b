#include <algorithm>
#include <map>
#include <mutex>
#include <tuple>
#include <utility>

#include "env/analytical/analytical_evaluator.h"
#include "env/analytical/block_cost.h"
#include "env/live/reference_model.h"
#include "env/live/worker_pool.h"
#include "env/task_rows.h"
#include "shardscout/error.h"
#include "shardscout/live_run.h"
#include "shardscout/megatron_rule.h"
#include "shardscout/plan.h"
#include "shardscout/strategy_space.h"

namespace shardscout {
namespace {

/// Of a run of one phase, as the analytical model has it.
double PredictedPhase(const Problem& problem, const Evaluation& evaluation, Phase phase) {
  // In serve the two metrics mix; a decode step is TTFT's half of it apart.
  const WorkloadSpec& workload = problem.workload();
  if (workload.kind != WorkloadKind::kServe) {
    return phase == Phase::kPrefill ? evaluation.metrics.ttft_s : evaluation.metrics.tpot_s;
  }
  return 0;
}

LiveReport MakeReport(const Problem& problem, const Strategy& strategy, const live::LiveMeasurement& measurement) {
  LiveReport report;
  report.strategy = strategy;
  report.max_error = measurement.max_error;
  report.logits_rows = measurement.logits_rows;
  const Evaluation predicted = env::AnalyticalEvaluator(problem).Evaluate(strategy);
  for (const live::PhaseMeasurement& phase : measurement.phases) {
    report.phases.push_back({phase.phase, PredictedPhase(problem, predicted, phase.phase), TimingOf(phase.seconds)});
  }
  const Program program = Lower(problem, strategy);
  env::SpanCache spans(problem, strategy);
  struct Row {
    LiveRow row;
    std::vector<double> seconds;
  };
  std::vector<Row> rows;
  std::map<std::tuple<Phase, Operator, std::string>, std::size_t> place;
  for (const live::TaskMeasurement& measured : measurement.tasks) {
    const auto phase = std::find_if(program.phases.begin(), program.phases.end(),
                                    [&](const PhaseProgram& p) { return p.phase == measured.phase; });
    SHARDSCOUT_CHECK(phase != program.phases.end());
    const Block& block = phase->BlockOf(measured.block);
    const auto index = static_cast<std::size_t>(measured.task);
    const Task& task = block.tasks[index];
    const auto [found, is_new] =
        place.try_emplace({measured.phase, task.op, env::TaskName(program.strategy, block, index)}, rows.size());
    if (is_new) {
      rows.emplace_back();
      LiveRow& row = rows.back().row;
      row.phase = measured.phase;
      row.op = task.op;
      row.what = env::TaskName(program.strategy, block, index);
      row.collective = task.kind == TaskKind::kCollective;
      rows.back().seconds.assign(measured.seconds.size(), 0.0);
    }
    Row& row = rows[found->second];
    const auto calls = static_cast<double>(measured.calls);
    row.row.calls += measured.calls;
    row.row.predicted_s += calls * env::TaskTime(problem.cluster(), task, spans);
    for (std::size_t i = 0; i < measured.seconds.size(); ++i) row.seconds[i] += measured.seconds[i];
    if (!row.row.collective) continue;
    row.row.predicted_bytes += calls * task.payload_bytes;
    row.row.measured_bytes += calls * measured.payload_bytes;
    row.row.routed = row.row.routed || env::HasRoutedBytes(block, task);
  }
  for (Row& row : rows) {
    row.row.measured = TimingOf(std::move(row.seconds));
    report.rows.push_back(std::move(row.row));
  }
  std::stable_sort(report.rows.begin(), report.rows.end(), [](const LiveRow& a, const LiveRow& b) {
    return std::tie(a.phase, a.op) < std::tie(b.phase, b.op);
  });
  return report;
}

}  // namespace

Timing TimingOf(std::vector<double> seconds) {
  if (seconds.empty()) return {};
  std::sort(seconds.begin(), seconds.end());
  const auto quantile = [&](double share) {
    const double at = share * static_cast<double>(seconds.size() - 1);
    const auto below = static_cast<std::size_t>(at);
    const std::size_t above = std::min(below + 1, seconds.size() - 1);
    return seconds[below] + (at - static_cast<double>(below)) * (seconds[above] - seconds[below]);
  };
  Timing timing{quantile(0.5), seconds.front(), 0};
  if (timing.median_s > 0) timing.spread = (quantile(0.75) - quantile(0.25)) / timing.median_s;
  return timing;
}

struct LiveSession::Impl {
  LiveOptions options;
  mutable std::mutex mutex;
  std::unique_ptr<live::WorkerPool> pool;
};

LiveSession::LiveSession(LiveOptions options) : impl_(std::make_unique<Impl>()) {
  if (options.num_processes == 0 && !options.launched) {
    throw SpecError("--nproc", "is needed where no torchrun, mpirun or srun starts the processes");
  }
  if (options.device == "cpu" && options.backend == "nccl") {
    throw SpecError("--backend nccl", "works on GPUs only; give --device cuda, or --backend gloo");
  }
  impl_->options = std::move(options);
}

LiveSession::~LiveSession() = default;

const LiveOptions& LiveSession::options() const { return impl_->options; }

int LiveSession::num_processes() const {
  return impl_->options.num_processes > 0 ? impl_->options.num_processes : impl_->options.launched->world_size;
}

std::vector<int> LiveSession::pids() const {
  const std::lock_guard<std::mutex> lock(impl_->mutex);
  if (impl_->pool == nullptr) return {};
  const std::vector<pid_t> pids = impl_->pool->pids();
  return {pids.begin(), pids.end()};
}

std::vector<LiveReport> LiveSession::Run(const Problem& problem, const std::vector<Strategy>& strategies) {
  if (problem.workload().IsTraining()) {
    throw SpecError("--workload " + problem.workload().name, "live runs execute inference; training is not run yet");
  }
  const StrategySpace space(problem);
  for (const Strategy& strategy : strategies) {
    if (const std::string broken = space.WhyNot(strategy); !broken.empty()) throw SpecError("strategy", broken);
    if (strategy.InstanceSize() > num_processes()) {
      throw SpecError("--nproc", "the strategy needs " + std::to_string(strategy.InstanceSize()) +
                                     " processes, there are " + std::to_string(num_processes()));
    }
  }
  if (const std::string cannot = live::WhyNotRunnable(problem.model()); !cannot.empty()) {
    throw SpecError("--model " + problem.model().name, "live runs do not know " + cannot + " yet");
  }
  const std::lock_guard<std::mutex> lock(impl_->mutex);
  const LiveOptions& options = impl_->options;
  if (impl_->pool == nullptr || impl_->pool->over()) {
    impl_->pool.reset();
    impl_->pool = std::make_unique<live::WorkerPool>(live::PoolOptionsOf(options));
  }
  const std::vector<live::LiveMeasurement> measured = impl_->pool->Run({.problem_json = ToJson(problem),
                                                                        .strategies = strategies,
                                                                        .prove = options.prove,
                                                                        .warmup = options.warmup,
                                                                        .repeats = options.repeats,
                                                                        .seed = options.seed});
  std::vector<LiveReport> reports;
  for (std::size_t i = 0; i < strategies.size(); ++i) {
    reports.push_back(MakeReport(problem, strategies[i], measured.at(i)));
    reports.back().num_processes = num_processes();
  }
  return reports;
}

Strategy DefaultLiveStrategy(const Problem& problem, std::int64_t num_devices) {
  const StrategySpace space(problem);
  const env::AnalyticalEvaluator evaluator(problem);
  std::optional<Strategy> best;
  double best_throughput = 0;
  ForEachMegatronStrategy(space, [&](const Strategy& strategy) {
    if (strategy.InstanceSize() != num_devices) return true;
    const double throughput = evaluator.Evaluate(strategy).metrics.throughput_tokens_per_s;
    if (!best || throughput > best_throughput) {
      best = strategy;
      best_throughput = throughput;
    }
    return true;
  });
  if (best) return *best;
  Strategy wanted;
  wanted.tensor_parallel_size = num_devices;
  return space.Repair(wanted);
}

}  // namespace shardscout
