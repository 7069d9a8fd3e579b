#pragma once

#include <sys/types.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "env/live/line_channel.h"
#include "env/live/live_messages.h"
#include "shardscout/live_run.h"

namespace shardscout::live {

/// How the processes of a live run are started.
struct PoolOptions {
  std::string worker;  ///< The program shardscout_live_worker.
  int num_processes = 1;
  std::string device = "cpu";    ///< cpu or cuda
  std::string backend = "gloo";  ///< gloo or nccl
  std::string master_address = "127.0.0.1";
  int master_port = 0;  ///< 0: any that is free; only where all processes are started here.
  /// True: another launcher (torchrun, mpirun, srun) starts the other ranks; the pool starts rank 0 alone.
  bool others_elsewhere = false;
  int local_rank = 0;                        ///< This process's on its host, where another launcher started it.
  int threads = 1;                           ///< A process's.
  std::chrono::milliseconds timeout{60000};  ///< Of the start, and of each collective.
};

/// Worker processes, kept over many requests. Whatever fails, no process that the pool started is left behind: the
/// workers are told to end, then killed, and the kernel kills them where this process dies first (Linux). Not thread
/// safe.
class WorkerPool {
 public:
  /// Starts them; LiveError where they do not come up within the time-out.
  explicit WorkerPool(PoolOptions options);
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  const PoolOptions& options() const { return options_; }
  /// Processes that were started here, by rank.
  std::vector<pid_t> pids() const { return pids_; }

  /// Runs a request on all workers. LiveError where one failed or was lost; the pool is over then.
  std::vector<LiveMeasurement> Run(const LiveRequest& request);
  /// Scores strategies, each rank its share; equal to what one process finds. LiveError as above.
  std::vector<Evaluation> Evaluate(const EvaluationRequest& request);
  bool over() const { return channel_ == nullptr; }

 private:
  std::string Ask(const std::string& line, const std::string& during);
  void Spawn(int rank, int control_fd);
  /// The next line of rank 0; LiveError where a worker ended instead.
  std::string Answer(std::optional<std::chrono::milliseconds> wait, const std::string& during);
  /// Whether any worker has ended; notes in `lost_` which of them is the likely cause.
  bool AnyEnded();
  void Kill();

  PoolOptions options_;
  std::vector<pid_t> pids_;
  /// "the worker of rank 2 was killed by signal 9": one that was killed before one that gave up. Empty: all run.
  std::string lost_;
  int lost_weight_ = 0;
  std::unique_ptr<LineChannel> channel_;
};

/// How the user's options start a pool.
PoolOptions PoolOptionsOf(const LiveOptions& options);

/// Where the worker program is: beside this one, or where it is installed. SpecError, with the remedy, where it is not.
std::string FindWorker();

/// Becomes the worker of this rank (an exec): for a process that another launcher started. Does not return.
[[noreturn]] void BecomeWorker(const PoolOptions& options, int rank);

}  // namespace shardscout::live
