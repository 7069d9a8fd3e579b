// What goes wrong with processes: each ends in a clear error within its time-out, and leaves no process behind.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <functional>
#include <future>

#include "env/live/worker_pool.h"
#include "shardscout/error.h"
#include "shardscout/live_run.h"
#include "shardscout/plan.h"
#include "tests/strategies/spread_sampler.h"
#include "tests/strategies/tiny_models.h"

namespace shardscout::live {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;

PoolOptions Options(int processes) {
  PoolOptions options;
  options.worker = FindWorker();
  options.num_processes = processes;
  options.timeout = std::chrono::seconds(120);  // Long on a busy machine; nothing waits for it.
  return options;
}

Problem TinyProblem(int processes) {
  return {interpret::TinyModels().front(), interpret::TinyCluster(processes),
          interpret::TinyWorkload(WorkloadKind::kDecode)};
}

LiveRequest Request(const Problem& problem, int processes, int repeats) {
  return {.problem_json = ToJson(problem),
          .strategies = {DefaultLiveStrategy(problem, processes)},
          .prove = true,
          .warmup = 0,
          .repeats = repeats,
          .seed = 1};
}

bool Exists(pid_t pid) { return kill(pid, 0) == 0 || errno != ESRCH; }

std::string ErrorOf(const std::function<void()>& run) {
  try {
    run();
  } catch (const LiveError& error) {
    return error.what();
  }
  return "no error";
}

TEST(FaultTest, AWorkerThatIsKilledInMidRunEndsTheRunAndAllOthers) {
  const Problem problem = TinyProblem(2);
  WorkerPool pool(Options(2));
  const std::vector<pid_t> pids = pool.pids();
  EXPECT_EQ(pool.Run(Request(problem, 2, 1)).size(), 1u) << "it runs as long as all live";
  // Many repeats: the run is under way when the worker is killed.
  auto run = std::async(std::launch::async, [&] { return ErrorOf([&] { pool.Run(Request(problem, 2, 1000000)); }); });
  EXPECT_EQ(run.wait_for(std::chrono::milliseconds(100)), std::future_status::timeout);
  kill(pids[1], SIGKILL);
  EXPECT_THAT(run.get(), HasSubstr("the worker of rank 1 was killed by signal 9"));
  EXPECT_TRUE(pool.over());
  for (const pid_t pid : pids) EXPECT_FALSE(Exists(pid)) << pid;
}

TEST(FaultTest, AWorkerThatNeverArrivesIsNamed) {
  PoolOptions options = Options(3);
  options.others_elsewhere = true;  // Nobody starts them.
  options.timeout = std::chrono::seconds(1);
  EXPECT_THAT(ErrorOf([&] { WorkerPool pool(options); }),
              HasSubstr("of 3 workers these ranks did not arrive within 1 s: 1, 2"));
}

TEST(FaultTest, APortInUseIsSaidSo) {
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_ANY);
  socklen_t size = sizeof(address);
  ASSERT_EQ(bind(listener, reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(listen(listener, 1), 0);
  ASSERT_EQ(getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size), 0);
  PoolOptions options = Options(2);
  options.master_port = ntohs(address.sin_port);
  EXPECT_THAT(ErrorOf([&] { WorkerPool pool(options); }), HasSubstr("the port is in use; give another port"));
  close(listener);
}

TEST(FaultTest, AWorkerThatCannotBeStartedIsAnError) {
  PoolOptions options = Options(2);
  options.worker = "/no/such/program";
  EXPECT_THAT(ErrorOf([&] { WorkerPool pool(options); }), HasSubstr("rank 0 ended with exit code 127"));
}

TEST(FaultTest, NoProcessIsLeftWhenThePoolIsDone) {
  std::vector<pid_t> pids;
  {
    WorkerPool pool(Options(2));
    pids = pool.pids();
    EXPECT_EQ(pids.size(), 2u);
  }
  for (const pid_t pid : pids) EXPECT_FALSE(Exists(pid)) << pid;
}

LiveOptions TwoProcesses() {
  LiveOptions options;
  options.num_processes = 2;
  options.repeats = 1;
  options.warmup = 0;
  return options;
}

TEST(FaultTest, AShapeThatDoesNotDivideIsTheUsersMistake) {
  const Problem problem(interpret::TinyModels().front(), interpret::TinyCluster(5),
                        interpret::TinyWorkload(WorkloadKind::kDecode));
  Strategy strategy = DefaultLiveStrategy(problem, 1);
  strategy.tensor_parallel_size = 5;
  strategy.SetSharding(Operator::kQkv, Sharding::kHeads);
  LiveSession session(TwoProcesses());
  EXPECT_THROW(session.Run(problem, {strategy}), SpecError);
  EXPECT_TRUE(session.pids().empty()) << "nothing was started for it";
}

TEST(FaultTest, TooFewProcessesAndUnknownModelsAreTheUsersMistake) {
  const Problem problem = TinyProblem(4);
  LiveSession session(TwoProcesses());
  EXPECT_THROW(session.Run(problem, {DefaultLiveStrategy(problem, 4)}), SpecError);
  for (const ModelSpec& model : interpret::TinyModels()) {
    if (!model.HasLinearAttention()) continue;
    const Problem linear(model, interpret::TinyCluster(2), interpret::TinyWorkload(WorkloadKind::kDecode));
    EXPECT_THROW(session.Run(linear, {DefaultLiveStrategy(linear, 1)}), SpecError);
  }
  EXPECT_TRUE(session.pids().empty());
  EXPECT_THROW(LiveSession{LiveOptions{}}, SpecError) << "neither --nproc nor a launcher";
}

TEST(FaultTest, ALostWorkerLosesNoEvaluation) {
  const Problem problem = TinyProblem(2);
  const Strategy first = DefaultLiveStrategy(problem, 2), second = DefaultLiveStrategy(problem, 1);
  LiveSession session(TwoProcesses());
  EXPECT_TRUE(session.Run(problem, {first}).front().Right());
  const std::vector<int> before = session.pids();
  ASSERT_EQ(before.size(), 2u);
  kill(before[1], SIGKILL);
  EXPECT_THROW(session.Run(problem, {second}), LiveError);
  EXPECT_TRUE(session.Run(problem, {second}).front().Right()) << "new workers";
  EXPECT_NE(session.pids(), before);

  // The evaluator does so by itself.
  EvaluatorRegistry registry;
  RegisterLiveEvaluator(registry, std::make_shared<LiveOptions>(TwoProcesses()));
  const auto evaluator = registry.Make(kLiveEvaluator, problem);
  const Evaluation measured = evaluator->Evaluate(first);
  EXPECT_GT(measured.metrics.tpot_s, 0);
  EXPECT_EQ(registry.Make(kLiveEvaluator, problem)->Evaluate(first), measured) << "measured once";
}

}  // namespace
}  // namespace shardscout::live
