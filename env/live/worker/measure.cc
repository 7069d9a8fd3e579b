#include "env/live/worker/measure.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "env/live/worker/rank_program.h"
#include "shardscout/error.h"
#include "shardscout/plan.h"

namespace shardscout::live {
namespace {

/// So many unsharded models are kept.
constexpr std::size_t kMostModels = 32;

/// What every rank has, rank by rank.
std::vector<std::vector<double>> GatherAll(World& world, const std::vector<double>& own) {
  if (world.size() == 1) return {own};
  const at::TensorOptions fp64 = at::TensorOptions().dtype(at::kDouble);
  const std::vector<std::int64_t> ones(static_cast<std::size_t>(world.size()), 1);
  const at::Device device = world.options().device;
  const at::Tensor count = at::full({1}, static_cast<double>(own.size()), fp64).to(device);
  const at::Tensor counts = AllGather(world.All(), count, ones).to(at::kCPU);
  std::vector<std::int64_t> sizes;
  for (std::int64_t i = 0; i < counts.numel(); ++i)
    sizes.push_back(static_cast<std::int64_t>(counts[i].item<double>()));
  at::Tensor flat = at::empty({std::ssize(own)}, fp64);
  std::copy(own.begin(), own.end(), flat.data_ptr<double>());
  const at::Tensor all = AllGather(world.All(), flat.to(device), sizes).to(at::kCPU).contiguous();
  std::vector<std::vector<double>> gathered;
  const double* next = all.data_ptr<double>();
  for (const std::int64_t size : sizes) {
    gathered.emplace_back(next, next + size);
    next += size;
  }
  return gathered;
}

/// One strategy on this rank, while it is measured.
struct Candidate {
  std::unique_ptr<RankProgram> program;
  LiveMeasurement measurement;
  std::map<std::pair<Phase, std::pair<BlockKind, int>>, TaskMeasurement> tasks;
};

std::int64_t PositionOf(const Candidate& candidate, Phase phase) {
  for (const PhaseProgram& program : candidate.program->program().phases) {
    if (program.phase == phase) return phase == Phase::kDecode ? program.context : 0;
  }
  return 0;
}

/// The calls of all ranks of one run of a phase, as one of each task.
void Merge(const std::vector<std::vector<double>>& by_rank, Phase phase, Candidate* candidate) {
  const Program& program = candidate->program->program();
  const auto stage_size = static_cast<std::size_t>(program.strategy.StageSize());
  const auto instance = static_cast<std::size_t>(program.strategy.InstanceSize());
  const std::size_t replicas = by_rank.size() / instance;
  struct Sum {
    std::int64_t calls = 0;
    double seconds = 0, bytes = 0;
  };
  std::map<std::pair<BlockKind, int>, Sum> merged;
  for (std::size_t replica = 0; replica < replicas; ++replica) {
    std::map<std::pair<BlockKind, int>, Sum> of_replica;
    for (std::size_t first = replica * instance; first < (replica + 1) * instance; first += stage_size) {
      const std::size_t calls = by_rank[first].size() / 4;
      for (std::size_t i = 0; i < calls; ++i) {
        const auto block = static_cast<BlockKind>(by_rank[first][4 * i]);
        const auto task = static_cast<int>(by_rank[first][4 * i + 1]);
        const PhaseProgram& of_phase = *std::find_if(program.phases.begin(), program.phases.end(),
                                                     [&](const auto& p) { return p.phase == phase; });
        const bool collective =
            of_phase.BlockOf(block).tasks[static_cast<std::size_t>(task)].kind == TaskKind::kCollective;
        double least = std::numeric_limits<double>::infinity(), most = 0, bytes = 0;
        for (std::size_t rank = first; rank < first + stage_size; ++rank) {
          least = std::min(least, by_rank[rank][4 * i + 2]);
          most = std::max(most, by_rank[rank][4 * i + 2]);
          bytes = std::max(bytes, by_rank[rank][4 * i + 3]);
        }
        Sum& sum = of_replica[{block, task}];
        ++sum.calls;
        sum.seconds += collective ? least : most;
        sum.bytes += bytes;
      }
    }
    for (const auto& [key, sum] : of_replica) {
      Sum& slowest = merged[key];
      slowest.calls = sum.calls;
      slowest.seconds = std::max(slowest.seconds, sum.seconds);
      slowest.bytes = std::max(slowest.bytes, sum.bytes);
    }
  }
  for (const auto& [key, sum] : merged) {
    TaskMeasurement& task = candidate->tasks[{phase, key}];
    task.phase = phase;
    task.block = key.first;
    task.task = key.second;
    task.calls = sum.calls;
    task.seconds.push_back(sum.seconds);
    task.payload_bytes = sum.bytes / static_cast<double>(sum.calls);
  }
}

/// Runs a phase once; the seconds of the slowest rank.
double TimedStep(World& world, Candidate& candidate, Phase phase, bool record) {
  std::vector<Call> calls;
  world.Barrier();
  const auto started = std::chrono::steady_clock::now();
  candidate.program->Step(phase, PositionOf(candidate, phase), record ? &calls : nullptr);
  world.Synchronise();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  double slowest = 0;
  for (const auto& of_rank : GatherAll(world, {seconds})) slowest = std::max(slowest, of_rank.front());
  if (!record) return slowest;
  std::vector<double> flat;
  for (const Call& call : calls) {
    flat.insert(flat.end(),
                {static_cast<double>(call.block), static_cast<double>(call.task), call.seconds, call.bytes});
  }
  Merge(GatherAll(world, flat), phase, &candidate);
  return slowest;
}

}  // namespace

struct Measurer::Models {
  std::map<std::string, std::unique_ptr<ReferenceModel>> by_key;

  ReferenceModel& Of(const Problem& problem, std::uint64_t seed) {
    // The same model with the same weights for every workload and cluster of a test or search.
    std::string key = ToJson(problem);
    key += std::to_string(seed);
    auto found = by_key.find(key);
    if (found == by_key.end()) {
      if (by_key.size() >= kMostModels) by_key.clear();
      found = by_key
                  .emplace(std::move(key),
                           std::make_unique<ReferenceModel>(problem.model(), seed, problem.workload().CachePositions()))
                  .first;
    }
    return *found->second;
  }
};

Measurer::Measurer(World& world) : world_(world), models_(std::make_unique<Models>()) {}
Measurer::~Measurer() = default;

std::vector<LiveMeasurement> Measurer::Run(const LiveRequest& request) {
  const Problem problem = ParseProblem(request.problem_json, "request");
  const std::string cannot = WhyNotRunnable(problem.model());
  if (!cannot.empty()) throw std::runtime_error("live runs do not know " + cannot + " yet");
  at::manual_seed(request.seed);
  ReferenceModel* const reference = request.prove ? &models_->Of(problem, request.seed) : nullptr;
  std::vector<Candidate> candidates(request.strategies.size());
  std::vector<Phase> phases;
  for (const Phase phase : {Phase::kPrefill, Phase::kDecode}) {
    if (problem.workload().HasPhase(phase)) phases.push_back(phase);
  }
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    Candidate& candidate = candidates[i];
    candidate.program = std::make_unique<RankProgram>(problem, request.strategies[i], world_, reference);
    if (!request.prove) continue;
    const Proof proof = candidate.program->Prove();
    for (const auto& of_rank : GatherAll(world_, {proof.max_error, static_cast<double>(proof.logits_rows)})) {
      if (!(of_rank[0] <= candidate.measurement.max_error)) candidate.measurement.max_error = of_rank[0];
      candidate.measurement.logits_rows += static_cast<std::int64_t>(of_rank[1]);
    }
    if (request.repeats == 0) candidate.program.reset();
  }
  if (request.repeats > 0) {
    for (Candidate& candidate : candidates) {
      for (const Phase phase : phases) {
        candidate.measurement.phases.push_back({phase, {}});
        for (int i = 0; i < request.warmup; ++i) TimedStep(world_, candidate, phase, false);
      }
    }
    for (int repeat = 0; repeat < request.repeats; ++repeat) {
      for (Candidate& candidate : candidates) {
        for (PhaseMeasurement& phase : candidate.measurement.phases) {
          phase.seconds.push_back(TimedStep(world_, candidate, phase.phase, true));
        }
      }
    }
  }
  std::vector<LiveMeasurement> measurements;
  for (Candidate& candidate : candidates) {
    for (auto& [key, task] : candidate.tasks) candidate.measurement.tasks.push_back(std::move(task));
    measurements.push_back(std::move(candidate.measurement));
  }
  return measurements;
}

}  // namespace shardscout::live
