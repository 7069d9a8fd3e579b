#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "shardscout/evaluator.h"
#include "shardscout/problem.h"
#include "shardscout/strategy.h"

/// Strategies run for real: every rank a process, every collective a real one (LibTorch's c10d, with Gloo on CPUs and
/// NCCL on GPUs), first proved against the unsharded model and then timed. The workers are programs of their own
/// (shardscout_live_worker), so that who asks needs no LibTorch.
namespace shardscout {

/// The evaluator's name. It measures: asked again in another run, it answers otherwise.
inline constexpr const char* kLiveEvaluator = "live";

/// Logits of a strategy that is right are so near to the unsharded ones: max |difference| / max |reference|, in fp32.
inline constexpr double kLiveTolerance = 1e-4;

/// A worker failed, was lost, or never came. Not the user's mistake as a SpecError is, and not a bug of the caller.
class LiveError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// This process among those that torchrun, mpirun or srun started.
struct LaunchedRank {
  std::string launcher;  ///< "torchrun", "mpirun" or "srun".
  int rank = 0;
  int world_size = 1;
  int local_rank = 0;  ///< Among those of its host, which is the GPU that it takes.
  std::string master_address = "127.0.0.1";
  int master_port = 0;
};

/// From RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT (torchrun); else OMPI_COMM_WORLD_RANK and _SIZE (mpirun); else
/// SLURM_PROCID and SLURM_STEP_NUM_TASKS (srun; a batch script has not the latter). The latter two take MASTER_ADDR and
/// MASTER_PORT where they are set; without, the address is SLURM_LAUNCH_NODE_IPADDR or this host (mpirun on one host),
/// and the port follows from the job's name. The local rank is LOCAL_RANK, OMPI_COMM_WORLD_LOCAL_RANK or SLURM_LOCALID,
/// or where that is not set the rank. nullopt: none of them. SpecError for what is no number or out of range.
/// `get` is std::getenv but for tests.
std::optional<LaunchedRank> FindLaunchedRank(const std::function<const char*(const char*)>& get);

struct LiveOptions {
  int num_processes = 0;                     ///< Started here; 0: as `launched` says.
  std::string device = "cpu";                ///< cpu or cuda.
  std::string backend = "auto";              ///< gloo, nccl, or auto: nccl on cuda, else gloo.
  int port = 0;                              ///< Rank 0 listens there; 0: any that is free.
  int threads = 1;                           ///< A process's.
  std::chrono::milliseconds timeout{60000};  ///< Of the start and of each collective.
  bool prove = true;                         ///< Against the unsharded model; without it weights are random.
  int warmup = 2;
  int repeats = 7;
  std::uint64_t seed = 1;  ///< Of weights and token ids.
  std::optional<LaunchedRank> launched;
  std::string worker;  ///< The worker program; "": beside this one.
};

/// Repeats of one time.
struct Timing {
  double median_s = 0, least_s = 0;
  double spread = 0;  ///< (third quartile - first quartile) / median.
};
Timing TimingOf(std::vector<double> seconds);

/// All tasks of one name of a phase: one run of all micro-batches (`serve`: of prefill one pass).
struct LiveRow {
  Phase phase = Phase::kDecode;
  Operator op = Operator::kResidual;
  std::string what;  ///< As in a Breakdown.
  bool collective = false;
  std::int64_t calls = 0;
  double predicted_s = 0;  ///< By the analytical model, on the cluster as its file says.
  Timing measured;
  double predicted_bytes = 0;  ///< Collectives: the program's payloads. Routed tokens: as expected.
  double measured_bytes = 0;   ///< Collectives: what was handed over.
  bool routed = false;         ///< Its bytes depend on which experts the tokens chose.
};

struct LivePhase {
  Phase phase = Phase::kDecode;
  double predicted_s = 0;
  Timing measured;
};

struct LiveReport {
  Strategy strategy;
  std::int64_t num_processes = 0;
  double max_error = 0;          ///< max |logits - reference| / max |reference|.
  std::int64_t logits_rows = 0;  ///< That were compared; 0: not proved.
  std::vector<LivePhase> phases;
  std::vector<LiveRow> rows;  ///< By phase, operators and collectives in the order of the program.
  bool Right() const { return logits_rows > 0 && max_error <= kLiveTolerance; }
};

/// Workers that are kept over runs. A worker that fails ends all of them; the next run starts new ones.
class LiveSession {
 public:
  /// Starts nothing yet. SpecError for options that do not fit together.
  explicit LiveSession(LiveOptions options);
  ~LiveSession();
  LiveSession(const LiveSession&) = delete;
  LiveSession& operator=(const LiveSession&) = delete;

  int num_processes() const;
  const LiveOptions& options() const;

  /// Proves and times strategies, in turns. SpecError for a strategy that is not in the problem's space, needs more
  /// processes than there are, or a model that live runs do not know; LiveError where a
  /// worker fails. Thread safe, one after the other.
  std::vector<LiveReport> Run(const Problem& problem, const std::vector<Strategy>& strategies);

  /// The process ids of workers that were started here.
  std::vector<int> pids() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// What runs are measured by: metrics from the medians of the measured times, memory as the analytical model has it.
/// Asked again about a strategy it answers the same. A run that fails is tried once more with new workers.
/// `session` is made when the first strategy is evaluated.
void RegisterLiveEvaluator(EvaluatorRegistry& registry, std::shared_ptr<const LiveOptions> options);

/// Helpers of a search whose evaluator needs no processes (analytical, simulator): each rank scores its share of a
/// batch, so that a search can use many machines. The result is that of one process, as evaluations are pure.
class DistributedEvaluator {
 public:
  /// Starts them; LiveError where they do not come.
  explicit DistributedEvaluator(const LiveOptions& options);
  ~DistributedEvaluator();
  DistributedEvaluator(const DistributedEvaluator&) = delete;
  DistributedEvaluator& operator=(const DistributedEvaluator&) = delete;

  /// In the order asked. `evaluator` is a builtin one's name.
  std::vector<Evaluation> Evaluate(const Problem& problem, const std::string& evaluator,
                                   std::span<const Strategy> strategies);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// The best of Megatron's strategies on just `num_devices` devices by the analytical model, or the one nearest to
/// tensor parallelism over all of them where there is none.
Strategy DefaultLiveStrategy(const Problem& problem, std::int64_t num_devices);

}  // namespace shardscout
