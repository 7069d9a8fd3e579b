#include "env/live/worker_pool.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <thread>
#include <utility>

#include "shardscout/error.h"

namespace shardscout::live {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kStep{50};         // Between two looks at whether a worker ended.
constexpr milliseconds kLastWords{2000};  // For rank 0 to say why, once another rank is gone.
constexpr milliseconds kLoading{30000};   // Of LibTorch, on a machine that does other things as well.
constexpr milliseconds kGoodbye{3000};    // For workers to end by themselves.

std::vector<std::string> WorkerArguments(const PoolOptions& options, int rank, int control_fd) {
  const int gpu = options.others_elsewhere ? options.local_rank : rank;
  std::vector<std::string> arguments{options.worker,
                                     "--rank",
                                     std::to_string(rank),
                                     "--world",
                                     std::to_string(options.num_processes),
                                     "--master-address",
                                     options.master_address,
                                     "--master-port",
                                     std::to_string(options.master_port),
                                     "--backend",
                                     options.backend,
                                     "--device",
                                     options.device == "cuda" ? "cuda:" + std::to_string(gpu) : options.device,
                                     "--timeout",
                                     std::to_string(static_cast<double>(options.timeout.count()) / 1000),
                                     "--threads",
                                     std::to_string(options.threads)};
  if (control_fd >= 0) {
    arguments.emplace_back("--control-fd");
    arguments.push_back(std::to_string(control_fd));
  }
  return arguments;
}

std::vector<char*> Pointers(std::vector<std::string>& arguments) {
  std::vector<char*> pointers;
  pointers.reserve(arguments.size() + 1);
  for (std::string& argument : arguments) pointers.push_back(argument.data());
  pointers.push_back(nullptr);
  return pointers;
}

}  // namespace

PoolOptions PoolOptionsOf(const LiveOptions& options) {
  PoolOptions pool;
  pool.worker = options.worker.empty() ? FindWorker() : options.worker;
  pool.device = options.device;
  pool.backend = options.backend == "auto" ? (options.device == "cuda" ? "nccl" : "gloo") : options.backend;
  pool.threads = options.threads;
  pool.timeout = options.timeout;
  pool.num_processes = options.num_processes;
  pool.master_port = options.port;
  if (options.num_processes == 0) {
    pool.num_processes = options.launched->world_size;
    pool.master_address = options.launched->master_address;
    pool.master_port = options.launched->master_port;
    pool.others_elsewhere = true;
    pool.local_rank = options.launched->local_rank;
  }
  return pool;
}

std::string FindWorker() {
  constexpr const char* kName = "shardscout_live_worker";
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  for (const char* place : {".", SHARDSCOUT_INSTALLED_MODULES}) {
    const std::filesystem::path path = self.parent_path() / place / kName;
    if (std::filesystem::exists(path, error)) return path.lexically_normal().string();
  }
  throw SpecError("live runs", std::string("the program ") + kName +
                                   " is not beside this one; build or install Shardscout whole, with LibTorch and "
                                   "Gloo's headers (Debian: apt-get install libtorch-dev libgloo-dev)");
}

void BecomeWorker(const PoolOptions& options, int rank) {
  std::vector<std::string> arguments = WorkerArguments(options, rank, -1);
  execv(options.worker.c_str(), Pointers(arguments).data());
  throw LiveError("the worker " + options.worker + " cannot be started: " + std::strerror(errno));
}

WorkerPool::WorkerPool(PoolOptions options) : options_(std::move(options)) {
  SHARDSCOUT_CHECK_OP(options_.num_processes, >=, 1);
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    throw LiveError(std::string("no channel to the workers: ") + std::strerror(errno));
  }
  channel_ = std::make_unique<LineChannel>(ends[0]);
  try {
    Spawn(0, ends[1]);
    close(ends[1]);
    options_.master_port = nlohmann::json::parse(Answer(options_.timeout + kLoading, "starting")).at("port").get<int>();
    if (!options_.others_elsewhere) {
      for (int rank = 1; rank < options_.num_processes; ++rank) Spawn(rank, -1);
    }
    // Rank 0 itself gives up after the time-out and says who is missing.
    Answer(options_.timeout + kLastWords, "coming together");
  } catch (...) {
    Kill();
    throw;
  }
}

WorkerPool::~WorkerPool() {
  if (channel_ != nullptr) {
    shutdown(channel_->fd(), SHUT_WR);  // Rank 0 reads the end, tells the others, and all end.
    const auto deadline = std::chrono::steady_clock::now() + kGoodbye;
    while (!pids_.empty() && std::chrono::steady_clock::now() < deadline) {
      std::erase_if(pids_, [](pid_t pid) { return waitpid(pid, nullptr, WNOHANG) == pid; });
      if (!pids_.empty()) std::this_thread::sleep_for(milliseconds(2));
    }
  }
  Kill();
}

void WorkerPool::Spawn(int rank, int control_fd) {
  std::vector<std::string> arguments = WorkerArguments(options_, rank, control_fd);
  const std::vector<char*> pointers = Pointers(arguments);
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0) throw LiveError(std::string("a worker cannot be started: ") + std::strerror(errno));
  if (pid == 0) {
    // Only what is safe between fork and exec.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(127);
    if (control_fd >= 0) fcntl(control_fd, F_SETFD, 0);
    dup2(STDERR_FILENO, STDOUT_FILENO);  // stdout is for results.
    execv(pointers.front(), pointers.data());
    _exit(127);
  }
  pids_.push_back(pid);
}

bool WorkerPool::AnyEnded() {
  bool any = false;
  for (std::size_t rank = 0; rank < pids_.size(); ++rank) {
    int status = 0;
    if (pids_[rank] <= 0 || waitpid(pids_[rank], &status, WNOHANG) != pids_[rank]) continue;
    pids_[rank] = -1;
    any = true;
    // Rank 0 says itself why it gives up; others give up when they lose it.
    const int weight = WIFSIGNALED(status) ? 3 : rank > 0 ? 1 : 2;
    if (weight <= lost_weight_) continue;
    lost_weight_ = weight;
    lost_ = "the worker of rank " + std::to_string(rank) +
            (WIFSIGNALED(status) ? " was killed by signal " + std::to_string(WTERMSIG(status))
                                 : " ended with exit code " + std::to_string(WEXITSTATUS(status)));
  }
  return any;
}

std::string WorkerPool::Answer(std::optional<milliseconds> wait, const std::string& during) {
  const auto deadline = std::chrono::steady_clock::now() + wait.value_or(milliseconds(0));
  const auto is_error = [](const std::string& line) { return nlohmann::json::parse(line).contains("error"); };
  for (;;) {
    std::optional<std::string> line = channel_->Read(kStep);
    bool ended = AnyEnded();
    if (!line && !ended && channel_->Ended()) {
      std::this_thread::sleep_for(kStep);  // A process closes its files before its end can be seen.
      ended = AnyEnded();
    }
    if (!line && ended) line = channel_->Read(kLastWords);  // Rank 0 may know more.
    if (line && !is_error(*line)) return *line;
    if (line) {
      std::this_thread::sleep_for(kStep);  // What rank 0 saw, the exit status of another explains.
      AnyEnded();
      constexpr int kKilled = 3;
      if (lost_weight_ == kKilled) throw LiveError(lost_ + " while " + during);
      throw LiveError(nlohmann::json::parse(*line).at("error").get<std::string>());
    }
    if (ended) throw LiveError(lost_ + " while " + during);
    if (channel_->Ended()) throw LiveError("the worker of rank 0 closed its channel while " + during);
    if (wait && std::chrono::steady_clock::now() >= deadline) {
      throw LiveError("the workers did not answer within " + std::to_string(wait->count() / 1000) + " s while " +
                      during);
    }
  }
}

std::string WorkerPool::Ask(const std::string& line, const std::string& during) {
  SHARDSCOUT_CHECK(channel_ != nullptr);
  try {
    channel_->Write(line);
    return Answer(std::nullopt, during);
  } catch (...) {
    Kill();
    throw;
  }
}

std::vector<LiveMeasurement> WorkerPool::Run(const LiveRequest& request) {
  return ParseLiveAnswer(Ask(ToJson(request), "running a strategy"));
}

std::vector<Evaluation> WorkerPool::Evaluate(const EvaluationRequest& request) {
  return ParseEvaluations(Ask(ToJson(request), "evaluating strategies"));
}

void WorkerPool::Kill() {
  channel_.reset();
  for (const pid_t pid : pids_) {
    if (pid > 0) kill(pid, SIGKILL);
  }
  for (const pid_t pid : pids_) {
    while (pid > 0 && waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
  pids_.clear();
}

}  // namespace shardscout::live
