// shardscout live, the evaluator live, and searches over several ranks: end to end, with real processes.

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <future>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/cli/cli_fixture.h"

namespace shardscout::test {
namespace {

using nlohmann::json;

class LiveCli : public Cli {
 protected:
  void SetUp() override {
    Cli::SetUp();
    if (!SHARDSCOUT_HAVE_LIVE) GTEST_SKIP() << "built without live runs (LibTorch and Gloo)";
  }

  static Words Live(const Words& more = {}) {
    Words words = {"live", "-m",           "tiny-dense", "-c", "localhost-cpu", "-n", "2",
                   "-w",   "prefill-tiny", "--repeats",  "1",  "--warmup",      "0",  "--json"};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }

  Words SmallSearch(const std::string& plan, const Words& more = {}) const {
    Words words = {"search", "-m",        "tiny-moe", "-c", "localhost-cpu", "-n",       "4",      "-w", "decode-tiny",
                   "-s",     "annealing", "--budget", "60", "--out",         Path(plan), "--quiet"};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }

  static void ExpectRight(const ProcessResult& result, int processes) {
    ASSERT_EQ(result.exit_code, 0) << result.err;
    const json report = json::parse(result.out);
    EXPECT_TRUE(report.at("right").get<bool>()) << report.at("max_error");
    EXPECT_EQ(report.at("processes").get<int>(), processes);
    EXPECT_GT(report.at("logits_rows").get<int>(), 0);
    EXPECT_GT(report.at("phases").at(0).at("measured").at("median_s").get<double>(), 0);
    int collectives = 0;
    for (const json& row : report.at("rows")) {
      if (!row.at("collective").get<bool>()) continue;
      ++collectives;
      if (row.at("routed").get<bool>()) continue;
      EXPECT_DOUBLE_EQ(row.at("measured_bytes").get<double>(), row.at("predicted_bytes").get<double>()) << row.dump();
    }
    EXPECT_GT(collectives, 0);
  }

  static int FreePort() {
    const int socket_fd = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    socklen_t size = sizeof(address);
    EXPECT_EQ(bind(socket_fd, reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(getsockname(socket_fd, reinterpret_cast<sockaddr*>(&address), &size), 0);
    close(socket_fd);
    return ntohs(address.sin_port);
  }

  /// As torchrun would start them; rank 0's result, once all have ended well.
  ProcessResult RunRanks(const Words& words, int ranks) const {
    const std::string port = std::to_string(FreePort());
    std::vector<std::future<ProcessResult>> runs;
    for (int rank = 0; rank < ranks; ++rank) {
      runs.push_back(std::async(std::launch::async, [&, rank] {
        return Run(words, {{"RANK", std::to_string(rank)},
                           {"WORLD_SIZE", std::to_string(ranks)},
                           {"MASTER_ADDR", "127.0.0.1"},
                           {"MASTER_PORT", port}});
      }));
    }
    const ProcessResult first = runs.front().get();
    for (int rank = 1; rank < ranks; ++rank) {
      const ProcessResult other = runs[static_cast<std::size_t>(rank)].get();
      EXPECT_EQ(other.exit_code, 0) << rank << ": " << other.err;
      EXPECT_EQ(other.out, "") << rank << ": only rank 0 speaks";
    }
    return first;
  }

  static bool HasMpirun() { return std::system("command -v mpirun >/dev/null 2>&1") == 0; }

  static ProcessResult RunMpi(const Words& words, int ranks) {
    Words all = {"mpirun", "--allow-run-as-root", "--oversubscribe", "-n", std::to_string(ranks), SHARDSCOUT_CLI};
    all.insert(all.end(), words.begin(), words.end());
    all.insert(all.begin(), "/usr/bin/env");
    return RunProcess(all);
  }
};

TEST_F(LiveCli, LocalProcesses) { ExpectRight(Run(Live({"--nproc", "2"})), 2); }

TEST_F(LiveCli, PresetsScaledByNamedFactors) {
  const Words scaled = {"live",    "-c", "localhost-cpu", "-n", "2",        "-w", "decode-tiny",
                        "--batch", "2",  "--repeats",     "1",  "--warmup", "0",  "--json",
                        "--nproc", "2"};
  const auto run = [&](const Words& more) {
    Words words = scaled;
    words.insert(words.end(), more.begin(), more.end());
    return Run(words);
  };
  const ProcessResult llama = run({"-m", "llama-3.1-8b", "--scale-layers", "2", "--scale-width", "128"});
  ExpectRight(llama, 2);
  const json sizes = json::parse(llama.out).at("scaled");
  EXPECT_EQ(sizes.at("num_layers"), json({32, 2}));
  EXPECT_EQ(sizes.at("hidden_size"), json({4096, 128}));
  EXPECT_EQ(sizes.at("vocab_size"), json({128256, 4008}));
  for (const char* model : {"deepseek-v3", "deepseek-v3.2"}) {
    SCOPED_TRACE(model);
    ExpectRight(run({"-m", model, "--scale-layers", "4", "--scale-width", "224", "--scale-experts", "12"}), 2);
  }
  ExpectUserError(run({"-m", "llama-3.1-8b", "--scale-width", "500"}), "expected a divisor of 4096");
  ExpectUserError(run({"-m", "deepseek-v3", "--scale-layers", "2"}), "expected at least 4");
}

TEST_F(LiveCli, RanksOfATorchrunLikeLauncher) { ExpectRight(RunRanks(Live(), 2), 2); }

TEST_F(LiveCli, RanksOfMpirun) {
  if (!HasMpirun()) GTEST_SKIP() << "no mpirun (Debian: openmpi-bin)";
  ExpectRight(RunMpi(Live(), 2), 2);
}

TEST_F(LiveCli, MistakesOfTheUser) {
  ExpectUserError(Run(Live()), "--nproc: is needed");
  ExpectUserError(Run(Live({"--nproc", "2", "--backend", "nccl"})), "works on GPUs only");
  const ProcessResult no_gpu = Run(Live({"--nproc", "2", "--device", "cuda"}), {{"CUDA_VISIBLE_DEVICES", ""}});
  EXPECT_EQ(no_gpu.exit_code, 4);
  EXPECT_NE(no_gpu.err.find("LibTorch sees 0 here"), std::string::npos) << no_gpu.err;
  ExpectUserError(Run(Live(), {{"RANK", "2"}, {"WORLD_SIZE", "2"}, {"MASTER_PORT", "2"}}), "RANK: found \"2\"");
  const ProcessResult absent = Run(
      Live({"--live-timeout", "0.5"}),
      {{"RANK", "0"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "127.0.0.1"}, {"MASTER_PORT", std::to_string(FreePort())}});
  EXPECT_EQ(absent.exit_code, 4);
  EXPECT_NE(absent.err.find("these ranks did not arrive within"), std::string::npos) << absent.err;
}

TEST_F(LiveCli, SearchOverRanksFindsThePlanOfOneProcess) {
  ASSERT_EQ(Run(SmallSearch("alone.json")).exit_code, 0);
  const std::string plan = Read(Path("alone.json"));
  ASSERT_FALSE(plan.empty());
  ASSERT_EQ(Run(SmallSearch("local.json", {"--nproc", "3"})).exit_code, 0);
  EXPECT_EQ(Read(Path("local.json")), plan);
  EXPECT_EQ(Read(Path("local.journal.jsonl")), Read(Path("alone.journal.jsonl")));
  ASSERT_EQ(RunRanks(SmallSearch("ranks.json", {"--evaluator", "analytical"}), 4).exit_code, 0);
  EXPECT_EQ(Read(Path("ranks.json")), plan);
  if (!HasMpirun()) GTEST_SKIP() << "no mpirun (Debian: openmpi-bin)";
  const ProcessResult mpi = RunMpi(SmallSearch("mpi.json"), 4);
  ASSERT_EQ(mpi.exit_code, 0) << mpi.err;
  EXPECT_EQ(Read(Path("mpi.json")), plan);
}

TEST_F(LiveCli, MeasuredSearchGoesOnFromItsJournal) {
  const Words search = {"search",  "-m",    "tiny-dense",   "-c",     "localhost-cpu", "-n",
                        "2",       "-w",    "prefill-tiny", "-s",     "random",        "--budget",
                        "4",       "--out", Path("p.json"), "--json", "--evaluator",   "live",
                        "--nproc", "2",     "--repeats",    "1",      "--warmup",      "0"};
  const ProcessResult first = Run(search);
  ASSERT_EQ(first.exit_code, 0) << first.err;
  const json found = json::parse(first.out);
  EXPECT_EQ(found.at("evaluations").get<int>(), 4);
  EXPECT_TRUE(found.at("certificate").is_null());
  const std::string journal = Read(Path("p.journal.jsonl"));
  Words again = search;
  again.emplace_back("--resume");
  const ProcessResult resumed = Run(again);
  ASSERT_EQ(resumed.exit_code, 0) << resumed.err;
  const json replayed = json::parse(resumed.out);
  EXPECT_EQ(replayed.at("replayed").get<int>(), 4);
  EXPECT_EQ(replayed.at("best").at("strategy"), found.at("best").at("strategy"));
  EXPECT_EQ(replayed.at("best").at("evaluation"), found.at("best").at("evaluation")) << "not measured anew";
  EXPECT_EQ(Read(Path("p.journal.jsonl")), journal);
}

}  // namespace
}  // namespace shardscout::test
