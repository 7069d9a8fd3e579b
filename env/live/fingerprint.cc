#include "shardscout/fingerprint.h"

#include <Eigen/Dense>
#include <algorithm>
#include <set>

#include "env/task_rows.h"
#include "shardscout/error.h"
#include "shardscout/program.h"
#include "shardscout/random.h"
#include "shardscout/strategy_space.h"

namespace shardscout {
namespace {

using Features = std::array<double, 3>;

struct TaskFeatures {
  TaskClass task_class = TaskClass::kOther;
  Features of_call{};
};

/// Processes of all replicas that compute at one time, a processor.
double Sharing(const Strategy& strategy, std::int64_t num_processes, std::int64_t micro_batches, int processors) {
  const std::int64_t replicas = num_processes / strategy.InstanceSize();
  const std::int64_t stages = std::min(strategy.pipeline_parallel_size, micro_batches);
  const auto busy = static_cast<double>(replicas * strategy.StageSize() * stages);
  return std::max(1.0, busy / static_cast<double>(processors));
}

TaskFeatures FeaturesOf(const Task& task, double sharing) {
  const Work& work = task.work;
  const double moved = work.read_bytes + work.write_bytes;
  TaskFeatures features;
  switch (task.kind) {
    case TaskKind::kCollective: {
      const auto n = static_cast<double>(task.group.size);
      const double share = task.collective == Collective::kAllReduce  ? 2 * (n - 1) / n
                           : task.collective == Collective::kSendRecv ? 1
                                                                      : (n - 1) / n;
      features = {TaskClass::kCollective, {sharing, (n - 1) * sharing, share * task.payload_bytes * sharing}};
      return features;
    }
    case TaskKind::kMatmul:
    case TaskKind::kUpProject:
    case TaskKind::kAbsorbKey:
    case TaskKind::kValueProject:
      features = {TaskClass::kMatmul, {1, work.flop, work.weight_bytes}};
      break;
    case TaskKind::kExpertMatmul:
      features = {TaskClass::kExperts, {work.routing.experts / work.routing.ranks, work.flop, work.weight_bytes}};
      break;
    case TaskKind::kAttention:
      features = {TaskClass::kAttention, {1, work.attention.requests * work.attention.kv_heads, work.read_bytes}};
      break;
    default:
      features = {TaskClass::kOther, {1, moved, 0}};
  }
  for (double& feature : features.of_call) feature *= sharing;
  return features;
}

double Price(const TaskFeatures& features, const Fingerprint& fingerprint) {
  const auto& unknowns = fingerprint.seconds_per[static_cast<std::size_t>(features.task_class)];
  double seconds = 0;
  for (std::size_t i = 0; i < unknowns.size(); ++i) seconds += features.of_call[i] * unknowns[i];
  return seconds;
}

/// The least squares solution among those that are nowhere negative: the best of all subsets of the columns.
Features NonNegative(const Eigen::MatrixXd& a, const Eigen::VectorXd& b) {
  Features best{};
  double least = b.squaredNorm();
  for (unsigned subset = 1; subset < 8; ++subset) {
    std::vector<Eigen::Index> columns;
    for (Eigen::Index j = 0; j < 3; ++j) {
      if ((subset >> j & 1u) != 0 && a.col(j).squaredNorm() > 0) columns.push_back(j);
    }
    if (columns.empty()) continue;
    const Eigen::MatrixXd part = a(Eigen::all, columns);
    // Columns of very different units: scaled, so that none counts as rank-deficient.
    const Eigen::VectorXd norms = part.colwise().norm();
    const Eigen::MatrixXd scaled = part * norms.cwiseInverse().asDiagonal();
    const Eigen::VectorXd x = Eigen::VectorXd(scaled.colPivHouseholderQr().solve(b)).cwiseQuotient(norms);
    if ((x.array() < 0).any()) continue;
    const double left = (part * x - b).squaredNorm();
    if (left >= least) continue;
    least = left;
    best = {};
    for (std::size_t i = 0; i < columns.size(); ++i) {
      best[static_cast<std::size_t>(columns[i])] = x(static_cast<Eigen::Index>(i));
    }
  }
  return best;
}

/// The first phase's.
const PhaseProgram& PhaseOf(const Program& program) { return program.phases.front(); }

/// What Fingerprint::step weighs: seconds of operators, seconds of collectives, collectives.
Features StepFeatures(const Problem& problem, const Program& program, const Fingerprint& fingerprint,
                      std::int64_t num_processes) {
  const PhaseProgram& phase = PhaseOf(program);
  const double sharing = Sharing(program.strategy, num_processes, phase.num_microbatches, fingerprint.processors);
  Features all{}, slowest{};
  for (const Stage& stage : program.stages) {
    Program one = program;
    one.stages = {stage};
    const bool first = stage.first_layer == 0;
    const bool last = stage.first_layer + stage.num_layers == problem.model().num_layers;
    Features of_stage{};
    for (const Block& block : phase.blocks) {
      if (block.kind == BlockKind::kEmbedding && !first) continue;
      if (block.kind == BlockKind::kHead && !last) continue;
      for (std::size_t t = 0; t < block.tasks.size(); ++t) {
        auto calls = static_cast<double>(env::CallsOf(problem.model(), one, block.kind, t));
        if (block.kind == BlockKind::kTransfer) calls = (t == 0) != last ? 1 : 0;
        const TaskFeatures task = FeaturesOf(block.tasks[t], sharing);
        const bool collective = task.task_class == TaskClass::kCollective;
        of_stage[collective ? 1 : 0] += calls * Price(task, fingerprint);
        if (collective) of_stage[2] += calls * sharing;
      }
    }
    for (std::size_t i = 0; i < all.size(); ++i) all[i] += of_stage[i];
    if (of_stage[0] + of_stage[1] > slowest[0] + slowest[1]) slowest = of_stage;
  }
  const auto further = static_cast<double>(phase.num_microbatches - 1);
  for (std::size_t i = 0; i < all.size(); ++i) all[i] += further * slowest[i];
  return all;
}

}  // namespace

std::string_view ToString(TaskClass task_class) {
  switch (task_class) {
    case TaskClass::kMatmul:
      return "matrix products";
    case TaskClass::kExperts:
      return "expert products";
    case TaskClass::kAttention:
      return "attention";
    case TaskClass::kOther:
      return "the rest";
    case TaskClass::kCollective:
      return "collectives";
  }
  return "";
}

Fingerprint FitFingerprint(const Problem& problem, const std::vector<LiveReport>& reports, int processors) {
  SHARDSCOUT_CHECK(!reports.empty());
  Fingerprint fingerprint;
  fingerprint.processors = processors;
  std::array<std::vector<Features>, kNumTaskClasses> rows;
  for (const LiveReport& report : reports) {
    const Program program = Lower(problem, report.strategy);
    const PhaseProgram& phase = PhaseOf(program);
    const double sharing = Sharing(report.strategy, report.num_processes, phase.num_microbatches, processors);
    for (const LiveRow& row : report.rows) {
      if (row.phase != phase.phase || row.measured.median_s <= 0) continue;
      TaskFeatures sum;
      for (const Block& block : phase.blocks) {
        // Sends are waited for by who receives, which is part of no task's time.
        if (block.kind == BlockKind::kTransfer) continue;
        const auto times = static_cast<double>(phase.num_microbatches);
        for (std::size_t t = 0; t < block.tasks.size(); ++t) {
          if (block.tasks[t].op != row.op || env::TaskName(program.strategy, block, t) != row.what) continue;
          const TaskFeatures one = FeaturesOf(block.tasks[t], sharing);
          const double calls = times * static_cast<double>(env::CallsOf(problem.model(), program, block.kind, t));
          sum.task_class = one.task_class;
          for (std::size_t i = 0; i < 3; ++i) sum.of_call[i] += calls * one.of_call[i];
        }
      }
      if (sum.of_call[0] <= 0) continue;
      for (double& feature : sum.of_call) feature /= row.measured.median_s;  // Relative errors.
      rows[static_cast<std::size_t>(sum.task_class)].push_back(sum.of_call);
    }
  }
  for (std::size_t c = 0; c < rows.size(); ++c) {
    if (rows[c].empty()) continue;
    Eigen::MatrixXd a(std::ssize(rows[c]), 3);
    for (std::size_t i = 0; i < rows[c].size(); ++i) {
      for (Eigen::Index j = 0; j < 3; ++j) a(static_cast<Eigen::Index>(i), j) = rows[c][i][static_cast<std::size_t>(j)];
    }
    fingerprint.seconds_per[c] = NonNegative(a, Eigen::VectorXd::Ones(a.rows()));
  }
  Eigen::MatrixXd steps(std::ssize(reports), 3);
  for (std::size_t r = 0; r < reports.size(); ++r) {
    const Program program = Lower(problem, reports[r].strategy);
    const Features features = StepFeatures(problem, program, fingerprint, reports[r].num_processes);
    for (std::size_t i = 0; i < features.size(); ++i) {
      steps(static_cast<Eigen::Index>(r), static_cast<Eigen::Index>(i)) =
          features[i] / reports[r].phases.front().measured.median_s;
    }
  }
  fingerprint.step = NonNegative(steps, Eigen::VectorXd::Ones(steps.rows()));
  return fingerprint;
}

double PredictStep(const Problem& problem, const Strategy& strategy, const Fingerprint& fingerprint,
                   std::int64_t num_processes) {
  const Program program = Lower(problem, strategy);
  const Features features = StepFeatures(problem, program, fingerprint, num_processes);
  double seconds = 0;
  for (std::size_t i = 0; i < features.size(); ++i) seconds += fingerprint.step[i] * features[i];
  return seconds;
}

std::vector<Strategy> FingerprintStrategies(const Problem& problem, std::size_t fitted, std::size_t count,
                                            std::int64_t num_processes, std::uint64_t seed) {
  const StrategySpace space(problem);
  Rng rng = Rng::Stream(seed, "fingerprint");
  std::vector<Strategy> strategies;
  for (std::size_t attempt = 0; attempt < 50 * count && strategies.size() < count; ++attempt) {
    const Strategy strategy = space.Sample(rng);
    const bool known = std::find(strategies.begin(), strategies.end(), strategy) != strategies.end();
    if (!known && strategy.InstanceSize() <= num_processes) strategies.push_back(strategy);
  }
  // The very first has the fewest collectives, so that operators are seen alone; then each in turn is the one with most
  // tasks that those before it have not.
  std::set<std::pair<Operator, std::string>> covered;
  const auto tasks_of = [&](const Strategy& strategy) {
    std::set<std::pair<Operator, std::string>> tasks;
    const Program program = Lower(problem, strategy);
    for (const Block& block : PhaseOf(program).blocks) {
      for (std::size_t t = 0; t < block.tasks.size(); ++t) {
        tasks.insert({block.tasks[t].op, env::TaskName(program.strategy, block, t)});
      }
    }
    return tasks;
  };
  const auto collectives_of = [&](const Strategy& strategy) {
    const Program program = Lower(problem, strategy);
    std::int64_t number = 0;
    for (const Block& block : PhaseOf(program).blocks) {
      for (const Task& task : block.tasks) number += task.kind == TaskKind::kCollective ? 1 : 0;
    }
    return number;
  };
  for (std::size_t i = 0; i < std::min(fitted, strategies.size()); ++i) {
    std::size_t best = i, most = 0;
    for (std::size_t j = i; j < strategies.size(); ++j) {
      if (i == 0) {
        if (collectives_of(strategies[j]) < collectives_of(strategies[best])) best = j;
        continue;
      }
      std::size_t fresh = 0;
      for (const auto& task : tasks_of(strategies[j])) fresh += covered.contains(task) ? 0U : 1U;
      if (fresh > most) {
        most = fresh;
        best = j;
      }
    }
    std::swap(strategies[i], strategies[best]);
    for (const auto& task : tasks_of(strategies[i])) covered.insert(task);
  }
  return strategies;
}

}  // namespace shardscout
