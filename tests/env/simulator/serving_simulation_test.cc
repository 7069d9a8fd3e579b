#include "env/simulator/serving_simulation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "env/simulator/request_stream.h"
#include "env/simulator/simulator_evaluator.h"
#include "shardscout/preset_paths.h"
#include "tests/tiny_problems.h"

namespace shardscout::env {
namespace {

WorkloadSpec Serve(std::int64_t input_tokens, std::int64_t output_tokens) {
  WorkloadSpec workload = testing::SmallWorkload(WorkloadKind::kServe, 64);
  workload.input_tokens = input_tokens;
  workload.output_tokens = output_tokens;
  workload.requests.emplace();
  return workload;
}

// ---- arrivals and lengths ----

TEST(MakeRequestsTest, GapsAndLengthsHaveTheirMomentsAndSeeds) {
  for (const double arrival_cv : {0.5, 1.0, 3.0}) {
    WorkloadSpec workload = Serve(500, 50);
    RequestModel& model = *workload.requests;
    model.arrivals = arrival_cv == 1 ? ArrivalKind::kPoisson : ArrivalKind::kGamma;
    model.rate_per_s = 4;
    model.arrival_cv = arrival_cv;
    model.input_cv = 0.7;
    model.num_requests = 40000;
    const std::vector<Request> requests = MakeRequests(workload, 1);
    ASSERT_EQ(requests.size(), 40000u);
    double gap = 0, gap2 = 0, input = 0, input2 = 0;
    Picoseconds last = 0;
    for (const Request& request : requests) {
      const double gap_s = ToSeconds(request.arrival - last);
      last = request.arrival;
      ASSERT_GE(gap_s, 0);
      gap += gap_s / 40000;
      gap2 += gap_s * gap_s / 40000;
      input += static_cast<double>(request.input_tokens) / 40000;
      input2 += std::pow(static_cast<double>(request.input_tokens), 2) / 40000;
      ASSERT_EQ(request.output_tokens, 50);
    }
    EXPECT_NEAR(gap, 0.25, 0.02);
    EXPECT_NEAR(std::sqrt(gap2 - gap * gap) / gap, arrival_cv, 0.05 * arrival_cv);
    EXPECT_NEAR(input, 500, 10);
    EXPECT_NEAR(std::sqrt(input2 - input * input) / input, 0.7, 0.05);
    const std::vector<Request> again = MakeRequests(workload, 1);
    EXPECT_EQ(again.back().arrival, requests.back().arrival);
    model.seed = 2;
    EXPECT_NE(MakeRequests(workload, 1).back().arrival, requests.back().arrival);
  }
}

TEST(MakeRequestsTest, LengthsAreUniformDownToTheirShortest) {
  WorkloadSpec workload = Serve(1000, 10);
  workload.requests->shortest_ratio = 0.8;
  workload.requests->num_requests = 20000;
  std::int64_t shortest = 1000, longest = 0;
  double mean = 0;
  for (const Request& request : MakeRequests(workload, 1)) {
    shortest = std::min(shortest, request.input_tokens);
    longest = std::max(longest, request.input_tokens);
    mean += static_cast<double>(request.input_tokens) / 20000;
    ASSERT_GE(request.output_tokens, 8);
    ASSERT_LE(request.output_tokens, 10);
  }
  EXPECT_EQ(shortest, 800);
  EXPECT_EQ(longest, 1000);
  EXPECT_NEAR(mean, 900, 2);
}

TEST(MakeRequestsTest, ATraceIsAsListed) {
  WorkloadSpec workload = Serve(500, 50);
  workload.requests->arrivals = ArrivalKind::kTrace;
  workload.requests->trace = {{.arrival_s = 0.5, .input_tokens = 7, .output_tokens = 3}, {.arrival_s = 2}};
  const std::vector<Request> requests = MakeRequests(workload, 1);
  ASSERT_EQ(requests.size(), 2u);
  EXPECT_EQ(requests[0].arrival, 500'000'000'000);
  EXPECT_EQ(requests[0].input_tokens, 7);
  EXPECT_EQ(requests[0].output_tokens, 3);
}

// ---- statistics ----

/// A hundred requests a second apart, of which request i waits i ms for its first token, and then takes 10 ms for each
/// of four more.
RequestRun StaggeredRun() {
  RequestRun run;
  for (int i = 0; i < 100; ++i) {
    const Picoseconds arrival = ToPicoseconds(i), first = arrival + ToPicoseconds(1e-3 * (i + 1));
    run.outcomes.push_back({.request = {.arrival = arrival, .input_tokens = 1, .output_tokens = 5},
                            .first_token = first,
                            .finish = first + ToPicoseconds(40e-3)});
    run.queue.push_back({.time = arrival, .waiting = 1, .running = 0, .used_blocks = 0});
    run.queue.push_back({.time = first, .waiting = 0, .running = 1, .used_blocks = 0});
    run.queue.push_back({.time = run.outcomes.back().finish, .waiting = 0, .running = 0, .used_blocks = 0});
  }
  run.end = run.outcomes.back().finish;
  return run;
}

TEST(StatisticsTest, PercentilesMeansAndGoodput) {
  WorkloadSpec workload = Serve(1, 5);
  RequestStatistics s = StatisticsOf(StaggeredRun(), 0, workload);
  EXPECT_EQ(s.num_requests, 100);
  EXPECT_NEAR(s.ttft.mean_s, 50.5e-3, 1e-9);
  EXPECT_NEAR(s.ttft.p50_s, 50e-3, 1e-9);
  EXPECT_NEAR(s.ttft.p90_s, 90e-3, 1e-9);
  EXPECT_NEAR(s.ttft.p99_s, 99e-3, 1e-9);
  EXPECT_NEAR(s.tpot.mean_s, 10e-3, 1e-9);
  EXPECT_NEAR(s.latency.p99_s, 139e-3, 1e-9);
  // From second 0 to 99, in which 99 requests left and one waits at a time.
  EXPECT_NEAR(s.requests_per_s, 1, 1e-9);
  EXPECT_NEAR(s.goodput_requests_per_s, 1, 1e-9);
  EXPECT_EQ(s.most_waiting, 1);
  EXPECT_NEAR(s.mean_waiting, 50e-3, 1e-9);
  EXPECT_NEAR(s.mean_running, 40e-3, 1e-9);
  EXPECT_NEAR(OutputTokensPerS(StaggeredRun(), 0), 5, 1e-9);
  workload.ttft_target_s = 40e-3;
  EXPECT_NEAR(StatisticsOf(StaggeredRun(), 0, workload).goodput_requests_per_s, 40.0 / 99, 1e-9);
  s = StatisticsOf(StaggeredRun(), 10, workload);
  EXPECT_EQ(s.num_requests, 80);
  EXPECT_NEAR(s.ttft.p50_s, 50e-3, 1e-9);
  EXPECT_NEAR(s.ttft.p99_s, 90e-3, 1e-9);
}

// ---- a model on a cluster ----

class Serving : public ::testing::Test {
 protected:
  static Evaluation Evaluate(const WorkloadSpec& workload, std::int64_t devices = 1, std::int64_t batch = 64) {
    const Problem problem(LoadModel("llama-3.1-8b"), LoadCluster("h100-sxm", devices), workload);
    Strategy s;
    s.batch_size = batch;
    return SimulatorEvaluator(problem).Evaluate(s);
  }
};

/// Little's law: a closed loop's throughput times its latency is its concurrency.
TEST_F(Serving, AClosedLoopKeepsItsConcurrency) {
  WorkloadSpec workload = Serve(1000, 100);
  workload.requests->input_cv = workload.requests->output_cv = 0.3;
  workload.requests->num_requests = 2000;
  for (const std::int64_t concurrency : {1, 8, 64, 128}) {
    workload.concurrency = concurrency;
    const Evaluation e = Evaluate(workload);
    ASSERT_TRUE(e.requests);
    const RequestStatistics& r = *e.requests;
    EXPECT_NEAR(r.requests_per_s * r.latency.mean_s, static_cast<double>(concurrency),
                0.04 * static_cast<double>(concurrency));
    EXPECT_NEAR(r.mean_waiting + r.mean_running, static_cast<double>(concurrency),
                1e-6 + 0.01 * static_cast<double>(concurrency));
    EXPECT_NEAR(e.metrics.throughput_tokens_per_s, 100 * r.requests_per_s, 3 * r.requests_per_s);
    if (concurrency > 64) {
      EXPECT_GT(r.mean_waiting, 60) << "64 run at a time";
    }
    EXPECT_EQ(e.metrics.ttft_s, r.ttft.mean_s);
  }
}

TEST_F(Serving, MoreArrivalsWaitLonger) {
  WorkloadSpec workload = Serve(1000, 100);
  workload.requests->arrivals = ArrivalKind::kPoisson;
  double last_s = 0;
  for (const double rate : {1.0, 10.0, 30.0, 60.0}) {
    workload.requests->rate_per_s = rate;
    const Evaluation e = Evaluate(workload);
    EXPECT_GT(e.requests->ttft.mean_s, last_s) << rate;
    EXPECT_GE(e.requests->ttft.p99_s, e.requests->ttft.p50_s);
    last_s = e.requests->ttft.mean_s;
  }
  // Eight replicas take eight times as much.
  workload.requests->rate_per_s = 8 * 30;
  workload.requests->num_requests = 8000;
  const double eight_s = Evaluate(workload, 8).requests->ttft.mean_s;
  workload.requests->rate_per_s = 60;
  EXPECT_LT(eight_s, Evaluate(workload).requests->ttft.mean_s);
}

TEST_F(Serving, PercentilesAreLimits) {
  WorkloadSpec workload = Serve(1000, 100);
  workload.ttft_target_s = workload.tpot_target_s = std::nullopt;
  workload.concurrency = 16;
  const Evaluation free = Evaluate(workload);
  ASSERT_TRUE(free.Feasible());
  workload.requests->ttft_p99_target_s = free.requests->ttft.p99_s / 2;
  const Evaluation e = Evaluate(workload);
  EXPECT_FALSE(e.Feasible());
  EXPECT_NEAR(e.excess.ttft, 1, 1e-9);
  EXPECT_THAT(DescribeViolations(e, workload), ::testing::StartsWith("p99 TTFT "));
}

/// Long requests beside short ones do not fit all at once: some make room, and all end.
TEST_F(Serving, AFullCacheMakesRoom) {
  WorkloadSpec workload = Serve(2000, 1000);
  workload.requests->output_cv = 1;
  workload.requests->num_requests = 300;
  workload.memory_fraction = 0.5;  // About 20 GB for the cache: 160,000 tokens.
  workload.concurrency = 100;
  const Evaluation e = Evaluate(workload, 1, 100);
  EXPECT_GT(e.requests->preemptions, 0);
  EXPECT_EQ(e.requests->rejected, 0);
  EXPECT_LT(e.requests->mean_running, 90);
}

}  // namespace
}  // namespace shardscout::env
