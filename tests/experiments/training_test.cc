// Measured steps of training, and how far the closed form is from them.

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <map>
#include <string>
#include <vector>

#include "experiments/validation/prediction_error.h"
#include "experiments/validation/published_training.h"
#include "experiments/validation/training_prediction.h"
#include "experiments/validation/training_report.h"

namespace shardscout::validation {
namespace {

struct Errors {
  ErrorSummary all;
  double largest = 0;
};

Errors ErrorsOf(const std::string& path) {
  std::vector<double> measured, predicted;
  Errors errors;
  for (const TrainingPoint& point : ReadTrainingPoints(path)) {
    const TrainingPrediction prediction = Predict(point);
    if (!prediction.why_not.empty()) continue;
    measured.push_back(point.step_s);
    predicted.push_back(prediction.evaluation.metrics.step_time_s);
    errors.largest = std::max(errors.largest, std::abs(predicted.back() / measured.back() - 1));
  }
  errors.all = SummariseErrors(measured, predicted);
  return errors;
}

/// Eight steps of 22 billion to a trillion parameters, full and selective recomputation (arXiv 2205.05198, table 5).
TEST(TrainingPoints, SeleneWithinEightPercentEach) {
  const Errors errors = ErrorsOf(std::string(SHARDSCOUT_SOURCE_EXPERIMENTS) + "/validation/selene_steps.csv");
  EXPECT_EQ(errors.all.count, 8U);
  EXPECT_LE(errors.largest, 0.08);
}

TEST(TrainingPoints, MegatronDeepSpeedWithinTenPercent) {
  const char* data = std::getenv("SHARDSCOUT_DATA");
  if (data == nullptr) GTEST_SKIP() << "SHARDSCOUT_DATA is not set";
  const std::string folder = std::string(data) + "/data/training/";
  const Errors multi = ErrorsOf(folder + "megatron_deepspeed_a100_multi_node.csv");
  EXPECT_EQ(multi.all.count, 73U);
  EXPECT_LE(multi.all.mean, 0.10);
  const Errors single = ErrorsOf(folder + "megatron_deepspeed_a100_single_node.csv");
  EXPECT_EQ(single.all.count, 1080U);
  EXPECT_LE(single.all.mean, 0.10);
}

/// BLOOM's on A100s and the 1.3 billion parameters on V100s.
TEST(TrainingPoints, BigSciencesStepsThatDidNotFit) {
  const char* data = std::getenv("SHARDSCOUT_DATA");
  if (data == nullptr) GTEST_SKIP() << "SHARDSCOUT_DATA is not set";
  int reported = 0, found = 0, steps = 0;
  std::vector<double> measured_bytes, predicted_bytes;
  const PublishedSteps steps_of_all =
      PublishedStepsOf(ReadPublishedRecords(std::string(data) + "/data/published/measurements.jsonl"));
  for (const TrainingPoint& point : steps_of_all.points) {
    (point.out_of_memory ? reported : steps) += 1;
    if (!point.out_of_memory && point.memory_bytes == 0) continue;
    const TrainingPrediction prediction = Predict(point);
    EXPECT_EQ(prediction.why_not, "") << point.group;
    found += point.out_of_memory && prediction.evaluation.excess.memory > 0 ? 1 : 0;
    if (point.out_of_memory) continue;
    measured_bytes.push_back(point.memory_bytes);
    predicted_bytes.push_back(prediction.evaluation.memory.TotalBytes());
  }
  EXPECT_EQ(reported, 10);
  EXPECT_GE(found, 8);
  EXPECT_GE(steps, 430);
  EXPECT_GE(measured_bytes.size(), 65u);
  EXPECT_LE(SummariseErrors(measured_bytes, predicted_bytes).mean, 0.125);
}

}  // namespace
}  // namespace shardscout::validation
