#include "strategies/strategy_features.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "tests/tiny_problems.h"

namespace shardscout {
namespace {

using testing::SmallProblem;

class StrategyFeaturesTest : public ::testing::Test {
 protected:
  double Of(const std::string& name, const Strategy& strategy, int num_decided = kNumVariables) const {
    std::vector<float> row(names_.size());
    features_.Write(strategy, num_decided, row);
    const auto found = std::find(names_.begin(), names_.end(), name);
    EXPECT_NE(found, names_.end()) << name;
    return static_cast<double>(row[static_cast<std::size_t>(found - names_.begin())]);
  }

  Problem problem_ = SmallProblem(testing::MoeModel(), 32, WorkloadKind::kServe);
  StrategySpace space_{problem_};
  std::vector<std::string> names_ = StrategyFeatureNames(space_);
  StrategyFeatures features_{space_, names_};
};

TEST_F(StrategyFeaturesTest, NamesAreUnique) {
  EXPECT_EQ(std::set<std::string>(names_.begin(), names_.end()).size(), names_.size());
  const auto problem = ProblemFeatureNames();
  EXPECT_EQ(std::set<std::string>(problem.begin(), problem.end()).size(), problem.size());
  EXPECT_EQ(ProblemFeatures(problem_).size(), problem.size());
}

TEST_F(StrategyFeaturesTest, SizesKindsAndSpansAreThoseOfTheStrategy) {
  Strategy wanted;
  wanted.tensor_parallel_size = 8;
  wanted.data_parallel_size = 2;
  wanted.expert_parallel_size = 8;
  wanted.batch_size = 4;
  wanted.residual_layout = Layout::kTokenSharded;
  const Strategy s = space_.Repair(wanted);
  ASSERT_EQ(s.tensor_parallel_size, 8);
  ASSERT_EQ(s.data_parallel_size, 2);
  EXPECT_NEAR(Of("log2 tensor_parallel_size", s), 0.75, 1e-6) << "a quarter of the logarithm";
  EXPECT_EQ(Of("residual_layout token_sharded", s), s.residual_layout == Layout::kTokenSharded ? 1 : 0);
  EXPECT_EQ(Of("tp leaves the inner tier", s), 0) << "8 of 8";
  EXPECT_EQ(Of("stage leaves the inner tier", s), 1) << "16 of 8";
  EXPECT_NEAR(Of("tp over kv heads", s), 1.0 / 3, 1e-6) << "8 ranks, 4 KV heads";
  EXPECT_NEAR(Of("replicas", s), 0.25, 1e-6) << "two instances of 16 on 32";
  EXPECT_EQ(Of("idle devices", s), 0);
}

TEST_F(StrategyFeaturesTest, MoreTensorParallelismLeavesFewerWeightsOnADevice) {
  Strategy one, four;
  four.tensor_parallel_size = 4;
  EXPECT_LT(Of("weights of a device", four, 2), Of("weights of a device", one, 2));
  EXPECT_GT(Of("decode: tensor collectives' share", four, 2), Of("decode: tensor collectives' share", one, 2));
}

TEST_F(StrategyFeaturesTest, WhatIsNotDecidedDoesNotShow) {
  Rng rng(1);
  const Strategy a = space_.Sample(rng);
  Strategy b = a;
  b.batch_size = a.batch_size * 2 + 1;
  b.SetSharding(Operator::kAttention, Sharding::kNone);
  std::vector<float> of_a(names_.size()), of_b(names_.size());
  const int decided = static_cast<int>(Variable::kExpertTensorParallelSize) + 1;
  features_.Write(a, decided, of_a);
  features_.Write(b, decided, of_b);
  EXPECT_EQ(of_a, of_b);
  features_.Write(b, kNumVariables, of_b);
  EXPECT_NE(of_a, of_b);
}

TEST_F(StrategyFeaturesTest, NamesThatTheSpaceLacksStayZeroAndNewVariablesAreUnknown) {
  const std::vector<std::string> names = {"a decision of another version", "deciding batch_size", "log2 batch_size"};
  const StrategyFeatures some(space_, names);
  EXPECT_TRUE(some.Knows(static_cast<int>(Variable::kBatchSize)));
  EXPECT_FALSE(some.Knows(static_cast<int>(Variable::kTensorParallelSize)));
  Strategy s;
  s.batch_size = 16;
  std::vector<float> row(3, 9.0F);
  some.Write(s, static_cast<int>(Variable::kBatchSize) + 1, row);
  EXPECT_THAT(row, ::testing::ElementsAre(0.0F, 1.0F, 1.0F));
}

TEST(StrategyFeatures, AreFiniteOnEveryKindOfProblem) {
  for (const ModelSpec& model : {testing::DenseModel(), testing::MoeModel(), testing::MultiLatentModel(),
                                 testing::MixedWindowModel(), testing::IndexerModel(), testing::LinearModel()}) {
    for (const WorkloadKind kind : {WorkloadKind::kPrefill, WorkloadKind::kDecode, WorkloadKind::kServe}) {
      const Problem problem = SmallProblem(model, 24, kind);
      for (const float value : ProblemFeatures(problem)) EXPECT_TRUE(std::isfinite(value)) << model.name;
      const StrategySpace space(problem);
      const std::vector<std::string> names = StrategyFeatureNames(space);
      const StrategyFeatures features(space, names);
      std::vector<float> row(names.size());
      Rng rng(7);
      for (int i = 0; i < 20; ++i) {
        const Strategy strategy = space.Sample(rng);
        for (int decided = 1; decided <= kNumVariables; ++decided) {
          features.Write(strategy, decided, row);
          for (std::size_t f = 0; f < row.size(); ++f) {
            ASSERT_TRUE(std::isfinite(row[f]) && std::abs(row[f]) <= 8) << names[f] << " " << row[f];
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace shardscout
