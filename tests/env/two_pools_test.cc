#include "shardscout/two_pools.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "shardscout/collective_time.h"
#include "shardscout/error.h"
#include "shardscout/evaluator.h"
#include "shardscout/preset_paths.h"

namespace shardscout {
namespace {

constexpr std::int64_t kInput = 1024, kOutput = 128;

class TwoPoolsTest : public ::testing::Test {
 protected:
  TwoPoolsTest() {
    RegisterBuiltinEvaluators(evaluators_);
    workload_ = LoadWorkload("serve-chat");
    workload_.input_tokens = kInput;
    workload_.output_tokens = kOutput;
    workload_.ttft_target_s = workload_.tpot_target_s = std::nullopt;
    workload_.requests.emplace().num_requests = 400;
    workload_.concurrency = 1;
    prefill_.tensor_parallel_size = 2;
    decode_.batch_size = 64;
  }

  Problem On(std::int64_t devices, const WorkloadSpec& workload) const {
    return Problem(LoadModel(model_), LoadCluster("h100-sxm", devices), workload);
  }
  /// As a search leaves it: one pool, all devices.
  Plan PlanFor(const char* workload_name, std::int64_t devices, const Strategy& strategy) const {
    WorkloadSpec workload = LoadWorkload(workload_name);
    workload.input_tokens = kInput;
    workload.output_tokens = kOutput;
    const Problem problem = On(devices, workload);
    Plan plan;
    plan.problem_json = ToJson(problem);
    plan.pools = {MakePool(problem, strategy)};
    return plan;
  }
  Plan Join(std::int64_t prefill_devices, std::int64_t decode_devices) const {
    return JoinPools(PlanFor("prefill-chat", prefill_devices, prefill_),
                     PlanFor("decode-chat", decode_devices, decode_), workload_);
  }
  std::string ErrorOf(const std::function<void()>& call) const {
    try {
      call();
    } catch (const SpecError& error) {
      return error.what();
    }
    return "";
  }

  EvaluatorRegistry evaluators_;
  std::string model_ = "llama-3.1-8b";
  WorkloadSpec workload_;
  Strategy prefill_, decode_;
};

/// One request at a time: TTFT is a prefill pass, and its second token a decode pass after a send of its cache.
TEST_F(TwoPoolsTest, AloneARequestIsItsPromptASendAndItsToken) {
  workload_.output_tokens = 2;
  const Evaluation evaluation = Join(2, 1).evaluation;
  WorkloadSpec prompt = workload_;
  prompt.kind = WorkloadKind::kPrefill;
  prompt.requests.reset();
  prompt.concurrency.reset();
  const Problem prefill = On(2, prompt);
  const double prompt_s = evaluators_.Make("simulator", prefill)->Evaluate(prefill_).metrics.ttft_s;
  EXPECT_NEAR(evaluation.metrics.ttft_s, prompt_s, 0.03 * prompt_s) << "a step is priced as one of decode";
  WorkloadSpec token = prompt;
  token.kind = WorkloadKind::kDecode;
  Strategy alone = decode_;
  alone.batch_size = 1;
  const Problem decode = On(1, token);
  const double token_s = evaluators_.Make("simulator", decode)->Evaluate(alone).metrics.tpot_s;
  const ClusterSpec& cluster = prefill.cluster();
  const double bytes = 2.0 * 32 * 8 * 128 * 2 * kInput;  // K and V, layers, heads, bf16; one device decodes.
  const double send_s = CollectiveTime(cluster, Collective::kSendRecv, bytes, SpansOf(cluster, {2, 1}, 1, 2));
  EXPECT_GT(send_s, 0.2e-3);
  EXPECT_NEAR(evaluation.metrics.tpot_s, token_s + send_s, 2e-3 * token_s);
}

/// Linear attention's states go with the cache of the other layers.
TEST_F(TwoPoolsTest, StatesAreSentToo) {
  model_ = "qwen3-next-80b-a3b";
  workload_.output_tokens = 2;
  const Evaluation evaluation = Join(2, 1).evaluation;
  WorkloadSpec token = workload_;
  token.kind = WorkloadKind::kDecode;
  token.requests.reset();
  token.concurrency.reset();
  Strategy alone = decode_;
  alone.batch_size = 1;
  const Problem decode = On(1, token);
  const double token_s = evaluators_.Make("simulator", decode)->Evaluate(alone).metrics.tpot_s;
  const double cache_bytes = 2.0 * 12 * 2 * 256 * 2 * kInput;             // K and V, layers, heads, bf16.
  const double state_bytes = 36 * (32 * 128 * 128 * 4 + 3 * 8192 * 2.0);  // Layers, S in fp32, channels in bf16.
  const double send_s = CollectiveTime(decode.cluster(), Collective::kSendRecv, cache_bytes + state_bytes,
                                       SpansOf(LoadCluster("h100-sxm", 2), {2, 1}, 1, 2));
  EXPECT_GT(state_bytes, cache_bytes);
  EXPECT_NEAR(evaluation.metrics.tpot_s, token_s + send_s, 2e-3 * token_s);
}

TEST_F(TwoPoolsTest, ThePlanHoldsBoth) {
  const Plan plan = Join(6, 2);
  ASSERT_EQ(plan.pools.size(), 2U);
  EXPECT_EQ(plan.pools[0].role, "prefill");
  EXPECT_EQ(plan.pools[0].replicas, 3);
  EXPECT_EQ(plan.pools[1].role, "decode");
  EXPECT_EQ(plan.pools[1].replicas, 2);
  EXPECT_EQ(plan.pools[1].placement.front().device, 6) << "where the others end";
  EXPECT_EQ(plan.evaluation.metrics.replicas, 5);
  EXPECT_EQ(plan.evaluation.metrics.idle_devices, 0);
  EXPECT_DOUBLE_EQ(plan.evaluation.metrics.throughput_per_device, plan.evaluation.metrics.throughput_tokens_per_s / 8);
  const Plan read = ParsePlan(ToJson(plan), "plan");
  EXPECT_EQ(read.pools, plan.pools);
  const Problem problem = ParseProblem(read.problem_json, "plan");
  EXPECT_EQ(problem.cluster().num_devices, 8);
  EXPECT_EQ(EvaluateTwoPools(problem, read.pools[0], read.pools[1]), plan.evaluation);
}

/// Any batch: a search may have been given one that is no power of two.
TEST_F(TwoPoolsTest, AnyBatchIsTaken) {
  decode_.batch_size = 80;
  workload_.concurrency = 80;
  EXPECT_GT(Join(2, 1).evaluation.requests->mean_running, 40);
}

/// An instance of 4 after 6 devices of a node of 8 would lie across two nodes: it begins at the next one's first. One
/// of 3 after 2 lies within the node, as alone.
TEST_F(TwoPoolsTest, InstancesKeepTheirPlaceInANode) {
  decode_.tensor_parallel_size = 4;
  const Plan plan = Join(6, 4);
  EXPECT_EQ(ParseProblem(plan.problem_json, "plan").cluster().num_devices, 12);
  EXPECT_EQ(plan.pools[1].placement.front().node, 1);
  EXPECT_EQ(plan.pools[1].placement.front().device, 0);
  EXPECT_EQ(plan.evaluation.metrics.idle_devices, 2);
  decode_.tensor_parallel_size = 1;
  decode_.pipeline_parallel_size = 3;
  EXPECT_EQ(Join(2, 3).pools[1].placement.front().device, 2);
  EXPECT_EQ(Join(4, 6).pools[1].placement.front().node, 1) << "the second of them would lie across";
}

/// More prefill instances shorten the wait for the first token under load, and leave the pace of decoding to decode.
TEST_F(TwoPoolsTest, EachPoolDoesItsPart) {
  workload_.concurrency = 96;
  const Metrics one = Join(2, 4).evaluation.metrics, two = Join(4, 4).evaluation.metrics,
                many = Join(8, 8).evaluation.metrics;
  EXPECT_LT(two.ttft_s, 0.9 * one.ttft_s);
  EXPECT_GT(two.throughput_tokens_per_s, one.throughput_tokens_per_s);
  EXPECT_LT(many.tpot_s, two.tpot_s);
  EXPECT_EQ(one.concurrency, 96);
}

/// Where prompts and tokens share their engines, prompts hold up the tokens of the others; in two pools they don't.
TEST_F(TwoPoolsTest, PromptsDoNotHoldUpTokens) {
  workload_.concurrency = 64;
  workload_.input_tokens = 8 * kInput;
  const Evaluation apart = Join(4, 4).evaluation;
  const Problem together = On(8, workload_);
  const Evaluation shared = evaluators_.Make("simulator", together)->Evaluate(decode_);
  ASSERT_TRUE(apart.requests && shared.requests);
  EXPECT_LT(apart.requests->tpot.p99_s, shared.requests->tpot.p99_s);
}

/// By hand: what each pool does alone, and the send of a cache from two devices to one.
TEST_F(TwoPoolsTest, WithoutRequestsInClosedForm) {
  workload_.requests.reset();
  workload_.concurrency.reset();
  const Plan first = PlanFor("prefill-chat", 2, prefill_), second = PlanFor("decode-chat", 2, decode_);
  const auto alone = [&](const Plan& plan) {
    const Problem problem = ParseProblem(plan.problem_json, "plan");
    return evaluators_.Make("analytical", problem)->Evaluate(plan.pools[0].strategy);
  };
  const Evaluation prompts = alone(first), tokens = alone(second);
  const Plan joined = JoinPools(first, second, workload_);
  EXPECT_EQ(joined.search.evaluator, "analytical");
  const Metrics& both = joined.evaluation.metrics;
  const ClusterSpec cluster = LoadCluster("h100-sxm", 4);
  const double cache_bytes = 2.0 * 32 * 8 * 128 * 2 * kInput;  // K and V, layers, heads, bf16.
  const double send_s = CollectiveTime(cluster, Collective::kSendRecv, cache_bytes, SpansOf(cluster, {2, 2}, 2, 2));
  EXPECT_DOUBLE_EQ(both.ttft_s, prompts.metrics.ttft_s);
  EXPECT_DOUBLE_EQ(both.tpot_s, tokens.metrics.tpot_s + send_s / (kOutput - 1));
  const double prompts_per_s = prompts.metrics.throughput_tokens_per_s / kInput,
               decoded_per_s = tokens.metrics.throughput_tokens_per_s / (kOutput - 1);
  ASSERT_LT(prompts_per_s, decoded_per_s);
  EXPECT_DOUBLE_EQ(both.throughput_tokens_per_s, prompts_per_s * kOutput);
  EXPECT_NEAR(static_cast<double>(both.concurrency), prompts_per_s * (both.ttft_s + (kOutput - 1) * both.tpot_s), 0.5);
  EXPECT_EQ(joined.evaluation.memory, tokens.memory);
  EXPECT_EQ(both.replicas, 3);

  workload_.concurrency = 1;
  const Metrics one = JoinPools(first, second, workload_).evaluation.metrics;
  EXPECT_DOUBLE_EQ(one.throughput_tokens_per_s, kOutput / (one.ttft_s + (kOutput - 1) * one.tpot_s));
}

/// Both pools busy: requests one by one come close to the closed form.
TEST_F(TwoPoolsTest, RequestsComeCloseToTheClosedForm) {
  workload_.requests->num_requests = 4000;
  for (const std::int64_t prefill_devices : {2, 4, 12}) {
    workload_.concurrency = 200;
    const double simulated = Join(prefill_devices, 2).evaluation.metrics.throughput_tokens_per_s;
    const WorkloadSpec requests = workload_;
    workload_.requests.reset();
    workload_.concurrency.reset();
    const double closed = Join(prefill_devices, 2).evaluation.metrics.throughput_tokens_per_s;
    workload_ = requests;
    EXPECT_GT(simulated, 0.85 * closed) << prefill_devices;
    EXPECT_LT(simulated, 1.05 * closed) << prefill_devices;
  }
}

TEST_F(TwoPoolsTest, WhatDoesNotFitIsAnError) {
  const Plan prefill = PlanFor("prefill-chat", 2, prefill_), decode = PlanFor("decode-chat", 4, decode_);
  EXPECT_NE(ErrorOf([&] { JoinPools(decode, prefill, workload_); }).find("expected prefill or serve"),
            std::string::npos);
  EXPECT_NE(ErrorOf([&] { JoinPools(prefill, Join(2, 1), workload_); }).find("2 pools"), std::string::npos);
  WorkloadSpec brief = workload_;
  brief.output_tokens = 1;
  EXPECT_NE(ErrorOf([&] { JoinPools(prefill, decode, brief); }).find("one output token"), std::string::npos);
  Plan other = decode;
  other.problem_json =
      ToJson(Problem(LoadModel("llama-3.1-70b"), LoadCluster("h100-sxm", 4), LoadWorkload("decode-chat")));
  EXPECT_NE(ErrorOf([&] { JoinPools(prefill, other, workload_); }).find("one model"), std::string::npos);
  other.problem_json =
      ToJson(Problem(LoadModel("llama-3.1-8b"), LoadCluster("a100-80-sxm", 4), LoadWorkload("decode-chat")));
  EXPECT_NE(ErrorOf([&] { JoinPools(prefill, other, workload_); }).find("kind of cluster"), std::string::npos);
  const Problem small = On(4, workload_);
  EXPECT_NE(ErrorOf([&] { EvaluateTwoPools(small, prefill.pools[0], decode.pools[0]); }).find("need 6"),
            std::string::npos);
}

}  // namespace
}  // namespace shardscout
