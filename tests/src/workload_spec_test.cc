#include "shardscout/workload_spec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>

#include "shardscout/preset_paths.h"
#include "src/spec_fields.h"
#include "tests/src/spec_error_at.h"

namespace shardscout {
namespace {

using ::testing::HasSubstr;

std::string ErrorAt(const std::string& pointer, const std::string& text) {
  const std::string place = "w.json#" + pointer;
  const std::string what = SpecErrorAt(place, [&] { ParseWorkload(text, "w.json"); });
  return what.substr(std::min(what.size(), place.size() + 2));
}

TEST(WorkloadPresetTest, ChatPresets) {
  EXPECT_THAT(ListPresets("workloads"), ::testing::ElementsAre("decode-chat", "decode-tiny", "prefill-chat",
                                                               "prefill-tiny", "serve-chat", "train-2k", "train-4k"));
  WorkloadSpec expected;
  expected.name = "serve-chat";
  expected.kind = WorkloadKind::kServe;
  expected.input_tokens = 4096;
  expected.output_tokens = 1024;
  expected.ttft_target_s = 2.0;
  expected.tpot_target_s = 0.05;
  expected.max_batch_size = 1024;
  EXPECT_EQ(LoadWorkload("serve-chat"), expected);
  expected.name = "prefill-chat";
  expected.kind = WorkloadKind::kPrefill;
  expected.tpot_target_s.reset();
  EXPECT_EQ(LoadWorkload("prefill-chat"), expected);
  expected.name = "decode-chat";
  expected.kind = WorkloadKind::kDecode;
  expected.ttft_target_s.reset();
  expected.tpot_target_s = 0.05;
  EXPECT_EQ(LoadWorkload("decode-chat"), expected);
}

TEST(WorkloadSpecTest, RoundTrips) {
  for (const std::string& name : ListPresets("workloads")) {
    WorkloadSpec workload = LoadWorkload(name);
    workload.batch_size.reset();
    if (!workload.IsTraining()) workload.concurrency = 100;
    workload.objective = Objective::kEnergyPerToken;
    EXPECT_EQ(ParseWorkload(json::WriteJson(workload).dump(), ""), workload);
  }
}

TEST(WorkloadSpecTest, LengthsAreDrawnInOneWay) {
  const std::string base = R"({"name": "w", "kind": "serve", "requests": )";
  EXPECT_EQ(ParseWorkload(base + R"({"shortest_ratio": 0.8}})", "w.json").requests->shortest_ratio, 0.8);
  EXPECT_THAT(ErrorAt("/requests/shortest_ratio", base + R"({"shortest_ratio": 0.8, "output_cv": 1}})"),
              HasSubstr("expected one way of drawing lengths"));
}

TEST(WorkloadSpecTest, Requests) {
  const std::string base = R"({"name": "w", "kind": "serve", "requests": )";
  WorkloadSpec workload = ParseWorkload(base + R"({"arrivals": "gamma", "rate_per_s": 3, "arrival_cv": 2}})", "w.json");
  ASSERT_TRUE(workload.requests);
  EXPECT_EQ(workload.requests->arrivals, ArrivalKind::kGamma);
  EXPECT_EQ(ParseWorkload(json::WriteJson(workload).dump(), ""), workload);
  workload.requests->arrivals = ArrivalKind::kTrace;
  workload.requests->rate_per_s.reset();
  workload.requests->trace = {{.arrival_s = 1, .input_tokens = 2, .output_tokens = 3}, {.arrival_s = 1}};
  EXPECT_EQ(ParseWorkload(json::WriteJson(workload).dump(), ""), workload);

  EXPECT_EQ(ErrorAt("/requests/rate_per_s", base + R"({"arrivals": "poisson"}})"),
            "missing, expected one exactly for poisson and gamma");
  EXPECT_EQ(ErrorAt("/requests/rate_per_s", base + R"({"rate_per_s": 1}})"),
            "found one, expected one exactly for poisson and gamma");
  EXPECT_EQ(ErrorAt("/requests/trace", base + R"({"arrivals": "trace"}})"), "missing, expected one exactly for trace");
  EXPECT_EQ(ErrorAt("/requests/trace", base + R"({"trace": [{}]}})"), "found one, expected one exactly for trace");
  EXPECT_EQ(ErrorAt("/requests/trace/1/arrival_s",
                    base + R"({"arrivals": "trace", "trace": [{"arrival_s": 2}, {"arrival_s": 1}]}})"),
            "found 1.0, expected arrivals that do not fall");
  EXPECT_EQ(ErrorAt("/requests", R"({"name": "w", "kind": "decode", "requests": {}})"),
            "found for decode, expected them exactly for serve, or remove them");
}

TEST(WorkloadSpecTest, PositionsAndPhases) {
  WorkloadSpec workload;
  workload.input_tokens = 100;
  workload.output_tokens = 21;
  EXPECT_EQ(workload.DecodeContext(), 110);
  EXPECT_EQ(workload.CachePositions(), 121);
  EXPECT_FALSE(workload.HasPhase(Phase::kPrefill));
  EXPECT_TRUE(workload.HasPhase(Phase::kDecode));
  workload.kind = WorkloadKind::kPrefill;
  EXPECT_EQ(workload.CachePositions(), 100);
  EXPECT_TRUE(workload.HasPhase(Phase::kPrefill));
  EXPECT_FALSE(workload.HasPhase(Phase::kDecode));
  workload.kind = WorkloadKind::kServe;
  EXPECT_TRUE(workload.HasPhase(Phase::kPrefill));
  EXPECT_TRUE(workload.HasPhase(Phase::kDecode));
}

TEST(WorkloadSpecTest, Training) {
  const std::string base = R"({"name": "w", "kind": "train", "input_tokens": 4096, "training": )";
  const WorkloadSpec workload =
      ParseWorkload(base + R"({"global_batch_size": 1536, "optimizer": "sgd", "fp32_gradients": false}})", "w.json");
  ASSERT_TRUE(workload.training);
  EXPECT_EQ(workload.training->GradientBytes(), 2);
  EXPECT_EQ(workload.training->OptimizerBytes(), 8);
  EXPECT_EQ(workload.WholeBatch(), 1536);
  EXPECT_TRUE(workload.HasPhase(Phase::kPrefill));
  EXPECT_FALSE(workload.HasPhase(Phase::kDecode));
  EXPECT_EQ(ErrorAt("/training", R"({"name": "w", "kind": "train"})"), "missing, expected one exactly for kind train");
  EXPECT_EQ(ErrorAt("/training", R"({"name": "w", "kind": "decode", "training": {"global_batch_size": 8}})"),
            "found one, expected one exactly for kind train");
  EXPECT_EQ(ErrorAt("/training", base + "{}}"), "missing key \"global_batch_size\"");
  const std::string given = R"({"name": "w", "kind": "train", "training": {"global_batch_size": 8}, )";
  EXPECT_EQ(ErrorAt("/batch_size", given + R"("batch_size": 8})"),
            "found in training; give training.global_batch_size");
  EXPECT_EQ(ErrorAt("/tpot_target_s", given + R"("tpot_target_s": 1})"),
            "found in training; a step has no tokens to wait for; remove it");
}

TEST(ParseWorkloadTest, RefusesBadInput) {
  EXPECT_EQ(ErrorAt("/kind", R"({"name": "w", "kind": "decoed"})"),
            "found \"decoed\", expected one of prefill, decode, serve, train; did you mean \"decode\"?");
  EXPECT_EQ(ErrorAt("", R"({"name": "w"})"), "missing key \"kind\"");
  EXPECT_EQ(ErrorAt("/input_tokens", R"({"name": "w", "kind": "decode", "input_tokens": 0})"),
            "found 0, expected an integer in [1, 2147483648]");
  EXPECT_EQ(ErrorAt("/memory_fraction", R"({"name": "w", "kind": "decode", "memory_fraction": 0})"),
            "found 0, expected a number in [1e-06, 1]");
  EXPECT_EQ(ErrorAt("/tpot_target_s", R"({"name": "w", "kind": "decode", "tpot_target_s": -0.1})"),
            "found -0.1, expected a number in [1e-09, 1000000000]");
  EXPECT_THAT(ErrorAt("/tpot_target_ms", R"({"name": "w", "kind": "decode", "tpot_target_ms": 50})"),
              HasSubstr("did you mean \"tpot_target_s\"?"));
  EXPECT_THAT(ErrorAt("/concurrency", R"({"name": "w", "kind": "decode", "batch_size": 8, "concurrency": 64})"),
              HasSubstr("at most one of them"));
  EXPECT_THAT(ErrorAt("/ttft_target_s", R"({"name": "w", "kind": "decode", "ttft_target_s": 1})"),
              HasSubstr("a decode workload has no time to first token"));
  EXPECT_THAT(ErrorAt("/tpot_target_s", R"({"name": "w", "kind": "prefill", "tpot_target_s": 1})"),
              HasSubstr("a prefill workload has no time per output token"));
}

}  // namespace
}  // namespace shardscout
