#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

#include "experiments/validation/prediction_error.h"
#include "experiments/validation/serving_prediction.h"

namespace shardscout::validation {
namespace {

TEST(PredictionError, MeanAndMedians) {
  const std::vector<double> measured = {1, 2, 4, 10}, predicted = {1.1, 1, 4, 15};
  const ErrorSummary summary = SummariseErrors(measured, predicted);
  EXPECT_EQ(summary.count, 4U);
  EXPECT_NEAR(summary.mean, (0.1 + 0.5 + 0 + 0.5) / 4, 1e-12);
  EXPECT_NEAR(summary.median, 0.3, 1e-12);
  EXPECT_NEAR(summary.median_signed, 0.05, 1e-12);
  EXPECT_EQ(SummariseErrors({}, {}).count, 0U);
}

TEST(PredictionError, TauCountsPairs) {
  const std::vector<double> rising = {1, 2, 3, 4}, falling = {4, 3, 2, 1}, swapped = {1, 3, 2, 4}, flat = {1, 1, 1, 1},
                            tied = {1, 1, 2, 3};
  EXPECT_DOUBLE_EQ(KendallTau(rising, rising), 1);
  EXPECT_DOUBLE_EQ(KendallTau(rising, falling), -1);
  EXPECT_DOUBLE_EQ(KendallTau(rising, swapped), 4.0 / 6);
  EXPECT_DOUBLE_EQ(KendallTau(rising, flat), 0);
  EXPECT_DOUBLE_EQ(KendallTau(rising, tied), 5 / std::sqrt(30.0));
}

TEST(PredictionError, RegretIsOfTheChosen) {
  const std::vector<double> measured = {10, 8, 12}, right = {5, 4, 6}, wrong = {4, 5, 6};
  EXPECT_DOUBLE_EQ(Regret(measured, right), 0);
  EXPECT_DOUBLE_EQ(Regret(measured, wrong), 0.25);
}

TEST(ServingPoint, ReadsLayoutsOfOneAndTwoPools) {
  const std::string path = ::testing::TempDir() + "shardscout_points.csv";
  std::ofstream(path)
      << "id,backend,backend_version,model_path,system,precision,mode,isl,osl,gemm_quant_mode,moe_quant_mode,"
         "batch_size,tp_size,pp_size,attention_dp_size,moe_tp_size,moe_ep_size,prefill_batch_size,"
         "prefill_num_workers,prefill_tp_size,prefill_pp_size,prefill_attention_dp_size,prefill_moe_tp_size,"
         "prefill_moe_ep_size,decode_batch_size,decode_num_workers,decode_tp_size,decode_pp_size,"
         "decode_attention_dp_size,decode_moe_tp_size,decode_moe_ep_size,silicon_ttft_ms,silicon_tpot_ms,concurrency\n"
         "a,vllm,1,org/M,h100_sxm,fp8,agg,1024,128,fp8,fp8,64.0,4.0,1.0,2.0,1.0,8.0,,,,,,,,,,,,,,,300,20,\n"
         "d,trtllm,1,org/M,gb200,fp8,disagg,1024,128,fp8,fp8,,,,,,,1.0,3.0,1.0,1.0,8.0,1.0,8.0,16.0,2.0,4.0,1.0,1.0,"
         "0.0,0.0,100,10,20\n";
  const std::vector<ServingPoint> points = ReadServingPoints(path);
  std::remove(path.c_str());
  ASSERT_EQ(points.size(), 2U);
  EXPECT_EQ(
      points[0].layout,
      (PoolLayout{.batch_size = 64, .tensor_parallel = 4, .attention_data_parallel = 2, .moe_expert_parallel = 8}));
  EXPECT_EQ(points[0].layout.DevicesOfAWorker(), 8);
  EXPECT_EQ(points[0].concurrency, 128) << "unsaid: the batch of every rank";
  EXPECT_DOUBLE_EQ(points[0].ttft_s, 0.3);
  EXPECT_DOUBLE_EQ(points[0].tpot_s, 0.02);
  EXPECT_EQ(DescribeLayout(points[0]), "tp4 pp1 dp2 etp1 ep8");
  EXPECT_TRUE(points[1].disaggregated);
  EXPECT_EQ(points[1].concurrency, 20);
  EXPECT_EQ(DescribeLayout(points[1]), "3 x tp1 pp1 dp8 etp1 ep8 + 2 x tp4 pp1 dp1 etp1 ep1");
  EXPECT_NE(GroupOf(points[0]), GroupOf(points[1]));
}

TEST(ServingPrediction, FindsPresets) {
  EXPECT_EQ(ModelPresetOf("deepseek-ai/DeepSeek-V3"), "deepseek-v3");
  EXPECT_EQ(ModelPresetOf("nvidia/Llama-3.1-8B-Instruct-FP8"), "llama-3.1-8b");
  EXPECT_EQ(ModelPresetOf("Qwen/Qwen3.5-397B-A17B"), std::nullopt);
  EXPECT_EQ(ClusterPresetOf("b200_sxm"), "b200-sxm");
  EXPECT_EQ(ClusterPresetOf("b2000"), std::nullopt);
}

/// Every layout of the table that is predicted is the one that it says, by devices.
TEST(ServingPrediction, PredictsAPointOfEachMode) {
  ServingPoint point;
  point.id = "p";
  point.model = "Qwen/Qwen3-30B-A3B";
  point.system = "h100_sxm";
  point.engine = "vllm";
  point.input_tokens = 1024;
  point.output_tokens = 64;
  point.concurrency = 8;
  point.layout = {.batch_size = 8, .tensor_parallel = 2, .moe_expert_parallel = 2};
  const Prediction together = Predict(point);
  ASSERT_TRUE(together.evaluation) << together.reason;
  EXPECT_EQ(together.evaluation->metrics.replicas, 1);
  EXPECT_GT(together.evaluation->metrics.tpot_s, 1e-3);
  point.disaggregated = true;
  point.prefill = point.decode = point.layout;
  point.decode.workers = 2;
  const Prediction apart = Predict(point);
  ASSERT_TRUE(apart.evaluation) << apart.reason;
  EXPECT_EQ(apart.evaluation->metrics.replicas, 3);
  EXPECT_LT(apart.evaluation->metrics.tpot_s, together.evaluation->metrics.tpot_s) << "no prompts between its tokens";
  point.model = "org/Unheard-Of";
  EXPECT_EQ(Predict(point).reason, "no preset of the model org/Unheard-Of");
}

}  // namespace
}  // namespace shardscout::validation
